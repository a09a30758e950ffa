"""A direct upload is begun or cancelled: the row first, then the provider, then the link between them."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, TypeVar
from uuid import uuid4

from rindle_sync.asset import By, ErrorKind, ProviderAsset, Seen, State, Via, scrub
from rindle_sync.budget import Budget
from rindle_sync.call import Way, call
from rindle_sync.decide import Policy, restart
from rindle_sync.errors import AlreadyTracked, Conflict, Gone, Misconfigured, Refused, RindleSyncError, Throttled
from rindle_sync.plan import first_check
from rindle_sync.providers.base import MadeUpload, Wish
from rindle_sync.settle import Finding, Settled, commit, settle
from rindle_sync.tools import Tools
from rindle_sync.track import check_text, new_row

Answer = TypeVar("Answer")

THROTTLES: Final = 5
"""How often the making of an upload waits for a provider that throttles it."""

INGEST_MODE: Final = "direct_upload"


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectUpload:
    """What the browser gets: our own id, and where to send the file, once. The URL is a key: keep it out of logs."""

    row_id: str
    url: str = field(repr=False)
    expires_at: datetime


def upload_row(tools: Tools, asset_id: str, profile: str, wish: Wish) -> ProviderAsset:
    """The row of an upload that is yet to be made; raises `Misconfigured` for a wish that nobody can fulfil."""
    _check(wish, tools.policy)
    return new_row(
        tools,
        asset_id=asset_id,
        profile=profile,
        passthrough=str(uuid4()),
        playback_policy=wish.playback_policy,
        ingest_mode=INGEST_MODE,
        state=State.PENDING,
    )


async def begin_upload(tools: Tools, row: ProviderAsset, wish: Wish) -> DirectUpload:
    """Make a direct upload for `row`, a new one; where its asset and profile have failed before, they begin anew.

    A crash between any two steps leaves a row that is linked by its passthrough, or ended with the reason by the sweep:
    its URL was never given out. Raises `AlreadyTracked`, `NoAnswer` and its kinds, `Conflict`, `StoreUnavailable`.
    """
    row = await _insert(tools, row)
    try:
        made = await _create(tools, row, wish)
    except Exception as error:
        await _settle(tools, row, _not_made(tools, error))
        raise
    linked = await _settle(tools, row, _waiting(tools, made))
    if linked is None or linked.row.provider_upload_id != made.provider_upload_id:
        raise Conflict("the row was ended or deleted while its upload was made; begin the upload again")
    return DirectUpload(row_id=row.id, url=made.url, expires_at=tools.now() + wish.timeout)


def _check(wish: Wish, policy: Policy) -> None:
    if not timedelta(minutes=1) <= wish.timeout <= min(timedelta(days=7), policy.stuck_threshold):
        raise Misconfigured(
            "expires_in", "must be from one minute to seven days, and within provider_stuck_threshold_seconds"
        )
    check_text("cors_origin", wish.cors_origin)
    try:
        json.dumps(wish.settings)
    except (TypeError, ValueError):
        raise Misconfigured("new_asset_settings", "must hold nothing but what JSON can carry") from None


async def cancel_upload(tools: Tools, row: ProviderAsset) -> ProviderAsset:
    """Cancel the upload of `row`; the row as it then stands. Cancelling again, or too late, changes nothing more.

    Raises `NoAnswer` and its kinds, `StoreUnavailable`.
    """
    if row.state not in {State.PENDING, State.UPLOADING} or row.provider_asset_id:
        return row
    at = tools.now()
    seen = Seen(via=Via.APP, at=at, state=State.ERRORED, error_kind=ErrorKind.UPLOAD, error_text="upload cancelled")
    if row.provider_upload_id:
        seen = await _asked(tools, row.provider_upload_id, at)
    settled = await _settle(tools, row, seen)
    return settled.row if settled else row


async def _asked(tools: Tools, provider_upload_id: str, at: datetime) -> Seen:
    """What became of an upload that is to be cancelled."""
    provider = tools.provider
    try:
        return await _patiently(
            tools, tools.budget, Way.CANCEL_UPLOAD, lambda: provider.cancel_upload(provider_upload_id, at)
        )
    except Gone:
        return Seen(via=Via.UPLOAD, at=at, gone=True)
    except Refused as refused:
        seen = await _patiently(tools, tools.budget, Way.UPLOAD, lambda: provider.get_upload(provider_upload_id, at))
        if seen.state is State.UPLOADING:  # not too late, then: our credentials may not cancel it
            raise refused from None
        return seen


async def _insert(tools: Tools, row: ProviderAsset) -> ProviderAsset:
    row = replace(row, check_at=first_check(row, row.inserted_at, tools.policy, tools.schedule))
    try:
        await tools.store.add(row)
    except AlreadyTracked:
        return await _begin_anew(tools, row)
    return row


async def _begin_anew(tools: Tools, fresh: ProviderAsset) -> ProviderAsset:
    now = tools.now()
    old = await tools.store.find_app_asset(fresh.provider_name, fresh.asset_id, fresh.profile)
    decision = restart(old, fresh, now) if old and old.environment == fresh.environment else None
    if old is None or decision is None:
        raise AlreadyTracked(
            "this asset id and profile are tracked, and have not failed: cancel the upload, or use another profile",
            row_id=old.id if old else None,
        )
    if not await commit(tools, old, decision, By.APP):
        raise Conflict("the row was written by others at the same moment; begin the upload again")
    return replace(decision.row, version=old.version + 1)


async def _create(tools: Tools, row: ProviderAsset, wish: Wish) -> MadeUpload:
    passthrough = row.passthrough or row.id
    return await _patiently(
        tools, tools.creates, Way.CREATE_UPLOAD, lambda: tools.provider.create_upload(passthrough, wish)
    )


async def _patiently(tools: Tools, budget: Budget, way: Way, calling: Callable[[], Awaitable[Answer]]) -> Answer:
    """Call inside the budget; again only after a 429, which was not processed."""
    for _ in range(THROTTLES):
        await budget.take()
        try:
            return await call(tools, way, calling())
        except Throttled as error:
            await budget.throttled(error.retry_after)
    raise Throttled("the provider throttled every attempt; try again later")


def _waiting(tools: Tools, made: MadeUpload) -> Seen:
    return Seen(via=Via.APP, at=tools.now(), state=State.UPLOADING, provider_upload_id=made.provider_upload_id)


def _not_made(tools: Tools, error: Exception) -> Seen:
    told = scrub(str(error)) if isinstance(error, RindleSyncError) else type(error).__name__
    text = f"upload was not made: {told}"
    return Seen(via=Via.APP, at=tools.now(), state=State.ERRORED, error_kind=ErrorKind.UPLOAD, error_text=text)


async def _settle(tools: Tools, row: ProviderAsset, seen: Seen) -> Settled | None:
    return next(iter(await settle(tools, [Finding(row, seen)], By.APP)), None)
