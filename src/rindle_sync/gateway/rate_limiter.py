"""How many calls may be made: token buckets, shared by every process on the database."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, NamedTuple

from rindle_sync.domain import LONGEST_PAUSE, Bucket, BucketLevel, Grant, Trigger, calls_in, lasts
from rindle_sync.errors import RateLimited
from rindle_sync.store import RateLimits
from rindle_sync.telemetry import RateLimitWaiting, Telemetry, milliseconds

FIRST_BACKOFF: Final = timedelta(seconds=1)
LONGEST_BACKOFF: Final = timedelta(seconds=60)
"""The pauses after rate-limited calls where the provider names no time: doubled each time."""

JITTER: Final = 0.25
"""The most that is added to such a pause, as a share: processes must not return together."""

KEPT_FREE: Final = {Trigger.SWEEP: 0.1, Trigger.AUDIT: 0.5}
"""The share of a full bucket that a trigger leaves to more urgent ones; others may empty it."""


CALLER_WAIT: Final = timedelta(seconds=10)
"""How long a caller waits for a call: somebody waits for its answer."""

LONGEST_WAITS: Final = {Trigger.SWEEP: timedelta(minutes=1), Trigger.AUDIT: timedelta(minutes=5)}
"""How long a pass waits; then it ends, and is due again."""


def longest_wait(trigger: Trigger) -> timedelta:
    """How long a call of `trigger` is waited for."""
    return LONGEST_WAITS.get(trigger, CALLER_WAIT)


WORTH_TELLING: Final = timedelta(seconds=5)
"""A wait this long is told to whoever follows the work; others are the pace of the rate limit."""


class RateLimiter:
    """Grants the calls of `bucket`; `kept_for_app` of the provider's limit are left to the app.

    `on_wait` is called as a wait that is worth telling begins.
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
        on_wait: Callable[[timedelta], None] = lambda _: None,
        waits: Callable[[Trigger], timedelta] = longest_wait,
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
        self._on_wait = on_wait
        self._waits = waits
        self._refused_until: dict[Trigger, datetime] = {}
        self._turns: defaultdict[Trigger, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def take(
        self,
        most: int = 1,
        keep_waiting: Callable[[], bool] = lambda: True,
        *,
        trigger: Trigger = Trigger.SYNC,
        since: datetime | None = None,
    ) -> int:
        """Wait until a call is allowed; the number of calls that are, up to `most`.

        First come, first served for each trigger. `keep_waiting` is called every second; the result
        is 0 once it returns False. Raises `RateLimited` where no call is allowed within the longest
        wait of the trigger, counted from `since`; and `DatabaseUnavailable`.
        """
        deadline = (since or self._now()) + self._waits(trigger)
        is_told = False
        capacity = self._bucket.capacity
        # the least urgent keep at least one call within reach, or they would never run
        reserve = min(KEPT_FREE.get(trigger, 0.0) * capacity, max(capacity - 1, 0.0))
        async with self._turns[trigger if trigger in KEPT_FREE else Trigger.SYNC]:
            while keep_waiting():
                now = self._now()
                left = self._most_left(now)
                grant = await self._buckets.take(
                    self._bucket, now, most=most, reserve=reserve, most_left=left
                )
                if grant.calls:
                    return grant.calls
                if now + grant.wait > deadline:
                    raise self._refused(trigger, now, grant)
                if grant.wait >= WORTH_TELLING and not is_told:
                    is_told = True
                    self._on_wait(grant.wait)
                # not longer: meanwhile the caller may have to stop, or others give calls back
                await self._sleep(min(max(grant.wait.total_seconds(), 0.001), 1.0))
            return 0

    @property
    def is_paused(self) -> bool:
        """Whether a call of this process was rate limited, and its pause lasts."""
        return lasts(self._paused_until, self._now(), LONGEST_PAUSE)

    def is_refused(self, trigger: Trigger) -> bool:
        """Whether `trigger` was told to come back later than now."""
        # after a pause calls are earned, so that a refusal may be for longer than one
        return lasts(self._refused_until.get(trigger), self._now(), 2 * LONGEST_PAUSE)

    def _refused(self, trigger: Trigger, now: datetime, grant: Grant) -> RateLimited:
        until, seconds = now + grant.wait, grant.wait.total_seconds()
        self._refused_until[trigger] = until
        limit = f"the rate limit of {self._buckets.provider}"
        if grant.is_paused:
            # whichever process had the answer: whoever waits is to know that the provider gave it
            limit = f"{self._buckets.provider} answered 429: its rate limit"
        return RateLimited(
            f"{limit} allows no call before {until:%H:%M:%S} UTC; try again in {seconds:.0f} s",
            seconds,
            was_called=False,
        )

    async def levels(self, limiters: Sequence["RateLimiter"]) -> list[BucketLevel]:
        """The levels of these rate limiters, which share a database."""
        keys = []
        for limiter in limiters:
            keys.append((limiter._buckets.environment, limiter._bucket))  # noqa: PERF401, SLF001
        return await self._buckets.levels(keys, self._now())

    @property
    def per_hour(self) -> float:
        """The calls that the limit allows in an hour of steady work."""
        return self._bucket.per_second * 3600

    async def calls_in(self, hours: Sequence[datetime]) -> list[int]:
        """The calls of all processes in the hours that begin so."""
        history = await self._buckets.history(self._bucket)
        return [calls_in(history, begins) for begins in hours]

    async def give_back(self, calls: int) -> None:
        """Return calls that were taken and not made; during a pause they are forfeited."""
        if calls:
            await self._buckets.give_back(self._bucket, calls, self._now())

    def note_calls_left(self, left: int) -> None:
        """The provider reported how many calls are left: the app uses the same limit."""
        self._left = left, self._now()

    async def rate_limited(self, retry_after: float | None) -> timedelta:
        """Pause after a 429, as long as asked, else twice the last pause; returns the pause."""
        now = self._now()
        if retry_after is not None:
            wait = timedelta(seconds=min(max(retry_after, 0.0), LONGEST_PAUSE.total_seconds()))
        # calls that were under way together are limited together: that is one pause, not many
        elif self.is_paused:
            return self._paused_until - now
        else:
            again = timedelta(0) <= now - self._paused_until < 2 * self._backoff
            self._backoff = min(self._backoff * 2, LONGEST_BACKOFF) if again else FIRST_BACKOFF
            wait = self._backoff * (1 + JITTER * self._chance())
        await self.pause(wait)
        return wait

    async def pause(self, wait: timedelta) -> None:
        """Allow no call in any process for `wait`, and then one by one."""
        now = self._now()
        until = now + min(max(wait, timedelta(0)), LONGEST_PAUSE)
        is_longer = lasts(self._paused_until, now, LONGEST_PAUSE) and self._paused_until > until
        self._paused_until = self._paused_until if is_longer else until
        await self._buckets.pause(self._bucket, until, now)

    def _most_left(self, now: datetime) -> float:
        """The most that the provider's own bucket can hold now; it reports whole calls only."""
        if self._left is None:
            return self._bucket.capacity
        left, reported_at = self._left
        if now < reported_at:  # this clock was set back: what was earned since is not known
            self._left = left, now
        earned = max(0.0, (now - reported_at).total_seconds()) * self._bucket.per_second
        return left + 0.99 + earned - self._kept_for_app


class RateLimiters(NamedTuple):
    """The limiters of calls that only read, and of creates."""

    reads: RateLimiter
    creates: RateLimiter

    def note_calls_left(self, kind: str, left: int) -> None:
        """Note how many calls of a kind, `reads` or `creates`, the provider says are left."""
        (self.reads if kind == "reads" else self.creates).note_calls_left(left)


def rate_limiters(
    buckets: RateLimits,
    limits: tuple[Bucket, Bucket],
    *,
    share: float,
    telemetry: Telemetry,
    now: Callable[[], datetime],
    sleep: Callable[[float], Awaitable[None]],
) -> RateLimiters:
    """Our `share` of the provider's `limits`, of reads and of creates; waits are emitted."""
    limiters = []
    for limit in limits:
        capacity = max(1.0, limit.capacity * share)
        ours = Bucket(name=limit.name, capacity=capacity, per_second=limit.per_second * share)
        limiter = RateLimiter(
            buckets,
            ours,
            now=now,
            sleep=sleep,
            kept_for_app=limit.capacity * (1 - share),
            on_wait=partial(_emit_wait, telemetry, limit.name),
        )
        limiters.append(limiter)
    reads, creates = limiters
    # one and the same where the provider has one bucket: what it reports holds for both
    return RateLimiters(reads, reads if limits[0] == limits[1] else creates)


def _emit_wait(telemetry: Telemetry, bucket: str, wait: timedelta) -> None:
    telemetry.emit(RateLimitWaiting(bucket=bucket, wait_ms=milliseconds(wait)))
