"""What makes a row due while a check of it is under way is not answered by that check."""

from typing import Any

import pytest

from rindle_sync.domain import ObservationSource, ProviderAsset, State, Trigger, Verdict
from rindle_sync.reconcile import Observed, apply
from rindle_sync.webhooks import process_webhook_events
from tests.support.rows import PUBLIC, a_look
from tests.support.webhooks import an_event, deliver, with_secrets
from tests.support.world import READY, World

TYPES = ("updated", "errored", "track.ready", "static_renditions.ready", "live_stream_completed")


async def at_rest(world: World) -> ProviderAsset:
    return await world.track(State.READY, life=READY, playback_ids=(PUBLIC,), check_at=None)


async def applied(world: World, row: ProviderAsset, type_: str) -> None:
    """An event that leaves the row ambiguous comes in and is applied a second from now."""
    with_secrets(world)
    world.clock.move(1)
    part: dict[str, Any] = {"status": "ready"}
    if type_ == "updated":
        part["playback_ids"] = []
    if type_ == "track.ready":
        part |= {"id": "track-1", "asset_id": row.provider_asset_id}
    at = world.clock.now().isoformat()
    await deliver(world, an_event(row, f"video.asset.{type_}", at=at, **part))
    await process_webhook_events(world.context)


@pytest.mark.parametrize("type_", TYPES)
async def test_a_row_that_a_webhook_leaves_ambiguous_during_a_get_stays_due(
    world: World, type_: str
) -> None:
    row = await at_rest(world)
    late = a_look(State.READY, at=world.clock.now(), playback_ids=(PUBLIC,))
    await applied(world, row, type_)
    due = world.clock.now()
    world.clock.move(1)

    [done] = await apply(world.context, [Observed(row, late)], Trigger.SWEEP)

    after = await world.now_is(row)
    assert (done.decision.verdict, after.state) == (Verdict.UNCHANGED, State.READY)
    assert after.check_at == due


@pytest.mark.parametrize("type_", TYPES)
async def test_a_row_that_a_webhook_leaves_ambiguous_while_a_page_comes_stays_due(
    world: World, type_: str
) -> None:
    row = await at_rest(world)
    source = ObservationSource.LIST
    late = a_look(State.READY, at=world.clock.now(), playback_ids=(PUBLIC,), source=source)
    await applied(world, row, type_)
    due = world.clock.now()
    world.clock.move(1)

    # the rows of a page are read when it is there: nobody writes them after that
    await apply(world.context, [Observed(await world.now_is(row), late)], Trigger.SWEEP)

    assert (await world.now_is(row)).check_at == due


async def test_a_check_that_began_later_answers_it(world: World) -> None:
    row = await at_rest(world)
    await applied(world, row, "updated")
    look = a_look(State.READY, at=world.clock.now(), playback_ids=(PUBLIC,))
    world.clock.move(1)

    await apply(world.context, [Observed(await world.now_is(row), look)], Trigger.SWEEP)

    assert (await world.now_is(row)).check_at is None


async def test_a_row_that_is_made_due_during_a_check_stays_due(world: World) -> None:
    row = await at_rest(world)
    late = a_look(State.READY, at=world.clock.now(), playback_ids=(PUBLIC,))
    world.clock.move(1)
    await world.context.store.assets.make_due(row.id, world.clock.now())
    due = world.clock.now()
    world.clock.move(1)

    await apply(world.context, [Observed(row, late)], Trigger.SWEEP)

    assert (await world.now_is(row)).check_at == due
