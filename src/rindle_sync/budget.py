"""The calls to the provider that we may make: one token bucket, shared by everything in this process."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final

LONGEST_PAUSE: Final = timedelta(hours=1)
"""However long a provider asks us to wait, we ask again after this."""

FIRST_BACKOFF: Final = timedelta(seconds=1)
LONGEST_BACKOFF: Final = timedelta(seconds=60)
"""The shortest and the longest pause after a call was throttled and the provider named no time."""


class Budget:
    """`capacity` calls at once and `per_second` more; `now` and `sleep` are the caller's clock."""

    def __init__(
        self,
        capacity: float,
        per_second: float,
        *,
        now: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._capacity = capacity
        self._per_second = per_second
        self._now = now
        self._sleep = sleep
        self._tokens = capacity
        self._filled_at = now()
        self._paused_until = self._filled_at
        self._backoff = timedelta(0)
        self._turn = asyncio.Lock()

    async def take(self, most: int = 1, keep_waiting: Callable[[], bool] = lambda: True) -> int:
        """Wait, first come first served, until a call is allowed; how many of `most` are allowed now.

        `keep_waiting` is asked every second; none are allowed once it says no.
        """
        async with self._turn:
            while (wait := self._wait()) > 0 and keep_waiting():
                await self._sleep(min(wait, 1.0))
            if not keep_waiting():
                return 0
            granted = min(most, max(1, int(self._tokens)))
            self._tokens -= granted
            return granted

    def give_back(self, calls: int) -> None:
        """Return calls that were taken and not made; in a pause they are forfeit."""
        if self._now() >= self._paused_until:
            self._tokens = min(self._capacity, self._tokens + calls)

    def throttled(self, retry_after: float | None) -> timedelta:
        """The provider throttled a call: pause as long as it asks, else twice as long as last time; the pause."""
        now = self._now()
        if retry_after is not None:
            wait = timedelta(seconds=min(max(retry_after, 0.0), LONGEST_PAUSE.total_seconds()))
        elif now < self._paused_until:
            return self._paused_until - now
        else:
            again = now - self._paused_until < 2 * self._backoff
            wait = self._backoff = min(self._backoff * 2, LONGEST_BACKOFF) if again else FIRST_BACKOFF
        self.pause(wait)
        return wait

    def pause(self, wait: timedelta) -> None:
        """The provider wants no calls for `wait`: nobody gets one before that, and then one by one."""
        until = self._now() + min(max(wait, timedelta(0)), LONGEST_PAUSE)
        self._paused_until = max(self._paused_until, until)
        self._tokens = 0

    def _wait(self) -> float:
        """Seconds until there is a whole token."""
        now = self._now()
        paused = (self._paused_until - now).total_seconds()
        if paused > 0:
            return paused
        since = max(self._filled_at, self._paused_until)
        earned = max(0.0, (now - since).total_seconds()) * self._per_second
        self._tokens = min(self._capacity, self._tokens + earned)
        self._filled_at = now
        # a thousandth of a token is forgiven: sums of fractions would otherwise ask for ever smaller waits
        return 0.0 if self._tokens >= 0.999 else (1 - self._tokens) / self._per_second
