"""The pass over the rows that are due."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from rindle_sync.asset import ErrorKind, State
from rindle_sync.breaker import RUN
from rindle_sync.round import Outcome
from rindle_sync.sweep import sweep
from rindle_sync.telemetry import Resolved, Swept
from tests.world import NEVER, READY, World

FLOOR = timedelta(seconds=30)


def until(world: World, calls: int) -> Callable[[], bool]:
    """Says yes until so many calls were made."""
    return lambda: world.calls < calls


async def test_every_due_row_is_in_step_after_one_pass(world: World) -> None:
    rows = [await world.track() for _ in range(7)]

    tally = await world.sweep()

    assert (tally.outcome, tally.looked, tally.changed) == (Outcome.DONE, 7, 7)
    assert {(await world.now_is(row)).state for row in rows} == {State.READY}
    assert world.calls == tally.calls == tally.pages == 1


async def test_a_row_touched_less_than_the_floor_ago_is_left_alone(world: World) -> None:
    await world.track(updated_at=world.clock.now() - FLOOR + timedelta(microseconds=1))
    await world.track(updated_at=world.clock.now() - FLOOR)

    assert (await world.sweep()).looked == 1


async def test_a_row_is_left_alone_before_its_time(world: World) -> None:
    await world.track(check_at=world.clock.now() + timedelta(microseconds=1))

    assert (await world.sweep()).looked == 0
    assert world.calls == 0


async def test_a_pass_looks_at_each_row_once_even_when_it_takes_long(world: World) -> None:
    world.without_pages()
    world.with_reads(1, 0.01)
    rows = [await world.track(life=NEVER, updated_at=world.clock.now() - 2 * FLOOR) for _ in range(5)]

    tally = await world.sweep()

    assert tally.looked == len(rows) == world.calls


async def test_rows_just_looked_at_do_not_keep_others_waiting(world: World) -> None:
    world.without_pages()
    world.tools = replace(world.tools, batch=3)
    rows = [await world.track(life=NEVER) for _ in range(9)]

    for number in range(3):
        await sweep(world.tools, keep_going=until(world, 3 * number + 1))
        world.clock.move(5)

    assert {(await world.now_is(row)).version for row in rows} == {2}
    assert world.calls == 9


async def test_a_row_that_needs_no_call_costs_no_call(world: World) -> None:
    await world.track(updated_at=world.clock.now() - timedelta(hours=3))

    tally = await world.sweep()

    assert (tally.looked, tally.uncalled, world.calls) == (1, 1, 0)


async def test_two_sweeps_at_once_share_no_row(world: World) -> None:
    for _ in range(120):
        await world.track(life=NEVER)

    one, other = await asyncio.gather(world.sweep(), world.sweep())

    assert {one.looked, other.looked} == {0, 120}
    assert {one.outcome, other.outcome} == {Outcome.DONE, Outcome.ELSEWHERE}
    assert world.calls == 2


async def test_two_sweeps_at_once_share_no_row_that_is_asked_about_by_id(world: World) -> None:
    world.without_pages()
    world.tools = replace(world.tools, round_lease=timedelta(0))  # the second takes the first for dead
    for _ in range(120):
        await world.track(life=NEVER)

    one, other = await asyncio.gather(world.sweep(), world.sweep())

    assert one.looked + other.looked == 120
    assert world.calls == 120


async def test_a_provider_that_is_down_ends_the_pass_before_all_rows_have_failed(world: World) -> None:
    world.emulator.add_fault("server_error")
    world.without_pages()
    world.tools = replace(world.tools, batch=RUN)
    rows = [await world.track() for _ in range(2 * RUN)]

    tally = await world.sweep()

    assert (tally.outcome, tally.unanswered, world.calls) == (Outcome.UNREACHABLE, RUN, RUN)
    assert {(await world.now_is(row)).state for row in rows} == {State.PROCESSING}


async def test_rows_that_brought_no_answer_are_tried_again_soon(world: World) -> None:
    world.emulator.add_fault("server_error", times=1)
    row = await world.track()
    await world.sweep()

    world.clock.move(world.tools.schedule.retry)
    await world.sweep()

    assert (await world.now_is(row)).state is State.READY


async def test_a_throttled_pass_waits_and_goes_on(world: World) -> None:
    world.emulator.set_rate_limits("low")
    rows = [await world.track() for _ in range(40)]
    began = world.clock.now()

    for _ in range(20):
        await world.sweep()
        world.clock.move(5)

    assert {(await world.now_is(row)).state for row in rows} == {State.READY}
    assert world.clock.now() - began > timedelta(seconds=20)


async def test_a_budget_that_fits_the_token_is_never_throttled(world: World) -> None:
    world.emulator.set_rate_limits("low")
    world.with_reads(20, 1.0)
    rows = [await world.track() for _ in range(60)]

    await world.sweep()

    assert {(await world.now_is(row)).state for row in rows} == {State.READY}
    assert world.emulator.statuses[429] == 0


async def test_a_stopped_pass_leaves_the_rest_due_and_unleased(world: World) -> None:
    world.without_pages()
    world.tools = replace(world.tools, batch=5)
    rows = [await world.track() for _ in range(20)]
    tally = await sweep(world.tools, keep_going=until(world, 1))

    after = [await world.now_is(row) for row in rows]
    assert (tally.outcome, tally.looked) == (Outcome.STOPPED, 5)
    assert sum(row.state is State.PROCESSING for row in after) == 15
    assert all(row.lease_until is None for row in after)


async def test_a_cancelled_pass_gives_its_leases_back(world: World) -> None:
    world.emulator.sleep = asyncio.sleep
    world.emulator.add_fault("silence")
    row = await world.track()
    work = asyncio.create_task(world.sweep())
    async with asyncio.timeout(10):
        while not world.emulator.calls:  # noqa: ASYNC110  the emulator has no event to wait for
            await asyncio.sleep(0.01)

    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work

    assert (await world.now_is(row)).lease_until is None


async def test_a_pass_is_told_with_what_it_did(world: World) -> None:
    await world.track()
    await world.track(life=NEVER)

    await world.sweep()

    [told] = world.events(Swept)
    assert told.metadata() == {
        "provider": "mux",
        "outcome": "done",
        "looked": 2,
        "changed": 1,
        "unanswered": 0,
        "calls": 1,
        "pages": 1,
        "duration_ms": 0,
    }


async def test_a_row_errored_as_stuck_is_given_up_after_the_recovery_days(world: World) -> None:
    row = await world.track(
        State.ERRORED, life=NEVER, error_kind=ErrorKind.STUCK, updated_at=world.clock.now() - timedelta(days=8)
    )

    await world.sweep()

    assert (await world.now_is(row)).check_at is None


async def test_an_upload_that_became_an_asset_is_linked_and_followed_to_its_end(world: World) -> None:
    upload = world.emulator.create_upload(life=READY)
    row = await world.track(State.UPLOADING, provider_asset_id=None, provider_upload_id=upload)
    asset = world.emulator.finish_upload(upload)

    await world.sweep()
    linked = await world.now_is(row)
    world.clock.move(FLOOR * 2)
    await world.sweep()

    assert linked.provider_asset_id == asset
    assert (await world.now_is(row)).state is State.READY


async def test_an_upload_that_timed_out_ends_as_errored_with_the_reason(world: World) -> None:
    upload = world.emulator.create_upload(timeout=60)
    row = await world.track(State.UPLOADING, provider_asset_id=None, provider_upload_id=upload)
    world.clock.move(61)

    await world.sweep()

    after = await world.now_is(row)
    assert (after.state, after.error_kind, after.last_sync_error) == (
        State.ERRORED,
        ErrorKind.UPLOAD,
        "mux upload timed out",
    )


async def test_ages_are_told_as_they_were_before_the_pass_wrote(world: World) -> None:
    await world.track()

    await world.sweep()

    assert [e.age_ms for e in world.events() if isinstance(e, Resolved)] == [3_600_000]
