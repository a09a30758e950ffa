"""A row gets another asset: what it had before matches nothing any more."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import select

from rindle_sync.domain import (
    ADOPTED,
    UNTRACKED,
    ErrorKind,
    EventStatus,
    Media,
    ProviderAsset,
    State,
    Trigger,
)
from rindle_sync.errors import AlreadyTracked, ConfigurationError, Conflict
from rindle_sync.providers import UploadRequest
from rindle_sync.reconcile import audit, backfill, sync_row
from rindle_sync.store.schema import superseded
from rindle_sync.tracking import (
    begin_upload,
    cancel_upload,
    replace_asset,
    track,
    untrack,
    upload_row,
)
from rindle_sync.webhooks import process_webhook_events
from tests.support.webhooks import an_event, deliver, with_secrets
from tests.support.world import READY, World

REQUEST = UploadRequest(cors_origin="*")


async def former(world: World) -> list[tuple[str | None, str | None, str, str]]:
    """What is remembered: asset, upload, row, reason."""
    columns = superseded.c
    wanted = select(
        columns.provider_asset_id, columns.provider_upload_id, columns.row_id, columns.reason
    )
    async with world.context.store.database.reading() as connection:
        return [tuple(line) for line in await connection.execute(wanted.order_by(columns.id))]


async def a_ready_row(world: World, **values: Any) -> ProviderAsset:
    row = await world.track(**values)
    await world.sync(row)
    return await world.now_is(row)


async def upload_for(world: World, row: ProviderAsset, **options: Any) -> ProviderAsset:
    fresh = upload_row(world.context, row.reference, row.profile, REQUEST)
    link = await begin_upload(world.context, fresh, REQUEST, **options)
    found = await world.context.store.assets.get(link.row_id)
    assert found
    return found


async def test_a_row_that_gets_another_asset_becomes_what_the_provider_says_of_it(
    world: World,
) -> None:
    row = await a_ready_row(world, playback_policy="signed", ingest_mode="mine")
    other = world.emulator.create_asset(life=READY)

    after = await replace_asset(world.context, row, provider_asset_id=other)
    stood = await world.now_is(row)
    world.clock.move(60)
    await world.sweep()

    assert after == stood
    assert (after.id, after.reference, after.state) == (row.id, row.reference, State.PROCESSING)
    assert (after.playback_policy, after.ingest_mode) == ("signed", "mine")
    assert (after.playback_ids, after.raw_provider_metadata) == ((), None)
    ready = await world.now_is(row)
    assert (ready.state, ready.provider_asset_id) == (State.READY, other)
    assert len(ready.playback_ids) == 1
    assert await former(world) == [(row.provider_asset_id, None, row.id, "replaced")]


async def test_it_is_one_change_of_state_by_the_app(world: World) -> None:
    row = await a_ready_row(world)

    await replace_asset(
        world.context, row, provider_asset_id=world.emulator.create_asset(life=READY)
    )

    *_, change = await world.context.store.assets.changes_of(row.id)
    assert (change.from_state, change.to_state, change.trigger, change.reason) == (
        State.READY,
        State.PROCESSING,
        Trigger.APP,
        "replaced",
    )
    assert len(await world.context.store.assets.changes_of(row.id)) == 2


async def test_what_an_app_shows_of_the_old_asset_goes_with_it(world: World) -> None:
    row = await a_ready_row(world, duration=12.5, title="The old one", resolution="1080p")

    after = await replace_asset(world.context, row, provider_asset_id="asset-2")

    assert [getattr(after, name) for name in Media.__struct_fields__] == [
        getattr(Media(), name) for name in Media.__struct_fields__
    ]


async def test_an_upload_replaces_an_asset(world: World) -> None:
    row = await a_ready_row(world)
    upload = world.emulator.create_upload(life=READY)

    after = await replace_asset(world.context, row, provider_upload_id=upload)
    asset = world.emulator.finish_upload(upload)
    world.clock.move(60)
    await world.sweep()

    assert (after.state, after.provider_asset_id) == (State.UPLOADING, None)
    assert (await world.now_is(row)).provider_asset_id == asset


@pytest.mark.parametrize("state", list(State))
async def test_a_row_in_any_state_can_get_another_asset(world: World, state: State) -> None:
    row = await world.track(state)
    other = world.emulator.create_asset(life=READY)

    await replace_asset(world.context, row, provider_asset_id=other)
    world.clock.move(60)
    await world.sweep()

    after = await world.now_is(row)
    assert (after.state, after.provider_asset_id, after.error_kind) == (State.READY, other, None)


@pytest.mark.parametrize("type_", ["created", "ready", "errored", "deleted"])
async def test_late_events_of_the_old_asset_match_nothing(world: World, type_: str) -> None:
    with_secrets(world)
    row = await a_ready_row(world, passthrough="shared")
    after = await replace_asset(world.context, row, provider_asset_id="asset-2")

    await deliver(world, an_event(row, f"video.asset.{type_}", passthrough="shared"))
    await process_webhook_events(world.context)

    assert await world.now_is(row) == after
    [kept] = await world.context.store.inbox.list()
    assert (kept.status, kept.reason) == (EventStatus.IGNORED, UNTRACKED)


async def test_neither_list_nor_scan_brings_the_old_asset_back(world: World) -> None:
    row = await a_ready_row(world)
    other = world.emulator.create_asset(life=READY)
    await replace_asset(world.context, row, provider_asset_id=other)
    world.clock.move(60)

    await world.sweep()
    filled = await backfill(world.context)
    report = await audit(world.context, adopt=True)

    assert (filled.adopted, report.adopted, report.drift["orphan"]) == (0, 0, 0)
    assert [found.id async for found in world.context.store.assets.rows()] == [row.id]


async def test_a_slow_404_about_the_old_asset_does_not_touch_the_new_one(world: World) -> None:
    row = await world.track(provider_asset_id="gone")
    other = world.emulator.create_asset(life=READY)
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def slowly(_: float) -> None:
        asked.set()
        await may_answer.wait()

    world.emulator.sleep = slowly
    world.emulator.add_fault("late_answer", operation="get_asset", seconds=1)
    checking = asyncio.create_task(world.sync(row))
    await asyncio.wait_for(asked.wait(), 10)
    after = await replace_asset(world.context, row, provider_asset_id=other)
    may_answer.set()

    assert await checking is None
    assert await world.now_is(row) == after


async def test_what_an_audit_missed_of_the_old_asset_does_not_count_against_the_new_one(
    world: World,
) -> None:
    row = await a_ready_row(world)
    await world.context.store.job_runs.add_candidates({row.id: world.clock.now()}, is_missing=True)

    await replace_asset(world.context, row, provider_asset_id="asset-2")

    assert await world.context.store.job_runs.candidates(10, are_missing=True) == {}


async def test_asking_twice_for_the_same_changes_nothing_more(world: World) -> None:
    row = await a_ready_row(world)
    once = await replace_asset(world.context, row, provider_asset_id="asset-2")

    assert await replace_asset(world.context, once, provider_asset_id="asset-2") == once
    with pytest.raises(Conflict):
        await replace_asset(world.context, row, provider_asset_id="asset-3")


async def test_the_old_asset_can_be_had_back(world: World) -> None:
    row = await a_ready_row(world)
    once = await replace_asset(world.context, row, provider_asset_id="asset-2")

    await replace_asset(world.context, once, provider_asset_id=row.provider_asset_id)
    world.clock.move(60)
    await world.sweep()

    assert (await world.now_is(row)).state is State.READY
    assert await former(world) == [("asset-2", None, row.id, "replaced")]


async def test_an_asset_that_another_row_has_is_refused(world: World) -> None:
    row, other = await a_ready_row(world), await a_ready_row(world)

    with pytest.raises(AlreadyTracked) as raised:
        await replace_asset(world.context, row, provider_asset_id=other.provider_asset_id)

    assert (raised.value.row_id, raised.value.state) == (other.id, State.READY)
    assert await world.now_is(row) == row


async def test_a_row_that_was_adopted_gives_its_asset_up(world: World) -> None:
    row = await a_ready_row(world)
    adopted = await a_ready_row(world, ingest_mode=ADOPTED)

    after = await replace_asset(world.context, row, provider_asset_id=adopted.provider_asset_id)

    assert after.provider_asset_id == adopted.provider_asset_id
    assert await world.context.store.assets.get(adopted.id) is None


async def test_a_row_that_was_adopted_stays_where_the_other_does_not_get_its_asset(
    world: World,
) -> None:
    row, adopted = await a_ready_row(world), await a_ready_row(world, ingest_mode=ADOPTED)
    # written by others since it was read
    await world.context.store.assets.make_due(row.id, world.clock.time)
    asset_id, engine = adopted.provider_asset_id, world.context.store.database.engine

    with pytest.raises(Conflict):
        await replace_asset(world.context, row, provider_asset_id=asset_id)
    async with engine.begin() as connection:
        context = world.context.within(connection.for_app())
        with pytest.raises(Conflict):
            await replace_asset(context, row, provider_asset_id=asset_id)

    assert await world.now_is(adopted) == adopted
    assert await former(world) == []


async def test_one_transaction_swaps_the_asset_of_another_row_in(world: World) -> None:
    row, following = await a_ready_row(world), await a_ready_row(world)
    engine = world.context.store.database.engine

    async with engine.begin() as connection:
        context = world.context.within(connection.for_app())
        await untrack(context, following)
        await replace_asset(context, row, provider_asset_id=following.provider_asset_id)

    after = await world.now_is(row)
    assert after.provider_asset_id == following.provider_asset_id
    assert await world.context.store.assets.get(following.id) is None
    assert await former(world) == [(row.provider_asset_id, None, row.id, "replaced")]


@pytest.mark.parametrize("values", [{}, {"provider_asset_id": ""}, {"provider_asset_id": "a\0b"}])
async def test_without_a_usable_id_nothing_changes(world: World, values: dict[str, Any]) -> None:
    row = await a_ready_row(world)

    with pytest.raises(ConfigurationError, match="provider_asset_id"):
        await replace_asset(world.context, row, **values)

    assert await world.now_is(row) == row


# begun again


async def test_a_tombstone_begins_anew_by_an_upload_and_by_nothing_else(world: World) -> None:
    row = await world.track(State.DELETED, reference="video-1")
    await sync_row(world.context, row, trigger=Trigger.SYNC)
    assert (await world.now_is(row)).state is State.DELETED

    after = await upload_for(world, row)

    assert (after.id, after.state) == (row.id, State.UPLOADING)
    assert await former(world) == [(row.provider_asset_id, None, row.id, "replaced")]


async def test_a_ready_row_is_begun_again_only_where_the_app_replaces_it(world: World) -> None:
    row = await a_ready_row(world, reference="video-1")

    with pytest.raises(AlreadyTracked) as raised:
        await upload_for(world, row)
    after = await upload_for(world, row, replacing=True)

    assert (raised.value.row_id, raised.value.state) == (row.id, State.READY)
    assert (after.id, after.state, after.playback_ids) == (row.id, State.UPLOADING, ())
    assert await former(world) == [(row.provider_asset_id, None, row.id, "replaced")]


async def test_a_replacement_that_failed_can_be_taken_back(world: World) -> None:
    row = await a_ready_row(world, reference="video-1")
    failed = await cancel_upload(world.context, await upload_for(world, row, replacing=True))
    assert failed.error_kind is ErrorKind.UPLOAD

    await replace_asset(world.context, failed, provider_asset_id=row.provider_asset_id)
    world.clock.move(60)
    await world.sweep()

    assert (await world.now_is(row)).playback_ids == row.playback_ids


async def test_the_asset_of_a_failed_attempt_is_not_adopted(world: World) -> None:
    row = await world.track(State.ERRORED, reference="video-1", life=READY)

    await upload_for(world, row)

    assert (await backfill(world.context)).adopted == 0


async def test_an_explicit_track_forgets_that_an_asset_was_replaced(world: World) -> None:
    row = await a_ready_row(world)
    await replace_asset(world.context, row, provider_asset_id="asset-2")

    await track(
        world.context,
        state=None,
        reference="another",
        profile="default",
        provider_asset_id=row.provider_asset_id,
    )

    assert await former(world) == []


async def test_a_tombstone_begins_anew_by_a_track_of_another_asset(world: World) -> None:
    row = await world.track(State.DELETED, reference="video-1")
    other = world.emulator.create_asset(life=READY)
    values = {"reference": "video-1", "profile": "default"}

    same = await track(world.context, provider_asset_id=row.provider_asset_id, **values)
    after = await track(world.context, provider_asset_id=other, **values)

    assert same.state is State.DELETED
    assert (after.id, after.state, after.provider_asset_id) == (row.id, State.PROCESSING, other)
    assert await former(world) == [(row.provider_asset_id, None, row.id, "replaced")]


@pytest.mark.parametrize("state", [state for state in State if state is not State.DELETED])
async def test_a_track_of_another_asset_replaces_no_living_one(world: World, state: State) -> None:
    row = await world.track(state, reference="video-1")

    with pytest.raises(AlreadyTracked) as raised:
        await track(
            world.context, reference="video-1", profile="default", provider_asset_id="asset-2"
        )

    assert (raised.value.row_id, raised.value.state) == (row.id, state)
    assert await world.now_is(row) == row
