"""Events of assets that nobody tracks here, and events that are sent or applied once more."""

import json
from datetime import timedelta
from typing import Any

import pytest

from rindle_sync.diagnostics import overview
from rindle_sync.domain import EventStatus, ProviderAsset, State, WebhookEventSummary
from rindle_sync.store import AssetStore
from rindle_sync.telemetry import WebhookException, WebhookIgnored
from rindle_sync.tracking import track
from rindle_sync.webhooks import process_webhook_events
from tests.support.webhooks import an_event, an_upload_event, deliver, kept_bodies, with_secrets
from tests.support.world import NEVER, World, unknown_id

WAITS = (0, 5, 15, 45, 90)
LATER = timedelta(days=60)


@pytest.fixture(autouse=True)
def _takes_deliveries(world: World) -> None:
    with_secrets(world)


async def only_event(world: World) -> WebhookEventSummary:
    [webhook_event] = await world.context.store.inbox.list()
    return webhook_event


async def waited(world: World, event: dict[str, Any]) -> WebhookEventSummary:
    """The event after all its attempts to find a row."""
    await deliver(world, event)
    for seconds in WAITS:
        world.clock.move(seconds)
        assert await process_webhook_events(world.context) == 1
        assert await process_webhook_events(world.context) == 0
    return await only_event(world)


async def died(world: World, row: ProviderAsset, event: dict[str, Any]) -> WebhookEventSummary:
    """The event about `row`, which a fault of ours has kept from being applied."""

    class Faulty(type(world.context.gateway.provider)):  # type: ignore[misc]
        """The real adapter, with a fault."""

        def read_observation(self, *_: Any) -> Any:
            return 1 / 0

    provider = world.context.gateway.provider
    world.with_provider(Faulty(None))
    await deliver(world, event)
    for seconds in (0, 2, 10, 60, 300):
        world.clock.move(seconds)
        await process_webhook_events(world.context)
    world.with_provider(provider)
    webhook_event = await only_event(world)
    assert (webhook_event.status, webhook_event.reason) == (EventStatus.DEAD, "ZeroDivisionError")
    assert await world.now_is(row) == row
    return webhook_event


async def pruned(world: World) -> None:
    world.clock.move(LATER)
    now = world.clock.now()
    await world.context.store.inbox.prune(ended_before=now, dead_before=now)


async def test_an_event_that_no_row_is_tracked_for_in_155_seconds_is_untracked(
    world: World,
) -> None:
    webhook_event = await waited(world, an_event(unknown_id()))

    assert (webhook_event.status, webhook_event.attempts, webhook_event.reason) == (
        EventStatus.IGNORED,
        5,
        "untracked",
    )
    told = [event.metadata() for event in world.events(WebhookException)]
    assert [(event["reason"], event["dead"]) for event in told] == [("no_row", False)] * 4
    assert [event.metadata()["reason"] for event in world.events(WebhookIgnored)] == ["untracked"]


async def test_events_of_assets_that_others_track_are_no_dead_letters(world: World) -> None:
    await waited(world, an_event(unknown_id(), passthrough="theirs"))

    [told] = await overview([world.context])

    assert (told.dead, told.failed, told.pending) == (0, 0, 0)


async def test_an_event_about_a_known_row_that_cannot_be_applied_is_a_dead_letter(
    world: World,
) -> None:
    row = await world.track()
    event = an_event(row)

    await died(world, row, event)

    [told] = await overview([world.context])
    assert (told.dead, told.failed) == (1, 1)


async def test_an_untracked_event_is_applied_when_its_asset_is_tracked_later(world: World) -> None:
    await waited(world, an_event("asset-1"))
    row = await track(
        world.context,
        state=None,
        profile="default",
        reference="video-1",
        provider_asset_id="asset-1",
    )

    await process_webhook_events(world.context)

    assert (await world.now_is(row)).state is State.READY
    assert (await only_event(world)).status is EventStatus.APPLIED


async def test_an_untracked_event_is_applied_when_its_upload_is_tracked_later(world: World) -> None:
    await waited(world, an_upload_event("upload-1", "video.upload.cancelled"))
    row = await track(
        world.context,
        state=None,
        profile="default",
        reference="video-1",
        provider_upload_id="upload-1",
    )

    await process_webhook_events(world.context)

    assert (await world.now_is(row)).last_sync_error == "mux upload cancelled"


@pytest.mark.parametrize("again", ["sent", "replayed"])
async def test_an_untracked_event_is_tried_again_when_it_is_sent_or_replayed(
    world: World, again: str
) -> None:
    event = an_event("asset-1")
    webhook_event = await waited(world, event)
    row = await world.track(provider_asset_id="asset-1", life=NEVER)

    if again == "sent":
        assert (await deliver(world, event)).status == 202
    else:
        assert webhook_event.can_replay
        now = world.clock.now()
        assert await world.context.store.inbox.replay(now, webhook_event_id=webhook_event.id) == 1
    await process_webhook_events(world.context)

    assert (await world.now_is(row)).state is State.READY
    assert (await only_event(world)).status is EventStatus.APPLIED


