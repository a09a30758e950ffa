"""One question at a time to what may be slow to answer, and for how long its answer holds; knows no database."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final, Generic, TypeVar

T = TypeVar("T")

WITHIN: Final = 5.0
"""Seconds that somebody waits for an answer."""


class Question(Generic[T]):
    """Asks when its last answer is older than `holds`; whoever asks meanwhile waits for the same answer.

    None where there is none in time: it is not cancelled, since a driver may need far longer to give up.
    """

    def __init__(
        self, ask: Callable[[], Awaitable[T]], now: Callable[[], datetime], holds: timedelta = timedelta(0)
    ) -> None:
        self._ask = ask
        self._now = now
        self._holds = holds
        self._asking: asyncio.Task[T] | None = None
        self._answer: tuple[T, datetime] | None = None

    async def answer(self) -> T | None:
        """What was answered just now, or not long ago; raises what the asking raises."""
        if self._answer and timedelta(0) <= self._now() - self._answer[1] < self._holds:
            return self._answer[0]
        asking = self._asking = self._asking or asyncio.ensure_future(self._asked())
        await asyncio.wait({asking}, timeout=WITHIN)
        if not asking.done():
            return None
        if self._asking is asking:
            self._asking = None
        return asking.result()

    async def _asked(self) -> T:
        answer = await self._ask()
        self._answer = answer, self._now()
        return answer

    async def close(self) -> None:
        """Ask no more."""
        if self._asking:
            self._asking.cancel()
            await asyncio.wait({self._asking})
