"""The engine that needs nothing: asyncio, in this process."""

import asyncio
import logging
from collections.abc import Collection, Sequence
from typing import Final

from rindle_sync.domain import Job, JobKind
from rindle_sync.runtime.engines.base import Due
from rindle_sync.runtime.engines.loop import LONGEST_GAP, Loop, ended_well, failed_attempts
from rindle_sync.runtime.job_runner import JobRunner, waking

_log: Final = logging.getLogger("rindle_sync")

POLL_EVERY: Final = 1.0
"""Seconds between two queries of what is due, unless sweeps or wake-ups come more often."""

SHORTEST_REST: Final = 0.001
"""Seconds that the engine rests at least between two looks at what was woken."""

GATHER: Final = 0.2
"""Seconds in which webhook events gather, after all were applied: together they cost less.

"""

APPLYING_SHARE: Final = 1 / 4
"""The share of the time in which they are applied where they come faster than that."""

MOST_STARTS: Final = 50
"""How many jobs start at once: a thousand environments share a few database connections."""

PASS_EVERY: Final = 60.0
"""Seconds between two tries of a long pass: after a failure, or while another process makes it."""


def poll_gap(every: float) -> float:
    """Seconds between two queries of what is due, with a sweep `every` so many seconds."""
    return min(POLL_EVERY, every)


class Embedded:
    """Runs due jobs of many environments side by side, so that none waits for another.

    It runs jobs of `kinds` only. After a sweep the next one starts `every` seconds later; after a
    failure a job rests with growing gaps, up to a minute.
    """

    def __init__(
        self,
        job_runners: Sequence[JobRunner],
        due: Due,
        kinds: Collection[JobKind] = tuple(JobKind),
        *,
        every: float,
        drain: float,
    ) -> None:
        self._job_runners = {job_runner.environment: job_runner for job_runner in job_runners}
        self._due = due
        self._kinds = kinds
        self._drain = drain
        self._poll_every = poll_gap(every)
        self._rests = dict.fromkeys(JobKind, self._poll_every)
        self._rests |= {JobKind.SWEEP: every, JobKind.AUDIT: PASS_EVERY, JobKind.PRUNE: PASS_EVERY}
        self._wakeup = asyncio.Event()
        self._running: dict[Job, asyncio.Task[None]] = {}
        self._failures: dict[Job, int] = {}
        self._failed_attempts: dict[Job, int] = {}
        self._rests_until: dict[Job, float] = {}
        self._gathering: set[Job] = set()
        self._polled_at = -self._poll_every
        self._stop = asyncio.Event()
        self._loop = Loop(self._poll_every, drain, self._wakeup)

    async def run(self, stop: asyncio.Event) -> None:
        """Run due jobs until `stop` is set; running ones then have `drain` seconds to end."""
        self._stop = stop
        try:
            with waking(self._job_runners.values(), self._wakeup):
                look_every = self._poll_every / 2
                async with self._due.hearing(self._kinds, self._wakeup.set, every=look_every):
                    await self._loop.run(self._tick, stop)
                if self._running:
                    await asyncio.wait(set(self._running.values()), timeout=self._drain)
        finally:
            for task in self._running.values():
                task.cancel()
            await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _tick(self) -> None:
        """Start the jobs that are woken and, unless that was just done, those that are due."""
        self._loop.interval = self._poll_every
        for job_runner in self._job_runners.values():
            for kind in self._kinds:
                job = Job(job_runner.environment, kind)
                is_busy = job in self._running or job in self._gathering
                if kind in job_runner.woken and not is_busy:
                    job_runner.woken.discard(kind)
                    self._running[job] = asyncio.create_task(self._run(job))
        clock = asyncio.get_running_loop().time
        asked_before = clock() - self._polled_at
        if asked_before < self._poll_every / 2:  # a wake-up, just after the last query
            # not for next to nothing: time may not have moved on then, and never would
            self._loop.interval = max(self._poll_every / 2 - asked_before, SHORTEST_REST)
            return
        due = await self._due(self._kinds)
        self._polled_at = clock()

        startable = []
        for job in due.jobs:
            is_resting = self._rests_until.get(job, 0.0) > self._polled_at
            if job not in self._running and not is_resting:
                startable.append(job)
        if len(startable) > MOST_STARTS:
            # not all can start: webhook events come first, then what has waited longest
            first = JobKind.PROCESS_WEBHOOK_EVENTS
            startable.sort(key=lambda job: (job.kind is not first, self._rests_until.get(job, 0.0)))
        for job in startable[:MOST_STARTS]:
            self._running[job] = asyncio.create_task(self._run(job))
        if not (due.jobs or self._running or self._gathering):
            self._loop.interval = max(self._poll_every, due.rest)

    async def _run(self, job: Job) -> None:
        job_runner = self._job_runners[job.environment]
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            work = job_runner.run(job.kind, lambda: not self._stop.is_set())
            well = await ended_well(work, f"{job.environment}: {job.kind.value}")
            self._note_attempt(job, well=well)
            failures = 0 if well else self._failures.get(job, 0) + 1
            rest = self._rests[job.kind]
            gap = min(rest * 2 ** min(failures, 10), max(rest, LONGEST_GAP))
            self._failures[job] = failures
            self._rests_until[job] = clock() + gap
        finally:
            del self._running[job]
            if job.kind is JobKind.PROCESS_WEBHOOK_EVENTS:
                self._gathering.add(job)
                took = clock() - began
                gather = took / APPLYING_SHARE - took if job_runner.has_backlog else GATHER
                asyncio.get_running_loop().call_later(gather, self._gathered, job)
            # woken while it ran: a tick has passed it over since, and must start it now
            elif job.kind in job_runner.woken:
                self._wakeup.set()

    def _note_attempt(self, job: Job, *, well: bool) -> None:
        """Log once that a job works again; one that the open circuit lets make no call does not."""
        if not well:
            self._failed_attempts[job] = self._failed_attempts.get(job, 0) + 1
        elif job in self._failed_attempts:
            if self._job_runners[job.environment].is_cut_off(job.kind):
                return
            number = self._failed_attempts.pop(job)
            text = "%s: the %s works again after %s"
            _log.info(text, job.environment, job.kind.value, failed_attempts(number))

    def _gathered(self, job: Job) -> None:
        self._gathering.discard(job)
        if job.kind in self._job_runners[job.environment].woken:
            self._wakeup.set()
