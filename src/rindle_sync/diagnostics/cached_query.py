"""How much is asked at a time of what may be slow to answer, and how long an answer holds; knows no database."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Final, Generic, TypeVar

T = TypeVar("T")

WITHIN: Final = 5.0
"""Seconds that somebody waits for an answer."""

SPARING: Final = 20
"""For what may read much: its answer holds so many times as long as the asking took."""


class CachedQuery(Generic[T]):
    """Asks when its last answer is older than `holds`; whoever asks meanwhile waits for the same answer.

    Where the asking took long, its answer holds for so many `times` of that.

    None where there is none `within` so many seconds, and for all who ask until there is: it is not cancelled, since a
    driver may need far longer to end.
    """

    def __init__(
        self,
        ask: Callable[[], Awaitable[T]],
        now: Callable[[], datetime],
        holds: timedelta,
        *,
        times: int = 0,
        within: float = WITHIN,
    ) -> None:
        self._within = within
        self._ask = ask
        self._now = now
        self._least = self._holds = holds
        self._times = times
        self._asking: asyncio.Task[T] | None = None
        self._is_late = False
        self._answer: tuple[T, datetime] | None = None

    async def get(self) -> T | None:
        """What was answered just now, or not long ago; raises what the asking raises."""
        if self._answer and timedelta(0) <= self._now() - self._answer[1] < self._holds:
            return self._answer[0]
        asking = self._asking or self._begin()
        await asyncio.wait({asking}, timeout=0 if self._is_late else self._within)
        if asking.done():
            return asking.result()
        self._is_late = True
        return None

    def _begin(self) -> asyncio.Task[T]:
        self._asking = asyncio.create_task(self._asked())
        self._asking.add_done_callback(self._end)
        return self._asking

    def _end(self, asking: asyncio.Task[T]) -> None:
        self._asking, self._is_late = None, False
        if not asking.cancelled():
            asking.exception()  # whoever has waited for it was told; if nobody has, it is not to be logged as lost

    async def _asked(self) -> T:
        began = self._now()
        answer = await self._ask()
        now = self._now()
        self._answer, self._holds = (answer, now), max(self._least, self._times * (now - began))
        return answer

    async def close(self) -> None:
        """Ask no more."""
        if asking := self._asking:
            asking.cancel()
            await asyncio.wait({asking})


class ConcurrencyLimit:
    """So many may ask at a time; whoever has no place `within` so many seconds goes away with a `TimeoutError`."""

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
