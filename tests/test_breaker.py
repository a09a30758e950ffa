"""The breaker: when calls stop, how one tries whether all is well again, and what is told and kept of it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from rindle_sync.asset import By, State
from rindle_sync.breaker import FIRST_GAP, LONGEST_GAP, PROBE, RUN, Breaker, Reason
from rindle_sync.errors import Refused
from rindle_sync.providers.mux import Mux
from rindle_sync.store import Environment
from rindle_sync.sync import sync_row
from rindle_sync.telemetry import BreakerClosed, BreakerOpened
from tests.world import World

SECOND = timedelta(seconds=1)


@pytest.fixture
def breaker(world: World) -> Breaker:
    return world.tools.breaker


def another(world: World, environment: str = "default") -> Breaker:
    """The breaker of another process."""
    tools = world.tools
    return Breaker(tools.environments, tools.telemetry, "mux", environment, tools.now)


async def fail(breaker: Breaker, number: int = RUN) -> None:
    for _ in range(number):
        await breaker.failed("503")


async def probe(world: World, breaker: Breaker) -> None:
    """Wait until one may try, and begin a call."""
    assert breaker.opened
    world.clock.time = breaker.opened.until
    assert breaker.enter() is None


async def kept(world: World, environment: str = "default") -> Environment:
    return await world.tools.environments.get("mux", environment)


# opening


def test_a_breaker_is_closed_at_first(breaker: Breaker) -> None:
    assert breaker.opened is None
    assert breaker.enter() is None
    assert breaker.room(50) == 50


@pytest.mark.parametrize("reason", [Reason.REFUSED, Reason.OTHER_ENVIRONMENT])
async def test_a_refusal_opens_it_at_once(world: World, breaker: Breaker, reason: Reason) -> None:
    await breaker.refused("401", reason)

    opened = breaker.enter()
    assert opened
    assert opened is breaker.opened
    assert (opened.reason, opened.text) == (reason, "401")
    assert (opened.at, opened.until) == (world.clock.now(), world.clock.now() + FIRST_GAP)
    assert breaker.room(50) == 0


async def test_failures_open_it_when_there_is_a_run_of_them_and_not_before(breaker: Breaker) -> None:
    await fail(breaker, RUN - 1)
    assert breaker.room(50) == 50

    await fail(breaker, 1)

    assert breaker.room(50) == 0
    assert breaker.opened
    assert breaker.opened.reason is Reason.UNREACHABLE


async def test_an_answer_ends_a_run_of_failures(breaker: Breaker) -> None:
    for _ in range(5):
        await fail(breaker, RUN - 1)
        await breaker.answered()

    assert breaker.room(50) == 50


async def test_what_was_under_way_as_it_opened_changes_nothing(world: World, breaker: Breaker) -> None:
    await fail(breaker)
    opened = breaker.opened
    world.clock.move(FIRST_GAP - SECOND)

    await fail(breaker, 50)
    await breaker.refused("401")

    assert breaker.opened == opened
    assert len(world.events(BreakerOpened)) == 1


# trying again


async def test_when_the_gap_is_over_one_call_may_try(world: World, breaker: Breaker) -> None:
    await fail(breaker)

    world.clock.move(FIRST_GAP - SECOND)
    assert breaker.room(50) == 0
    world.clock.move(SECOND)
    assert breaker.room(50) == 1
    assert breaker.enter() is None
    assert breaker.room(50) == 0
    assert breaker.enter() is breaker.opened


async def test_no_call_is_room_for_no_call(world: World, breaker: Breaker) -> None:
    assert breaker.room(0) == 0
    await fail(breaker)
    world.clock.move(FIRST_GAP)
    assert breaker.room(0) == 0


async def test_a_try_that_never_ends_does_not_keep_others_waiting_for_ever(world: World, breaker: Breaker) -> None:
    await fail(breaker)
    await probe(world, breaker)

    world.clock.move(PROBE - SECOND)
    assert breaker.room(1) == 0
    world.clock.move(SECOND)
    assert breaker.room(50) == 1


async def test_each_try_that_fails_doubles_the_gap_up_to_the_longest(world: World, breaker: Breaker) -> None:
    gaps = []
    await fail(breaker)
    for _ in range(6):
        assert breaker.opened
        gaps.append((breaker.opened.until - world.clock.now()).total_seconds())
        await probe(world, breaker)
        await breaker.failed("503")

    longest = LONGEST_GAP.total_seconds()
    assert gaps == [30, 60, 120, 240, longest, longest]


async def test_a_refusal_that_stays_doubles_the_gap_too(world: World, breaker: Breaker) -> None:
    await breaker.refused("401")
    await probe(world, breaker)
    await breaker.refused("401")

    assert breaker.opened
    assert breaker.opened.until - world.clock.now() == 2 * FIRST_GAP
    assert breaker.opened.at == world.clock.now() - FIRST_GAP


# closing


@pytest.mark.parametrize("reason", Reason)
async def test_an_answer_closes_it(world: World, breaker: Breaker, reason: Reason) -> None:
    await breaker.refused("no", reason)
    await probe(world, breaker)

    await breaker.answered()

    assert breaker.opened is None
    assert breaker.room(50) == 50
    assert await kept(world) == Environment()


async def test_after_it_was_closed_all_begins_anew(world: World, breaker: Breaker) -> None:
    await fail(breaker)
    await probe(world, breaker)
    await breaker.failed("503")
    await probe(world, breaker)
    await breaker.answered()

    await fail(breaker, RUN - 1)
    assert breaker.room(50) == 50
    await fail(breaker, 1)

    assert breaker.opened
    assert breaker.opened.until - world.clock.now() == FIRST_GAP


# what is told


async def test_it_is_told_once_that_it_opened_and_once_that_it_closed(world: World, breaker: Breaker) -> None:
    await fail(breaker, RUN + 5)
    for _ in range(3):
        await probe(world, breaker)
        await breaker.failed("503")
    await probe(world, breaker)
    for _ in range(3):
        await breaker.answered()

    opened, closed = world.events(BreakerOpened, BreakerClosed)
    assert isinstance(opened, BreakerOpened)
    assert (opened.provider, opened.reason, opened.retry_ms) == ("mux", "unreachable", 30_000)
    assert isinstance(closed, BreakerClosed)
    assert (closed.provider, closed.reason, closed.open_ms) == ("mux", "unreachable", 450_000)


async def test_answers_alone_tell_nothing(world: World, breaker: Breaker) -> None:
    await breaker.answered()
    await fail(breaker, RUN - 1)
    await breaker.answered()

    assert world.events() == []


async def test_another_reason_is_told_again(world: World, breaker: Breaker) -> None:
    began = world.clock.now()
    await fail(breaker)
    await probe(world, breaker)
    await breaker.refused("401")

    assert [event.reason for event in world.events() if isinstance(event, BreakerOpened)] == ["unreachable", "refused"]
    assert await kept(world) == Environment(breaker_reason="refused", breaker_opened_at=began)


# what is kept


@pytest.mark.parametrize("reason", Reason)
async def test_why_and_since_when_it_is_open_is_kept(world: World, breaker: Breaker, reason: Reason) -> None:
    began = world.clock.now()
    await breaker.refused("no", reason)
    await probe(world, breaker)
    await breaker.refused("no", reason)

    assert await kept(world) == Environment(breaker_reason=reason.value, breaker_opened_at=began)


async def test_the_identity_of_the_environment_outlives_it(world: World, breaker: Breaker) -> None:
    await world.tools.environments.identify("mux", "default", "env-1")

    await breaker.refused("401")
    assert (await kept(world)).provider_environment_id == "env-1"
    await breaker.answered()
    assert await kept(world) == Environment(provider_environment_id="env-1")


async def test_what_a_process_that_died_has_kept_is_taken_back_at_the_first_answer(world: World) -> None:
    await another(world).refused("401")

    await world.tools.breaker.answered()

    assert await kept(world) == Environment()
    assert world.events(BreakerClosed) == []


# two breakers


async def test_each_process_has_a_breaker_of_its_own(world: World, breaker: Breaker) -> None:
    other = another(world)

    await breaker.refused("401")

    assert (breaker.room(50), other.room(50)) == (0, 50)


async def test_breakers_of_two_environments_are_kept_apart(world: World, breaker: Breaker) -> None:
    other = another(world, "staging")
    await breaker.refused("401")
    await fail(other)

    await breaker.answered()

    assert await kept(world) == Environment()
    assert (await kept(world, "staging")).breaker_reason == "unreachable"


async def test_a_process_without_credentials_opens_it_for_nobody(world: World) -> None:
    row = await world.track()
    without = replace(world.tools, provider=Mux(None))

    with pytest.raises(Refused, match="there are no credentials"):
        await sync_row(without, row, by=By.SYNC)

    assert world.tools.breaker.opened is None
    assert await kept(world) == Environment()
    assert world.called == []
    assert (await world.now_is(row)).state is State.PROCESSING
