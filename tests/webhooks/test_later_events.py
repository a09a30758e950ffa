"""What changes after an asset is ready: events about its parts, and answers that say no news."""

import json
from datetime import timedelta
from typing import Any

import pytest

from rindle_sync.domain import EventStatus, ProviderAsset, State, Verdict
from rindle_sync.providers.mux.webhooks import read_event, read_observation
from rindle_sync.reconcile import audit
from rindle_sync.telemetry import Resolved, StateChange, WebhookProcessed
from rindle_sync.webhooks import process_webhook_events
from tests.support.rows import NOW
from tests.support.webhooks import an_event, deliver, with_secrets
from tests.support.world import NEVER, READY, World, a_job_runner

WHOLE = (
    "live_stream_completed",
    "non_standard_input_detected",
    *(f"master.{word}" for word in ("ready", "preparing", "deleted", "errored")),
    *(f"static_renditions.{word}" for word in ("ready", "preparing", "deleted", "errored")),
)
OF_A_PART = (
    *(f"track.{word}" for word in ("created", "ready", "errored", "deleted")),
    *(f"static_rendition.{word}" for word in ("created", "ready", "errored", "deleted", "skipped")),
)
SHOTS = tuple(f"shots.{word}" for word in ("created", "ready", "skipped", "errored", "deleted"))
SNAPSHOT = {"is_live": False, "duration": 61.5, "status": "ready"}


def body_of(event: dict[str, Any]) -> bytes:
    return json.dumps(event).encode()


@pytest.fixture(autouse=True)
def _takes_deliveries(world: World) -> None:
    with_secrets(world)


def a_part_event(row: ProviderAsset, type_: str, **values: Any) -> dict[str, Any]:
    """An event about a track or a rendition, which has an id and a passthrough of its own."""
    event, part = an_event(row, f"video.asset.{type_}"), type_.partition(".")[0]
    data = {"id": "part-1", "asset_id": row.provider_asset_id, "status": "ready"} | values
    return event | {"object": {"type": part, "id": "part-1"}, "data": data}


def a_later_event(row: ProviderAsset, type_: str, **values: Any) -> dict[str, Any]:
    if type_ in OF_A_PART:
        return a_part_event(row, type_, **values)
    event = an_event(row, f"video.asset.{type_}", **(SNAPSHOT | values))
    if type_ in SHOTS:
        event["data"] = {"status": "completed"}
    if type_ == "warning":
        event["data"] = {"id": row.provider_asset_id, "warning": {"type": "low_bitrate"}}
    return event


async def at_rest(world: World, **values: Any) -> ProviderAsset:
    """A `ready` row that no check is planned for."""
    values.setdefault("check_at", None)
    return await world.track(State.READY, life=READY, **values)


async def applied(world: World, event: dict[str, Any]) -> None:
    await deliver(world, event)
    await process_webhook_events(world.context)


@pytest.mark.parametrize("type_", [*WHOLE, *OF_A_PART, *SHOTS, "warning", "a_word_of_tomorrow"])
async def test_an_event_about_more_than_the_state_makes_the_row_of_its_asset_due(
    world: World, type_: str
) -> None:
    row, other = await at_rest(world), await at_rest(world)

    await applied(world, a_later_event(row, type_))

    after, [webhook_event] = await world.now_is(row), await world.context.store.inbox.list()
    assert (after.check_at, after.updated_at) == (world.clock.now(), row.updated_at)
    assert (after.state, after.playback_ids) == (row.state, row.playback_ids)
    assert (webhook_event.status, webhook_event.provider_asset_id) == (
        EventStatus.APPLIED,
        row.provider_asset_id,
    )
    assert await world.now_is(other) == other
    assert world.calls == 0


async def test_the_check_that_it_leads_to_brings_what_is_new(world: World) -> None:
    row = await at_rest(world, raw_provider_metadata={"is_live": True})
    job_runner = a_job_runner(world)
    world.context.telemetry.listen(job_runner.handle)

    await applied(world, a_part_event(row, "track.ready"))
    for kind in list(job_runner.woken):
        await job_runner.run(kind)

    after = await world.now_is(row)
    assert (after.raw_provider_metadata or {})["duration"] > 0
    assert (after.check_at, world.calls) == (None, 1)


@pytest.mark.parametrize("type_", ["track.ready", "static_rendition.ready"])
def test_neither_id_nor_passthrough_of_a_part_are_those_of_its_asset(type_: str) -> None:
    row = an_event("asset-1", f"video.asset.{type_}")
    row["object"] = {"type": "track", "id": "part-1"}
    row["data"] = {"id": "part-1", "asset_id": "asset-1", "passthrough": "of the part"}

    event, seen = read_event(body_of(row)), read_observation(body_of(row), NOW)

    assert (event.provider_asset_id, event.provider_upload_id, event.passthrough) == (
        "asset-1",
        None,
        None,
    )
    assert (seen.provider_asset_id, seen.metadata, seen.state) == ("asset-1", None, None)


