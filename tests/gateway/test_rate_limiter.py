"""The rate limiter on both databases: never overdrawn, unfair or stuck.

Its clock is one that only tests and sleeps move.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from itertools import accumulate, chain, count
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from rindle_sync.domain import LONGEST_PAUSE, Bucket, Trigger
from rindle_sync.gateway import JITTER, RateLimiter
from rindle_sync.store import Database, RateLimits
from rindle_sync.store.schema import open_engine
from tests.support.taker import SHARED
from tests.support.world import Clock, World

SECOND = timedelta(seconds=1)
ROUNDING = 0.01
"""A thousandth of a call is forgiven, and clocks count whole microseconds."""

RATES = [0.1, 1 / 3, 0.7, 1, 13.7, 200]
URGENT = [Trigger.SYNC, Trigger.WEBHOOK, Trigger.CLI, Trigger.APP]
TAKER = Path(__file__).parents[1] / "support" / "taker.py"

FEW = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
rates = st.one_of(st.sampled_from(RATES), st.floats(0.2, 50))
moves = st.one_of(
    st.tuples(st.just("take"), st.integers(1, 50)),
    st.tuples(st.just("take_and_return"), st.integers(1, 50)),
    st.tuples(st.just("crowd"), st.integers(2, 8)),
    st.tuples(st.just("move"), st.floats(0, 40)),
    st.tuples(st.just("pause"), st.floats(0, 10)),
    st.tuples(st.just("throttled"), st.one_of(st.none(), st.floats(0, 10))),
    st.tuples(st.just("told"), st.integers(0, 60)),
)


class LateClock:
    """The clock of another process, which is behind."""

    def __init__(self, clock: Clock, behind: timedelta) -> None:
        self.clock = clock
        self.behind = behind

    def now(self) -> datetime:
        return self.clock.now() - self.behind

    async def sleep(self, seconds: float) -> None:
        await self.clock.sleep(seconds)


def a_bucket(capacity: float = 20, per_second: float = 1) -> Bucket:
    return Bucket(name=uuid4().hex, capacity=capacity, per_second=per_second)


def buckets_of(world: World, *, provider: str = "mux", environment: str = "default") -> RateLimits:
    """The buckets as another process sees them."""
    return RateLimits(world.context.store.database, provider, environment)


def rate_limiter_of(
    world: World, bucket: Bucket, *, clock: Clock | LateClock | None = None, **options: Any
) -> RateLimiter:
    """The rate limiter of another process, whose pauses are not drawn apart."""
    clock = clock or world.clock
    plain: dict[str, Any] = {"now": clock.now, "sleep": clock.sleep, "chance": lambda: 0.0}
    plain |= {"waits": lambda _: timedelta(days=9)}
    return RateLimiter(buckets_of(world), bucket, **plain | options)


def a_rate_limiter(
    world: World, capacity: float = 20, per_second: float = 1, **options: Any
) -> RateLimiter:
    return rate_limiter_of(world, a_bucket(capacity, per_second), **options)


def times(number: int) -> Callable[[], bool]:
    """Says yes so many times, and then no more."""
    asked = count(1)
    return lambda: next(asked) <= number


async def now_from(
    world: World, rate_limiter: RateLimiter, most: int = 50, trigger: Trigger = Trigger.SYNC
) -> int:
    """What is to be had without waiting; no time passes."""
    began = world.clock.now()
    granted = await rate_limiter.take(most, times(1), trigger=trigger)
    world.clock.time = began
    return granted


async def the_first_call_comes_after(
    world: World, rate_limiter: RateLimiter, wait: timedelta
) -> None:
    """Not before, and then it is one."""
    began = world.clock.now()
    world.clock.move(max(wait - 0.5 * SECOND, timedelta(0)))
    assert await rate_limiter.take(50) == 1
    assert (world.clock.now() - began).total_seconds() == pytest.approx(
        wait.total_seconds(), abs=ROUNDING
    )


class Ledger:
    """What the rate limiters of some processes granted, and when."""

    def __init__(self, clock: Clock, *limiters: RateLimiter) -> None:
        self.clock = clock
        self.limiters = limiters
        self.entries: list[tuple[datetime, int]] = []

    async def take(
        self, rate_limiter: RateLimiter, most: int = 1, trigger: Trigger = Trigger.SYNC
    ) -> int:
        granted = await rate_limiter.take(most, trigger=trigger)
        self.entries.append((self.clock.now(), granted))
        return granted

    async def do(self, kind: str, value: float, which: int = 0) -> None:
        rate_limiter = self.limiters[which]
        match kind:
            case "take":
                await self.take(rate_limiter, int(value))
            case "take_and_return":
                granted = await self.take(rate_limiter, int(value))
                await rate_limiter.give_back(granted // 2)
                self.entries.append((self.clock.now(), -(granted // 2)))
            case "crowd":
                await asyncio.gather(*(self.take(rate_limiter) for _ in range(int(value))))
            case "move":
                self.clock.move(value)
            case "pause":
                await rate_limiter.pause(timedelta(seconds=value))
            case "told":
                rate_limiter.note_calls_left(int(value))
            case _:
                await rate_limiter.rate_limited(value)

    def most_overdrawn(self, capacity: float, per_second: float) -> float:
        """By how many calls the worst of all windows exceeds what a bucket allows."""
        first = self.entries[0][0] if self.entries else None
        worst = lowest = 0.0
        sums = accumulate((n for _, n in self.entries), initial=0)
        for (moment, n), before in zip(self.entries, sums, strict=False):
            assert first
            earned = (moment - first).total_seconds() * per_second
            lowest = min(lowest, before - earned)
            worst = max(worst, before + n - earned - lowest - capacity)
        return worst


# burst, then rate


async def test_a_full_bucket_grants_its_capacity_at_once_and_no_more(world: World) -> None:
    rate_limiter = a_rate_limiter(world, 20, 1)

    assert await now_from(world, rate_limiter) == 20
    await the_first_call_comes_after(world, rate_limiter, SECOND)


@pytest.mark.parametrize("per_second", RATES)
async def test_after_the_burst_calls_come_at_the_rate(world: World, per_second: float) -> None:
    began, rate_limiter = world.clock.now(), a_rate_limiter(world, 5, per_second)

    granted = sum([await rate_limiter.take() for _ in range(25)])

    assert granted == 25
    assert (world.clock.now() - began).total_seconds() == pytest.approx(20 / per_second, rel=0.01)


@pytest.mark.parametrize("per_second", RATES)
async def test_every_take_grants_at_least_one_call(world: World, per_second: float) -> None:
    rate_limiter = a_rate_limiter(world, 3, per_second)

    assert {await rate_limiter.take(2) for _ in range(20)} <= {1, 2}


async def test_idle_time_fills_the_bucket_to_its_capacity_and_no_further(world: World) -> None:
    rate_limiter = a_rate_limiter(world, 20, 1)
    await rate_limiter.take(20)

    world.clock.move(timedelta(days=30))

    assert await rate_limiter.take(1000) == 20


async def test_no_more_is_granted_than_was_asked_for(world: World) -> None:
    assert await a_rate_limiter(world).take(3) == 3


async def test_a_bucket_of_one_call_serves_every_trigger(world: World) -> None:
    rate_limiter = a_rate_limiter(world, 1, 1)

    for trigger in Trigger:
        assert await rate_limiter.take(50, trigger=trigger) == 1
        assert await now_from(world, rate_limiter, trigger=trigger) == 0


async def test_the_largest_bucket_does_not_overflow(world: World) -> None:
    rate_limiter = a_rate_limiter(world, 1_000_000, 1_000_000)

    assert await rate_limiter.take(10**9) == 1_000_000
    world.clock.move(0.5)
    assert await rate_limiter.take(10**9) == 500_000
    world.clock.move(timedelta(days=36_500))
    assert await rate_limiter.take(10**9) == 1_000_000


@pytest.mark.parametrize(
    ("capacity", "per_second"), [(1_000_000, 1e-6), (20, 1e-12), (1, 1_000_000)]
)
async def test_a_rate_however_far_from_the_capacity_does_not_overflow(
    world: World, capacity: float, per_second: float
) -> None:
    assert await now_from(world, a_rate_limiter(world, capacity, per_second), 10**9) == capacity


@FEW
@given(st.integers(1, 50), rates, st.lists(moves, max_size=12))
@example(2, 3, [("crowd", 5), ("move", 0.1), ("crowd", 3)])
@example(20, 1.0, [("take", 20), ("move", 1.9995), ("take", 2), ("take", 1)])
async def test_no_window_holds_more_calls_than_a_bucket_allows(
    world: World, capacity: int, per_second: float, steps: list[tuple[str, float]]
) -> None:
    ledger = Ledger(world.clock, a_rate_limiter(world, capacity, per_second))

    for kind, value in steps:
        await ledger.do(kind, value)

    assert ledger.most_overdrawn(capacity, per_second) <= ROUNDING


@FEW
@given(st.integers(1, 50), rates, st.lists(moves, max_size=12))
async def test_a_call_is_granted_as_soon_as_the_pause_is_over_and_a_token_is_there(
    world: World, capacity: int, per_second: float, steps: list[tuple[str, float]]
) -> None:
    ledger = Ledger(world.clock, a_rate_limiter(world, capacity, per_second))
    for kind, value in steps:
        await ledger.do(kind, value)
    began = world.clock.now()

    await ledger.take(ledger.limiters[0])

    longest = 60 + 1 / per_second
    assert (world.clock.now() - began).total_seconds() <= longest + ROUNDING


# turns


async def test_first_come_is_first_served(world: World) -> None:
    rate_limiter, served = a_rate_limiter(world, 1, 3), list[int]()

    async def ask(number: int) -> None:
        await rate_limiter.take()
        served.append(number)

    await asyncio.gather(*(ask(number) for number in range(20)))

    assert served == list(range(20))


async def test_one_who_asks_for_many_does_not_starve_the_next(world: World) -> None:
    rate_limiter = a_rate_limiter(world, 10, 1)
    await rate_limiter.take(10)

    many, single = await asyncio.gather(rate_limiter.take(10), rate_limiter.take())

    assert (many, single) == (1, 1)


async def test_one_who_stops_waiting_takes_nothing_and_holds_up_nobody(world: World) -> None:
    rate_limiter, began_to_wait = a_rate_limiter(world, 1, 1), asyncio.Event()
    await rate_limiter.take()

    def keeps_waiting() -> bool:
        began_to_wait.set()
        return True

    leaving = asyncio.create_task(rate_limiter.take(1, keeps_waiting))
    await began_to_wait.wait()
    leaving.cancel()

    await the_first_call_comes_after(world, rate_limiter, SECOND)
    assert leaving.cancelled()


async def test_one_who_is_told_to_stop_gets_nothing(world: World) -> None:
    rate_limiter = a_rate_limiter(world, 1, 0.1)

    assert await rate_limiter.take(1, times(0)) == 0
    assert await rate_limiter.take() == 1
    began = world.clock.now()
    assert await rate_limiter.take(1, times(3)) == 0
    assert world.clock.now() - began == 3 * SECOND


# triggers: the more urgent a call, the more of the bucket it may take


@pytest.mark.parametrize("trigger", URGENT)
async def test_an_urgent_call_may_empty_the_bucket(world: World, trigger: Trigger) -> None:
    assert await now_from(world, a_rate_limiter(world, 20, 1), trigger=trigger) == 20


async def test_a_sweep_leaves_a_tenth_of_the_bucket(world: World) -> None:
    rate_limiter = a_rate_limiter(world, 20, 1)

    assert await now_from(world, rate_limiter, trigger=Trigger.SWEEP) == 18
    assert await now_from(world, rate_limiter, trigger=Trigger.SWEEP) == 0
    assert await now_from(world, rate_limiter, trigger=Trigger.SYNC) == 2


async def test_an_audit_takes_nothing_while_the_bucket_is_at_most_half_full(world: World) -> None:
    rate_limiter = a_rate_limiter(world, 20, 1)

    assert await now_from(world, rate_limiter, trigger=Trigger.AUDIT) == 10
    assert await now_from(world, rate_limiter, trigger=Trigger.AUDIT) == 0
    assert await now_from(world, rate_limiter, trigger=Trigger.SWEEP) == 8
    world.clock.move(8)
    assert await now_from(world, rate_limiter, trigger=Trigger.AUDIT) == 0
    world.clock.move(1)
    assert await now_from(world, rate_limiter, trigger=Trigger.AUDIT) == 1


async def test_a_sweep_that_waits_does_so_until_more_than_its_share_is_left(world: World) -> None:
    rate_limiter = a_rate_limiter(world, 20, 1)
    await rate_limiter.take(20)
    began = world.clock.now()

    assert await rate_limiter.take(50, trigger=Trigger.SWEEP) == 1
    assert world.clock.now() - began == 3 * SECOND


@pytest.mark.parametrize("slow", [Trigger.SWEEP, Trigger.AUDIT])
async def test_a_single_sync_gets_the_rest_at_once_while_others_wait(
    world: World, slow: Trigger
) -> None:
    waits, forever = asyncio.Event(), asyncio.Event()

    async def sleep(_: float) -> None:
        waits.set()
        await forever.wait()

    rate_limiter = a_rate_limiter(world, 20, 1, sleep=sleep)
    await rate_limiter.take(50, trigger=Trigger.SWEEP)
    waiting = asyncio.create_task(rate_limiter.take(trigger=slow))
    await waits.wait()

    assert await now_from(world, rate_limiter, trigger=Trigger.SYNC) == 2

    waiting.cancel()


# giving back


async def test_calls_given_back_can_be_taken_at_once(world: World) -> None:
    rate_limiter = a_rate_limiter(world, 20, 1)
    await rate_limiter.take(20)

    await rate_limiter.give_back(7)

    assert await now_from(world, rate_limiter) == 7


@FEW
@given(st.integers(1, 100), st.integers(0, 100), st.lists(st.integers(0, 1000), max_size=10))
async def test_giving_back_never_fills_the_bucket_past_its_capacity(
    world: World, capacity: int, taken: int, returned: list[int]
) -> None:
    rate_limiter = a_rate_limiter(world, capacity, 1)
    left = capacity - await now_from(world, rate_limiter, taken)

    for calls in returned:
        await rate_limiter.give_back(calls)

    assert await now_from(world, rate_limiter, 10_000) == min(capacity, left + sum(returned))


# how many were made


async def test_the_calls_of_all_processes_count_for_their_hour(world: World) -> None:
    bucket = a_bucket(100, 1)
    one, another = (rate_limiter_of(world, bucket) for _ in range(2))
    hour = world.clock.now().replace(minute=0, second=0, microsecond=0)

    await one.take(10)
    await another.take(7)
    await one.take(3)
    await another.give_back(2)
    world.clock.move(timedelta(hours=1))
    await one.take(4)

    following = hour + timedelta(hours=1)
    assert await rate_limiter_of(world, bucket).calls_in([hour, following]) == [18, 4]
    assert await a_rate_limiter(world).calls_in([hour]) == [0]


# pauses


async def test_nobody_gets_a_call_before_the_pause_is_over_and_then_one_by_one(
    world: World,
) -> None:
    rate_limiter = a_rate_limiter(world, 20, 1)

    await rate_limiter.pause(timedelta(seconds=90))

    for _ in range(90):
        assert await now_from(world, rate_limiter) == 0
        world.clock.move(SECOND)
    await the_first_call_comes_after(world, rate_limiter, SECOND)
    await the_first_call_comes_after(world, rate_limiter, SECOND)


async def test_calls_given_back_in_a_pause_make_no_burst_after_it(world: World) -> None:
    rate_limiter = a_rate_limiter(world, 20, 1)
    granted = await rate_limiter.take(20)

    await rate_limiter.rate_limited(10)
    await rate_limiter.give_back(granted - 1)

    await the_first_call_comes_after(world, rate_limiter, 11 * SECOND)


async def test_a_shorter_pause_does_not_shorten_a_longer_one(world: World) -> None:
    rate_limiter = a_rate_limiter(world)

    await rate_limiter.pause(timedelta(seconds=90))
    await rate_limiter.pause(timedelta(seconds=1))

    await the_first_call_comes_after(world, rate_limiter, timedelta(seconds=91))


async def test_a_pause_that_comes_while_one_waits_holds_him_up_too(world: World) -> None:
    bucket, pauses = a_bucket(1, 1), [timedelta(seconds=30)]
    other = rate_limiter_of(world, bucket)

    async def sleep(seconds: float) -> None:
        while pauses:
            await other.pause(pauses.pop())
        await world.clock.sleep(seconds)

    rate_limiter = rate_limiter_of(world, bucket, sleep=sleep)
    await rate_limiter.take()
    began = world.clock.now()
    await rate_limiter.take()

    assert world.clock.now() - began == 31 * SECOND


@pytest.mark.parametrize("wait", [timedelta(hours=2), timedelta(days=3650), timedelta.max])
async def test_no_pause_is_longer_than_an_hour(world: World, wait: timedelta) -> None:
    rate_limiter = a_rate_limiter(world)

    await rate_limiter.pause(wait)

    await the_first_call_comes_after(world, rate_limiter, LONGEST_PAUSE + SECOND)


async def test_a_pause_of_one_process_holds_for_all(world: World) -> None:
    bucket = a_bucket()
    first, other = rate_limiter_of(world, bucket), rate_limiter_of(world, bucket)
    await other.take()

    await first.rate_limited(30)

    await the_first_call_comes_after(world, other, 31 * SECOND)


async def test_buckets_are_paused_and_emptied_apart(world: World) -> None:
    bucket = a_bucket()
    clock = world.clock
    others = [
        rate_limiter_of(world, replace(bucket, name="creates")),
        *(
            RateLimiter(buckets, bucket, now=clock.now, sleep=clock.sleep)
            for buckets in (
                buckets_of(world, environment="staging"),
                buckets_of(world, provider="bunny"),
            )
        ),
    ]

    await rate_limiter_of(world, bucket).rate_limited(30)

    assert [await now_from(world, rate_limiter) for rate_limiter in others] == [20, 20, 20]


# throttled


@pytest.mark.parametrize("retry_after", [0, 0.5, 7, 90, 3600])
async def test_a_throttled_call_pauses_as_long_as_the_provider_asks(
    world: World, retry_after: float
) -> None:
    rate_limiter, wait = a_rate_limiter(world), timedelta(seconds=retry_after)

    assert await rate_limiter.rate_limited(retry_after) == wait

    await the_first_call_comes_after(world, rate_limiter, wait + SECOND)


@pytest.mark.parametrize("retry_after", [3601, 1e7, 1e12, 1e300, float("inf")])
async def test_however_long_a_provider_asks_us_to_wait_we_ask_again_after_an_hour(
    world: World, retry_after: float
) -> None:
    rate_limiter = a_rate_limiter(world)

    assert await rate_limiter.rate_limited(retry_after) == LONGEST_PAUSE

    await the_first_call_comes_after(world, rate_limiter, LONGEST_PAUSE + SECOND)


async def test_a_negative_wish_is_no_pause(world: World) -> None:
    assert await a_rate_limiter(world).rate_limited(-5) == timedelta(0)


async def test_without_a_wish_each_pause_is_twice_the_last_up_to_a_minute(world: World) -> None:
    rate_limiter, pauses = a_rate_limiter(world), list[float]()

    for _ in range(9):
        pauses.append((await rate_limiter.rate_limited(None)).total_seconds())
        await rate_limiter.take()

    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


async def test_a_wave_of_throttled_calls_counts_once(world: World) -> None:
    rate_limiter = a_rate_limiter(world)

    assert {await rate_limiter.rate_limited(None) for _ in range(20)} == {timedelta(seconds=1)}
    await rate_limiter.take()
    assert {await rate_limiter.rate_limited(None) for _ in range(20)} == {timedelta(seconds=2)}


async def test_after_a_quiet_time_the_pauses_are_short_again(world: World) -> None:
    rate_limiter = a_rate_limiter(world)
    for _ in range(4):
        await rate_limiter.rate_limited(None)
        await rate_limiter.take()

    world.clock.move(timedelta(minutes=5))

    assert await rate_limiter.rate_limited(None) == timedelta(seconds=1)


async def test_a_named_wait_does_not_count_towards_the_doubling(world: World) -> None:
    rate_limiter = a_rate_limiter(world)
    for _ in range(5):
        await rate_limiter.rate_limited(30)
        await rate_limiter.take()
    world.clock.move(60)

    assert await rate_limiter.rate_limited(None) == timedelta(seconds=1)


async def test_chance_only_lengthens_a_pause_and_by_a_quarter_at_most(world: World) -> None:
    rate_limiter, longest, pauses = (
        a_rate_limiter(world, chance=lambda: 1.0),
        60 * (1 + JITTER),
        list[float](),
    )

    for _ in range(8):
        pauses.append((await rate_limiter.rate_limited(None)).total_seconds())
        world.clock.move(pauses[-1])

    assert pauses == [1.25, 2.5, 5, 10, 20, 40, longest, longest]


async def test_the_pauses_of_processes_that_are_throttled_at_once_are_drawn_apart(
    world: World,
) -> None:
    bucket, clock = a_bucket(), world.clock
    processes = [
        RateLimiter(buckets_of(world), bucket, now=clock.now, sleep=clock.sleep) for _ in range(10)
    ]

    pauses = {(await rate_limiter.rate_limited(None)).total_seconds() for rate_limiter in processes}

    assert len(pauses) > 1
    assert all(1 <= pause <= 1 + JITTER for pause in pauses)


async def test_a_wait_that_the_provider_names_is_not_drawn_apart(world: World) -> None:
    assert await a_rate_limiter(world, chance=lambda: 1.0).rate_limited(10) == timedelta(seconds=10)


# told how many calls are left


async def test_what_the_provider_tells_is_left_is_not_exceeded(world: World) -> None:
    rate_limiter = a_rate_limiter(world, 20, 1)

    rate_limiter.note_calls_left(3)

    assert await now_from(world, rate_limiter) == 3
    assert await now_from(world, rate_limiter) == 0


async def test_where_nothing_is_left_nothing_is_taken(world: World) -> None:
    rate_limiter = a_rate_limiter(world, 20, 1)

    rate_limiter.note_calls_left(0)

    assert await now_from(world, rate_limiter) == 0


async def test_what_was_told_ages_as_the_bucket_fills(world: World) -> None:
    rate_limiter = a_rate_limiter(world, 20, 1)

    rate_limiter.note_calls_left(3)
    world.clock.move(5)

    assert await now_from(world, rate_limiter) == 8


async def test_what_was_told_long_ago_holds_nobody_back(world: World) -> None:
    rate_limiter = a_rate_limiter(world, 20, 1)

    rate_limiter.note_calls_left(3)
    world.clock.move(timedelta(days=1))

    assert await now_from(world, rate_limiter) == 20


async def test_however_much_is_left_our_own_bucket_is_not_exceeded(world: World) -> None:
    rate_limiter = a_rate_limiter(world, 20, 1)
    await rate_limiter.take(15)

    rate_limiter.note_calls_left(1000)

    assert await now_from(world, rate_limiter) == 5


async def test_what_one_process_was_told_holds_for_the_next_after_it_has_taken(
    world: World,
) -> None:
    bucket = a_bucket()
    first, other = rate_limiter_of(world, bucket), rate_limiter_of(world, bucket)

    first.note_calls_left(3)
    await first.take()

    assert await now_from(world, other) == 2


@pytest.mark.parametrize(("left", "ours"), [(20, 10), (19, 9), (12, 2), (11, 1), (10, 0), (0, 0)])
async def test_what_is_kept_for_the_app_is_left_to_it(world: World, left: int, ours: int) -> None:
    rate_limiter = a_rate_limiter(world, 10, 0.5, kept_for_app=10)

    rate_limiter.note_calls_left(left)

    assert await now_from(world, rate_limiter) == ours


# a clock that goes back


async def test_a_step_back_of_the_clock_earns_nothing(world: World) -> None:
    rate_limiter = a_rate_limiter(world, 20, 1)
    await rate_limiter.take(20)

    world.clock.move(-0.5)
    began = world.clock.now()
    await rate_limiter.take()

    assert world.clock.now() - began >= SECOND


@pytest.mark.parametrize("behind", [SECOND, timedelta(minutes=1), timedelta(minutes=5)])
async def test_a_process_whose_clock_is_behind_gets_nothing_more(
    world: World, behind: timedelta
) -> None:
    bucket = a_bucket()
    first, late = (
        rate_limiter_of(world, bucket),
        rate_limiter_of(world, bucket, clock=LateClock(world.clock, behind)),
    )
    assert await now_from(world, first) == 20

    for _ in range(3):
        assert await now_from(world, late) == 0

    assert await now_from(world, first) == 0


async def test_a_pause_by_a_process_whose_clock_is_behind_makes_no_burst(world: World) -> None:
    bucket = a_bucket()
    first = rate_limiter_of(world, bucket)
    late = rate_limiter_of(world, bucket, clock=LateClock(world.clock, timedelta(minutes=5)))
    assert await now_from(world, first) == 20

    await late.rate_limited(None)

    assert await now_from(world, first) == 0


async def test_a_throttled_call_is_a_pause_even_after_the_clock_went_back(world: World) -> None:
    rate_limiter = a_rate_limiter(world)

    world.clock.move(-60)

    assert await rate_limiter.rate_limited(None) == SECOND
    assert await now_from(world, rate_limiter) == 0


@pytest.mark.long_on_postgresql
@FEW
@given(
    st.integers(1, 30),
    rates,
    st.integers(0, 90),
    st.lists(st.tuples(st.integers(0, 1), moves), max_size=12),
)
@example(
    20,
    1.0,
    60,
    [(0, ("take", 20)), (1, ("pause", 1.0)), (0, ("take", 20)), (1, ("pause", 1.0))] * 3,
)
async def test_processes_with_different_clocks_get_no_more_than_the_difference_earns(
    world: World,
    capacity: int,
    per_second: float,
    behind: int,
    steps: list[tuple[int, tuple[str, float]]],
) -> None:
    bucket, late = a_bucket(capacity, per_second), LateClock(world.clock, timedelta(seconds=behind))
    ledger = Ledger(
        world.clock, rate_limiter_of(world, bucket), rate_limiter_of(world, bucket, clock=late)
    )
    began = world.clock.now() - late.behind

    for which, (kind, value) in steps:
        await ledger.do(kind, value, which)

    earned = (world.clock.now() - began).total_seconds() * per_second
    assert sum(calls for _, calls in ledger.entries) <= capacity + earned + ROUNDING


# several processes on one bucket


async def take_all(world: World, ledger: Ledger, takes: int) -> None:
    """Every rate limiter of the ledger takes side by side, with every trigger."""
    triggers = [Trigger.SYNC, Trigger.WEBHOOK, Trigger.SWEEP, Trigger.AUDIT]
    takers = (
        ledger.take(b, 1 + n % 4, triggers[n % 4]) for b in ledger.limiters for n in range(takes)
    )
    await asyncio.gather(*takers)


def never_overdrawn(ledger: Ledger, began: datetime, bucket: Bucket) -> bool:
    """Whether at no time more was granted than the bucket held at first and has earned since."""
    moments = [(moment - began).total_seconds() for moment, _ in ledger.entries]
    sums = accumulate(calls for _, calls in ledger.entries)
    pairs = zip(moments, sums, strict=True)
    return all(calls <= bucket.capacity + bucket.per_second * at + ROUNDING for at, calls in pairs)


async def test_two_processes_on_one_bucket_take_no_more_than_one(world: World) -> None:
    bucket, began = a_bucket(10, 5), world.clock.now()
    ledger = Ledger(world.clock, rate_limiter_of(world, bucket), rate_limiter_of(world, bucket))

    await take_all(world, ledger, 20)

    assert never_overdrawn(ledger, began, bucket)
    assert len(ledger.entries) == 40


async def test_two_processes_with_their_own_connections_take_no_more_than_one(
    world: World, tables_url: str
) -> None:
    bucket, began = a_bucket(10, 5), world.clock.now()
    database = Database(open_engine(tables_url))
    others = RateLimits(database, "mux", "default")
    clock = world.clock
    # as long a patience as that of `rate_limiter_of`: who comes last waits for the other 39
    other = RateLimiter(
        others, bucket, now=clock.now, sleep=clock.sleep, waits=lambda _: timedelta(days=9)
    )
    ledger = Ledger(clock, rate_limiter_of(world, bucket), other)

    await take_all(world, ledger, 20)
    await database.close()

    assert never_overdrawn(ledger, began, bucket)
    assert len(ledger.entries) == 40


async def test_a_burst_is_handed_out_once_however_many_ask_first(world: World) -> None:
    bucket = a_bucket(10, 0.001)

    granted = await asyncio.gather(
        *(now_from(world, rate_limiter_of(world, bucket), 3) for _ in range(12))
    )

    assert sum(granted) == 10


async def test_two_real_processes_take_no_more_than_one(tables_url: str) -> None:
    processes = [await a_taker(tables_url, 2.0) for _ in range(2)]
    await asyncio.gather(*(process.stdout.readline() for process in processes if process.stdout))
    began = time.time()

    told = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))

    granted = [json.loads(out) for out, _ in told]
    assert all(granted)
    for calls, moment in enumerate(sorted(chain.from_iterable(granted)), 1):
        assert calls <= SHARED.capacity + SHARED.per_second * (moment - began) + ROUNDING


def a_taker(url: str, seconds: float) -> Awaitable[asyncio.subprocess.Process]:
    pipe = asyncio.subprocess.PIPE
    return asyncio.create_subprocess_exec(
        sys.executable, TAKER, url, str(seconds), stdin=pipe, stdout=pipe
    )
