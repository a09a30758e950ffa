"""Begins, resumes and cancels direct uploads."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rindle_sync.domain import (
    DIRECT_UPLOAD,
    Action,
    ErrorKind,
    Observation,
    ObservationSource,
    Policy,
    ProviderAsset,
    State,
    attempt_age,
    reassign,
)
from rindle_sync.errors import AuthenticationFailed, ConfigurationError, NotFound
from rindle_sync.gateway import Operation
from rindle_sync.providers import UploadBounds, UploadRequest
from rindle_sync.reconcile import (
    Context,
    Observed,
    act_outside,
    apply,
    check_text,
    record_afterwards,
)
from rindle_sync.tracking.creation import (
    BEGUN,
    begun,
    call,
    check_json,
    in_the_way,
    insert,
    link,
    made_row,
    take,
    write_again,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectUpload:
    """What the browser gets: the row's id, and a URL for the file, a key to keep out of logs."""

    row_id: str
    url: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedUpload:
    """A row that waits for its upload to be made, and how; another process may start it."""

    row_id: str
    request: UploadRequest


def upload_row(
    context: Context, reference: str, profile: str, upload_request: UploadRequest
) -> ProviderAsset:
    """The row of an upload that is not created yet; `ConfigurationError` for an invalid request."""
    _check(upload_request, context.gateway.provider.upload_bounds, context.policy)
    return made_row(context, reference, profile, upload_request, DIRECT_UPLOAD)


async def prepare_upload(
    context: Context, row: ProviderAsset, request: UploadRequest, *, replacing: bool = False
) -> PreparedUpload:
    """Write the new `row`, for `start_upload`; the provider is not asked.

    A row that nobody starts is ended by the sweep. Raises as `insert` does.
    """
    inserted = await insert(context, row, replacing=replacing)
    return PreparedUpload(row_id=inserted.id, request=request)


async def start_upload(context: Context, prepared: PreparedUpload) -> DirectUpload:
    """Create the upload of a prepared row; of several that try, one does.

    Raises `AlreadyBegun`, `Conflict`, `ConfigurationError`, `ProviderError` and its kinds.
    """
    _check(prepared.request, context.gateway.provider.upload_bounds, context.policy)
    row = await take(context, prepared.row_id, DIRECT_UPLOAD)
    return await _create(context, row, prepared.request)


async def begin_upload(
    context: Context, row: ProviderAsset, upload_request: UploadRequest, *, replacing: bool = False
) -> DirectUpload:
    """Create a direct upload for the new `row`; a failed row of its reference begins again.

    A crash between two steps leaves a row whose URL was never given out: a webhook links it by its
    passthrough, or the sweep ends it with the reason. Raises `AlreadyTracked`, `ProviderError` and
    its kinds, `Conflict`, `DatabaseUnavailable`.
    """
    # first the row: an upload that no row waits for would be lost to the app
    row = await insert(context, begun(context, row), replacing=replacing)
    return await _create(context, row, upload_request)


async def resume_upload(
    context: Context, row: ProviderAsset, upload_request: UploadRequest, *, replacing: bool = False
) -> DirectUpload:
    """The upload that this reference waits for the file of, or a new one in the same row.

    `row` is a new one. Raises as `begin_upload`, and `AlreadyTracked` once the file has come.
    """
    old = await context.store.assets.find_by_reference(row.reference, row.profile)
    if old and old.environment == row.environment:
        if old.state is State.UPLOADING and old.provider_upload_id:
            reopened = await _reopen(context, old, old.provider_upload_id)
            if reopened:
                return reopened
        elif old.state is State.PENDING and old.ingest_mode == DIRECT_UPLOAD:
            return await _take_over(context, old, row, upload_request)
    return await begin_upload(context, row, upload_request, replacing=replacing)


async def _take_over(
    context: Context, old: ProviderAsset, fresh: ProviderAsset, upload_request: UploadRequest
) -> DirectUpload:
    """A new upload in a row whose own was not made, or whose URL was lost with a process."""
    now = context.now()
    # while its call may be under way, another upload would make that one useless
    if old.begun_at and attempt_age(old, now) < context.lease:
        raise in_the_way(old)
    decision = reassign(old, begun(context, fresh), now, "begun again")
    row = await write_again(context, old, decision, Action.BEGIN_UPLOAD, outcome=BEGUN)
    return await _create(context, row, upload_request)


async def _reopen(
    context: Context, row: ProviderAsset, provider_upload_id: str
) -> DirectUpload | None:
    """The upload while it waits for its file; else the row becomes what the provider says."""
    gateway, at = context.gateway, context.now()
    try:
        reopened = await gateway.call_within(
            gateway.reads,
            Operation.UPLOAD,
            lambda: gateway.provider.reopen_upload(provider_upload_id, at),
        )
    except NotFound:
        gone = Observation(source=ObservationSource.UPLOAD, at=at, gone=True)
        await apply(context, [Observed(row, gone)], context.trigger)
        return None
    if reopened.url is None:
        await apply(context, [Observed(row, reopened.observation)], context.trigger)
        return None
    # its URL, a key, was given out again
    await record_afterwards(context, Action.BEGIN_UPLOAD, row, "resumed")
    expires_at = row.updated_at + reopened.timeout
    return DirectUpload(row_id=row.id, url=reopened.url, expires_at=expires_at)


async def _create(context: Context, row: ProviderAsset, request: UploadRequest) -> DirectUpload:
    provider, passthrough = context.gateway.provider, row.passthrough or row.id
    created = await call(
        context, row, Operation.CREATE_UPLOAD, lambda: provider.create_upload(passthrough, request)
    )
    observation = Observation(
        source=ObservationSource.APP,
        at=context.now(),
        state=State.UPLOADING,
        provider_upload_id=created.provider_upload_id,
    )
    await link(context, row, observation)
    expires_at = context.now() + request.timeout
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
    check_json("new_asset_settings", upload_request.settings)


async def cancel_upload(context: Context, row: ProviderAsset) -> ProviderAsset:
    """Cancel the upload of `row`; the row as it is then. Once it has its file, nothing changes.

    Raises `ProviderError` and its kinds, `DatabaseUnavailable`.
    """
    if row.state not in {State.PENDING, State.UPLOADING} or row.provider_asset_id:
        return row
    # its asset may exist: a row that had ended could begin anew, and make a second one
    if row.is_unclear:
        return row
    return await act_outside(
        context,
        Action.CANCEL_UPLOAD,
        row,
        lambda: _cancel(context, row),
        outcome=lambda after: after.state.value,
    )


async def _cancel(context: Context, row: ProviderAsset) -> ProviderAsset:
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
    applied = await apply(context, [Observed(row, observation)], context.trigger)
    return applied[0].row if applied else row


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
