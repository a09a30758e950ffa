"""Real changes, to the callbacks of the app: after their commit, in the order of each row, at least once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

from rindle_sync.asset import ProviderAsset
from rindle_sync.store import Announcement, Change
from rindle_sync.telemetry import CallbackException, nanoseconds
from rindle_sync.tools import Tools

BATCH: Final = 50

LONGEST_WAIT: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Changed:
    """One real change, and the row as it stands by now; `row` is None where the app has deleted it meanwhile."""

    change: Change
    row: ProviderAsset | None


Callback = Callable[[Changed], Awaitable[None]]


async def announce(tools: Tools, callbacks: Sequence[Callback]) -> int:
    """Call every callback with each change that is due to be announced; how many changes were taken up.

    Of one row, a change is announced only after the one before it; a callback that fails is tried again with growing
    gaps, and keeps back only its row.
    """
    if not callbacks:
        return 0
    token, now = str(uuid4()), tools.now()
    until = now + tools.lease + _patience(tools, callbacks)
    claimed = await tools.outbox.claim(
        tools.provider.name, tools.environment, now=now, token=token, until=until, limit=BATCH
    )
    if not claimed:
        return 0
    try:
        await _tell_all(tools, callbacks, claimed, token)
    except BaseException:
        await tools.outbox.release(token)
        raise
    return len(claimed)


async def _tell_all(tools: Tools, callbacks: Sequence[Callback], claimed: Sequence[Announcement], token: str) -> None:
    rows = await tools.store.get_many([one.change.row_id for one in claimed])
    telling = [asyncio.ensure_future(_tell(tools, callbacks, one, rows.get(one.change.row_id))) for one in claimed]
    try:
        await asyncio.gather(*telling)
    finally:
        told = [(one, task.result()) for one, task in zip(claimed, telling, strict=True) if _is_told(task)]
        await tools.outbox.end(told, token)


def _is_told(telling: "asyncio.Future[datetime | None]") -> bool:
    return telling.done() and not telling.cancelled() and telling.exception() is None


async def _tell(
    tools: Tools, callbacks: Sequence[Callback], one: Announcement, row: ProviderAsset | None
) -> datetime | None:
    telling = asyncio.ensure_future(_call(callbacks, Changed(one.change, row), tools.callback_limit))
    try:
        await asyncio.wait({telling}, timeout=_patience(tools, callbacks).total_seconds())
    except asyncio.CancelledError:
        if not telling.done():  # else they have been called, which is to be written though we are stopped
            raise
    finally:
        telling.cancel()
    if not telling.done():
        return _again(tools, one, TimeoutError())
    # what a callback awaits may be cancelled without us being so: that is a failure of the callback like any other
    error = asyncio.CancelledError() if telling.cancelled() else telling.exception()
    return _again(tools, one, error) if error else None


def _patience(tools: Tools, callbacks: Sequence[Callback]) -> timedelta:
    """How long all callbacks together may take on one change."""
    return tools.callback_limit * len(callbacks) + tools.callback_grace


async def _call(callbacks: Sequence[Callback], changed: Changed, limit: timedelta) -> None:
    for callback in callbacks:
        async with asyncio.timeout(limit.total_seconds()):
            await callback(changed)


def _again(tools: Tools, one: Announcement, error: BaseException) -> datetime:
    now = tools.now()
    tools.telemetry.tell(
        CallbackException(
            system_time=nanoseconds(now),
            row_id=one.change.row_id,
            error=type(error).__name__,
            attempt=one.attempts + 1,
        )
    )
    return now + min(timedelta(seconds=2 ** min(one.attempts, 12)), LONGEST_WAIT)
