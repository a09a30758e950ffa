"""Gives a row another asset, or another upload, that the provider has already."""

from dataclasses import replace
from typing import Any

from rindle_sync.domain import ADOPTED, Action, ProviderAsset, State, reassign
from rindle_sync.errors import AlreadyTracked, ConfigurationError
from rindle_sync.reconcile import Context, new_row
from rindle_sync.store import Store
from rindle_sync.telemetry import HeldTelemetry
from rindle_sync.tracking.creation import write_again


async def replace_asset(
    context: Context,
    row: ProviderAsset,
    *,
    provider_asset_id: str | None = None,
    provider_upload_id: str | None = None,
    **values: Any,
) -> ProviderAsset:
    """`row` about this asset, or upload, from now on; what it had before is superseded.

    It is `processing`, or `uploading` without an asset's id, until it is checked. Where it is about
    them already, nothing changes. Raises `AlreadyTracked`, `ConfigurationError`, `Conflict`.
    """
    if not (provider_asset_id or provider_upload_id):
        text = "is needed, or provider_upload_id: what shall the row be about?"
        raise ConfigurationError("provider_asset_id", text)
    given = {"provider_asset_id": provider_asset_id, "provider_upload_id": provider_upload_id}
    fresh = new_row(
        context,
        reference=row.reference,
        profile=row.profile,
        state=State.PROCESSING if provider_asset_id else State.UPLOADING,
        **given,
        **({"playback_policy": row.playback_policy, "ingest_mode": row.ingest_mode} | values),
    )
    return row if _is_about(row, fresh) else await replace_row(context, row, fresh)


async def replace_row(
    context: Context, row: ProviderAsset, fresh: ProviderAsset, action: Action = Action.REPLACE
) -> ProviderAsset:
    """`row` with all that `fresh` says, in one transaction. Raises `AlreadyTracked`, `Conflict`."""
    held = HeldTelemetry(context.telemetry)

    async def work(store: Store) -> ProviderAsset:
        held.clear()
        within = replace(context, store=store, telemetry=held)
        # a row that was adopted is gone only where this one gets its asset
        await _free(within, row, fresh)
        decision = reassign(row, fresh, context.now(), "replaced")
        await write_again(within, row, decision, action)
        await store.superseded.forget([fresh])
        await store.inbox.revive_untracked([fresh], context.now())
        return await store.assets.get(row.id) or decision.row

    after = await context.store.together(work)
    held.release()
    return after


def _is_about(row: ProviderAsset, fresh: ProviderAsset) -> bool:
    """Whether the living `row` has these ids already, so that the call is a repeated one."""
    if row.state is State.DELETED:
        return False
    has_asset = fresh.provider_asset_id in {None, row.provider_asset_id}
    return has_asset and fresh.provider_upload_id in {None, row.provider_upload_id}


async def _free(context: Context, row: ProviderAsset, fresh: ProviderAsset) -> None:
    """Take the ids from a row that was adopted; raise `AlreadyTracked` where the app tracks one."""
    asset_id, upload_id = fresh.provider_asset_id, fresh.provider_upload_id
    for other in await context.store.assets.match(
        provider_asset_ids=[asset_id] if asset_id else (),
        provider_upload_ids=[upload_id] if upload_id else (),
        passthroughs=(),
    ):
        if other.id == row.id:
            continue
        if other.ingest_mode != ADOPTED:
            text = "another row is about this asset or upload: untrack that one first"
            raise AlreadyTracked(text, other.id, other.state)
        await context.store.removal.remove(other.id, context.now(), remember=False)
