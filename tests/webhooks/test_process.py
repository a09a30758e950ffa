"""Stored webhook events to their rows, in whatever order, number and delay they come."""

import asyncio
import tracemalloc
from datetime import timedelta
from typing import Any

import pytest

from rindle_sync.domain import (
    ErrorKind,
    EventStatus,
    ProviderAsset,
    State,
    Trigger,
    WebhookEventSummary,
    replace,
)
from rindle_sync.telemetry import Failed, StateChange, Stuck, WebhookException, WebhookProcessed
from rindle_sync.webhooks import process_webhook_events
from tests.support.webhooks import a_kept_notice, an_event, an_upload_event, deliver, with_secrets
from tests.support.world import NEVER, READY, World, unknown_id

ONE_MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def _takes_deliveries(world: World) -> None:
    with_secrets(world)


async def applied(world: World, *events: dict[str, Any]) -> None:
    for event in events:
        await deliver(world, event)
    await process_webhook_events(world.context)


async def only_event(world: World) -> WebhookEventSummary:
    [webhook_event] = await world.context.store.inbox.list()
    return webhook_event


async def states(world: World, row: ProviderAsset) -> list[tuple[State, State, Trigger]]:
    return [
        (c.from_state, c.to_state, c.trigger)
        for c in await world.context.store.assets.changes_of(row.id)
    ]


async def test_a_forward_move_is_applied_without_a_call(world: World) -> None:
    row = await world.track()

    await applied(world, an_event(row, playback_ids=[{"id": "playback-1", "policy": "public"}]))

    after, webhook_event = await world.now_is(row), await only_event(world)
    assert (after.state, [p.id for p in after.playback_ids]) == (State.READY, ["playback-1"])
    assert (webhook_event.status, webhook_event.next_attempt_at) == (EventStatus.APPLIED, None)
    assert world.calls == 0
    assert after.check_at is None


async def test_a_reason_that_comes_by_webhook_is_kept(world: World) -> None:
    row = await world.track()

    await applied(
        world,
        an_event(
            row, "video.asset.errored", errors={"type": "invalid_input", "messages": ["no video"]}
        ),
    )

    assert (await world.now_is(row)).last_sync_error == "invalid_input: no video"


async def test_deleted_is_final_whatever_comes_after_it(world: World) -> None:
    row = await world.track()

    await applied(world, an_event(row, "video.asset.deleted"), an_event(row, "video.asset.ready"))
    await applied(world, an_event(row, "video.asset.updated", status="ready"))

    assert (await world.now_is(row)).state is State.DELETED


async def test_created_after_ready_changes_nothing(world: World) -> None:
    row = await world.track(State.UPLOADING)

    await applied(world, an_event(row, "video.asset.ready"))
    await applied(world, an_event(row, "video.asset.created", at="2026-11-23T11:59:00.000000Z"))

    assert (await world.now_is(row)).state is State.READY
    assert len(await states(world, row)) == 1


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]])
async def test_the_order_of_deliveries_does_not_matter(world: World, order: list[int]) -> None:
    row = await world.track(State.UPLOADING, life=READY)
    events = [
        an_event(row, "video.asset.created", at="2026-11-23T11:59:01.000000Z"),
        an_event(row, "video.asset.ready", at="2026-11-23T11:59:02.000000Z"),
        an_event(row, "video.asset.updated", at="2026-11-23T11:59:03.000000Z", status="ready"),
    ]

    for number in order:
        await applied(world, events[number])

    assert (await world.now_is(row)).state is State.READY


async def test_a_contradiction_makes_the_row_due_and_a_check_decides(world: World) -> None:
    row = await world.track(State.READY, check_at=None)

    await applied(world, an_event(row, "video.asset.errored"))
    ambiguous = await world.now_is(row)
    await world.sweep()

    assert (ambiguous.state, ambiguous.check_at) == (State.READY, world.clock.now())
    assert (await world.now_is(row)).state is State.READY
    assert world.calls == 1


async def test_a_webhook_event_whose_row_is_not_there_yet_waits_for_it(world: World) -> None:
    asset = world.emulator.create_asset(life=NEVER)
    await applied(world, an_event(asset))

    row = await world.track(provider_asset_id=asset)
    world.clock.move(5)
    await process_webhook_events(world.context)

    assert (await world.now_is(row)).state is State.READY
    assert (await only_event(world)).status is EventStatus.APPLIED


