"""What the jobs of a distributed engine do. They carry no state, and what goes wrong in one stays due by the tables."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final

from rindle_sync.asset import is_row_id, scrub
from rindle_sync.engines.embedded import Embedded
from rindle_sync.engines.loop import Loop, ended_well, nothing
from rindle_sync.errand import Errand, Step
from rindle_sync.work import Work, ringing

QUICK: Final = frozenset({Step.INGEST})
"""Steps that ask the database alone: they never wait behind one that calls the provider."""

QUICK_QUEUE: Final = "rindle_sync"
"""Jobs that ask the database alone: the tick, and what webhooks brought."""

LOOKS_QUEUE: Final = "rindle_sync_looks"
"""Jobs that call the provider."""

LOCAL: Final = frozenset({Step.ANNOUNCE})
"""Steps that no job does: each process that has callbacks does them itself."""

PASSES: Final = frozenset({Step.AUDIT, Step.PRUNE})
"""Steps that are begun once a minute at most."""

MINUTE: Final = 60

GATHERS: Final = 0.1
"""Seconds after a job was made in which what else comes is gathered for the next one."""

_log: Final = logging.getLogger("rindle_sync")


class Jobs:
    """The jobs of all environments. None of them raises: what went wrong is logged."""

    def __init__(
        self,
        works: Sequence[Work],
        due: Callable[[], Awaitable[Sequence[Errand]]],
        keep_going: Callable[[], bool] = lambda: True,
        ticked: Callable[[], Awaitable[None]] = nothing,
    ) -> None:
        self._ticked = ticked
        self.works = {work.environment: work for work in works}
        self.ask = due
        self._keep_going = keep_going

    async def due(self, *, passes: bool) -> list[Errand]:
        """The steps that are due and want a job, the quick ones first; with `passes`, those of once a minute, too."""
        left_out = LOCAL if passes else LOCAL | PASSES
        due = await self.ask()
        await self._ticked()
        return sorted((e for e in due if e.step not in left_out), key=lambda e: e.step not in QUICK)

    def woken(self) -> Iterator[Errand | str]:
        """What has been made due in this process: steps, and the ids of rows to look at."""
        for work in self.works.values():
            for step in filter(work.is_woken, set(Step) - LOCAL):
                work.take_up(step)
                if step is Step.DOUBTS:
                    yield from work.doubted()
                else:
                    yield Errand(work.environment, step)

    async def step(self, environment: object, step: object) -> None:
        """Do all that is due of one kind in one environment, both as a job has them."""
        if not (isinstance(environment, str) and isinstance(step, str) and step in set(Step)):
            not_ours()
        elif work := self._work(environment):
            await ended_well(work.run(Step(step), self._keep_going))

    async def sync(self, row_id: object) -> None:
        """Bring one row into step, by its id as a job has it."""
        if isinstance(row_id, str) and is_row_id(row_id):
            await ended_well(self._sync(row_id))
        else:
            not_ours()

    async def _sync(self, row_id: str) -> None:
        any_work = next(iter(self.works.values()))  # they have one table
        row = await any_work.tools.store.get(row_id)
        if row and (work := self.works.get(row.environment)):
            await work.sync_row(row)
        elif row:  # somebody else has its settings, and finds what is due
            await any_work.tools.store.make_due(row_id, any_work.tools.now())

    def _work(self, environment: str) -> Work | None:
        if environment not in self.works:
            told = scrub(environment)
            _log.error("a job is about the environment %r, which is in no setting of this process", told)
        return self.works.get(environment)


def not_ours() -> None:
    """Tell of a job whose task or arguments are none that we make; it is done with, and what it says is not told."""
    _log.error("a job was none of ours, or had arguments that mean nothing to us; nothing was done")


async def forward(
    jobs: Jobs,
    make: Callable[[Errand | str], Awaitable[object]],
    stop: asyncio.Event,
    *,
    every: float,
    drain: float,
) -> None:
    """Have `make` make jobs of what this process has made due, and call its callbacks, until `stop` is set."""
    works, bell = list(jobs.works.values()), asyncio.Event()

    async def make_all() -> None:
        made = [await make(woken) for woken in jobs.woken()]
        if made:  # what comes meanwhile shares the next job
            await asyncio.sleep(GATHERS)

    with ringing(works, bell):
        async with asyncio.TaskGroup() as group:
            group.create_task(Loop(MINUTE, drain, bell).run(make_all, stop))
            if any(work.callbacks for work in works):
                group.create_task(Embedded(works, jobs.ask, LOCAL, every=every, drain=drain).run(stop))
