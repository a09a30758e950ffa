"""What the jobs of a distributed engine do. They carry no state, and what goes wrong in one stays due by the tables."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final

from rindle_sync.domain import Job, JobKind, is_row_id, scrub
from rindle_sync.runtime.engines.embedded import Embedded
from rindle_sync.runtime.engines.loop import Loop, ended_well, nothing
from rindle_sync.runtime.job_runner import JobRunner, waking

QUICK: Final = frozenset({JobKind.PROCESS_WEBHOOK_EVENTS})
"""Steps that ask the database alone: they never wait behind one that calls the provider."""

QUICK_QUEUE: Final = "rindle_sync"
"""Jobs that ask the database alone: the tick, and what webhooks brought."""

PROVIDER_QUEUE: Final = "rindle_sync_looks"
"""Jobs that call the provider."""

LOCAL: Final = frozenset({JobKind.DISPATCH})
"""Steps that no job does: each process that has callbacks does them itself."""

PASSES: Final = frozenset({JobKind.AUDIT, JobKind.PRUNE})
"""Steps that are begun once a minute at most."""

MINUTE: Final = 60

GATHERS: Final = 0.1
"""Seconds after a job was made in which what else comes is gathered for the next one."""

_log: Final = logging.getLogger("rindle_sync")


class Jobs:
    """The jobs of all environments. None of them raises: what went wrong is logged."""

    def __init__(
        self,
        job_runners: Sequence[JobRunner],
        due: Callable[[], Awaitable[Sequence[Job]]],
        keep_going: Callable[[], bool] = lambda: True,
        ticked: Callable[[], Awaitable[None]] = nothing,
    ) -> None:
        self._ticked = ticked
        self.job_runners = {job_runner.environment: job_runner for job_runner in job_runners}
        self.ask = due
        self._keep_going = keep_going

    async def due(self, *, passes: bool) -> list[Job]:
        """The steps that are due and want a job, the quick ones first; with `passes`, those of once a minute, too."""
        left_out = LOCAL if passes else LOCAL | PASSES
        due = await self.ask()
        await self._ticked()
        return sorted((e for e in due if e.kind not in left_out), key=lambda e: e.kind not in QUICK)

    def woken(self) -> Iterator[Job | str]:
        """What has been made due in this process: steps, and the ids of rows to look at."""
        for job_runner in self.job_runners.values():
            for kind in filter(job_runner.is_woken, set(JobKind) - LOCAL):
                job_runner.clear_wakeup(kind)
                if kind is JobKind.CHECK_AMBIGUOUS:
                    yield from job_runner.ambiguous()
                else:
                    yield Job(job_runner.environment, kind)

    async def run(self, environment: object, kind: object) -> None:
        """Do all that is due of one kind in one environment, both as a job has them."""
        if not (isinstance(environment, str) and isinstance(kind, str) and kind in set(JobKind)):
            not_ours()
        elif job_runner := self._work(environment):
            await ended_well(job_runner.run(JobKind(kind), self._keep_going))

    async def sync(self, row_id: object) -> None:
        """Bring one row into step, by its id as a job has it."""
        if isinstance(row_id, str) and is_row_id(row_id):
            await ended_well(self._sync(row_id))
        else:
            not_ours()

    async def _sync(self, row_id: str) -> None:
        any_work = next(iter(self.job_runners.values()))  # they have one table
        row = await any_work.context.store.get(row_id)
        if row and (job_runner := self.job_runners.get(row.environment)):
            await job_runner.sync_row(row)
        elif row:  # somebody else has its settings, and finds what is due
            await any_work.context.store.make_due(row_id, any_work.context.now())

    def _work(self, environment: str) -> JobRunner | None:
        if environment not in self.job_runners:
            told = scrub(environment)
            _log.error(
                "a job is about the environment %r, which is in no setting of this process", told
            )
        return self.job_runners.get(environment)


def not_ours() -> None:
    """Tell of a job whose task or arguments are none that we make; it is done with, and what it says is not told."""
    _log.error("a job was none of ours, or had arguments that mean nothing to us; nothing was done")


async def forward(
    jobs: Jobs,
    make: Callable[[Job | str], Awaitable[object]],
    stop: asyncio.Event,
    *,
    every: float,
    drain: float,
) -> None:
    """Have `make` make jobs of what this process has made due, and call its callbacks, until `stop` is set."""
    job_runners, wakeup = list(jobs.job_runners.values()), asyncio.Event()

    async def make_all() -> None:
        made = [await make(woken) for woken in jobs.woken()]
        if made:  # what comes meanwhile shares the next job
            await asyncio.sleep(GATHERS)

    with waking(job_runners, wakeup):
        async with asyncio.TaskGroup() as group:
            group.create_task(Loop(MINUTE, drain, wakeup).run(make_all, stop))
            if any(job_runner.callbacks for job_runner in job_runners):
                group.create_task(
                    Embedded(job_runners, jobs.ask, LOCAL, every=every, drain=drain).run(stop)
                )
