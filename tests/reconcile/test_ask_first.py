"""Whoever names a row wants its provider asked; the per-row job keeps the stuck policy."""

from datetime import timedelta

import pytest

from rindle_sync.domain import ErrorKind, ProviderAsset, State, StuckPolicy, Trigger
from rindle_sync.reconcile import sync, sync_row
from rindle_sync.telemetry import Failed, Resolved, Stuck
from tests.support.world import NEVER, READY, World, a_job_runner

THREE_HOURS = timedelta(hours=3)


async def in_flight_for_long(world: World, **values: object) -> ProviderAsset:
    return await world.track(updated_at=world.clock.now() - THREE_HOURS, **values)  # type: ignore[arg-type]


async def asked(world: World, row: ProviderAsset) -> ProviderAsset:
    await sync(world.context, row.provider_asset_id or "", ask_first=True)
    return await world.now_is(row)


async def test_a_row_in_flight_for_long_whose_asset_is_ready_is_ready_once_a_person_asks(
    world: World,
) -> None:
    after = await asked(world, await in_flight_for_long(world, life=READY))

    assert (after.state, after.error_kind, world.calls) == (State.READY, None, 1)
    assert world.names() == [Resolved.name]


async def test_a_row_that_the_answer_leaves_in_flight_is_stuck(world: World) -> None:
    after = await asked(world, await in_flight_for_long(world, life=NEVER))

    assert (after.state, after.error_kind) == (State.ERRORED, ErrorKind.STUCK)
    assert after.last_sync_error == "stuck in :processing past threshold"
    assert (world.names(), world.calls) == ([Resolved.name, Stuck.name], 1)


async def test_a_row_without_an_answer_stays_in_flight_though_it_is_asked_about(
    world: World,
) -> None:
    row = await in_flight_for_long(world, life=READY)
    world.emulator.add_fault("server_error")

    after = await asked(world, row)

    assert (after.state, after.updated_at) == (State.PROCESSING, row.updated_at)
    assert {type(event) for event in world.events()} == {Failed}


async def test_without_it_the_stuck_policy_is_kept_to_the_letter(world: World) -> None:
    row = await in_flight_for_long(world, life=READY)

    await world.sync(row)

    assert (await world.now_is(row)).error_kind is ErrorKind.STUCK
    assert world.calls == 0


async def test_a_due_row_past_the_threshold_costs_the_per_row_job_no_call(world: World) -> None:
    row = await in_flight_for_long(world, life=READY)

    await a_job_runner(world).sync_row(row)

    assert (await world.now_is(row)).error_kind is ErrorKind.STUCK
    assert world.calls == 0


@pytest.mark.parametrize("policy", list(StuckPolicy))
async def test_to_ask_first_changes_no_policy_for_other_rows(
    world: World, policy: StuckPolicy
) -> None:
    world.with_policy(stuck_policy=policy)
    row, other = [await in_flight_for_long(world, life=READY) for _ in range(2)]

    await sync_row(world.context, row, trigger=Trigger.CLI, ask_first=True)
    await world.sync(other)

    assert (await world.now_is(row)).state is State.READY
    declared = policy is StuckPolicy.DECLARE
    assert ((await world.now_is(other)).state is State.ERRORED) is declared
