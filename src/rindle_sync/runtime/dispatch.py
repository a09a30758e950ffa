"""Real changes, to the callbacks of the app: after their commit, in the order of each row, at least once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

from rindle_sync.domain import ProviderAsset
from rindle_sync.reconcile import Context
from rindle_sync.store import Change, PendingChange
from rindle_sync.telemetry import CallbackException, nanoseconds

BATCH: Final = 50

LONGEST_WAIT: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class ChangeEvent:
    """One real change, and the row as it stands by now; `row` is None where the app has deleted it meanwhile."""

    change: Change
    row: ProviderAsset | None

    @property
    def reference(self) -> str | None:
        """The app's own reference of the row; None where the row is gone."""
        return self.row.reference if self.row else None


Callback = Callable[[ChangeEvent], Awaitable[None]]


async def dispatch(context: Context, callbacks: Sequence[Callback]) -> int:
    """Call every callback with each change that is due to be announced; how many changes were taken up.

    Of one row, a change is announced only after the one before it; a callback that fails is tried again with growing
    gaps, and keeps back only its row.
    """
    if not callbacks:
        return 0
    token, now = str(uuid4()), context.now()
    until = now + context.lease + _time_limit(context, callbacks)
    claimed = await context.outbox.claim(
        context.provider.name, context.environment, now=now, token=token, until=until, limit=BATCH
    )
    if not claimed:
        return 0
    try:
        await _dispatch_all(context, callbacks, claimed, token)
    except BaseException:
        await context.outbox.release(token)
        raise
    return len(claimed)


async def _dispatch_all(
    context: Context, callbacks: Sequence[Callback], claimed: Sequence[PendingChange], token: str
) -> None:
    rows = await context.store.get_many([one.change.row_id for one in claimed])
    telling = [
        asyncio.ensure_future(
            _dispatch_change(context, callbacks, one, rows.get(one.change.row_id))
        )
        for one in claimed
    ]
    try:
        await asyncio.gather(*telling)
    finally:
        told = [
            (one, task.result())
            for one, task in zip(claimed, telling, strict=True)
            if _is_handled(task)
        ]
        await context.outbox.end(told, token)


def _is_handled(telling: "asyncio.Future[datetime | None]") -> bool:
    return telling.done() and not telling.cancelled() and telling.exception() is None


async def _dispatch_change(
    context: Context, callbacks: Sequence[Callback], one: PendingChange, row: ProviderAsset | None
) -> datetime | None:
    telling = asyncio.ensure_future(
        _call(callbacks, ChangeEvent(one.change, row), context.callback_limit)
    )
    try:
        await asyncio.wait({telling}, timeout=_time_limit(context, callbacks).total_seconds())
    except asyncio.CancelledError:
        if (
            not telling.done()
        ):  # else they have been called, which is to be written though we are stopped
            raise
    finally:
        telling.cancel()
    if not telling.done():
        return _retry(context, one, row, TimeoutError())
    # what a callback awaits may be cancelled without us being so: that is a failure of the callback like any other
    error = asyncio.CancelledError() if telling.cancelled() else telling.exception()
    return _retry(context, one, row, error) if error else None


def _time_limit(context: Context, callbacks: Sequence[Callback]) -> timedelta:
    """How long all callbacks together may take on one change."""
    return context.callback_limit * len(callbacks) + context.callback_grace


async def _call(callbacks: Sequence[Callback], changed: ChangeEvent, limit: timedelta) -> None:
    for callback in callbacks:
        async with asyncio.timeout(limit.total_seconds()):
            await callback(changed)


def _retry(
    context: Context, one: PendingChange, row: ProviderAsset | None, error: BaseException
) -> datetime:
    now = context.now()
    context.telemetry.emit(
        CallbackException(
            system_time=nanoseconds(now),
            row_id=one.change.row_id,
            reference=row.shown_reference if row else None,
            error=type(error).__name__,
            attempt=one.attempts + 1,
        )
    )
    return now + min(timedelta(seconds=2 ** min(one.attempts, 12)), LONGEST_WAIT)
