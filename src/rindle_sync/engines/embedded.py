"""The engine that needs nothing: asyncio, in this process."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from typing import Final

from rindle_sync.engines.loop import LONGEST_GAP, Loop, ended_well, nothing
from rindle_sync.errand import Errand, Step
from rindle_sync.work import Work, ringing

POLL_EVERY: Final = 1.0
"""Seconds between two questions what is due, when nothing wakes us earlier and no sweep is wanted more often."""

MOST_STARTS: Final = 50
"""How many steps are begun at once: with a thousand environments, not all ask for the same few connections."""

PASS_EVERY: Final = 60.0
"""Seconds between two tries of a long pass: after a failure, or while another process is at it."""


def poll_gap(every: float) -> float:
    """Seconds between two questions what is due, where a sweep is wanted `every` so many seconds."""
    return min(POLL_EVERY, every)


class Embedded:
    """Runs what is due of many environments side by side, so that none waits for another.

    `due` asks the tables, for all environments at once; `ticked` is called after each answer. Other `steps` than these
    are left to another engine. After its end a sweep rests `every` so many seconds; a step that fails rests ever
    longer, up to a minute.
    """

    def __init__(
        self,
        works: Sequence[Work],
        due: Callable[[], Awaitable[Sequence[Errand]]],
        steps: Collection[Step] = tuple(Step),
        *,
        every: float,
        drain: float,
        ticked: Callable[[], Awaitable[None]] = nothing,
    ) -> None:
        self._works = {work.environment: work for work in works}
        self._due = due
        self._ticked = ticked
        self._steps = steps
        self._drain = drain
        self._poll_every = poll_gap(every)
        self._rests = dict.fromkeys(Step, self._poll_every) | {Step.SWEEP: every, Step.AUDIT: PASS_EVERY}
        self._rests[Step.PRUNE] = PASS_EVERY
        self._bell = asyncio.Event()
        self._running: dict[Errand, asyncio.Task[None]] = {}
        self._failures: dict[Errand, int] = {}
        self._rests_until: dict[Errand, float] = {}
        self._asked_at = -self._poll_every
        self._stop = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Run what is due until `stop` is set; what is under way then has `drain` seconds to end."""
        self._stop = stop
        try:
            with ringing(self._works.values(), self._bell):
                await Loop(self._poll_every, self._drain, self._bell).run(self._tick, stop)
                await self._ended(self._drain)
        finally:
            for task in self._running.values():
                task.cancel()
            await self._ended(None)

    async def _ended(self, within: float | None) -> None:
        if self._running:
            await asyncio.wait(set(self._running.values()), timeout=within)

    async def _tick(self) -> None:
        for errand in self._woken():
            self._start(errand)
        if self._now() - self._asked_at < self._poll_every / 2:  # we were woken, and have asked a moment ago
            return
        due = await self._due()
        self._asked_at = now = self._now()
        await self._ticked()
        ours = [errand for errand in due if errand.step in self._steps and errand not in self._running]
        ripe = [errand for errand in ours if self._rests_until.get(errand, 0.0) <= now]
        if len(ripe) > MOST_STARTS:  # in turn: whose last end is the longest ago, and deliveries first
            ripe.sort(key=lambda e: (e.step is not Step.INGEST, self._rests_until.get(e, 0.0)))
        for errand in ripe[:MOST_STARTS]:
            self._start(errand)

    def _woken(self) -> Iterator[Errand]:
        for work in self._works.values():
            for step in filter(work.is_woken, self._steps):
                if (errand := Errand(work.environment, step)) not in self._running:
                    work.take_up(step)
                    yield errand

    def _start(self, errand: Errand) -> None:
        self._running[errand] = asyncio.create_task(self._run(errand))

    async def _run(self, errand: Errand) -> None:
        work = self._works[errand.environment]
        try:
            well = await ended_well(work.run(errand.step, lambda: not self._stop.is_set()))
            failures = 0 if well else self._failures.get(errand, 0) + 1
            rest = self._rests[errand.step]
            self._failures[errand] = failures
            self._rests_until[errand] = self._now() + min(rest * 2 ** min(failures, 10), max(rest, LONGEST_GAP))
        finally:
            del self._running[errand]
            if work.is_woken(errand.step):
                self._bell.set()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
