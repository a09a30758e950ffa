"""A clock that goes on as every other, and that a test moves ahead."""

import asyncio
from datetime import UTC, datetime, timedelta


class Clock:
    """The time of a test: it begins at the real one, goes on, and jumps ahead by `move`.

    It goes on because an event loop waits in real time. The fake Mux and the service are given the
    same one, so that both live in the same moment. A service by this clock does not wait before it
    tries a call again: it moves the clock.
    """

    def __init__(self) -> None:
        self._ahead = timedelta(0)

    def now(self) -> datetime:
        """The time, in UTC; the `clock` that `connect` takes."""
        return datetime.now(UTC) + self._ahead

    def seconds(self) -> float:
        """The same in Unix seconds, as the emulator takes it."""
        return self.now().timestamp()

    def move(
        self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0
    ) -> datetime:
        """Jump ahead by so many `days`, `hours`, `minutes` and `seconds`; the new time.

        Raises `ValueError` for a move back.
        """
        by = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        if by < timedelta(0):
            raise ValueError("a clock does not move back: give only positive numbers")
        self._ahead += by
        return self.now()

    async def sleep(self, seconds: float) -> None:
        """Jump ahead by so many `seconds` instead of a wait; what else is ready runs meanwhile."""
        self.move(seconds=max(seconds, 0))
        await asyncio.sleep(0)