def test_an_event_about_no_asset_is_kept_under_no_assets_id() -> None:
    event = an_event("stream-1", "video.live_stream.active", passthrough="of the stream")
    event["object"] = {"type": "live", "id": "stream-1"}

    read = read_event(body_of(event))

    assert (read.provider_asset_id, read.passthrough, read.acted_on) == (None, None, False)


def test_a_part_whose_asset_is_not_named_is_about_no_asset() -> None:
    event = an_event("part-1", "video.asset.track.ready")
    event["object"] = {"type": "track", "id": "part-1"}

    assert read_event(body_of(event)).provider_asset_id is None


@pytest.mark.parametrize("type_", [*WHOLE, "updated", "ready"])
async def test_the_whole_asset_in_an_event_is_stored_though_the_state_stays(
    world: World, type_: str
) -> None:
    row = await at_rest(world, raw_provider_metadata={"is_live": True})

    await applied(world, a_later_event(row, type_))

    after = await world.now_is(row)
    stored = after.raw_provider_metadata or {}
    assert {name: stored.get(name) for name in SNAPSHOT} == SNAPSHOT
    assert after.updated_at == row.updated_at
    assert not world.events(StateChange)


async def test_a_part_never_takes_the_place_of_its_asset(world: World) -> None:
    row = await at_rest(world, raw_provider_metadata={"duration": 7})

    for type_ in (*OF_A_PART, *SHOTS, "warning"):
        await applied(world, a_later_event(row, type_))

    assert (await world.now_is(row)).raw_provider_metadata == {"duration": 7}


async def test_an_upload_never_takes_the_place_of_its_asset(world: World) -> None:
    row = await world.track(life=NEVER, raw_provider_metadata={"duration": 7})
    event = an_event(row, "video.upload.asset_created")
    data = {"id": "upload-1", "asset_id": row.provider_asset_id, "status": "asset_created"}

    await applied(world, event | {"object": {"type": "upload", "id": "upload-1"}, "data": data})

    assert (await world.now_is(row)).raw_provider_metadata == {"duration": 7}


@pytest.mark.parametrize("type_", [*WHOLE, "updated", "ready"])
async def test_a_late_snapshot_does_not_take_the_place_of_a_newer_answer(
    world: World, type_: str
) -> None:
    row = await at_rest(world)
    await world.sync(row)
    before = await world.now_is(row)
    world.clock.move(60)

    at = f"{world.clock.now() - timedelta(minutes=2):%FT%TZ}"
    await applied(world, a_later_event(row, type_, at=at))

    assert (await world.now_is(row)).raw_provider_metadata == before.raw_provider_metadata


@pytest.mark.parametrize("by", ["sync", "page", "audit"])
async def test_a_whole_answer_is_stored_and_is_no_change(world: World, by: str) -> None:
    rows = await world.shelve(2, raw_provider_metadata={"is_live": True})
    world.clock.move(timedelta(hours=2))

    if by == "sync":
        for row in rows:
            await world.sync(row)
    elif by == "audit":
        assert (await audit(world.context)).changed == 0
    else:
        for _ in range(2):
            await world.track(life=READY)
        await world.sweep()

    for row in rows:
        after = await world.now_is(row)
        assert (after.raw_provider_metadata or {})["duration"] > 0
        assert (after.state, after.updated_at, after.check_at) == (
            State.READY,
            row.updated_at,
            None,
        )
        resolved = [e for e in world.events(Resolved) if e.row_id == row.id]
        assert [e.no_change for e in resolved if isinstance(e, Resolved)] == [True]


async def test_an_audit_writes_no_row_whose_answer_is_stored_already(world: World) -> None:
    rows = await world.shelve(3)
    await audit(world.context)
    world.clock.move(timedelta(days=7))
    before = [await world.now_is(row) for row in rows]

    await audit(world.context)

    assert [await world.now_is(row) for row in rows] == before


async def test_a_row_that_stays_stuck_has_the_newest_answer_too(world: World) -> None:
    row = await world.track(updated_at=NOW - timedelta(hours=3), life=NEVER)
    await world.sync(row)

    await world.sync(row)

    after = await world.now_is(row)
    assert (after.state, after.error_kind) == (State.ERRORED, "stuck")
    assert (after.raw_provider_metadata or {})["status"] == "preparing"


async def test_a_tombstone_is_left_alone_by_events_about_its_parts(world: World) -> None:
    row = await world.track(State.DELETED, check_at=None)

    await applied(world, a_part_event(row, "track.deleted"))

    [processed] = world.events(WebhookProcessed)
    assert isinstance(processed, WebhookProcessed)
    assert processed.verdict == Verdict.STALE
    assert (await world.now_is(row)).check_at is None
