"""What the jobs of a distributed engine do. They carry no state: a failed one stays due."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from typing import Final

from rindle_sync.domain import Job, JobKind, is_row_id, scrub
from rindle_sync.errors import DatabaseUnavailable
from rindle_sync.runtime.engines.base import Due
from rindle_sync.runtime.engines.embedded import Embedded
from rindle_sync.runtime.engines.loop import Loop, ended_well
from rindle_sync.runtime.job_runner import JobRunner, waking

QUICK: Final = frozenset({JobKind.PROCESS_WEBHOOK_EVENTS, JobKind.PUBLISH})
"""Jobs that use the database only: they never wait behind one that calls somebody."""

QUICK_QUEUE: Final = "rindle_sync"
"""The queue of the tick and of quick jobs."""

PROVIDER_QUEUE: Final = "rindle_sync_checks"
"""The queue of jobs that call the provider."""

LOCAL: Final = frozenset({JobKind.DISPATCH})
"""Jobs that are not queued: each process that has callbacks runs them itself."""

PASSES: Final = frozenset({JobKind.AUDIT, JobKind.PRUNE})
"""Jobs that are queued once a minute at most."""

MINUTE: Final = 60

GATHERS: Final = 0.1
"""Seconds after a job was queued in which wake-ups are gathered for the next one."""

_log: Final = logging.getLogger("rindle_sync")


class Jobs:
    """The jobs of all environments. None of them raises: failures are logged."""

    def __init__(
        self,
        job_runners: Sequence[JobRunner],
        due: Due,
        keep_going: Callable[[], bool] = lambda: True,
    ) -> None:
        self.job_runners = {job_runner.environment: job_runner for job_runner in job_runners}
        self.query_due = due
        self._keep_going = keep_going

    async def due(self, *, passes: bool) -> list[Job]:
        """The jobs to queue, the quick ones first; with `passes` those of once a minute, too."""
        left_out = LOCAL if passes else LOCAL | PASSES
        jobs = [job for job in (await self.query_due()).jobs if job.kind not in left_out]
        return sorted(jobs, key=lambda job: job.kind not in QUICK)

    def woken(self) -> Iterator[Job | str]:
        """What this process has made due: jobs, and the ids of rows to check."""
        for job_runner in self.job_runners.values():
            for kind in job_runner.woken - LOCAL:
                job_runner.woken.discard(kind)
                if kind is JobKind.CHECK_AMBIGUOUS:
                    yield from job_runner.ambiguous()
                else:
                    yield Job(job_runner.environment, kind)

    async def run(self, environment: object = None, kind: object = None, **_: object) -> None:
        """Run a job, by its arguments as the queue has them: some may lack, or be unknown."""
        if not (isinstance(environment, str) and isinstance(kind, str) and kind in set(JobKind)):
            log_unknown_job()
        elif environment in self.job_runners:
            job_runner = self.job_runners[environment]
            work = job_runner.run(JobKind(kind), self._keep_going)
            await ended_well(work, f"{environment}: {kind}")
        else:
            text = "a job is about the environment %r, which is in no setting of this process"
            _log.error(text, scrub(environment))

    async def sync(self, row_id: object = None, **_: object) -> None:
        """Bring one row in sync, by its id as the queue has it."""
        if not (isinstance(row_id, str) and is_row_id(row_id)):
            log_unknown_job()
            return
        any_runner = next(iter(self.job_runners.values()))  # all share one table
        assets = any_runner.context.store.assets

        async def sync() -> None:
            row = await assets.get(row_id)
            if row is None:
                return
            if row.environment in self.job_runners:
                about = f"row {row.id} ({row.shown_reference})"
                await ended_well(self.job_runners[row.environment].sync_row(row), about)
            else:  # another process has its settings, and finds what is due
                await assets.make_due(row_id, any_runner.context.now())

        await ended_well(sync(), f"row {row_id}")


def log_unknown_job() -> None:
    """Log that a job's task or arguments are unknown, without showing them."""
    _log.error("a job has an unknown task or unknown arguments; nothing was done")


async def forward(
    jobs: Jobs,
    queue: Callable[[Job | str], Awaitable[object]],
    stop: asyncio.Event,
    *,
    every: float,
    drain: float,
) -> None:
    """Queue what this process has made due, and call its callbacks, until `stop` is set."""
    job_runners, wakeup = list(jobs.job_runners.values()), asyncio.Event()
    clock, asks_at = asyncio.get_running_loop().time, float("-inf")

    async def queue_woken() -> None:
        nonlocal asks_at
        if clock() >= asks_at:  # else a change would wake nobody who publishes it
            asks_at = clock() + MINUTE / 2
            with suppress(DatabaseUnavailable):  # to queue takes none
                await jobs.query_due.note_followed()
        woken = list(jobs.woken())
        for job in woken:
            await queue(job)
        if woken:  # what comes meanwhile shares the next job
            await asyncio.sleep(GATHERS)

    with waking(job_runners, wakeup):
        async with asyncio.TaskGroup() as group:
            group.create_task(Loop(MINUTE, drain, wakeup).run(queue_woken, stop))
            if any(job_runner.has_callbacks for job_runner in job_runners):
                local = Embedded(job_runners, jobs.query_due, LOCAL, every=every, drain=drain)
                group.create_task(local.run(stop))