async def test_a_replay_of_all_dead_events_leaves_untracked_ones(world: World) -> None:
    await waited(world, an_event(unknown_id()))

    assert await world.context.store.inbox.replay(world.clock.now()) == 0


async def test_an_event_of_a_type_that_is_not_acted_on_is_never_tried(world: World) -> None:
    event = an_event("asset-1", "video.live_stream.idle")

    answers = [await deliver(world, event) for _ in range(2)]

    webhook_event = await only_event(world)
    now = world.clock.now()
    assert [answer.status for answer in answers] == [200, 200]
    assert await world.context.store.inbox.replay(now, webhook_event_id=webhook_event.id) == 0
    assert not webhook_event.can_replay
    assert await process_webhook_events(world.context) == 0


@pytest.mark.parametrize("is_pruned", [False, True])
async def test_a_dead_event_that_is_sent_again_is_revived_with_its_body(
    world: World, *, is_pruned: bool
) -> None:
    row = await world.track()
    event = an_event(row)
    dead = await died(world, row, event)
    if is_pruned:
        await pruned(world)

    answer = await deliver(world, event)
    [body] = (await kept_bodies(world)).values()
    await process_webhook_events(world.context)

    assert (answer.status, json.loads(answer.body)) == (202, {"status": "stored"})
    assert b"video.asset.ready" in body
    assert (await world.now_is(row)).state is State.READY
    again = await only_event(world)
    assert (again.id, again.status, again.attempts) == (dead.id, EventStatus.APPLIED, 1)


async def test_an_untracked_event_whose_body_was_emptied_is_revived_with_its_body(
    world: World,
) -> None:
    event = an_event("asset-1")
    await waited(world, event)
    await pruned(world)
    row = await world.track(provider_asset_id="asset-1", life=NEVER)

    await deliver(world, event)
    await process_webhook_events(world.context)

    assert (await world.now_is(row)).state is State.READY


@pytest.mark.parametrize("is_pruned", [False, True])
async def test_an_event_that_was_applied_stays_so_when_it_is_sent_again(
    world: World, *, is_pruned: bool
) -> None:
    row = await world.track()
    event = an_event(row)
    await deliver(world, event)
    await process_webhook_events(world.context)
    if is_pruned:
        await pruned(world)
    before = await only_event(world)

    answer = await deliver(world, event)

    assert (answer.status, json.loads(answer.body)) == (200, {"status": "duplicate"})
    assert await only_event(world) == before


async def test_a_pending_event_that_is_sent_again_keeps_its_place(world: World) -> None:
    event = an_event(unknown_id())
    await deliver(world, event)
    await process_webhook_events(world.context)
    before = await only_event(world)
    world.clock.move(1)

    answer = await deliver(world, event)

    assert answer.status == 200
    assert await only_event(world) == before


async def test_a_dead_event_of_another_environment_is_not_revived(world: World) -> None:
    row = await world.track()
    event = an_event(row)
    await died(world, row, event)
    here = world.context.store.inbox
    elsewhere = type(here)(here.database, here.provider, "elsewhere")
    async with here.writing() as connection:
        await connection.exec_driver_sql(
            "UPDATE provider_webhook_events SET environment = 'elsewhere'"
        )

    assert (await deliver(world, event)).status == 202

    assert [e.status for e in await elsewhere.list()] == [EventStatus.DEAD]
    assert [e.status for e in await here.list()] == [EventStatus.PENDING]


async def test_an_event_whose_asset_is_tracked_during_its_last_attempt_is_applied(
    world: World,
) -> None:
    asset_id, made = unknown_id(), list[ProviderAsset]()
    store = world.context.store

    class Tracking(AssetStore):
        """The real rows; the app makes one just after the worker has found none."""

        async def match(self, **names: Any) -> list[ProviderAsset]:
            found = await super().match(**names)
            if not (found or made) and world.clock.now() >= last_attempt:
                values = {"reference": "video-1", "profile": "default"}
                ready = track(
                    world.context, state=State.READY, provider_asset_id=asset_id, **values
                )
                made.append(await ready)
            return found

    last_attempt = world.clock.now() + timedelta(seconds=sum(WAITS))
    store.assets = Tracking(store.database, store.provider, store.environment)
    await deliver(world, an_event(asset_id, "video.asset.deleted"))
    for seconds in WAITS:
        world.clock.move(seconds)
        await process_webhook_events(world.context)

    await process_webhook_events(world.context)

    [row] = made
    assert (await only_event(world)).status is EventStatus.APPLIED
    assert (await world.now_is(row)).state is State.DELETED
