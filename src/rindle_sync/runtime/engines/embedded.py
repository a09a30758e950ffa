"""The engine that needs nothing: asyncio, in this process."""

import asyncio
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from rindle_sync.domain import Job, JobKind
from rindle_sync.runtime.engines.base import Due
from rindle_sync.runtime.engines.loop import LONGEST_GAP, Loop, ended_well
from rindle_sync.runtime.job_runner import JobRunner, waking

POLL_EVERY: Final = 1.0
"""Seconds between two queries of what is due, unless sweeps or wake-ups come more often."""

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
        self._rests_until: dict[Job, float] = {}
        self._polled_at = -self._poll_every
        self._stop = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Run due jobs until `stop` is set; running ones then have `drain` seconds to end."""
        self._stop = stop
        try:
            with waking(self._job_runners.values(), self._wakeup):
                await Loop(self._poll_every, self._drain, self._wakeup).run(self._tick, stop)
                await self._wait(self._drain)
        finally:
            for task in self._running.values():
                task.cancel()
            await self._wait(None)

    async def _wait(self, within: float | None) -> None:
        if self._running:
            await asyncio.wait(set(self._running.values()), timeout=within)

    async def _tick(self) -> None:
        for job in self._woken():
            self._start(job)
        if self._now() - self._polled_at < self._poll_every / 2:
            return  # a wake-up, just after the last query
        due = await self._due()
        self._polled_at = self._now()
        startable = [job for job in due if self._is_startable(job)]
        if len(startable) > MOST_STARTS:
            startable.sort(key=self._turn)
        for job in startable[:MOST_STARTS]:
            self._start(job)

    def _is_startable(self, job: Job) -> bool:
        is_resting = self._rests_until.get(job, 0.0) > self._polled_at
        return job.kind in self._kinds and job not in self._running and not is_resting

    def _turn(self, job: Job) -> tuple[bool, float]:
        """The order where not all can start: webhook events first, then who has waited longest."""
        is_other = job.kind is not JobKind.PROCESS_WEBHOOK_EVENTS
        return is_other, self._rests_until.get(job, 0.0)

    def _woken(self) -> Iterator[Job]:
        for job_runner in self._job_runners.values():
            for kind in filter(job_runner.is_woken, self._kinds):
                job = Job(job_runner.environment, kind)
                if job not in self._running:
                    job_runner.clear_wakeup(kind)
                    yield job

    def _start(self, job: Job) -> None:
        self._running[job] = asyncio.create_task(self._run(job))

    async def _run(self, job: Job) -> None:
        job_runner = self._job_runners[job.environment]
        try:
            well = await ended_well(job_runner.run(job.kind, lambda: not self._stop.is_set()))
            failures = 0 if well else self._failures.get(job, 0) + 1
            rest = self._rests[job.kind]
            gap = min(rest * 2 ** min(failures, 10), max(rest, LONGEST_GAP))
            self._failures[job] = failures
            self._rests_until[job] = self._now() + gap
        finally:
            del self._running[job]
            if job_runner.is_woken(job.kind):
                self._wakeup.set()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