async def test_a_webhook_event_that_cannot_be_read_is_dead_and_keeps_no_other_back(
    world: World,
) -> None:
    row, other = await world.track(), await world.track()

    await applied(world, an_event(row) | {"data": None}, an_event(other))

    assert (await world.now_is(other)).state is State.READY
    assert sorted(n.status for n in await world.context.store.inbox.list()) == [
        EventStatus.APPLIED,
        EventStatus.DEAD,
    ]


async def test_what_goes_wrong_about_a_known_row_names_the_row(world: World) -> None:
    """Every event about a row has the key to join on, and the app's own id of it."""
    row = await world.track(reference="video-1")

    await applied(world, an_event(row) | {"data": None}, an_event("nobody"))

    told = [(e.row_id, e.reference) for e in world.events(WebhookException)]
    assert sorted(told, key=str) == [(row.id, "video-1"), (None, None)]


async def test_a_webhook_event_that_names_nothing_is_dead_at_once(world: World) -> None:
    event = an_event("nobody") | {"data": {}, "object": None}

    await applied(world, event)

    webhook_event = await only_event(world)
    assert (webhook_event.status, webhook_event.reason, webhook_event.attempts) == (
        EventStatus.DEAD,
        "unreadable_data",
        1,
    )


async def test_a_webhook_event_that_fails_for_our_own_reasons_is_tried_five_times_with_growing_gaps(
    world: World,
) -> None:
    row, other = await world.track(), await world.track()

    class Faulty(type(world.context.gateway.provider)):  # type: ignore[misc]
        """The real adapter, with a fault of ours about one asset."""

        def read_observation(self, headers, body, at):  # type: ignore[no-untyped-def]
            observation = super().read_observation(headers, body, at)
            return 1 / 0 if observation.provider_asset_id == row.provider_asset_id else observation

    world.with_provider(Faulty(None))
    await deliver(world, an_event(row))
    await deliver(world, an_event(other))

    for seconds in (0, 2, 10, 60, 300):
        world.clock.move(seconds)
        await process_webhook_events(world.context)

    dead = [n for n in await world.context.store.inbox.list() if n.status is EventStatus.DEAD]
    assert [(n.attempts, n.reason) for n in dead] == [(5, "ZeroDivisionError")]
    assert (await world.now_is(other)).state is State.READY


async def test_an_event_of_another_asset_with_the_same_passthrough_is_not_applied(
    world: World,
) -> None:
    row = await world.track(passthrough="shared")

    await applied(world, an_event(unknown_id(), passthrough="shared"))

    assert (await world.now_is(row)).state is State.PROCESSING


# races


async def test_a_webhook_is_not_overwritten_by_a_slow_check_that_began_earlier(
    world: World,
) -> None:
    row = await world.track(life=NEVER)
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def slowly(_: float) -> None:
        asked.set()
        await may_answer.wait()

    world.emulator.sleep = slowly
    world.emulator.add_fault("late_answer", seconds=3)
    checking = asyncio.create_task(world.sync(row))
    await asyncio.wait_for(asked.wait(), 10)
    world.clock.move(1)
    await applied(world, an_event(row))
    may_answer.set()
    await checking

    assert (await world.now_is(row)).state is State.READY
    assert await states(world, row) == [(State.PROCESSING, State.READY, Trigger.WEBHOOK)]


async def test_two_workers_that_apply_one_event_at_once_change_its_row_once(world: World) -> None:
    row = await world.track()
    await deliver(world, an_event(row))

    await asyncio.gather(*(process_webhook_events(world.context) for _ in range(4)))

    assert await states(world, row) == [(State.PROCESSING, State.READY, Trigger.WEBHOOK)]
    assert len(world.events(WebhookProcessed)) == 1


async def test_events_of_one_row_applied_by_two_workers_end_in_the_truth(world: World) -> None:
    row = await world.track(State.PENDING)
    kinds = ("created", "ready", "updated", "deleted")
    for number, kind in enumerate(kinds):
        await deliver(
            world, an_event(row, f"video.asset.{kind}", at=f"2026-11-23T11:59:0{number}.000000Z")
        )
    pending = [await world.context.store.inbox.claim(**_lease(world), limit=1) for _ in kinds]
    for [webhook_event] in pending:
        await world.context.store.inbox.end(
            [replace(webhook_event, next_attempt_at=world.clock.now())], _lease(world)["token"]
        )

    await asyncio.gather(*(process_webhook_events(world.context) for _ in range(3)))

    assert (await world.now_is(row)).state is State.DELETED


