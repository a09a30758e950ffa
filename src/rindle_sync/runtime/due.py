"""What an engine asks: which jobs are due, and for how long it may rest."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

from rindle_sync.domain import OF_SETTINGS, PROVIDER_JOBS, Job, JobKind
from rindle_sync.runtime.engines.base import DueNow
from rindle_sync.runtime.heartbeat import Heartbeat
from rindle_sync.runtime.job_runner import JobRunner
from rindle_sync.store import Database, DueJobs, new_work

LONGEST_REST: Final = 20.0
"""Seconds between two queries while nothing is due: heartbeats go on, and passes begin."""

CANCELLATIONS: Final = 10
"""How often a task is cancelled before it is given up."""

CANCEL_AGAIN: Final = 0.5
"""Seconds between two of these."""


class DueQuery:
    """Queries what is due in all environments of this process, and hears of new work."""

    def __init__(
        self,
        database: Database,
        job_runners: Sequence[JobRunner],
        now: Callable[[], datetime],
        *,
        every: float,
        longest_rest: float = LONGEST_REST,
    ) -> None:
        by_provider: dict[str, list[JobRunner]] = {}
        for job_runner in job_runners:
            by_provider.setdefault(job_runner.context.store.provider, []).append(job_runner)
        self._watched = [
            (DueJobs(database, provider), Heartbeat(database, provider), of_provider)
            for provider, of_provider in by_provider.items()
        ]
        self._job_runners = {job_runner.environment: job_runner for job_runner in job_runners}
        self._database = database
        self._new_work = new_work(database.engine.url)
        self._now = now
        self._every = every
        self._longest_rest = longest_rest
        self._is_set_up = False

    async def __call__(self, kinds: Collection[JobKind] = tuple(JobKind)) -> DueNow:
        """Those of `kinds`. Raises `DatabaseUnavailable`.

        It is the heartbeat of an engine that sees to sweeps; one that leaves them to others has no
        heartbeat, which would hide that the others are dead.
        """
        now = self._now()
        if JobKind.SWEEP in kinds:
            for _, heartbeat, _ in self._watched:
                await heartbeat.beat(now)
        if JobKind.DELIVER in kinds and not self._is_set_up:
            await self._set_up(now)
        # before the queries, which may not see what is committed meanwhile
        self._new_work.mark()
        jobs, next_at = list[Job](), list[datetime]()
        for due_jobs, _, job_runners in self._watched:
            thresholds = [job_runner.due_thresholds(now) for job_runner in job_runners]
            found = await due_jobs.due(thresholds, now=now)
            for job_runner in job_runners:
                job_runner.is_followed = job_runner.environment in found.followed
            jobs += [job for job in found.jobs if job.kind in kinds and self._can_run(job)]
            for job, moment in found.next_at.items():
                if job.kind in kinds and self._is_ours(job):
                    next_at.append(moment)
        return DueNow(jobs, self._rest(next_at, now))

    @asynccontextmanager
    async def hearing(
        self, kinds: Collection[JobKind], on_work: Callable[[], None], *, every: float
    ) -> AsyncIterator[None]:
        """Call `on_work` where other processes may have made work; this one runs jobs of `kinds`.

        Where that takes looking, it looks `every` so many seconds.
        """
        taken = set(kinds)
        if not any(job_runner.has_callbacks for job_runner in self._job_runners.values()):
            taken.discard(JobKind.DISPATCH)
        with self._database.notifications.taking(taken):
            watching = asyncio.create_task(self._new_work.watch(on_work, every=every))
            try:
                yield
            finally:
                await end_watching(watching)

    async def note_followed(self) -> None:
        """Learn which environments somebody follows the changes of. Raises `DatabaseUnavailable`.

        For a process that does not ask what is due.
        """
        for due_jobs, _, job_runners in self._watched:
            followed = await due_jobs.followed()
            for job_runner in job_runners:
                job_runner.is_followed = job_runner.environment in followed

    async def _set_up(self, now: datetime) -> None:
        """Bring the endpoints up to date that the settings make."""
        for due_jobs, _, job_runners in self._watched:
            known = await due_jobs.with_endpoint(OF_SETTINGS)
            for job_runner in job_runners:
                if job_runner.outgoing or job_runner.environment in known:
                    await job_runner.apply_settings(now)
        self._is_set_up = True

    def _can_run(self, job: Job) -> bool:
        return self._is_ours(job) and self._job_runners[job.environment].can_run(job.kind)

    def _is_ours(self, job: Job) -> bool:
        """Whether this process runs such a job at all."""
        job_runner = self._job_runners[job.environment]
        if job.kind is JobKind.DISPATCH:
            return job_runner.has_callbacks
        return job.kind not in PROVIDER_JOBS or job_runner.context.gateway.has_token

    def _rest(self, next_at: Sequence[datetime], now: datetime) -> float:
        longest = self._longest_rest if self._new_work.is_heard else self._every
        # what is tracked meanwhile is not checked before its floor
        floors = [runner.context.schedule.floor for runner in self._job_runners.values()]
        bounds = [longest, *(floor.total_seconds() for floor in floors)]
        return min(*bounds, *((moment - now).total_seconds() for moment in next_at))


async def end_watching(watching: "asyncio.Task[None]", again_after: float = CANCEL_AGAIN) -> None:
    """End the task that listens, and ask it again where a library has lost the cancellation.

    psycopg 3.2 waits by `wait_for`, which on Python 3.11 forgets one that comes with what is waited
    for, as a notification is.
    """
    for _ in range(CANCELLATIONS):
        watching.cancel()
        ended, _running = await asyncio.wait({watching}, timeout=again_after)
        if ended:
            return
