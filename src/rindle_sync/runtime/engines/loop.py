"""One loop: a tick again and again, with growing gaps while it fails."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from rindle_sync.errors import AlreadyClosed, RindleSyncError
from rindle_sync.telemetry import scrub_traceback

_log: Final = logging.getLogger("rindle_sync")

LONGEST_GAP: Final = 60.0
"""The longest gap after failures, in seconds."""


@dataclass(slots=True)
class Loop:
    """Ticks every `interval` seconds and when `wake` is set; after failures with growing gaps.

    A tick that ran for a minute before it failed ran well until then: the gap is reset.
    """

    interval: float
    drain: float
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, tick: Callable[[], Awaitable[object]], stop: asyncio.Event) -> None:
        """Tick until `stop` is set; a running tick is cancelled `drain` seconds later."""
        clock = asyncio.get_running_loop().time
        failures = 0
        while not stop.is_set():
            began = clock()
            is_well = await self._tick(tick, stop)
            if is_well and failures:
                _log.info("rindle-sync works again after %s", failed_attempts(failures))
            if is_well or clock() - began >= LONGEST_GAP:
                failures = 0
            if not is_well:
                failures += 1
            gap = min(self.interval * 2 ** min(failures, 10), max(self.interval, LONGEST_GAP))
            waits = [asyncio.ensure_future(event.wait()) for event in (stop, self.wake)]
            try:
                await asyncio.wait(waits, timeout=gap, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
            # before the tick, so that a wake-up during the tick starts the next one at once
            self.wake.clear()

    async def _tick(self, tick: Callable[[], Awaitable[object]], stop: asyncio.Event) -> bool:
        running = asyncio.ensure_future(tick())
        stopping = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({running}, timeout=self.drain if not running.done() else None)
        finally:
            stopping.cancel()
            # it may have connections and leases to give back: wait until it has ended
            if not running.done():
                running.cancel()
                await asyncio.wait({running})
        if not running.cancelled() and isinstance(running.exception(), AlreadyClosed):
            raise AlreadyClosed  # no later tick can go well
        return await ended_well(running)


def failed_attempts(number: int) -> str:
    """So many, in words of the log."""
    return f"{number} failed attempt{'' if number == 1 else 's'}"


async def ended_well(work: Awaitable[object], about: str = "") -> bool:
    """Whether `work` succeeded; a failure is logged, without a text that could hold an id.

    `about` names the job or the row that it is about.
    """
    prefix = f"{about}: " if about else ""
    try:
        await work
    except asyncio.CancelledError:
        return False
    except RindleSyncError as error:
        name = type(error).__name__
        _log.error("%s%s: %s; the rows stay due, trying again", prefix, name, error)
        return False
    except Exception as error:  # noqa: BLE001  the loop outlives a bug; its text could hold an id
        shown = scrub_traceback(error, has_messages=False)
        _log.error("%sa job ended unexpectedly; the rows stay due, trying again\n%s", prefix, shown)
        return False
    return True
