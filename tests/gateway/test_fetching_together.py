"""Many rows fetched together: how many at once, and when the rest is left to a later run."""

import asyncio

from rindle_sync.domain import FailureKind, FetchFailure, Outcome
from tests.support.world import World


async def test_so_many_rows_as_may_be_are_fetched_at_once(world: World) -> None:
    await world.know_identity()
    world.without_pages()
    world.with_gateway(at_once=3)
    await world.know_identity()
    under_way, most = 0, 0

    async def answer_later(_: float) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        for _ in range(100):
            await asyncio.sleep(0)
        under_way -= 1

    world.emulator.sleep = answer_later
    world.emulator.add_fault("latency", seconds=1.0)
    for _ in range(20):
        await world.track()

    result = await world.sweep()

    assert (result.outcome, result.checked, result.calls) == (Outcome.DONE, 20, 20)
    assert most == 3


async def test_after_a_rate_limited_call_the_rest_is_not_asked_about(world: World) -> None:
    world.with_gateway(at_once=1)
    await world.know_identity()
    rows = [await world.track() for _ in range(4)]
    world.emulator.add_fault("rate_limited")
    before = world.calls

    fetched = await world.context.gateway.fetch_all(rows)

    [(row, failure)] = fetched.observed
    assert isinstance(failure, FetchFailure)
    assert failure.kind is FailureKind.THROTTLED
    assert sorted(fetched.skipped) == sorted(other.id for other in rows if other != row)
    assert fetched.calls == world.calls - before == 1


async def test_no_lease_ends_before_its_row_had_its_turn(world: World) -> None:
    world.without_pages()
    world.with_gateway(at_once=1)
    await world.know_identity()
    rows = [await world.track() for _ in range(6)]
    left: list[float] = []

    async def take_half_a_minute(_: float) -> None:
        world.clock.move(31)
        leases = [(await world.now_is(row)).lease_until for row in rows]
        left.extend((until - world.clock.now()).total_seconds() for until in leases if until)

    world.emulator.sleep = take_half_a_minute
    world.emulator.add_fault("latency", seconds=1.0)

    result = await world.sweep()

    assert (result.checked, result.calls) == (6, 6)
    assert min(left) > 0
    assert [(await world.now_is(row)).lease_until for row in rows] == [None] * 6
