"""The budget against a clock that only tests and sleeps move: never overdrawn, never unfair, never stuck."""

import asyncio
from datetime import datetime, timedelta
from itertools import accumulate

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rindle_sync.budget import LONGEST_PAUSE, Budget
from tests.world import Clock

ROUNDING = 0.01
"""A thousandth of a token is forgiven, and clocks count whole microseconds."""

RATES = [0.01, 0.3, 1 / 3, 0.7, 1, 3, 5, 7, 13.7, 200]

moves = st.one_of(
    st.tuples(st.just("take"), st.integers(1, 50)),
    st.tuples(st.just("take_and_return"), st.integers(1, 50)),
    st.tuples(st.just("crowd"), st.integers(2, 12)),
    st.tuples(st.just("move"), st.floats(0, 40)),
    st.tuples(st.just("pause"), st.floats(0, 40)),
    st.tuples(st.just("throttled"), st.one_of(st.none(), st.floats(0, 40))),
)


def a_budget(clock: Clock, capacity: float = 20, per_second: float = 1) -> Budget:
    return Budget(capacity, per_second, now=clock.now, sleep=clock.sleep)


class Ledger:
    """What a budget granted, and when."""

    def __init__(self, clock: Clock, budget: Budget) -> None:
        self.clock = clock
        self.budget = budget
        self.entries: list[tuple[datetime, int]] = []

    async def take(self, most: int = 1) -> int:
        granted = await self.budget.take(most)
        self.entries.append((self.clock.now(), granted))
        return granted

    async def do(self, kind: str, value: float) -> None:
        match kind:
            case "take":
                await self.take(int(value))
            case "take_and_return":
                granted = await self.take(int(value))
                self.budget.give_back(granted // 2)
                self.entries.append((self.clock.now(), -(granted // 2)))
            case "crowd":
                await asyncio.gather(*(self.take() for _ in range(int(value))))
            case "move":
                self.clock.move(value)
            case "pause":
                self.budget.pause(timedelta(seconds=value))
            case _:
                self.budget.throttled(value)

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


async def test_a_full_bucket_grants_its_capacity_at_once_and_no_more() -> None:
    clock = Clock()
    began, budget = clock.now(), a_budget(clock, 20, 1)

    assert await budget.take(50) == 20
    assert clock.now() == began
    assert await budget.take(50) == 1
    assert clock.now() - began == timedelta(seconds=1)


@pytest.mark.parametrize("per_second", RATES)
async def test_after_the_burst_calls_come_at_the_rate(per_second: float) -> None:
    clock = Clock()
    began, budget = clock.now(), a_budget(clock, 5, per_second)

    granted = sum([await budget.take() for _ in range(105)])

    assert granted == 105
    assert (clock.now() - began).total_seconds() == pytest.approx(100 / per_second, rel=0.01)


@pytest.mark.parametrize("per_second", RATES)
async def test_every_take_grants_at_least_one_call(per_second: float) -> None:
    clock = Clock()
    budget = a_budget(clock, 3, per_second)

    assert {await budget.take(2) for _ in range(200)} <= {1, 2}


async def test_idle_time_fills_the_bucket_to_its_capacity_and_no_further() -> None:
    clock = Clock()
    budget = a_budget(clock, 20, 1)
    await budget.take(20)

    clock.move(timedelta(days=30))

    assert await budget.take(1000) == 20


async def test_no_more_is_granted_than_was_asked_for() -> None:
    assert await a_budget(Clock()).take(3) == 3


@given(
    st.integers(1, 50),
    st.one_of(st.sampled_from(RATES), st.floats(0.05, 50)),
    st.lists(moves, max_size=25),
)
@example(2, 3, [("crowd", 5), ("move", 0.1), ("crowd", 3)])
@example(20, 1.0, [("take", 20), ("move", 1.9995), ("take", 2), ("take", 1)])
def test_no_window_holds_more_calls_than_a_bucket_allows(
    capacity: int, per_second: float, steps: list[tuple[str, float]]
) -> None:
    clock = Clock()
    ledger = Ledger(clock, a_budget(clock, capacity, per_second))

    async def run() -> None:
        for kind, value in steps:
            await ledger.do(kind, value)

    asyncio.run(run())

    assert ledger.most_overdrawn(capacity, per_second) <= ROUNDING


@given(st.integers(1, 50), st.floats(0.05, 50), st.lists(moves, max_size=25))
def test_a_call_is_granted_as_soon_as_the_pause_is_over_and_a_token_is_there(
    capacity: int, per_second: float, steps: list[tuple[str, float]]
) -> None:
    clock = Clock()
    ledger = Ledger(clock, a_budget(clock, capacity, per_second))

    async def run() -> datetime:
        for kind, value in steps:
            await ledger.do(kind, value)
        began = clock.now()
        await ledger.take()
        return began

    began = asyncio.run(run())

    longest = 60 + 1 / per_second
    assert (clock.now() - began).total_seconds() <= longest + ROUNDING


async def test_a_step_back_of_the_clock_earns_nothing() -> None:
    clock = Clock()
    budget = a_budget(clock, 20, 1)
    await budget.take(20)

    clock.move(-0.5)

    before = clock.now()
    await budget.take()
    assert clock.now() - before >= timedelta(seconds=1)


# turns


async def test_first_come_is_first_served() -> None:
    clock = Clock()
    budget, served = a_budget(clock, 1, 3), list[int]()

    async def ask(number: int) -> None:
        await budget.take()
        served.append(number)

    await asyncio.gather(*(ask(number) for number in range(20)))

    assert served == list(range(20))


async def test_one_who_asks_for_many_does_not_starve_the_next() -> None:
    clock = Clock()
    budget = a_budget(clock, 10, 1)
    await budget.take(10)

    many, one = await asyncio.gather(budget.take(10), budget.take())

    assert (many, one) == (1, 1)


async def test_one_who_stops_waiting_takes_nothing_and_holds_up_nobody() -> None:
    clock = Clock()
    budget = a_budget(clock, 1, 1)
    await budget.take()
    began = clock.now()
    leaving = asyncio.create_task(budget.take())
    await asyncio.sleep(0)
    leaving.cancel()

    assert await budget.take() == 1

    assert clock.now() - began <= timedelta(seconds=1)
    assert leaving.cancelled()


# giving back


async def test_calls_given_back_can_be_taken_at_once() -> None:
    clock = Clock()
    began, budget = clock.now(), a_budget(clock, 20, 1)
    await budget.take(20)

    budget.give_back(7)

    assert await budget.take(50) == 7
    assert clock.now() == began


@given(st.integers(1, 100), st.lists(st.integers(0, 1000), max_size=10))
def test_giving_back_never_fills_the_bucket_past_its_capacity(capacity: int, returned: list[int]) -> None:
    budget = a_budget(Clock(), capacity, 1)
    for calls in returned:
        budget.give_back(calls)

    assert asyncio.run(budget.take(10_000)) == capacity


# pauses


async def test_nobody_gets_a_call_before_the_pause_is_over_and_then_one_by_one() -> None:
    clock = Clock()
    began, budget = clock.now(), a_budget(clock, 20, 1)

    budget.pause(timedelta(seconds=90))

    assert await budget.take(50) == 1
    assert clock.now() - began == timedelta(seconds=91)


async def test_calls_given_back_in_a_pause_make_no_burst_after_it() -> None:
    clock = Clock()
    budget = a_budget(clock, 20, 1)
    granted = await budget.take(20)

    budget.throttled(10)
    budget.give_back(granted - 1)

    assert await budget.take(50) == 1


async def test_a_shorter_pause_does_not_shorten_a_longer_one() -> None:
    clock = Clock()
    began, budget = clock.now(), a_budget(clock)

    budget.pause(timedelta(seconds=90))
    budget.pause(timedelta(seconds=1))
    await budget.take()

    assert clock.now() - began >= timedelta(seconds=90)


async def test_a_pause_that_comes_while_one_waits_holds_him_up_too() -> None:
    clock = Clock()
    began, budget = clock.now(), a_budget(clock, 1, 1)
    await budget.take()
    waiting = asyncio.create_task(budget.take())
    await asyncio.sleep(0)

    budget.pause(timedelta(seconds=30))
    await waiting

    assert clock.now() - began >= timedelta(seconds=30)


@pytest.mark.parametrize("wait", [timedelta(hours=2), timedelta(days=3650), timedelta.max])
async def test_no_pause_is_longer_than_an_hour(wait: timedelta) -> None:
    clock = Clock()
    began, budget = clock.now(), a_budget(clock)

    budget.pause(wait)
    await budget.take()

    assert clock.now() - began == LONGEST_PAUSE + timedelta(seconds=1)


# throttled


@pytest.mark.parametrize("retry_after", [0, 0.5, 7, 90, 3600])
async def test_a_throttled_call_pauses_as_long_as_the_provider_asks(retry_after: float) -> None:
    clock = Clock()
    began, budget = clock.now(), a_budget(clock)

    assert budget.throttled(retry_after) == timedelta(seconds=retry_after)

    await budget.take()
    assert (clock.now() - began).total_seconds() == pytest.approx(retry_after + 1)


@pytest.mark.parametrize("retry_after", [3601, 1e7, 1e12, 1e300, float("inf")])
async def test_however_long_a_provider_asks_us_to_wait_we_ask_again_after_an_hour(retry_after: float) -> None:
    clock = Clock()
    began, budget = clock.now(), a_budget(clock)

    assert budget.throttled(retry_after) == LONGEST_PAUSE

    await budget.take()
    assert clock.now() - began == LONGEST_PAUSE + timedelta(seconds=1)


async def test_a_negative_wish_is_no_pause() -> None:
    assert a_budget(Clock()).throttled(-5) == timedelta(0)


async def test_without_a_wish_each_pause_is_twice_the_last_up_to_a_minute() -> None:
    clock = Clock()
    budget, pauses = a_budget(clock), list[float]()

    for _ in range(9):
        pauses.append(budget.throttled(None).total_seconds())
        await budget.take()

    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


async def test_a_wave_of_throttled_calls_counts_once() -> None:
    clock = Clock()
    budget = a_budget(clock)

    assert {budget.throttled(None) for _ in range(50)} == {timedelta(seconds=1)}
    await budget.take()
    assert {budget.throttled(None) for _ in range(50)} == {timedelta(seconds=2)}


async def test_after_a_quiet_time_the_pauses_are_short_again() -> None:
    clock = Clock()
    budget = a_budget(clock)
    for _ in range(4):
        budget.throttled(None)
        await budget.take()

    clock.move(timedelta(minutes=5))

    assert budget.throttled(None) == timedelta(seconds=1)


async def test_a_named_wait_does_not_count_towards_the_doubling() -> None:
    clock = Clock()
    budget = a_budget(clock)
    for _ in range(5):
        budget.throttled(30)
        await budget.take()
    clock.move(60)

    assert budget.throttled(None) == timedelta(seconds=1)
