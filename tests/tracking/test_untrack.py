"""A row is forgotten: nothing brings it back, and the provider's asset goes only on request."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from rindle_sync.domain import ADOPTED, ProviderAsset, State, replace
from rindle_sync.errors import AlreadyBegun, ProviderError
from rindle_sync.reconcile import audit, backfill
from rindle_sync.runtime import ChangeEvent, change_callback, dispatch
from rindle_sync.store.schema import changes, webhook_events
from rindle_sync.tracking import asset_row, prepare_asset, track, untrack
from rindle_sync.webhooks import process_webhook_events
from tests.support.webhooks import an_event, deliver, with_secrets
from tests.support.world import World
from tests.tracking.test_direct_upload import begun, uploads
from tests.tracking.test_new_asset import REQUEST, lost
from tests.tracking.test_replace import a_ready_row, former

HOUR = timedelta(hours=1)


async def ids_of(world: World) -> list[str]:
    return [row.id async for row in world.context.store.assets.rows()]


async def bodies_of(world: World) -> list[int]:
    """The sizes of the stored webhook bodies."""
    size = select(func.length(webhook_events.c.body)).order_by(webhook_events.c.received_at)
    async with world.context.store.database.reading() as connection:
        return list((await connection.execute(size)).scalars())


async def with_history(world: World) -> ProviderAsset:
    """A row with a webhook event about it, and with changes that are not dispatched yet."""
    with_secrets(world)
    row = await world.track()
    await deliver(world, an_event(row))
    await process_webhook_events(world.context)
    return await world.now_is(row)


async def test_a_row_that_is_forgotten_is_gone_and_its_asset_stays(world: World) -> None:
    row = await a_ready_row(world)

    assert await untrack(world.context, row) == row

    assert await ids_of(world) == []
    assert world.body_of(row.provider_asset_id or "")["status"] == "ready"
    assert await former(world) == [(row.provider_asset_id, None, row.id, "untracked")]


async def test_no_scan_and_no_event_brings_it_back(world: World) -> None:
    row = await with_history(world)
    await untrack(world.context, row)

    await deliver(world, an_event(row, id="event-2"))
    await process_webhook_events(world.context)
    await world.sweep()
    filled = await backfill(world.context)
    report = await audit(world.context, adopt=True)

    assert await ids_of(world) == []
    assert (filled.adopted, report.adopted) == (0, 0)


async def test_an_explicit_track_of_its_asset_brings_it_back(world: World) -> None:
    row = await a_ready_row(world)
    await untrack(world.context, row)

    again = await track(
        world.context,
        state=None,
        reference=row.reference,
        profile="default",
        provider_asset_id=row.provider_asset_id,
    )

    assert await ids_of(world) == [again.id]
    assert await former(world) == []


async def test_its_reference_can_be_used_again(world: World) -> None:
    row = await a_ready_row(world, reference="video-1")
    await untrack(world.context, row)

    assert (await begun(world, reference="video-1")).id != row.id


async def test_forgetting_twice_is_once(world: World) -> None:
    row = await a_ready_row(world)

    await asyncio.gather(*(untrack(world.context, row) for _ in range(3)))

    assert len(await former(world)) == 1


async def test_its_changes_are_still_dispatched_without_the_row(world: World) -> None:
    row = await with_history(world)
    heard: list[tuple[str, ProviderAsset | None]] = []

    async def hear(event: ChangeEvent) -> None:
        heard.append((event.change.row_id, event.row))

    await untrack(world.context, row)
    await dispatch(world.context, [change_callback(hear)])

    assert heard == [(row.id, None)]
    assert min(await bodies_of(world)) > 0


async def test_its_history_goes_on_request(world: World) -> None:
    row, other = await with_history(world), await a_ready_row(world)

    await untrack(world.context, row, history=True)

    async with world.context.store.database.reading() as connection:
        left = (await connection.execute(select(changes.c.row_id))).scalars().all()
    assert set(left) == {other.id}


async def test_the_bodies_of_its_webhooks_go_on_request_and_a_repeated_one_stays_known(
    world: World,
) -> None:
    row = await with_history(world)
    await deliver(world, an_event("another-asset", id="event-3"))

    await untrack(world.context, row, webhook_bodies=True)

    empty, full = sorted(await bodies_of(world))
    assert (empty, full > 0) == (0, True)


# the asset at the provider


async def test_its_asset_is_deleted_first_on_request(world: World) -> None:
    row = await a_ready_row(world)

    await untrack(world.context, row, delete_asset=True)

    assert world.emulator.calls["delete_asset"] == 1
    assert await ids_of(world) == []
    assert (await backfill(world.context)).assets == 0


async def test_a_list_that_lags_makes_no_row_of_a_deleted_asset(world: World) -> None:
    row = await a_ready_row(world)
    world.clock.move(HOUR)
    await untrack(world.context, row, delete_asset=True)
    world.emulator.add_fault("lagging_list", seconds=60)

    await backfill(world.context)

    assert await ids_of(world) == []


async def test_an_asset_that_is_gone_already_is_no_hindrance(world: World) -> None:
    row = await a_ready_row(world)
    world.emulator.delete_asset(row.provider_asset_id or "")

    await untrack(world.context, row, delete_asset=True)

    assert await ids_of(world) == []


@pytest.mark.parametrize("kind", ["server_error", "unauthorized", "broken_json"])
async def test_where_the_provider_does_not_delete_it_nothing_is_forgotten(
    world: World, kind: str
) -> None:
    row = await a_ready_row(world)
    world.emulator.add_fault(kind, operation="delete_asset")
    if kind == "broken_json":
        world.emulator.add_fault("server_error", operation="delete_asset")

    with pytest.raises(ProviderError):
        await untrack(world.context, row, history=True, delete_asset=True)

    assert await world.now_is(row) == row


async def test_an_upload_that_waits_for_its_file_is_cancelled_instead(world: World) -> None:
    row = await begun(world)

    await untrack(world.context, row, delete_asset=True)

    assert uploads(world)[0].is_cancelled
    assert (await ids_of(world), world.emulator.calls["delete_asset"]) == ([], 0)


async def test_an_upload_whose_file_has_come_is_deleted_as_an_asset(world: World) -> None:
    row = await begun(world)
    world.emulator.finish_upload(row.provider_upload_id or "")

    await untrack(world.context, row, delete_asset=True)

    assert world.emulator.calls["delete_asset"] == 1
    assert (await ids_of(world), (await backfill(world.context)).assets) == ([], 0)


async def test_an_asset_that_nobody_knows_yet_cannot_be_deleted(world: World) -> None:
    row = await lost(world)

    with pytest.raises(AlreadyBegun):
        await untrack(world.context, row, delete_asset=True)
    assert await ids_of(world) == [row.id]

    await untrack(world.context, row)
    assert await ids_of(world) == []


async def test_a_row_that_was_only_prepared_is_forgotten_without_a_call(world: World) -> None:
    fresh = asset_row(world.context, "video-1", "default", REQUEST)
    waiting = await prepare_asset(world.context, fresh, REQUEST)
    row = await world.context.store.assets.get(waiting.row_id)
    assert row

    await untrack(world.context, row, delete_asset=True)

    assert (await ids_of(world), world.calls) == ([], 0)


# what is under way


@pytest.mark.parametrize("work", ["sync", "sweep", "webhook"])
async def test_what_is_under_way_neither_fails_nor_brings_it_back(world: World, work: str) -> None:
    with_secrets(world)
    row = await world.track()

    async def forget(*_: Any) -> None:
        await untrack(world.context, row)

    if work == "webhook":
        await deliver(world, an_event(row))
        await forget()
        await process_webhook_events(world.context)
    else:
        world.emulator.sleep = forget
        world.emulator.add_fault("late_answer", seconds=1)
        await (world.sync(row) if work == "sync" else world.sweep())

    assert await ids_of(world) == []


async def test_a_row_that_a_scan_made_too_late_goes(world: World) -> None:
    kept, gone, tracked = [await world.track(ingest_mode=ADOPTED) for _ in range(3)]
    for row in (gone, tracked):
        await untrack(world.context, row)
    await world.context.store.assets.add(gone)
    await world.context.store.assets.add(replace(tracked, ingest_mode=None))
    asset_ids = [row.provider_asset_id or "" for row in (kept, gone, tracked)]

    assert await world.context.store.removal.remove_superseded(asset_ids, ADOPTED) == 1

    assert await world.context.store.assets.get(gone.id) is None
    assert len(await ids_of(world)) == 2


async def test_a_row_s_state_does_not_matter(world: World) -> None:
    for state in State:
        row = await world.track(state)
        await untrack(world.context, row)

    assert await ids_of(world) == []
