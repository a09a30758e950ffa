"""What an engine must do. The tables are the queue: its jobs carry no state and may be lost."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from rindle_sync.domain import Job, JobKind


@dataclass(frozen=True, slots=True)
class DueNow:
    """What is due, and the seconds for which an engine may rest if that is nothing."""

    jobs: Sequence[Job]
    """Those that this process can run now."""
    rest: float


class Due(Protocol):
    """Queries the tables, for all environments at once, for the jobs that are due."""

    async def __call__(self, kinds: Collection[JobKind] = tuple(JobKind)) -> DueNow:
        """Those of `kinds`. Raises `DatabaseUnavailable`.

        It is the heartbeat of an engine that sees to sweeps; one that leaves them to others has no
        heartbeat, which would hide that the others are dead.
        """

    async def note_followed(self) -> None:
        """Learn which environments somebody follows the changes of. Raises `DatabaseUnavailable`.

        For a process that does not ask what is due.
        """

    def hearing(
        self, kinds: Collection[JobKind], on_work: Callable[[], None], *, every: float
    ) -> AbstractAsyncContextManager[None]:
        """Call `on_work` where other processes may have made work; this one runs jobs of `kinds`.

        Where that takes looking, it looks `every` so many seconds.
        """


class Distributed(Protocol):
    """An engine whose jobs run in whatever process is free."""

    async def run(self, stop: asyncio.Event) -> None:
        """Run due jobs until `stop` is set, then let running ones end, in bounded time."""

    async def forward(self, stop: asyncio.Event) -> None:
        """Queue the jobs that this process has made due, and run none, until `stop` is set."""

    async def defer_sync(self, row_id: str, *, connection: Any = None) -> None:
        """Queue a check of one row; with a `connection`, as a part of its transaction."""
