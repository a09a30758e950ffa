"""The engine that needs nothing: asyncio, in this process."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from typing import Final

from rindle_sync.domain import Job, JobKind
from rindle_sync.runtime.engines.loop import LONGEST_GAP, Loop, ended_well, nothing
from rindle_sync.runtime.job_runner import JobRunner, waking

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

    `due` asks the tables, for all environments at once; `ticked` is called after each answer. Other `kinds` than these
    are left to another engine. After its end a sweep rests `every` so many seconds; a step that fails rests ever
    longer, up to a minute.
    """

    def __init__(
        self,
        job_runners: Sequence[JobRunner],
        due: Callable[[], Awaitable[Sequence[Job]]],
        kinds: Collection[JobKind] = tuple(JobKind),
        *,
        every: float,
        drain: float,
        ticked: Callable[[], Awaitable[None]] = nothing,
    ) -> None:
        self._job_runners = {job_runner.environment: job_runner for job_runner in job_runners}
        self._due = due
        self._ticked = ticked
        self._kinds = kinds
        self._drain = drain
        self._poll_every = poll_gap(every)
        self._rests = dict.fromkeys(JobKind, self._poll_every) | {
            JobKind.SWEEP: every,
            JobKind.AUDIT: PASS_EVERY,
        }
        self._rests[JobKind.PRUNE] = PASS_EVERY
        self._wakeup = asyncio.Event()
        self._running: dict[Job, asyncio.Task[None]] = {}
        self._failures: dict[Job, int] = {}
        self._rests_until: dict[Job, float] = {}
        self._asked_at = -self._poll_every
        self._stop = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Run what is due until `stop` is set; what is under way then has `drain` seconds to end."""
        self._stop = stop
        try:
            with waking(self._job_runners.values(), self._wakeup):
                await Loop(self._poll_every, self._drain, self._wakeup).run(self._tick, stop)
                await self._ended(self._drain)
        finally:
            for task in self._running.values():
                task.cancel()
            await self._ended(None)

    async def _ended(self, within: float | None) -> None:
        if self._running:
            await asyncio.wait(set(self._running.values()), timeout=within)

    async def _tick(self) -> None:
        for job in self._woken():
            self._start(job)
        if (
            self._now() - self._asked_at < self._poll_every / 2
        ):  # we were woken, and have asked a moment ago
            return
        due = await self._due()
        self._asked_at = now = self._now()
        await self._ticked()
        ours = [job for job in due if job.kind in self._kinds and job not in self._running]
        ripe = [job for job in ours if self._rests_until.get(job, 0.0) <= now]
        if (
            len(ripe) > MOST_STARTS
        ):  # in turn: whose last end is the longest ago, and deliveries first
            ripe.sort(
                key=lambda e: (
                    e.kind is not JobKind.PROCESS_WEBHOOK_EVENTS,
                    self._rests_until.get(e, 0.0),
                )
            )
        for job in ripe[:MOST_STARTS]:
            self._start(job)

    def _woken(self) -> Iterator[Job]:
        for job_runner in self._job_runners.values():
            for kind in filter(job_runner.is_woken, self._kinds):
                if (job := Job(job_runner.environment, kind)) not in self._running:
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
            self._failures[job] = failures
            self._rests_until[job] = self._now() + min(
                rest * 2 ** min(failures, 10), max(rest, LONGEST_GAP)
            )
        finally:
            del self._running[job]
            if job_runner.is_woken(job.kind):
                self._wakeup.set()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
