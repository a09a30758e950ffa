"""The circuit breaker: when calls stop, how a trial call is made, what is emitted and stored."""

from datetime import timedelta

import pytest

from rindle_sync.domain import State, Trigger
from rindle_sync.errors import AuthenticationFailed
from rindle_sync.gateway import FIRST_GAP, LONGEST_GAP, PROBE, RUN, CircuitBreaker, Reason
from rindle_sync.providers.mux import Mux
from rindle_sync.reconcile import sync_row
from rindle_sync.store import Environment, Environments
from rindle_sync.telemetry import BreakerClosed, BreakerOpened
from tests.support.world import World, a_context

SECOND = timedelta(seconds=1)


@pytest.fixture
def circuit_breaker(world: World) -> CircuitBreaker:
    return world.context.gateway.circuit


def another(world: World, environment: str = "default") -> CircuitBreaker:
    """The circuit breaker of another process."""
    context = world.context if environment == "default" else a_context(world, environment)
    return CircuitBreaker(context.store.environments, context.telemetry, context.now)


async def fail(circuit_breaker: CircuitBreaker, number: int = RUN) -> None:
    for _ in range(number):
        await circuit_breaker.failed("503")


async def probe(world: World, circuit_breaker: CircuitBreaker) -> None:
    """Wait until one may try, and begin a call."""
    assert circuit_breaker.opened
    world.clock.time = circuit_breaker.opened.until
    assert circuit_breaker.enter() is None


async def kept(world: World, environment: str = "default") -> Environment:
    return await Environments(world.context.store.database, "mux", environment).get()


# opening


def test_a_breaker_is_closed_at_first(circuit_breaker: CircuitBreaker) -> None:
    assert circuit_breaker.opened is None
    assert circuit_breaker.enter() is None
    assert circuit_breaker.room(50) == 50


@pytest.mark.parametrize("reason", [Reason.REFUSED, Reason.OTHER_ENVIRONMENT])
async def test_a_refusal_opens_it_at_once(
    world: World, circuit_breaker: CircuitBreaker, reason: Reason
) -> None:
    await circuit_breaker.open(reason, "401")

    opened = circuit_breaker.enter()
    assert opened
    assert opened is circuit_breaker.opened
    assert (opened.reason, opened.text) == (reason, "401")
    assert (opened.at, opened.until) == (world.clock.now(), world.clock.now() + FIRST_GAP)
    assert circuit_breaker.room(50) == 0


async def test_failures_open_it_when_there_is_a_run_of_them_and_not_before(
    circuit_breaker: CircuitBreaker,
) -> None:
    await fail(circuit_breaker, RUN - 1)
    assert circuit_breaker.room(50) == 50

    await fail(circuit_breaker, 1)

    assert circuit_breaker.room(50) == 0
    assert circuit_breaker.opened
    assert circuit_breaker.opened.reason is Reason.UNREACHABLE


async def test_an_answer_ends_a_run_of_failures(circuit_breaker: CircuitBreaker) -> None:
    for _ in range(5):
        await fail(circuit_breaker, RUN - 1)
        await circuit_breaker.succeeded()

    assert circuit_breaker.room(50) == 50


async def test_what_was_under_way_as_it_opened_changes_nothing(
    world: World, circuit_breaker: CircuitBreaker
) -> None:
    await fail(circuit_breaker)
    opened = circuit_breaker.opened
    world.clock.move(FIRST_GAP - SECOND)

    await fail(circuit_breaker, 50)
    await circuit_breaker.open(Reason.REFUSED, "401")

    assert circuit_breaker.opened == opened
    assert len(world.events(BreakerOpened)) == 1


# trying again


async def test_when_the_gap_is_over_one_call_may_try(
    world: World, circuit_breaker: CircuitBreaker
) -> None:
    await fail(circuit_breaker)

    world.clock.move(FIRST_GAP - SECOND)
    assert circuit_breaker.room(50) == 0
    world.clock.move(SECOND)
    assert circuit_breaker.room(50) == 1
    assert circuit_breaker.enter() is None
    assert circuit_breaker.room(50) == 0
    assert circuit_breaker.enter() is circuit_breaker.opened


async def test_no_call_is_room_for_no_call(world: World, circuit_breaker: CircuitBreaker) -> None:
    assert circuit_breaker.room(0) == 0
    await fail(circuit_breaker)
    world.clock.move(FIRST_GAP)
    assert circuit_breaker.room(0) == 0


async def test_a_try_that_never_ends_does_not_keep_others_waiting_for_ever(
    world: World, circuit_breaker: CircuitBreaker
) -> None:
    await fail(circuit_breaker)
    await probe(world, circuit_breaker)

    world.clock.move(PROBE - SECOND)
    assert circuit_breaker.room(1) == 0
    world.clock.move(SECOND)
    assert circuit_breaker.room(50) == 1


async def test_each_try_that_fails_doubles_the_gap_up_to_the_longest(
    world: World, circuit_breaker: CircuitBreaker
) -> None:
    gaps = []
    await fail(circuit_breaker)
    for _ in range(6):
        assert circuit_breaker.opened
        gaps.append((circuit_breaker.opened.until - world.clock.now()).total_seconds())
        await probe(world, circuit_breaker)
        await circuit_breaker.failed("503")

    longest = LONGEST_GAP.total_seconds()
    assert gaps == [30, 60, 120, 240, longest, longest]


