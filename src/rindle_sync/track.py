"""Rows are made: the app's own, checked word by word, before the provider is asked anything."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final
from uuid import uuid4

from rindle_sync.asset import Observation, ProviderAsset, State
from rindle_sync.decide import decide
from rindle_sync.errors import AlreadyTracked, ConfigurationError
from rindle_sync.plan import first_check, next_check
from rindle_sync.tools import Context

ADOPTED: Final = "adopted"
"""The `ingest_mode` of a row that was made of an asset found at the provider."""

TRACKABLE: Final = (State.PENDING, State.UPLOADING, State.PROCESSING, State.READY)
"""The states that a row may be tracked in; the others are for the provider to say."""

POLICIES: Final = ("public", "signed", "drm")
"""Who may play a video."""

TEXTS: Final = (
    "reference",
    "profile",
    "provider_asset_id",
    "provider_upload_id",
    "passthrough",
    "playback_policy",
    "ingest_mode",
)
"""What a new row may be told in words."""

LONGEST_ID: Final = 255
"""The longest id or reference of a row, in characters; Mux's own are no longer."""


def new_row(context: Context, **values: Any) -> ProviderAsset:
    """A row that is not in the table yet; raises `ConfigurationError` for a value that none can have."""
    for name in TEXTS:
        check_text(name, values.get(name))
    if values.get("playback_policy") not in {None, *POLICIES}:
        raise ConfigurationError("playback_policy", f"must be one of {', '.join(POLICIES)}")
    now = context.now()
    row = ProviderAsset(
        id=str(uuid4()),
        provider_name=context.provider.name,
        environment=context.environment,
        provider_created_at=now,
        inserted_at=now,
        updated_at=now,
        **values,
    )
    return replace(row, check_at=first_check(row, now, context.policy, context.schedule))


async def track(context: Context, *, state: State | None, **values: Any) -> ProviderAsset:
    """Insert a row for an asset or an upload that the provider has; one that was adopted becomes the app's own.

    `state` is `processing` where there is a provider id, else `uploading`. Raises `AlreadyTracked`, `ConfigurationError`.
    """
    if not (values.get("provider_asset_id") or values.get("provider_upload_id")):
        raise ConfigurationError(
            "provider_asset_id", "or provider_upload_id is needed: by which could we ask the provider?"
        )
    if state and state not in TRACKABLE:
        raise ConfigurationError("state", f"must be one of {', '.join(TRACKABLE)}")
    default = State.PROCESSING if values.get("provider_asset_id") else State.UPLOADING
    row = new_row(context, state=state or default, **values)
    try:
        await context.store.add(row)
    except AlreadyTracked:
        adopted = await _adopted(context, row)
        if adopted is None:
            raise
        return adopted
    return row


async def _adopted(context: Context, row: ProviderAsset) -> ProviderAsset | None:
    """The adopted row of this asset or upload, under the app's own names; None where there is none."""
    found = await context.store.match(
        context.provider.name,
        context.environment,
        provider_asset_ids=[row.provider_asset_id] if row.provider_asset_id else (),
        provider_upload_ids=[row.provider_upload_id] if row.provider_upload_id else (),
        passthroughs=(),
    )
    if len(found) != 1 or found[0].ingest_mode != ADOPTED:
        return None
    await context.store.rename(found[0].id, row)
    return await context.store.get(found[0].id)


def check_text(name: str, value: str | None) -> None:
    """Raise `ConfigurationError` unless `value` is a text that a row can hold, or None."""
    if not isinstance(value, str | None):
        raise ConfigurationError(name, "must be a text")
    if value is not None and not _is_text(value):
        raise ConfigurationError(name, f"must be 1 to {LONGEST_ID} printable characters")


def _is_text(value: str) -> bool:
    return bool(value.strip()) and len(value) <= LONGEST_ID and value.isprintable()


async def adopt(context: Context, found: Sequence[Observation]) -> int:
    """Make rows of assets that the provider has and no row knows; how many.

    The app's own reference is what the asset was passed through with, where it is one that no row has; else it is made
    up, until `track` gives the row another.
    """
    rows = [_adopted_row(context, observation) for observation in found if observation.provider_asset_id]
    if not rows:
        return 0
    added = await context.store.add_all(rows)
    known = {row.id for row in added}
    unnamed = [
        replace(row, reference=_made_up(row), passthrough=None, provider_upload_id=None)
        for row in rows
        if row.id not in known
    ]
    return len(added) + (len(await context.store.add_all(unnamed)) if unnamed else 0)


def _adopted_row(context: Context, observation: Observation) -> ProviderAsset:
    passthrough = observation.passthrough if observation.passthrough and _is_text(observation.passthrough) else None
    row = new_row(
        context,
        reference=passthrough or ADOPTED,
        profile="default",
        provider_asset_id=observation.provider_asset_id,
        provider_upload_id=observation.provider_upload_id,
        passthrough=passthrough,
        ingest_mode=ADOPTED,
        state=State.PROCESSING,
    )
    now = context.now()
    decision = decide(replace(row, reference=passthrough or _made_up(row)), observation, now, context.policy)
    check_at = next_check(decision, observation, now, context.policy, context.schedule)
    return replace(decision.row, check_at=check_at)


def _made_up(row: ProviderAsset) -> str:
    return f"{ADOPTED}:{row.id}"
