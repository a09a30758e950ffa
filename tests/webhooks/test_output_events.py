"""Webhooks about outputs: what they show at once, what a check confirms, and the meter of both."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import httpx
import pytest

from rindle_sync.diagnostics import GRACE, WebhookStatus, environment_status
from rindle_sync.domain import ChangeKind, OutputStatus, ProviderAsset, State, Trigger
from rindle_sync.emulator import Life
from rindle_sync.store import Change
from rindle_sync.telemetry import MediaChange, StateChange, WebhookProcessed
from rindle_sync.webhooks import WebhookApp, process_webhook_events
from tests.support.rows import NOW
from tests.support.webhooks import SECRET, a_receiver, an_event, deliver, with_secrets
from tests.support.world import World, a_job_runner

DAY = timedelta(days=1)


async def in_sync(world: World, **values: Any) -> ProviderAsset:
    """A row that is ready and in sync, and was so for a while."""
    [row] = await world.shelve(1, media_updated_at=NOW - DAY, updated_at=NOW - DAY, **values)
    return row


async def changes(world: World, row: ProviderAsset) -> Sequence[Change]:
    return await world.context.store.assets.changes_of(row.id)


async def meter(world: World) -> WebhookStatus:
    """What the meter says once no webhook is awaited any more."""
    world.clock.move(GRACE)
    return (await environment_status(world.context)).webhooks


def verdicts(world: World) -> list[str]:
    return [e.verdict for e in world.events(WebhookProcessed) if isinstance(e, WebhookProcessed)]


def takes_webhooks(world: World, *, drop: float = 0) -> None:
    """The emulator's webhooks come in from now on."""
    with_secrets(world)
    endpoint = httpx.ASGITransport(app=WebhookApp(a_receiver(world)))
    world.emulator.add_webhook("http://us/", SECRET, drop=drop, transport=endpoint)


async def receive(world: World) -> None:
    """All webhooks that are due come in and are applied."""
    await world.emulator.deliver_due()
    while await process_webhook_events(world.context):
        pass


async def check_ambiguous(world: World) -> None:
    job_runner = a_job_runner(world)
    for event in world.told:
        job_runner.handle(event)
    for kind in sorted(job_runner.woken):
        await job_runner.run(kind)
    world.told.clear()


def an_output(world: World, row: ProviderAsset, kind: str, ends: Any = "ready") -> None:
    """Something that is made of the asset of `row` within a minute from now."""
    asset_id, life = row.provider_asset_id or "", Life(ends=ends, after=60)
    if kind == "master":
        world.emulator.set_master_access(asset_id, "temporary", life=life)
    elif kind == "rendition":
        world.emulator.create_static_rendition(asset_id, "1080p", life=life)
    else:
        world.emulator.create_track(asset_id, life=life, name="English")


def statuses(row: ProviderAsset) -> list[OutputStatus]:
    """Those of what was added to the asset."""
    found = [track.status for track in row.tracks[1:]]
    found += [file.status for file in row.renditions]
    return [*found, row.master.status] if row.master else found


@pytest.mark.parametrize("ends", ["ready", "errored"])
@pytest.mark.parametrize("kind", ["track", "rendition", "master"])
async def test_a_webhook_shows_the_end_of_an_output_at_once_and_a_check_confirms_it(
    world: World, kind: str, ends: str
) -> None:
    takes_webhooks(world)
    row = await in_sync(world)
    an_output(world, row, kind, ends)
    await receive(world)
    begun = await world.now_is(row)
    await check_ambiguous(world)
    world.clock.move(61)

    await receive(world)
    ended = await world.now_is(row)
    await check_ambiguous(world)
    after = await world.now_is(row)

    assert statuses(begun) == [OutputStatus.PROCESSING]
    assert statuses(ended) == statuses(after) == [OutputStatus(ends)]
    assert (ended.check_at, after.check_at) == (NOW + timedelta(seconds=61), None)
    assert (after.state, after.updated_at) == (State.READY, row.updated_at)
    found = await changes(world, row)
    assert {change.kind for change in found} == {ChangeKind.MEDIA}
    [of_end] = [change for change in found if change.outputs]
    assert (of_end.trigger, list((of_end.outputs or {}).values())) == (Trigger.WEBHOOK, [True])
    assert await meter(world) == WebhookStatus(expected=1, first=1, late=0, missed=0, loss=0)


@pytest.mark.parametrize("kind", ["track", "rendition"])
async def test_the_reason_of_a_failed_output_is_kept_though_answers_lack_it(
    world: World, kind: str
) -> None:
    takes_webhooks(world)
    row = await in_sync(world)
    an_output(world, row, kind, "errored")
    world.clock.move(61)

    await receive(world)
    await check_ambiguous(world)
    await world.sync(row)

    after = await world.now_is(row)
    reasons = [track.error for track in after.tracks[1:]]
    reasons += [file.error for file in after.renditions]
    assert reasons == ["invalid_input: The input file could not be read as a video."]


