"""Keeps slow queries from piling up: answers are shared and cached. Knows no database."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Final, Generic, TypeVar

T = TypeVar("T")

WITHIN: Final = 5.0
"""Seconds that a caller waits for an answer."""

SPARING: Final = 20
"""For expensive queries: an answer is cached this many times as long as the query took."""

LONGEST_QUERY: Final = timedelta(minutes=5)
"""A query that seems to take longer counts as one that took this long."""


class CachedQuery(Generic[T]):
    """Runs a query when its last answer is older than `holds`; callers meanwhile share one run.

    An answer is cached for `holds`, or for `times` the duration of its query where that is longer.
    A query that takes longer than `within` seconds goes on, and everybody gets None until it ends:
    it is not cancelled, since a driver may need far longer to give up. With `soon`, callers wait
    only so many seconds where there is an answer, and get that one if it is not far older.
    """

    def __init__(
        self,
        query: Callable[[], Awaitable[T]],
        now: Callable[[], datetime],
        holds: timedelta,
        *,
        times: int = 0,
        within: float = WITHIN,
        soon: float | None = None,
    ) -> None:
        self._query = query
        self._now = now
        self._shortest = self._holds = holds
        self._times = times
        self._within = within
        self._soon = soon
        self._running: asyncio.Task[T] | None = None
        self._is_late = False
        self._answer: tuple[T, datetime] | None = None

    async def get(self) -> T | None:
        """The cached answer or a new one; raises what the query raises."""
        if self._answer and self._is_within(self._holds):
            return self._answer[0]
        if self._running is None:
            self._running = asyncio.create_task(self._run())
            self._running.add_done_callback(self._end)
        running = self._running  # the next caller may start another one while this one waits
        former = None
        if self._answer and self._soon is not None and self._is_within(LONGEST_QUERY):
            former = self._answer[0]
        within = self._within if former is None else self._soon
        await asyncio.wait({running}, timeout=0 if self._is_late else within)
        if running.done():
            return running.result()
        if former is not None:
            return former
        self._is_late = True
        return None

    def _is_within(self, age: timedelta) -> bool:
        # a negative age is that of a clock that was set back: the answer could hold for hours
        return self._answer is not None and timedelta(0) <= self._now() - self._answer[1] < age

    async def _run(self) -> T:
        began = self._now()
        answer = await self._query()
        now = self._now()
        self._answer = answer, now
        # a clock that was set during the query makes its duration days, or negative
        taken = min(now - began, LONGEST_QUERY)
        self._holds = max(self._shortest, self._times * taken)
        return answer

    def _end(self, running: asyncio.Task[T]) -> None:
        self._running, self._is_late = None, False
        if not running.cancelled():
            running.exception()  # retrieved: asyncio would log one that no caller waits for

    async def close(self) -> None:
        """Cancel a running query."""
        if self._running:
            self._running.cancel()
            await asyncio.wait({self._running})


class ConcurrencyLimit:
    """Lets `number` callers in at a time; `TimeoutError` for those who wait over `within` s."""

    def __init__(self, number: int, *, within: float = WITHIN) -> None:
        self._free = asyncio.Semaphore(number)
        self._within = within

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """A place, for as long as the block lasts."""
        async with asyncio.timeout(self._within):
            await self._free.acquire()
        try:
            yield
        finally:
            self._free.release()
