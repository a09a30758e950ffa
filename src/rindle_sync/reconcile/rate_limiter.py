"""The calls to the provider that we may make: a token bucket, shared by every process on the database."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from rindle_sync.domain import Trigger
from rindle_sync.store import Bucket, Level, RateLimits

LONGEST_PAUSE: Final = timedelta(hours=1)
"""However long a provider asks us to wait, we ask again after this."""

FIRST_BACKOFF: Final = timedelta(seconds=1)
LONGEST_BACKOFF: Final = timedelta(seconds=60)
"""The shortest and the longest pause after a call was throttled and the provider named no time."""

JITTER: Final = 0.25
"""How much longer such a pause may be by chance, as a share of it: several processes do not come back as one."""

KEPT_FREE: Final = {Trigger.SWEEP: 0.1, Trigger.AUDIT: 0.5}
"""The share of a full bucket that a road leaves to the more urgent ones; all others may empty it."""


class RateLimiter:
    """The calls of `bucket`; `kept_for_app` more are in the provider's own and left alone.

    `now` and `sleep` are the caller's clock.
    """

    def __init__(
        self,
        buckets: RateLimits,
        bucket: Bucket,
        *,
        now: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]],
        kept_for_app: float = 0.0,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._buckets = buckets
        self._bucket = bucket
        self._now = now
        self._sleep = sleep
        self._kept_for_app = kept_for_app
        self._chance = chance
        self._paused_until = datetime.min.replace(tzinfo=UTC)
        self._backoff = timedelta(0)
        self._left: tuple[float, datetime] | None = None
        self._turns: defaultdict[Trigger, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def take(
        self,
        most: int = 1,
        keep_waiting: Callable[[], bool] = lambda: True,
        *,
        trigger: Trigger = Trigger.SYNC,
    ) -> int:
        """Wait until a call is allowed, first come first served on each road; how many of `most` are allowed now.

        `keep_waiting` is asked every second; none are allowed once it says no. Raises `DatabaseUnavailable`.
        """
        async with self._turns[trigger if trigger in KEPT_FREE else Trigger.SYNC]:
            while keep_waiting():
                now = self._now()
                grant = await self._buckets.take(
                    self._bucket,
                    now,
                    most=most,
                    reserve=self._reserve(trigger),
                    most_left=self._most_left(now),
                )
                if grant.calls:
                    return grant.calls
                await self._sleep(min(max(grant.wait.total_seconds(), 0.001), 1.0))
            return 0

    async def levels(self, budgets: Sequence["RateLimiter"]) -> list[Level]:
        """How these budgets of one database stand."""
        return await self._buckets.levels(
            [rate_limiter._bucket for rate_limiter in budgets], self._now()
        )  # noqa: SLF001

    async def give_back(self, calls: int) -> None:
        """Return calls that were taken and not made; in a pause they are forfeit."""
        if calls:
            await self._buckets.give_back(self._bucket, calls, self._now())

    def note_calls_left(self, left: int) -> None:
        """The provider said how many calls are left: the app itself may use them up, too."""
        self._left = left, self._now()

    async def rate_limited(self, retry_after: float | None) -> timedelta:
        """The provider throttled a call: pause as long as it asks, else twice as long as last time; the pause."""
        now = self._now()
        if retry_after is not None:
            wait = timedelta(seconds=min(max(retry_after, 0.0), LONGEST_PAUSE.total_seconds()))
        elif now < self._paused_until:
            return self._paused_until - now
        else:
            again = now - self._paused_until < 2 * self._backoff
            self._backoff = min(self._backoff * 2, LONGEST_BACKOFF) if again else FIRST_BACKOFF
            wait = self._backoff * (1 + JITTER * self._chance())
        await self.pause(wait)
        return wait

    async def pause(self, wait: timedelta) -> None:
        """The provider wants no calls for `wait`: nobody gets one before that, and then one by one."""
        now = self._now()
        until = now + min(max(wait, timedelta(0)), LONGEST_PAUSE)
        self._paused_until = max(self._paused_until, until)
        await self._buckets.pause(self._bucket, until, now)

    def _reserve(self, trigger: Trigger) -> float:
        return min(
            KEPT_FREE.get(trigger, 0.0) * self._bucket.capacity, max(self._bucket.capacity - 1, 0.0)
        )

    def _most_left(self, now: datetime) -> float:
        """What the provider's own bucket holds at most, as far as it has told; it does not tell fractions of a call."""
        if self._left is None:
            return self._bucket.capacity
        left, told_at = self._left
        earned = max(0.0, (now - told_at).total_seconds()) * self._bucket.per_second
        return left + 0.99 + earned - self._kept_for_app
