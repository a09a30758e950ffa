"""The tail of every road: decide, compare-and-swap, tell, with others writing the same rows at the same time."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest

from rindle_sync.asset import By, Lack, ProviderAsset, Seen, State
from rindle_sync.decide import Verdict
from rindle_sync.errors import Conflict
from rindle_sync.settle import Finding, settle
from rindle_sync.telemetry import Failed, Resolved
from tests.rows import PUBLIC, a_look, a_row, a_webhook
from tests.world import NEVER, World


async def settle_one(world: World, row: ProviderAsset, seen: Seen, by: By = By.SYNC) -> Verdict:
    [settled] = await settle(world.tools, [Finding(row, seen)], by)
    return settled.decision.verdict


async def test_a_slow_look_never_overwrites_a_webhook_that_came_in_meanwhile(world: World) -> None:
    row = await world.track()
    slow = a_look(State.PROCESSING, at=world.clock.now())
    world.clock.move(2)
    await settle_one(world, row, a_webhook(State.READY, at=world.clock.now()), By.WEBHOOK)
    world.clock.move(2)

    verdict = await settle_one(world, row, slow)

    assert verdict is Verdict.STALE
    assert (await world.now_is(row)).state is State.READY


async def test_a_conflict_is_decided_again_on_the_row_as_it_is_now(world: World) -> None:
    row = await world.track()
    await settle_one(world, row, a_look(State.PROCESSING, playback_ids=(PUBLIC,)))

    await settle_one(world, row, a_look(State.READY, at=world.clock.now() + timedelta(seconds=1)))

    after = await world.now_is(row)
    assert (after.state, after.playback_ids, after.version) == (State.READY, (PUBLIC,), 3)


async def test_nothing_is_lost_when_many_settle_one_row_at_once(world: World) -> None:
    row = await world.track(State.UPLOADING)
    at = world.clock.now()
    seen = [
        a_look(State.PROCESSING, at=at + timedelta(seconds=1)),
        a_webhook(State.PROCESSING, at=at + timedelta(seconds=2)),
        a_webhook(State.READY, at=at + timedelta(seconds=3), playback_ids=(PUBLIC,)),
    ]

    await asyncio.gather(*(settle(world.tools, [Finding(row, one)], By.WEBHOOK) for one in seen))

    after = await world.now_is(row)
    changes = await world.tools.store.changes_of(row.id)
    assert (after.state, after.playback_ids) == (State.READY, (PUBLIC,))
    assert changes[0].from_state is State.UPLOADING
    assert all(earlier.to_state is later.from_state for earlier, later in pairwise(changes))
    assert changes[-1].to_state is State.READY


async def test_a_change_says_who_found_it_when_and_how_late(world: World) -> None:
    row = await world.track()
    world.clock.move(90)

    await settle_one(world, row, a_webhook(at=world.clock.now(), occurred_at=world.clock.now() - timedelta(seconds=7)))

    [change] = await world.tools.store.changes_of(row.id)
    assert (change.from_state, change.to_state, change.by) == (State.PROCESSING, State.READY, By.SYNC)
    assert (change.at, change.late_ms, change.version) == (world.clock.now(), 7000, 2)


async def test_a_row_that_was_deleted_meanwhile_is_left_out(world: World) -> None:
    assert await settle(world.tools, [Finding(a_row(), a_look())], By.SYNC) == []
    assert world.told == []


async def test_a_row_that_others_never_stop_writing_is_a_named_error_and_the_rest_is_settled(world: World) -> None:
    busy, calm = await world.track(), await world.track()

    class Unlucky(type(world.tools.store)):  # type: ignore[misc]
        """The real store, beside a writer that is always a moment faster."""

        async def write(self, writes):  # type: ignore[no-untyped-def]
            fresh = await super().get(busy.id)
            faster = [replace(w, row=replace(fresh, version=fresh.version + 1)) for w in writes[:1]]
            await super().write(faster)
            return await super().write(writes)

    world.tools = replace(world.tools, store=Unlucky(world.tools.store.engine))

    with pytest.raises(Conflict, match="nothing of ours was lost"):
        await settle(world.tools, [Finding(busy, a_look()), Finding(calm, a_look())], By.SYNC)

    assert (await world.now_is(calm)).state is State.READY
    assert [e.row_id for e in world.events(Resolved)] == [calm.id]


async def test_an_answer_that_names_another_rows_asset_ends_neither_row(world: World) -> None:
    taken = await world.track()
    waiting = await world.track(State.UPLOADING, provider_asset_id=None, provider_upload_id="upload-1")
    answer = a_look(State.PROCESSING, provider_asset_id=taken.provider_asset_id, at=world.clock.now())

    await settle_one(world, waiting, answer)

    after = await world.now_is(waiting)
    assert (after.state, after.provider_asset_id) == (State.UPLOADING, None)
    assert "another row" in (after.last_sync_error or "")
    assert [e.reason for e in world.events(Failed) if isinstance(e, Failed)] == [Lack.CLASH]
    assert await world.now_is(taken) == taken


async def test_settling_twice_writes_one_change_and_tells_no_second(world: World) -> None:
    row = await world.track()
    look = a_look(State.READY, at=world.clock.now())
    await settle_one(world, row, look)

    await settle_one(world, row, look)

    assert len(await world.tools.store.changes_of(row.id)) == 1
    assert [e.no_change for e in world.events() if isinstance(e, Resolved)] == [False, True]


async def test_an_older_look_that_ends_later_changes_nothing(world: World) -> None:
    row = await world.track(life=NEVER)
    older = a_look(State.UPLOADING, at=world.clock.now())
    world.clock.move(1)
    await settle_one(world, row, a_look(State.READY, at=world.clock.now()))

    await settle_one(world, row, older)

    assert (await world.now_is(row)).state is State.READY
