"""One loop: a tick again and again, with growing gaps while it fails."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from rindle_sync.errors import RindleSyncError

_log: Final = logging.getLogger("rindle_sync")

LONGEST_GAP: Final = 60.0
"""The longest gap after failures, in seconds."""


class Loop:
    """Ticks every `interval` seconds and when `wake` is set; after failures with growing gaps.

    A tick that ran for a minute before it failed ran well until then: the gap is reset.
    """

    def __init__(self, interval: float, drain: float, wake: asyncio.Event | None = None) -> None:
        self._interval = interval
        self._drain = drain
        self._wake = wake or asyncio.Event()

    async def run(self, tick: Callable[[], Awaitable[object]], stop: asyncio.Event) -> None:
        """Tick until `stop` is set; a running tick is cancelled `drain` seconds later."""
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
        """Wait `seconds`, or until a wake-up or the stop."""
        waits = [asyncio.ensure_future(event.wait()) for event in (stop, self._wake)]
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        self._wake.clear()

    async def _tick(self, tick: Callable[[], Awaitable[object]], stop: asyncio.Event) -> bool:
        running = asyncio.ensure_future(tick())
        stopping = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({running}, timeout=self._drain if not running.done() else None)
        finally:
            stopping.cancel()
            if not running.done():
                running.cancel()
                await asyncio.wait({running})
        return await ended_well(running)


async def ended_well(work: Awaitable[object], about: str = "") -> bool:
    """Whether `work` succeeded; a failure is logged, without a text that could hold an id.

    `about` names the row that it is about, if it is about one.
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
        name = type(error).__name__
        text = "%sa job ended in an unexpected %s; the rows stay due, trying again"
        _log.error(text, prefix, name)
        return False
    return True
