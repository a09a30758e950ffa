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
from rindle_sync.telemetry import CallbackException

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


async def dispatch(
    context: Context,
    callbacks: Sequence[Callback],
    *,
    call_limit: timedelta = CALL_LIMIT,
    grace: timedelta = GRACE,
) -> int:
    """Call every callback with each change that is due; how many changes were tried.

    A change is dispatched only after the one before it of the same row. A callback that fails is
    called again with growing gaps, and holds back only its row.
    """
    if not callbacks:
        return 0
    outbox, token, now = context.store.outbox, str(uuid4()), context.now()
    limit = call_limit * len(callbacks) + grace
    # long enough for every callback: meanwhile no other process may dispatch these changes
    until = now + min(context.lease + limit, LONGEST_WAIT)
    claimed = await outbox.claim(now=now, token=token, until=until, limit=BATCH)
    if not claimed:
        return 0

    async def call(event: ChangeEvent) -> None:
        for callback in callbacks:
            async with asyncio.timeout(call_limit.total_seconds()):
                await callback(event)

    try:
        await _dispatch_all(context, claimed, token, call, limit)
    except BaseException:
        await outbox.release(token)
        raise
    return len(claimed)


async def _dispatch_all(
    context: Context, claimed: Sequence[PendingChange], token: str, call: Callback, limit: timedelta
) -> None:
    rows = await context.store.assets.get_many([pending.change.row_id for pending in claimed])
    tasks = []
    for pending in claimed:
        event = ChangeEvent(pending.change, rows.get(pending.change.row_id))
        tasks.append(asyncio.ensure_future(_dispatch_change(context, pending, event, call, limit)))
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
    context: Context, pending: PendingChange, event: ChangeEvent, call: Callback, limit: timedelta
) -> datetime | None:
    """When to try again; None where every callback has handled the change."""
    calling = asyncio.ensure_future(call(event))
    # not `wait_for`, which would wait for a callback that ignores its cancellation
    try:
        await asyncio.wait({calling}, timeout=limit.total_seconds())
    except asyncio.CancelledError:
        if not calling.done():
            raise  # else every callback was called, and the outbox must say so
    finally:
        calling.cancel()
    error: BaseException | None = TimeoutError()
    if calling.done():
        # a callback may await something that was cancelled: that is a failure of the callback
        error = asyncio.CancelledError() if calling.cancelled() else calling.exception()
    if error is None:
        return None
    kind, attempt = type(error).__name__, pending.attempts + 1
    failed = CallbackException(row_id=pending.change.row_id, error=kind, attempt=attempt)
    context.telemetry.emit(failed, event.row)
    return context.now() + min(timedelta(seconds=2 ** min(pending.attempts, 12)), LONGEST_RETRY)
