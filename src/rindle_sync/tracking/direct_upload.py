"""A direct upload is begun or cancelled: the row first, then the provider, then the link between them."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, TypeVar
from uuid import uuid4

from rindle_sync.domain import (
    ErrorKind,
    Observation,
    ObservationSource,
    Policy,
    ProviderAsset,
    State,
    Trigger,
    first_check,
    restart,
    scrub,
)
from rindle_sync.errors import (
    AlreadyTracked,
    AuthenticationFailed,
    ConfigurationError,
    Conflict,
    NotFound,
    RateLimited,
    RindleSyncError,
)
from rindle_sync.providers import CreatedUpload, UploadRequest
from rindle_sync.reconcile import (
    Applied,
    Context,
    Observed,
    Operation,
    RateLimiter,
    apply,
    call,
    check_text,
    commit,
    new_row,
)

Result = TypeVar("Result")

RATE_LIMITED_ATTEMPTS: Final = 5
"""How often the making of an upload waits for a provider that throttles it."""

INGEST_MODE: Final = "direct_upload"


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectUpload:
    """What the browser gets: our own id, and where to send the file, once. The URL is a key: keep it out of logs."""

    row_id: str
    url: str = field(repr=False)
    expires_at: datetime


def upload_row(
    context: Context, reference: str, profile: str, upload_request: UploadRequest
) -> ProviderAsset:
    """The row of an upload that is yet to be made; raises `ConfigurationError` for a wish that nobody can fulfil."""
    _check(upload_request, context.policy)
    return new_row(
        context,
        reference=reference,
        profile=profile,
        passthrough=str(uuid4()),
        playback_policy=upload_request.playback_policy,
        ingest_mode=INGEST_MODE,
        state=State.PENDING,
    )


async def begin_upload(
    context: Context, row: ProviderAsset, upload_request: UploadRequest
) -> DirectUpload:
    """Make a direct upload for `row`, a new one; where its asset and profile have failed before, they begin anew.

    A crash between any two steps leaves a row that is linked by its passthrough, or ended with the reason by the sweep:
    its URL was never given out. Raises `AlreadyTracked`, `ProviderError` and its kinds, `Conflict`, `DatabaseUnavailable`.
    """
    row = await _insert(context, row)
    try:
        made = await _create(context, row, upload_request)
    except Exception as error:
        await _apply(context, row, _not_made(context, error))
        raise
    linked = await _apply(context, row, _waiting(context, made))
    if linked is None or linked.row.provider_upload_id != made.provider_upload_id:
        raise Conflict(
            "the row was ended or deleted while its upload was made; begin the upload again"
        )
    return DirectUpload(
        row_id=row.id, url=made.url, expires_at=context.now() + upload_request.timeout
    )


def _check(upload_request: UploadRequest, policy: Policy) -> None:
    if (
        not timedelta(minutes=1)
        <= upload_request.timeout
        <= min(timedelta(days=7), policy.stuck_threshold)
    ):
        raise ConfigurationError(
            "expires_in",
            "must be from one minute to seven days, and within provider_stuck_threshold_seconds",
        )
    check_text("cors_origin", upload_request.cors_origin)
    try:
        json.dumps(upload_request.settings)
    except (TypeError, ValueError):
        raise ConfigurationError(
            "new_asset_settings", "must hold nothing but what JSON can carry"
        ) from None


async def cancel_upload(context: Context, row: ProviderAsset) -> ProviderAsset:
    """Cancel the upload of `row`; the row as it then stands. Cancelling again, or too late, changes nothing more.

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
    """What became of an upload that is to be cancelled."""
    provider = context.provider
    try:
        return await _with_retries(
            context,
            context.rate_limiter,
            Operation.CANCEL_UPLOAD,
            lambda: provider.cancel_upload(provider_upload_id, at),
        )
    except NotFound:
        return Observation(source=ObservationSource.UPLOAD, at=at, gone=True)
    except AuthenticationFailed as refused:
        observation = await _with_retries(
            context,
            context.rate_limiter,
            Operation.UPLOAD,
            lambda: provider.get_upload(provider_upload_id, at),
        )
        if (
            observation.state is State.UPLOADING
        ):  # not too late, then: our credentials may not cancel it
            raise refused from None
        return observation


async def _insert(context: Context, row: ProviderAsset) -> ProviderAsset:
    row = replace(row, check_at=first_check(row, row.inserted_at, context.policy, context.schedule))
    try:
        await context.store.add(row)
    except AlreadyTracked:
        return await _begin_anew(context, row)
    return row


async def _begin_anew(context: Context, fresh: ProviderAsset) -> ProviderAsset:
    now = context.now()
    old = await context.store.find_by_reference(fresh.provider_name, fresh.reference, fresh.profile)
    decision = restart(old, fresh, now) if old and old.environment == fresh.environment else None
    if old is None or decision is None:
        raise AlreadyTracked(
            "this asset id and profile are tracked, and have not failed: cancel the upload, or use another profile",
            row_id=old.id if old else None,
        )
    if not await commit(context, old, decision, Trigger.APP):
        raise Conflict("the row was written by others at the same moment; begin the upload again")
    return replace(decision.row, version=old.version + 1)


async def _create(
    context: Context, row: ProviderAsset, upload_request: UploadRequest
) -> CreatedUpload:
    passthrough = row.passthrough or row.id
    return await _with_retries(
        context,
        context.create_limiter,
        Operation.CREATE_UPLOAD,
        lambda: context.provider.create_upload(passthrough, upload_request),
    )


async def _with_retries(
    context: Context,
    rate_limiter: RateLimiter,
    operation: Operation,
    calling: Callable[[], Awaitable[Result]],
) -> Result:
    """Call inside the budget; again only after a 429, which was not processed."""
    for _ in range(RATE_LIMITED_ATTEMPTS):
        await rate_limiter.take()
        try:
            return await call(context, operation, calling())
        except RateLimited as error:
            await rate_limiter.rate_limited(error.retry_after)
    raise RateLimited("the provider throttled every attempt; try again later")


def _waiting(context: Context, made: CreatedUpload) -> Observation:
    return Observation(
        source=ObservationSource.APP,
        at=context.now(),
        state=State.UPLOADING,
        provider_upload_id=made.provider_upload_id,
    )


def _not_made(context: Context, error: Exception) -> Observation:
    told = scrub(str(error)) if isinstance(error, RindleSyncError) else type(error).__name__
    text = f"upload was not made: {told}"
    return Observation(
        source=ObservationSource.APP,
        at=context.now(),
        state=State.ERRORED,
        error_kind=ErrorKind.UPLOAD,
        error_text=text,
    )


async def _apply(context: Context, row: ProviderAsset, observation: Observation) -> Applied | None:
    return next(iter(await apply(context, [Observed(row, observation)], Trigger.APP)), None)