@pytest.mark.parametrize("kind", ["track", "rendition", "master"])
async def test_an_event_that_the_row_shows_already_costs_no_check(world: World, kind: str) -> None:
    row = await in_sync(world)
    an_output(world, row, kind)
    await world.sync(row)
    world.clock.move(60)
    with_secrets(world)
    await world.sync(row)
    before, calls = await world.now_is(row), world.calls
    world.told.clear()
    event = an_event(row, f"video.asset.{kind}.ready", at=world.clock.now().isoformat())
    event["data"] = world.body_of(row.provider_asset_id or "")
    if kind != "master":
        word = {"track": "track", "rendition": "static_rendition"}[kind]
        listed = event["data"]["tracks"][-1:] if kind == "track" else ()
        [part] = listed or event["data"]["static_renditions"]["files"]
        event["type"] = f"video.asset.{word}.ready"
        event["data"] = part | {"asset_id": row.provider_asset_id}

    await deliver(world, event)
    await process_webhook_events(world.context)

    after = await world.now_is(row)
    assert verdicts(world) == ["unchanged"]
    assert (after.check_at, after.media_updated_at) == (None, before.media_updated_at)
    assert world.calls == calls
    assert not world.events(MediaChange, StateChange)


async def test_an_output_that_was_deleted_goes_with_the_check_that_its_webhook_leads_to(
    world: World,
) -> None:
    row = await in_sync(world)
    track_id = world.emulator.create_track(row.provider_asset_id or "", life=Life(after=0))
    await world.sync(row)
    takes_webhooks(world)
    world.clock.move(60)
    world.emulator.delete_part(track_id)

    await receive(world)
    told = await world.now_is(row)
    await check_ambiguous(world)

    assert (statuses(told), told.check_at) == ([OutputStatus.READY], world.clock.now())
    assert statuses(await world.now_is(row)) == []


# the meter


async def found_by_check(world: World, *kinds: str) -> ProviderAsset:
    """A row for which a check has found outputs ended, with the webhooks still to come."""
    row = await in_sync(world)
    for kind in kinds:
        an_output(world, row, kind)
    await world.sync(row)
    takes_webhooks(world)
    world.clock.move(61)
    await world.sync(row)
    return row


async def test_an_output_that_only_a_check_found_counts_as_missed_after_a_while(
    world: World,
) -> None:
    row = await found_by_check(world, "track")

    at_once = (await environment_status(world.context)).webhooks

    assert at_once.expected == 0
    assert await meter(world) == WebhookStatus(expected=1, first=0, late=0, missed=1, loss=1)
    [change] = [change for change in await changes(world, row) if change.outputs]
    assert (change.trigger, change.webhook_at) == (Trigger.SYNC, None)


@pytest.mark.parametrize("kind", ["track", "rendition", "master"])
async def test_a_webhook_about_an_output_that_comes_after_the_check_was_late(
    world: World, kind: str
) -> None:
    row = await found_by_check(world, kind)
    world.clock.move(60)

    await receive(world)

    [change] = [change for change in await changes(world, row) if change.outputs]
    assert change.webhook_at == world.clock.now()
    assert await meter(world) == WebhookStatus(expected=1, first=0, late=1, missed=0, loss=0)


async def test_a_change_of_several_outputs_is_missed_until_each_has_been_reported(
    world: World,
) -> None:
    row = await found_by_check(world, "track", "master")
    [change] = [change for change in await changes(world, row) if change.outputs]
    history = world.context.store.history
    [track] = set(change.outputs or {}) - {"master"}

    await history.note_outputs({row.id: ["master", "rendition of another"]}, world.clock.now())
    first = await meter(world)
    await history.note_outputs({row.id: [track]}, world.clock.now())

    assert (first.missed, first.late) == (1, 0)
    [change] = [change for change in await changes(world, row) if change.outputs]
    assert change.outputs == {"master": True, track: True}
    assert await meter(world) == WebhookStatus(expected=1, first=0, late=1, missed=0, loss=0)


async def test_a_webhook_about_one_row_reports_no_output_of_another(world: World) -> None:
    rows = [await found_by_check(world, "master") for _ in range(2)]

    reported = {rows[0].id: ["master"]}
    await world.context.store.history.note_outputs(reported, world.clock.now())

    assert (await meter(world)).missed == 1


async def test_changes_of_media_that_no_webhook_reports_are_not_expected(world: World) -> None:
    with_secrets(world)
    row = await in_sync(world, title="Before", duration=7.0)
    await world.sync(row)

    assert [change.reason for change in await changes(world, row)] == ["duration, title"]
    assert (await meter(world)).expected == 0


async def test_the_first_media_of_a_row_tell_of_no_webhook(world: World) -> None:
    with_secrets(world)
    [row] = await world.shelve(1, tracks=(), updated_at=NOW - DAY)
    await world.sync(row)

    assert [change.outputs for change in await changes(world, row)] == [None]
    assert (await meter(world)).expected == 0


async def test_the_webhook_of_a_state_reports_no_change_of_media(world: World) -> None:
    row = await found_by_check(world, "track")
    event = an_event(row, at=world.clock.now().isoformat())
    event["data"] = world.body_of(row.provider_asset_id or "")

    await deliver(world, event)
    await process_webhook_events(world.context)

    assert (await meter(world)).missed == 1
