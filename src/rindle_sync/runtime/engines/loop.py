"""One loop: a tick again and again, ever later while it fails."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from rindle_sync.errors import RindleSyncError

_log: Final = logging.getLogger("rindle_sync")

LONGEST_GAP: Final = 60.0
"""However often ticks fail, the next one is tried after this many seconds."""


class Loop:
    """Ticks every `interval` seconds and when `wake` is set; after a failure ever later, up to a minute.

    A tick that ran for a minute before it failed ran well until then: failures are counted anew.
    """

    def __init__(self, interval: float, drain: float, wake: asyncio.Event | None = None) -> None:
        self._interval = interval
        self._drain = drain
        self._wake = wake or asyncio.Event()

    async def run(self, tick: Callable[[], Awaitable[object]], stop: asyncio.Event) -> None:
        """Tick until `stop` is set; a tick under way then has `drain` seconds to end before it is cancelled."""
        failures = 0
        while not stop.is_set():
            began = self._now()
            well = await self._tick(tick, stop)
            failures = failures if self._now() - began < LONGEST_GAP else 0
            failures = 0 if well else failures + 1
            gap = self._interval * 2 ** min(failures, 10)
            await self._pause(stop, min(gap, max(self._interval, LONGEST_GAP)))

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    async def _pause(self, stop: asyncio.Event, seconds: float) -> None:
        """Wait `seconds`, or until somebody wakes or stops us."""
        waits = [asyncio.ensure_future(event.wait()) for event in (stop, self._wake)]
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        self._wake.clear()

    async def _tick(self, tick: Callable[[], Awaitable[object]], stop: asyncio.Event) -> bool:
        job_runner = asyncio.ensure_future(tick())
        stopping = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({job_runner, stopping}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({job_runner}, timeout=self._drain if not job_runner.done() else None)
        finally:
            stopping.cancel()
            if not job_runner.done():
                job_runner.cancel()
                await asyncio.wait({job_runner})
        return await ended_well(job_runner)


async def nothing() -> None:
    """Do nothing."""


async def ended_well(job_runner: Awaitable[object]) -> bool:
    """Whether `job_runner` did what it should; what went wrong is logged, without a text that could hold an id."""
    try:
        await job_runner
    except asyncio.CancelledError:
        return False
    except RindleSyncError as error:
        _log.error("%s: %s; the rows stay due, trying again", type(error).__name__, error)
        return False
    except Exception as error:  # noqa: BLE001  the loop outlives a fault of ours; the text could hold an id
        _log.error(
            "a pass ended in an unexpected %s; the rows stay due, trying again",
            type(error).__name__,
        )
        return False
    return True