async def test_what_a_killed_worker_had_taken_up_is_taken_up_again_when_its_lease_ends(
    world: World,
) -> None:
    row = await world.track()
    await deliver(world, an_event(row))
    await world.context.store.inbox.claim(**_lease(world), limit=10)

    assert await process_webhook_events(world.context) == 0
    world.clock.move(world.context.lease + timedelta(seconds=1))
    assert await process_webhook_events(world.context) == 1

    assert (await world.now_is(row)).state is State.READY


def _lease(world: World) -> dict[str, Any]:
    now = world.clock.now()
    return {
        "now": now,
        "token": "00000000-0000-4000-8000-000000000001",
        "until": now + world.context.lease,
    }


# uploads


async def test_an_upload_is_linked_to_its_asset_by_the_upload_id(world: World) -> None:
    row = await world.track(State.UPLOADING, provider_asset_id=None, provider_upload_id="upload-1")

    await applied(
        world, an_upload_event("upload-1", "video.upload.asset_created", asset_id="asset-1")
    )

    after = await world.now_is(row)
    assert (after.state, after.provider_asset_id) == (State.PROCESSING, "asset-1")


@pytest.mark.parametrize("where", ["upload", "asset"])
async def test_an_upload_is_linked_by_its_passthrough_from_either_place(
    world: World, where: str
) -> None:
    row = await world.track(State.PENDING, provider_asset_id=None, passthrough="ours-1")
    settings = {"new_asset_settings": {"passthrough": "ours-1"}}
    events = {
        "upload": an_upload_event(
            "upload-1", "video.upload.asset_created", asset_id="asset-1", **settings
        ),
        "asset": an_event(
            "asset-1", "video.asset.created", passthrough="ours-1", upload_id="upload-1"
        ),
    }

    await applied(world, events[where])

    after = await world.now_is(row)
    assert (after.state, after.provider_asset_id, after.provider_upload_id) == (
        State.PROCESSING,
        "asset-1",
        "upload-1",
    )


async def test_a_cancelled_upload_ends_its_row_with_the_reason(world: World) -> None:
    row = await world.track(State.UPLOADING, provider_asset_id=None, provider_upload_id="upload-1")

    await applied(world, an_upload_event("upload-1", "video.upload.cancelled"))

    after = await world.now_is(row)
    assert (after.error_kind, after.last_sync_error) == (ErrorKind.UPLOAD, "mux upload cancelled")


async def test_a_normal_upload_from_start_to_ready_raises_no_alarm(world: World) -> None:
    row = await world.track(
        State.PENDING, provider_asset_id=None, provider_upload_id="upload-1", passthrough="ours-1"
    )
    asset = {"passthrough": "ours-1", "upload_id": "upload-1"}

    await applied(
        world,
        an_upload_event(
            "upload-1", "video.upload.created", new_asset_settings={"passthrough": "ours-1"}
        ),
        an_upload_event("upload-1", "video.upload.asset_created", asset_id="asset-1"),
        an_event("asset-1", "video.asset.created", **asset),
        an_event("asset-1", "video.asset.ready", **asset),
    )

    assert (await world.now_is(row)).state is State.READY
    assert world.events(Stuck, Failed, WebhookException) == []
    assert [
        (e.from_state, e.to_state) for e in world.events(StateChange) if isinstance(e, StateChange)
    ] == [("pending", "uploading"), ("uploading", "processing"), ("processing", "ready")]


async def test_state_change_has_exactly_its_keys(world: World) -> None:
    row = await world.track(profile="hls")

    await applied(world, an_event(row))

    [event] = world.events(StateChange)
    assert event.row_id == row.id
    assert event.metadata() == {
        "profile": "hls",
        "provider": "mux",
        "asset_id": row.tag,
        "from_state": "processing",
        "to_state": "ready",
        "error_kind": None,
        "by": "webhook",
        "late_ms": 123,
    }


async def test_a_list_of_webhook_events_reads_no_bodies(world: World) -> None:
    row = await world.track()
    webhook_event = replace(a_kept_notice(row, world.clock.now()), body=b"x" * 1_000_000)
    await world.context.store.inbox.storing(webhook_event)

    tracemalloc.start()
    [listed] = await world.context.store.inbox.list()
    [told] = await world.context.store.history.webhook_events_about(row, limit=1)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert listed == told == await world.context.store.inbox.get(webhook_event.id)
    assert (listed.id, listed.size) == (webhook_event.id, 1_000_000)
    assert most < 500_000
