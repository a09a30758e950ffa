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
TIME_LIMIT: Final = 30.0
"""How many seconds a callback may take."""

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
    until = now + tools.lease + timedelta(seconds=TIME_LIMIT * len(callbacks))
    claimed = await tools.outbox.claim(
        tools.provider.name, tools.environment, now=now, token=token, until=until, limit=BATCH
    )
    if not claimed:
        return 0
    try:
        rows = await tools.store.get_many([one.change.row_id for one in claimed])
        told = await asyncio.gather(*(_tell(tools, callbacks, one, rows.get(one.change.row_id)) for one in claimed))
        await tools.outbox.end(list(zip(claimed, told, strict=True)), token)
    except BaseException:
        await tools.outbox.release(token)
        raise
    return len(claimed)


async def _tell(
    tools: Tools, callbacks: Sequence[Callback], one: Announcement, row: ProviderAsset | None
) -> datetime | None:
    telling = asyncio.ensure_future(_call(callbacks, Changed(one.change, row)))
    try:
        await asyncio.wait({telling})
    finally:
        telling.cancel()
    # what a callback awaits may be cancelled without us being so: that is a failure of the callback like any other
    error = asyncio.CancelledError() if telling.cancelled() else telling.exception()
    return _again(tools, one, error) if error else None


async def _call(callbacks: Sequence[Callback], changed: Changed) -> None:
    for callback in callbacks:
        async with asyncio.timeout(TIME_LIMIT):
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
