"""Tracks an asset or an upload that the provider has: the app's values become a row."""

from typing import Any, Final

from rindle_sync.domain import ProviderAsset, State, contradiction
from rindle_sync.errors import AlreadyTracked, ConfigurationError
from rindle_sync.reconcile import ADOPTED, Context, new_row

TRACKABLE: Final = (State.PENDING, State.UPLOADING, State.PROCESSING, State.READY)
"""The states in which a row may begin; only the provider says the others."""


async def track(context: Context, *, state: State | None, **values: Any) -> ProviderAsset:
    """Insert a row for an asset or an upload; an adopted row of it becomes the app's own.

    `state` is `processing` where there is a provider id, else `uploading`. Raises `AlreadyTracked`,
    `ConfigurationError`.
    """
    if not (values.get("provider_asset_id") or values.get("provider_upload_id")):
        text = "or provider_upload_id is needed: without an id there is nothing to check"
        raise ConfigurationError("provider_asset_id", text)
    if state and state not in TRACKABLE:
        raise ConfigurationError("state", f"must be one of {', '.join(TRACKABLE)}")
    default = State.PROCESSING if values.get("provider_asset_id") else State.UPLOADING
    row, assets = new_row(context, state=state or default, **values), context.store.assets
    try:
        await assets.add(row)
        await context.store.superseded.forget(row.provider_asset_id, row.provider_upload_id)
        await context.store.inbox.revive_untracked(row, context.now())
    except AlreadyTracked:
        found = await assets.match(
            provider_asset_ids=[row.provider_asset_id] if row.provider_asset_id else (),
            provider_upload_ids=[row.provider_upload_id] if row.provider_upload_id else (),
            passthroughs=(),
        )
        is_adopted = len(found) == 1 and found[0].ingest_mode == ADOPTED
        if not is_adopted or contradiction(found[0], row):
            raise
        # an adopted row takes the app's values, and keeps its state
        await assets.rename(found[0].id, row)
        adopted = await assets.get(found[0].id)
        if adopted is None:
            raise
        return adopted
    return row