async def test_a_refusal_that_stays_doubles_the_gap_too(
    world: World, circuit_breaker: CircuitBreaker
) -> None:
    await circuit_breaker.open(Reason.REFUSED, "401")
    await probe(world, circuit_breaker)
    await circuit_breaker.open(Reason.REFUSED, "401")

    assert circuit_breaker.opened
    assert circuit_breaker.opened.until - world.clock.now() == 2 * FIRST_GAP
    assert circuit_breaker.opened.at == world.clock.now() - FIRST_GAP


# closing


@pytest.mark.parametrize("reason", Reason)
async def test_an_answer_closes_it(
    world: World, circuit_breaker: CircuitBreaker, reason: Reason
) -> None:
    await circuit_breaker.open(reason, "no")
    await probe(world, circuit_breaker)

    await circuit_breaker.succeeded()

    assert circuit_breaker.opened is None
    assert circuit_breaker.room(50) == 50
    assert await kept(world) == Environment()


async def test_after_it_was_closed_all_begins_anew(
    world: World, circuit_breaker: CircuitBreaker
) -> None:
    await fail(circuit_breaker)
    await probe(world, circuit_breaker)
    await circuit_breaker.failed("503")
    await probe(world, circuit_breaker)
    await circuit_breaker.succeeded()

    await fail(circuit_breaker, RUN - 1)
    assert circuit_breaker.room(50) == 50
    await fail(circuit_breaker, 1)

    assert circuit_breaker.opened
    assert circuit_breaker.opened.until - world.clock.now() == FIRST_GAP


# what is told


async def test_it_is_told_once_that_it_opened_and_once_that_it_closed(
    world: World, circuit_breaker: CircuitBreaker
) -> None:
    await fail(circuit_breaker, RUN + 5)
    for _ in range(3):
        await probe(world, circuit_breaker)
        await circuit_breaker.failed("503")
    await probe(world, circuit_breaker)
    for _ in range(3):
        await circuit_breaker.succeeded()

    opened, closed = world.events(BreakerOpened, BreakerClosed)
    assert isinstance(opened, BreakerOpened)
    assert (opened.provider, opened.reason, opened.retry_ms) == ("mux", "unreachable", 30_000)
    assert isinstance(closed, BreakerClosed)
    assert (closed.provider, closed.reason, closed.open_ms) == ("mux", "unreachable", 450_000)


async def test_answers_alone_tell_nothing(world: World, circuit_breaker: CircuitBreaker) -> None:
    await circuit_breaker.succeeded()
    await fail(circuit_breaker, RUN - 1)
    await circuit_breaker.succeeded()

    assert world.events() == []


async def test_another_reason_is_told_again(world: World, circuit_breaker: CircuitBreaker) -> None:
    began = world.clock.now()
    await fail(circuit_breaker)
    await probe(world, circuit_breaker)
    await circuit_breaker.open(Reason.REFUSED, "401")

    assert [event.reason for event in world.events() if isinstance(event, BreakerOpened)] == [
        "unreachable",
        "refused",
    ]
    assert await kept(world) == Environment(circuit_reason="refused", circuit_opened_at=began)


# what is kept


@pytest.mark.parametrize("reason", Reason)
async def test_why_and_since_when_it_is_open_is_kept(
    world: World, circuit_breaker: CircuitBreaker, reason: Reason
) -> None:
    began = world.clock.now()
    await circuit_breaker.open(reason, "no")
    await probe(world, circuit_breaker)
    await circuit_breaker.open(reason, "no")

    assert await kept(world) == Environment(circuit_reason=reason.value, circuit_opened_at=began)


async def test_the_identity_of_the_environment_outlives_it(
    world: World, circuit_breaker: CircuitBreaker
) -> None:
    await world.context.store.environments.identify("env-1")

    await circuit_breaker.open(Reason.REFUSED, "401")
    assert (await kept(world)).provider_environment_id == "env-1"
    await circuit_breaker.succeeded()
    assert await kept(world) == Environment(provider_environment_id="env-1")


async def test_what_a_process_that_died_has_kept_is_taken_back_at_the_first_answer(
    world: World,
) -> None:
    await another(world).open(Reason.REFUSED, "401")

    await world.context.gateway.circuit.succeeded()

    assert await kept(world) == Environment()
    assert world.events(BreakerClosed) == []


# two breakers


async def test_each_process_has_a_breaker_of_its_own(
    world: World, circuit_breaker: CircuitBreaker
) -> None:
    other = another(world)

    await circuit_breaker.open(Reason.REFUSED, "401")

    assert (circuit_breaker.room(50), other.room(50)) == (0, 50)


async def test_breakers_of_two_environments_are_kept_apart(
    world: World, circuit_breaker: CircuitBreaker
) -> None:
    other = another(world, "staging")
    await circuit_breaker.open(Reason.REFUSED, "401")
    await fail(other)

    await circuit_breaker.succeeded()

    assert await kept(world) == Environment()
    assert (await kept(world, "staging")).circuit_reason == "unreachable"


async def test_a_process_without_credentials_opens_it_for_nobody(world: World) -> None:
    row = await world.track()
    world.with_provider(Mux(None))

    with pytest.raises(AuthenticationFailed, match="there are no credentials"):
        await sync_row(world.context, row, trigger=Trigger.SYNC)

    assert world.context.gateway.circuit.opened is None
    assert await kept(world) == Environment()
    assert world.called == []
    assert (await world.now_is(row)).state is State.PROCESSING
