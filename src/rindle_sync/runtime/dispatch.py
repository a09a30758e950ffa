"""Calls the app's callbacks with real changes: after the commit, in order by row, at least once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

from rindle_sync.domain import LONGEST_WAIT, ProviderAsset
from rindle_sync.reconcile import Context
from rindle_sync.store import Change, PendingChange
from rindle_sync.telemetry import CallbackException, scrub_traceback

BATCH: Final = 50

CALL_LIMIT: Final = timedelta(seconds=30)
"""How long a callback of the app may take."""

GRACE: Final = timedelta(seconds=5)
"""How long a callback may take to end once it is cancelled; then it is abandoned."""

LONGEST_RETRY: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class ChangeEvent:
    """One real change, and its row as it is now; None where the app has deleted it since."""

    change: Change
    row: ProviderAsset | None

    @property
    def reference(self) -> str:
        """The app's own id of the video."""
        return self.change.reference


Callback = Callable[[ChangeEvent], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Callbacks:
    """The callbacks of an app, each with its time limit."""

    callbacks: Sequence[Callback]
    limit: timedelta
    grace: timedelta

    @property
    def longest(self) -> timedelta:
        """How long they may take for one change."""
        return (self.limit + self.grace) * len(self.callbacks)

    async def call(self, event: ChangeEvent) -> list[tuple[Callback, BaseException]]:
        """Call every one of them, whichever fails; those that failed."""
        failed = []
        for number, callback in enumerate(self.callbacks, start=1):
            is_last = number == len(self.callbacks)
            error = await self._error_of(callback, event, is_last=is_last)
            if error is not None:
                failed.append((callback, error))
        return failed

    async def _error_of(
        self, callback: Callback, event: ChangeEvent, *, is_last: bool
    ) -> BaseException | None:
        async def run() -> None:
            await callback(event)

        # not `wait_for`, which would wait for a callback that ignores its cancellation
        calling, is_late = asyncio.ensure_future(run()), False
        try:
            await asyncio.wait({calling}, timeout=self.limit.total_seconds())
            if not calling.done():
                is_late = calling.cancel()
                await asyncio.wait({calling}, timeout=self.grace.total_seconds())
        except asyncio.CancelledError:
            if not (is_last and calling.done()):
                raise  # else every callback was called, and the outbox must say so
        finally:
            calling.cancel()
        if is_late or not calling.done():
            return TimeoutError(f"it took longer than {self.limit.total_seconds():g} s")
        # a callback may await something that was cancelled: that is a failure of the callback
        return asyncio.CancelledError() if calling.cancelled() else calling.exception()


async def dispatch(
    context: Context,
    callbacks: Sequence[Callback],
    *,
    call_limit: timedelta = CALL_LIMIT,
    grace: timedelta = GRACE,
) -> int:
    """Call every callback with each change that is due; how many changes were tried.

    A change is dispatched only after the one before it of the same row. Where a callback fails,
    all are called again with growing gaps; that holds back only their row.
    """
    if not callbacks:
        return 0
    outbox, token, now = context.store.outbox, str(uuid4()), context.now()
    called = _Callbacks(callbacks, call_limit, grace)
    # long enough for every callback: meanwhile no other process may dispatch these changes
    until = now + min(context.lease + called.longest, LONGEST_WAIT)
    claimed = await outbox.claim(now=now, token=token, until=until, limit=BATCH)
    if not claimed:
        return 0
    try:
        await _dispatch_all(context, claimed, token, called)
    except BaseException:
        await outbox.release(token)
        raise
    return len(claimed)


async def _dispatch_all(
    context: Context, claimed: Sequence[PendingChange], token: str, called: _Callbacks
) -> None:
    rows = await context.store.assets.get_many([pending.change.row_id for pending in claimed])
    tasks = []
    for pending in claimed:
        event = ChangeEvent(pending.change, rows.get(pending.change.row_id))
        tasks.append(asyncio.ensure_future(_dispatch_change(context, pending, event, called)))
    try:
        await asyncio.gather(*tasks)
    finally:
        # also after a cancellation: what a callback has handled must not be dispatched again
        ended = []
        for pending, task in zip(claimed, tasks, strict=True):
            if task.done() and not task.cancelled() and task.exception() is None:
                ended.append((pending, task.result()))
        await context.store.outbox.end(ended, token)


async def _dispatch_change(
    context: Context, pending: PendingChange, event: ChangeEvent, called: _Callbacks
) -> datetime | None:
    """When to try again; None where every callback has handled the change."""
    failed = await called.call(event)
    if not failed:
        return None
    for callback, error in failed:
        context.telemetry.emit(_failure(pending, event, callback, error), event.row)
    return context.now() + min(timedelta(seconds=2 ** min(pending.attempts, 12)), LONGEST_RETRY)


def _failure(
    pending: PendingChange, event: ChangeEvent, callback: Callback, error: BaseException
) -> CallbackException:
    secrets = event.row.secrets if event.row else ()
    return CallbackException(
        row_id=pending.change.row_id,
        reference=event.reference if event.row is None else None,
        callback=getattr(callback, "__qualname__", type(callback).__qualname__),
        error=type(error).__name__,
        attempt=pending.attempts + 1,
        traceback=scrub_traceback(error, *secrets),
    )
