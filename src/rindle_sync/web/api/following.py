"""Clients that wait for changes: one look at the table for all of them, and none while they wait.

Another process may publish a change, so the table is looked at again and again; a change that this
process makes itself has it looked at sooner.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, Final

from rindle_sync.domain import JobKind
from rindle_sync.errors import RindleSyncError
from rindle_sync.store import PublishedChange
from rindle_sync.telemetry import Event, MediaChange, StateChange
from rindle_sync.web.api.face import Rindle
from rindle_sync.web.api.problems import busy

LOOKS_EVERY: Final = 0.5
"""Seconds between two looks at the table, while somebody waits."""

SOON: Final = (0.02, 0.05, 0.1, 0.2)
"""Seconds between the looks after a change of this process, which an engine publishes."""

MOST_WAITING: Final = 100
"""How many clients may wait at once, in all environments; 503 for more."""


Reading = Callable[[], AbstractAsyncContextManager[None]]
"""A place to read the database, held for as long as the block lasts."""

Leaving = Callable[[], Coroutine[Any, Any, None]]
"""Returns once the client has left."""


class Following:
    """The clients of this process that wait for changes, of every environment."""

    def __init__(self) -> None:
        self.waiting = 0
        """How many wait."""
        self._ends = asyncio.Event()

    @property
    def has_ended(self) -> bool:
        """Whether nobody is to wait any more."""
        return self._ends.is_set()

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place to wait. Raises `Declined` where all are taken."""
        if self.waiting >= MOST_WAITING:
            raise busy("too many clients wait for changes: ask again, or without `wait`")
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1

    def end(self) -> None:
        """Have everybody answered at once."""
        self._ends.set()

    async def ended(self) -> None:
        """Wait for the end."""
        await self._ends.wait()


@asynccontextmanager
async def _running(left: Leaving) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(left())
    try:
        yield task
    finally:
        task.cancel()


class Feed:
    """The feed of one environment, for clients that wait for what comes."""

    def __init__(self, rindle: Rindle, following: Following, reading: Reading) -> None:
        self._feed = rindle.store.change_feed
        self._job_runner = rindle.job_runner
        self._reading = reading
        self._following = following
        self._arrived = asyncio.Event()
        self._nudge = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        self._watchers = 0

    def handle(self, event: Event) -> None:
        """Have a change of this process published, and look for it soon."""
        if isinstance(event, (StateChange, MediaChange)):
            self._job_runner.wake(JobKind.PUBLISH)
            self._nudge.set()

    async def behind(
        self, after: int | None, *, limit: int, wait: float, left: Leaving
    ) -> list[PublishedChange]:
        """Up to `limit` changes behind the one with the id `after`, waiting `wait` s for the first.

        It waits no longer than until `left` returns, when the client has left. Raises
        `UnknownChange`, `DatabaseUnavailable`, `Declined`.
        """
        if not wait:
            return await self._page(after, limit)
        end = asyncio.get_running_loop().time() + wait
        async with self._following.place(), self._watched(), _running(left) as leaving:
            while True:
                # taken before the look: what arrives after that sets it
                arrived = self._arrived
                found = await self._page(after, limit)
                if found or not await self._wait(arrived, leaving, end):
                    return found

    async def newest(self) -> int | None:
        """The id of the last change. Raises `DatabaseUnavailable`, `Declined`."""
        async with self._reading():
            return await self._feed.newest()

    async def _page(self, after: int | None, limit: int) -> list[PublishedChange]:
        async with self._reading():
            return await self._feed.page(after, limit=limit)

    async def _wait(self, arrived: asyncio.Event, leaving: asyncio.Task[None], end: float) -> bool:
        """Wait for a change; False where the time is over."""
        left = end - asyncio.get_running_loop().time()
        if left <= 0 or self._following.has_ended or leaving.done():
            return False
        waiting = [
            asyncio.create_task(arrived.wait()),
            asyncio.create_task(self._following.ended()),
        ]
        try:
            await asyncio.wait(
                [*waiting, leaving], timeout=left, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for task in waiting:
                task.cancel()
        return arrived.is_set()

    @asynccontextmanager
    async def _watched(self) -> AsyncIterator[None]:
        self._watchers += 1
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            self._watchers -= 1
            if not self._watchers and self._watching is not None:
                self._watching.cancel()
                self._watching = None

    async def _watch(self) -> None:
        """Wake who waits whenever the newest change is another one; also at the first look."""
        seen: object = self
        soon: Iterator[float] = iter(())
        while True:
            newest = seen
            with suppress(RindleSyncError):  # who waits finds the database unavailable by itself
                newest = await self._feed.newest()
            if newest != seen:
                seen = newest
                arrived, self._arrived = self._arrived, asyncio.Event()
                arrived.set()
            pause = next(soon, None)
            # soon after a change the engine is waited for, else the next change
            waited = self._nudge.wait() if pause is None else self._following.ended()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOKS_EVERY if pause is None else pause):
                    await waited
            if self._following.has_ended:
                return
            if self._nudge.is_set():
                self._nudge.clear()
                soon = iter(SOON)
