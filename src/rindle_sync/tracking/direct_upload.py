"""Begins and cancels direct uploads: first the row, then the provider, then their link."""

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

from rindle_sync.domain import (
    ErrorKind,
    Observation,
    ObservationSource,
    Policy,
    ProviderAsset,
    State,
    Trigger,
    regular_check,
    replace,
    restart,
    scrub,
)
from rindle_sync.errors import (
    AlreadyTracked,
    AuthenticationFailed,
    ConfigurationError,
    Conflict,
    NotFound,
    RindleSyncError,
)
from rindle_sync.gateway import Operation
from rindle_sync.providers import UploadBounds, UploadRequest
from rindle_sync.reconcile import Applied, Context, Observed, apply, check_text, commit, new_row

INGEST_MODE: Final = "direct_upload"


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectUpload:
    """What the browser gets: the row's id, and a URL for the file, a key to keep out of logs."""

    row_id: str
    url: str = field(repr=False)
    expires_at: datetime


def upload_row(
    context: Context, reference: str, profile: str, upload_request: UploadRequest
) -> ProviderAsset:
    """The row of an upload that is not created yet; `ConfigurationError` for an invalid request."""
    provider = context.gateway.provider
    _check(upload_request, provider.upload_bounds, context.policy)
    policies = provider.playback_policies(upload_request)
    return new_row(
        context,
        reference=reference,
        profile=profile,
        passthrough=str(uuid4()),
        playback_policy=",".join(policies) or None,
        ingest_mode=INGEST_MODE,
        state=State.PENDING,
    )


async def begin_upload(
    context: Context, row: ProviderAsset, upload_request: UploadRequest
) -> DirectUpload:
    """Create a direct upload for the new `row`; a failed row of its reference begins again.

    A crash between two steps leaves a row whose URL was never given out: a webhook links it by its
    passthrough, or the sweep ends it with the reason. Raises `AlreadyTracked`, `ProviderError` and
    its kinds, `Conflict`, `DatabaseUnavailable`.
    """
    provider, policy, schedule = context.gateway.provider, context.policy, context.schedule
    row = replace(row, check_at=regular_check(row, row.inserted_at, policy, schedule))
    # first the row: an upload that no row waits for would be lost to the app
    try:
        await context.store.assets.add(row)
    except AlreadyTracked:
        row = await _begin_again(context, row)
    passthrough = row.passthrough or row.id
    try:
        created = await context.gateway.call_within(
            context.gateway.creates,
            Operation.CREATE_UPLOAD,
            lambda: provider.create_upload(passthrough, upload_request),
        )
    except Exception as error:
        await _apply(context, row, _not_created(context, error))
        raise
    observation = Observation(
        source=ObservationSource.APP,
        at=context.now(),
        state=State.UPLOADING,
        provider_upload_id=created.provider_upload_id,
    )
    linked = await _apply(context, row, observation)
    if linked is None or linked.row.provider_upload_id != created.provider_upload_id:
        raise Conflict(
            "the row was ended or deleted while its upload was made; begin the upload again"
        )
    expires_at = context.now() + upload_request.timeout
    return DirectUpload(row_id=row.id, url=created.url, expires_at=expires_at)


def _check(upload_request: UploadRequest, bounds: UploadBounds, policy: Policy) -> None:
    if not isinstance(upload_request.timeout, timedelta):
        raise ConfigurationError("expires_in", "must be a timedelta")
    longest = min(bounds.longest, policy.stuck_threshold)
    if not bounds.shortest <= upload_request.timeout <= longest:
        least, most = (f"{bound.total_seconds():g}" for bound in (bounds.shortest, bounds.longest))
        text = (
            f"must be from {least} to {most} seconds, and within provider_stuck_threshold_seconds"
        )
        raise ConfigurationError("expires_in", text)
    check_text("cors_origin", upload_request.cors_origin)
    try:
        json.dumps(upload_request.settings, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError):
        raise ConfigurationError("new_asset_settings", "must be plain JSON values") from None


async def cancel_upload(context: Context, row: ProviderAsset) -> ProviderAsset:
    """Cancel the upload of `row`; the row as it is then. Once it has its file, nothing changes.

    Raises `ProviderError` and its kinds, `DatabaseUnavailable`.
    """
    if row.state not in {State.PENDING, State.UPLOADING} or row.provider_asset_id:
        return row
    at = context.now()
    observation = Observation(
        source=ObservationSource.APP,
        at=at,
        state=State.ERRORED,
        error_kind=ErrorKind.UPLOAD,
        error_text="upload cancelled",
    )
    if row.provider_upload_id:
        observation = await _fetch_upload(context, row.provider_upload_id, at)
    applied = await _apply(context, row, observation)
    return applied.row if applied else row


async def _fetch_upload(context: Context, provider_upload_id: str, at: datetime) -> Observation:
    """Cancel an upload at the provider; what it says of it."""
    gateway = context.gateway
    try:
        return await gateway.call_within(
            gateway.reads,
            Operation.CANCEL_UPLOAD,
            lambda: gateway.provider.cancel_upload(provider_upload_id, at),
        )
    except NotFound:
        return Observation(source=ObservationSource.UPLOAD, at=at, gone=True)
    except AuthenticationFailed as refused:
        observation = await gateway.call_within(
            gateway.reads,
            Operation.UPLOAD,
            lambda: gateway.provider.get_upload(provider_upload_id, at),
        )
        # refused though it is not too late: the token has no permission to cancel
        if observation.state is State.UPLOADING:
            raise refused from None
        return observation


async def _begin_again(context: Context, fresh: ProviderAsset) -> ProviderAsset:
    now = context.now()
    old = await context.store.assets.find_by_reference(fresh.reference, fresh.profile)
    decision = restart(old, fresh, now) if old and old.environment == fresh.environment else None
    if old is None or decision is None:
        text = (
            "this reference and profile are tracked, and have not failed: "
            "cancel the upload, or use another profile"
        )
        raise AlreadyTracked(text, row_id=old.id if old else None)
    if not await commit(context, old, decision, Trigger.APP):
        raise Conflict("the row was changed at the same moment; begin the upload again")
    return replace(decision.row, version=old.version + 1)


def _not_created(context: Context, error: Exception) -> Observation:
    cause = scrub(str(error)) if isinstance(error, RindleSyncError) else type(error).__name__
    return Observation(
        source=ObservationSource.APP,
        at=context.now(),
        state=State.ERRORED,
        error_kind=ErrorKind.UPLOAD,
        error_text=f"upload was not made: {cause}",
    )


async def _apply(context: Context, row: ProviderAsset, observation: Observation) -> Applied | None:
    applied = await apply(context, [Observed(row, observation)], Trigger.APP)
    return applied[0] if applied else None
