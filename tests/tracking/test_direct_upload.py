"""Direct uploads.

The row first, then the call, then the link, and what becomes of each when a step is missing.
"""

import asyncio
import dataclasses
import logging
import pickle
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import select, text

from rindle_sync.app import RindleSync, connect
from rindle_sync.config import plain_settings
from rindle_sync.domain import DIRECT_UPLOAD, ErrorKind, ProviderAsset, State, Trigger, replace
from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.emulator.lifecycle import Life, Upload
from rindle_sync.errors import (
    AlreadyBegun,
    AlreadyTracked,
    AuthenticationFailed,
    ConfigurationError,
    Conflict,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
)
from rindle_sync.gateway import RATE_LIMITED_CREATES
from rindle_sync.providers import UploadRequest
from rindle_sync.providers.mux import Credentials, Mux
from rindle_sync.store.schema import assets, changes, webhook_events
from rindle_sync.telemetry import Failed, StateChange, Stuck
from rindle_sync.tracking import (
    DirectUpload,
    PreparedUpload,
    begin_upload,
    cancel_upload,
    prepare_upload,
    resume_upload,
    start_upload,
    upload_row,
)
from rindle_sync.webhooks import WebhookApp, process_webhook_events
from tests.support.rows import a_row
from tests.support.webhooks import (
    SECRET,
    a_receiver,
    an_event,
    an_upload_event,
    deliver,
    with_secrets,
)
from tests.support.world import ERRORED, READY, World

WISH = UploadRequest(cors_origin="https://app.example")
GRACE = timedelta(minutes=10)
MINUTE = timedelta(minutes=1)
CREATE, CANCEL, LOOK = "create_upload", "cancel_upload", "get_upload"


def a_new_row(world: World, **values: Any) -> ProviderAsset:
    """A row as `RindleSync.begin_upload` makes it."""
    now = world.clock.now()
    made = {
        "ingest_mode": DIRECT_UPLOAD,
        "playback_policy": "public",
        "updated_at": now,
        "passthrough": str(uuid4()),
    }
    return a_row(State.PENDING, provider_asset_id=None, **made | values)


async def begun(world: World, **values: Any) -> ProviderAsset:
    """A row whose upload waits for its file."""
    return await now_is(world, await begin_upload(world.context, a_new_row(world, **values), WISH))


async def now_is(world: World, link: DirectUpload) -> ProviderAsset:
    found = await world.context.store.assets.get(link.row_id)
    assert found
    return found


async def the_row(world: World) -> ProviderAsset:
    [row] = [row async for row in world.context.store.assets.rows()]
    return row


def uploads(world: World) -> list[Upload]:
    """Every upload at the provider, newest first."""
    return world.emulator.environment.uploads(limit=100)


async def history(world: World, row: ProviderAsset) -> list[tuple[State, State, Trigger]]:
    return [
        (c.from_state, c.to_state, c.trigger)
        for c in await world.context.store.assets.changes_of(row.id)
    ]


async def send_file(world: World, link: DirectUpload) -> int:
    """Do what the browser does with its link."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=world.emulator.app)) as browser:
        return (await browser.put(link.url, content=b"a film")).status_code


async def killed_after_the_call(world: World) -> ProviderAsset:
    """Only the first two steps: the row, and the provider's upload.

    Nobody wrote down which it is.
    """
    row = a_new_row(world)
    await world.context.store.assets.add(replace(row, check_at=world.clock.now() + GRACE))
    await world.context.gateway.provider.create_upload(row.passthrough or "", WISH)
    return row


def answers_in_real_time(world: World) -> None:
    """Let a call last as long as it lasts, and give it up soon."""
    world.emulator.sleep = asyncio.sleep
    world.with_timeout(0.05)


# the steps


async def test_the_caller_gets_a_link_and_the_row_waits_for_the_file(world: World) -> None:
    link = await begin_upload(world.context, a_new_row(world), WISH)

    row, [upload] = await now_is(world, link), uploads(world)
    assert (row.state, row.provider_upload_id, row.provider_asset_id) == (
        State.UPLOADING,
        upload.id,
        None,
    )
    assert link.expires_at == world.clock.now() + WISH.timeout
    assert await send_file(world, link) == 200
    assert world.emulator.calls[CREATE] == 1


async def test_the_row_stands_before_the_provider_is_asked(world: World) -> None:
    stood: list[State] = []

    async def look(_: float) -> None:
        stood.append((await the_row(world)).state)

    world.emulator.sleep = look
    world.emulator.add_fault("latency", operation=CREATE, seconds=1)

    await begun(world)

    assert stood == [State.PENDING]


async def test_the_asset_carries_our_passthrough(world: World) -> None:
    row = await begun(world)

    asset = world.emulator.finish_upload(row.provider_upload_id or "")

    assert world.emulator.truth(asset).passthrough == row.passthrough


async def test_the_passthrough_of_the_app_s_own_settings_does_not_replace_ours(
    world: World,
) -> None:
    upload_request = dataclasses.replace(
        WISH, settings={"passthrough": "theirs", "video_quality": "plus"}
    )

    link = await begin_upload(world.context, a_new_row(world), upload_request)

    [upload] = uploads(world)
    assert upload.settings.passthrough == (await now_is(world, link)).passthrough
    assert upload.settings.video_quality == "plus"


async def test_the_upload_is_made_as_it_was_wished_for(world: World) -> None:
    upload_request = UploadRequest(
        cors_origin="https://a.example",
        playback_policy="signed",
        timeout=timedelta(days=2),
        test=True,
    )

    await begin_upload(world.context, a_new_row(world), upload_request)

    [upload] = uploads(world)
    assert (upload.cors_origin, upload.timeout) == ("https://a.example", 172_800)
    assert (upload.settings.policies, upload.settings.test) == (("signed",), True)


@pytest.mark.parametrize("road", ["webhooks", "sweeps"])
async def test_an_upload_comes_from_its_link_to_ready_by_one_road_alone(
    world: World, road: str
) -> None:
    with_secrets(world)
    endpoint = httpx.ASGITransport(app=WebhookApp(a_receiver(world)))
    if road == "webhooks":
        world.emulator.add_webhook("http://us/", SECRET, transport=endpoint)
    world.emulator.life = READY
    link = await begin_upload(world.context, a_new_row(world), WISH)
    await send_file(world, link)

    for _ in range(5):
        world.clock.move(MINUTE)
        await world.emulator.deliver_due()
        await (process_webhook_events(world.context) if road == "webhooks" else world.sweep())

    row = await now_is(world, link)
    assert (row.state, len(row.playback_ids), row.check_at) == (State.READY, 1, None)
    assert world.events(Stuck, Failed) == []
    assert (await history(world, row))[0] == (State.PENDING, State.UPLOADING, Trigger.APP)


async def test_a_link_is_told_as_a_change_of_state_by_the_app(world: World) -> None:
    await begun(world)

    [told] = [e for e in world.events(StateChange) if isinstance(e, StateChange)]
    assert (told.from_state, told.to_state, told.by) == ("pending", "uploading", "app")


# the URL


async def test_the_url_reaches_nobody_but_the_caller(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with_secrets(world)
    world.emulator.add_webhook(
        "http://us/", SECRET, transport=httpx.ASGITransport(app=WebhookApp(a_receiver(world)))
    )

    link = await begin_upload(world.context, a_new_row(world), WISH)
    world.clock.move(MINUTE)
    await world.emulator.deliver_due()
    await process_webhook_events(world.context)
    await world.sweep()
    await cancel_upload(world.context, await now_is(world, link))

    [upload] = uploads(world)
    assert upload.signature in link.url
    assert link.url not in repr(link)
    said = caplog.text + repr(world.told) + repr(link) + await everything_in(world)
    assert upload.signature not in said
    assert "/_upload/" not in said


async def everything_in(world: World) -> str:
    async with world.context.store.database.reading() as connection:
        return repr(
            [
                list(await connection.execute(select(*table.c)))
                for table in (assets, webhook_events, changes)
            ]
        )


# crashes between two steps


async def test_a_row_whose_upload_was_never_made_is_ended_after_the_grace(world: World) -> None:
    row = a_new_row(world)
    await world.context.store.assets.add(replace(row, check_at=world.clock.now() + GRACE))

    world.clock.move(GRACE - timedelta(seconds=1))
    await world.sweep()
    early = await world.now_is(row)
    world.clock.move(1)
    await world.sweep()

    late = await world.now_is(row)
    assert early.state is State.PENDING
    assert (late.state, late.error_kind, late.last_sync_error) == (
        State.ERRORED,
        ErrorKind.UPLOAD,
        "mux upload was not begun",
    )
    assert late.check_at is None
    assert world.calls == 0


async def test_a_caller_that_hangs_up_in_the_call_leaves_a_row_that_the_sweep_ends(
    world: World,
) -> None:
    world.emulator.sleep = asyncio.sleep
    world.emulator.add_fault("silence", operation=CREATE)
    beginning = asyncio.create_task(begin_upload(world.context, a_new_row(world), WISH))
    async with asyncio.timeout(10):
        while not world.emulator.calls[CREATE]:  # noqa: ASYNC110  the emulator has no event to wait for
            await asyncio.sleep(0.01)

    beginning.cancel()
    with suppress(asyncio.CancelledError):
        await beginning
    left = await the_row(world)
    world.clock.move(GRACE)
    await world.sweep()

    assert (left.state, left.check_at) == (State.PENDING, left.inserted_at + GRACE)
    assert (await world.now_is(left)).error_kind is ErrorKind.UPLOAD


async def test_an_upload_that_was_made_and_not_linked_is_ended_by_the_sweep(world: World) -> None:
    row = await killed_after_the_call(world)

    world.clock.move(GRACE)
    await world.sweep()

    assert (await world.now_is(row)).last_sync_error == "mux upload was not begun"


@pytest.mark.parametrize("by", ["upload", "asset"])
async def test_an_upload_that_was_made_and_not_linked_is_linked_by_its_passthrough(
    world: World, by: str
) -> None:
    with_secrets(world)
    row = await killed_after_the_call(world)
    [upload] = uploads(world)
    ours = {"passthrough": row.passthrough}
    event = {
        "upload": an_upload_event(upload.id, "video.upload.created", new_asset_settings=ours),
        "asset": an_event("asset-1", "video.asset.created", upload_id=upload.id, **ours),
    }

    await deliver(world, event[by])
    await process_webhook_events(world.context)
    world.clock.move(GRACE)
    await world.sweep()

    after = await world.now_is(row)
    assert after.provider_upload_id == upload.id
    assert after.provider_asset_id == ("asset-1" if by == "asset" else None)
    assert after.error_kind is not ErrorKind.UPLOAD


async def test_an_upload_that_was_linked_and_never_given_out_times_out(world: World) -> None:
    row = await begun(world)

    world.clock.move(WISH.timeout + MINUTE)
    await world.sweep()

    assert (await world.now_is(row)).last_sync_error == "mux upload timed out"


# lost answers


@pytest.mark.parametrize(
    "kind", ["server_error", "bad_gateway", "broken_json", "truncated", "unauthorized"]
)
async def test_a_call_without_an_answer_is_made_once_and_ends_its_row_with_the_reason(
    world: World, kind: str
) -> None:
    world.emulator.add_fault(kind, operation=CREATE)

    with pytest.raises(ProviderError):
        await begun(world)

    row = await the_row(world)
    assert (row.state, row.error_kind, row.check_at) == (State.ERRORED, ErrorKind.UPLOAD, None)
    assert row.last_sync_error
    assert row.last_sync_error.startswith("upload was not made: mux ")
    assert world.emulator.calls[CREATE] == 1


@pytest.mark.parametrize("fault", [{"kind": "silence"}, {"kind": "late_answer", "seconds": 60}])
async def test_an_answer_that_comes_too_late_is_not_asked_for_again(
    world: World, fault: dict[str, Any]
) -> None:
    answers_in_real_time(world)
    world.emulator.add_fault(**fault, operation=CREATE)

    with pytest.raises(ProviderUnavailable):
        await begun(world)

    row = await the_row(world)
    assert (row.error_kind, row.last_sync_error) == (
        ErrorKind.UPLOAD,
        "upload was not made: mux did not answer within 0.05 s",
    )
    assert (world.emulator.calls[CREATE], len(uploads(world))) == (
        1,
        int(fault["kind"] == "late_answer"),
    )


@pytest.mark.parametrize("kind", ["server_error", "late_answer"])
async def test_after_a_lost_answer_the_next_call_begins_anew_in_the_same_row(
    world: World, kind: str
) -> None:
    answers_in_real_time(world)
    world.emulator.add_fault(
        kind, operation=CREATE, times=1, seconds=60 if kind == "late_answer" else None
    )
    with suppress(ProviderUnavailable):
        await begun(world, reference="video-1")
    failed = await the_row(world)
    world.with_timeout(10)

    row = await begun(world, reference="video-1")

    assert (row.id, row.inserted_at) == (failed.id, failed.inserted_at)
    assert (row.state, row.error_kind, row.last_sync_error) == (State.UPLOADING, None, None)
    assert row.passthrough != failed.passthrough
    assert world.emulator.calls[CREATE] == 2
    assert await history(world, row) == [
        (State.PENDING, State.ERRORED, Trigger.APP),
        (State.ERRORED, State.PENDING, Trigger.APP),
        (State.PENDING, State.UPLOADING, Trigger.APP),
    ]


async def test_webhooks_of_an_upload_whose_answer_was_lost_do_not_revive_its_row(
    world: World,
) -> None:
    with_secrets(world)
    answers_in_real_time(world)
    world.emulator.add_fault("late_answer", operation=CREATE, seconds=60)
    with suppress(ProviderUnavailable):
        await begun(world)
    row, [lost] = await the_row(world), uploads(world)
    settings = {"new_asset_settings": {"passthrough": row.passthrough}}

    await deliver(world, an_upload_event(lost.id, "video.upload.created", **settings))
    await process_webhook_events(world.context)

    assert (await the_row(world)).state is State.ERRORED


@pytest.mark.parametrize(("retry_after", "seconds"), [(4, 8), (None, 2)])
async def test_a_rate_limited_call_waits_and_is_made_again(
    world: World, retry_after: int | None, seconds: int
) -> None:
    world.emulator.add_fault("rate_limited", operation=CREATE, times=2, retry_after=retry_after)
    began = world.clock.now()

    row = await begun(world)

    assert row.state is State.UPLOADING
    assert (world.emulator.calls[CREATE], len(uploads(world))) == (3, 1)
    assert world.clock.now() - began >= timedelta(seconds=seconds)


async def test_a_provider_that_limits_the_rate_of_every_attempt_ends_the_row_with_the_reason(
    world: World,
) -> None:
    world.emulator.add_fault("rate_limited", operation=CREATE, retry_after=1)

    with pytest.raises(RateLimited):
        await begun(world)

    row = await the_row(world)
    assert (row.error_kind, world.emulator.calls[CREATE]) == (
        ErrorKind.UPLOAD,
        RATE_LIMITED_CREATES,
    )
    assert "limited the rate of every attempt" in (row.last_sync_error or "")


async def test_a_wrong_token_is_said_and_told_to_nobody(world: World) -> None:
    wrong = Credentials("token-id-0123456789", "token-secret-0123456789")
    stranger = Mux(wrong, transport=httpx.ASGITransport(app=world.emulator.app))
    world.with_provider(stranger)

    with pytest.raises(AuthenticationFailed):
        await begun(world)

    row = await the_row(world)
    assert row.error_kind is ErrorKind.UPLOAD
    assert "401" in (row.last_sync_error or "")
    assert "0123456789" not in (row.last_sync_error or "")


# rows that are there already


@pytest.mark.parametrize("state", [State.PENDING, State.UPLOADING, State.PROCESSING, State.READY])
async def test_an_asset_that_has_not_failed_is_not_begun_again(world: World, state: State) -> None:
    row = await world.track(state, reference="video-1")

    with pytest.raises(AlreadyTracked) as raised:
        await begun(world, reference="video-1")

    assert raised.value.row_id == row.id
    assert world.emulator.calls[CREATE] == 0
    assert (await world.now_is(row)).version == 1


async def test_another_profile_of_the_same_asset_is_a_row_of_its_own(world: World) -> None:
    await world.track(reference="video-1", profile="hls")

    assert (await begun(world, reference="video-1", profile="download")).state is State.UPLOADING


async def test_a_failed_row_of_another_environment_is_not_begun_anew(world: World) -> None:
    row = replace(a_row(State.ERRORED, reference="video-1"), environment="staging")
    await world.context.store.assets.add(row)

    with pytest.raises(AlreadyTracked):
        await begun(world, reference="video-1")

    assert (await world.now_is(row)).state is State.ERRORED
    assert world.emulator.calls[CREATE] == 0


async def test_of_two_that_begin_one_asset_at_once_one_gets_a_link(world: World) -> None:
    came = await asyncio.gather(
        *(
            begin_upload(world.context, a_new_row(world, reference="video-1"), WISH)
            for _ in range(3)
        ),
        return_exceptions=True,
    )

    assert sorted(type(result).__name__ for result in came) == [
        "AlreadyBegun",
        "AlreadyBegun",
        "DirectUpload",
    ]
    assert len(uploads(world)) == 1


async def test_of_two_that_begin_a_failed_asset_anew_at_once_one_gets_a_link(world: World) -> None:
    await world.track(State.ERRORED, reference="video-1", error_kind=ErrorKind.UPLOAD)

    came = await asyncio.gather(
        *(
            begin_upload(world.context, a_new_row(world, reference="video-1"), WISH)
            for _ in range(3)
        ),
        return_exceptions=True,
    )

    assert sum(isinstance(result, DirectUpload) for result in came) == 1
    assert sum(isinstance(result, AlreadyTracked | Conflict) for result in came) == 2
    assert len(uploads(world)) == 1


# beginning anew


async def a_row_begun_anew(world: World) -> tuple[ProviderAsset, ProviderAsset]:
    """A row whose first upload was cancelled, as it was then, and as it is now with its second."""
    row = await begun(world, reference="video-1")
    failed = await cancel_upload(world.context, row)
    return failed, await begun(world, reference="video-1")


async def test_a_row_begun_anew_keeps_nothing_of_its_failure(world: World) -> None:
    failed = await world.track(
        State.ERRORED,
        reference="video-1",
        provider_upload_id="upload-0",
        last_event_id="event-0",
        check_failures=2,
    )

    row = await begun(world, reference="video-1")

    assert (row.id, row.state) == (failed.id, State.UPLOADING)
    assert (row.provider_asset_id, row.error_kind, row.last_sync_error) == (None, None, None)
    assert (row.last_event_id, row.last_event_at, row.check_failures) == (None, None, 0)
    assert row.provider_upload_id == uploads(world)[0].id


async def test_a_row_begun_anew_is_as_it_is_wished_for_now(world: World) -> None:
    await world.track(
        State.ERRORED, reference="video-1", playback_policy="public", ingest_mode="from_url"
    )

    row = await begun(world, reference="video-1", playback_policy="signed")

    assert (row.playback_policy, row.ingest_mode) == ("signed", DIRECT_UPLOAD)


@pytest.mark.parametrize("type_", ["created", "asset_created", "cancelled", "errored"])
async def test_late_webhooks_of_the_old_upload_do_not_touch_the_new_one(
    world: World, type_: str
) -> None:
    with_secrets(world)
    old, row = await a_row_begun_anew(world)
    settings = {"new_asset_settings": {"passthrough": old.passthrough}, "asset_id": "asset-0"}

    await deliver(
        world, an_upload_event(old.provider_upload_id or "", f"video.upload.{type_}", **settings)
    )
    await deliver(
        world, an_event("asset-0", passthrough=old.passthrough, upload_id=old.provider_upload_id)
    )
    await process_webhook_events(world.context)

    assert await world.now_is(row) == row


async def test_a_slow_check_of_the_old_asset_does_not_touch_the_new_upload(world: World) -> None:
    old = await world.track(State.ERRORED, reference="video-1", error_kind=ErrorKind.NOT_FOUND)
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def slowly(_: float) -> None:
        asked.set()
        await may_answer.wait()

    world.emulator.sleep = slowly
    world.emulator.add_fault("late_answer", operation="get_asset", seconds=1)
    looking = asyncio.create_task(world.sync(old))
    await asyncio.wait_for(asked.wait(), 10)
    row = await begun(world, reference="video-1")
    may_answer.set()
    await looking

    after = await world.now_is(row)
    assert (after.state, after.provider_asset_id) == (State.UPLOADING, None)


# cancelling


async def test_a_cancelled_upload_ends_at_the_provider_and_here(world: World) -> None:
    link = await begin_upload(world.context, a_new_row(world), WISH)

    after = await cancel_upload(world.context, await now_is(world, link))

    assert after == await now_is(world, link)
    assert (after.state, after.error_kind, after.last_sync_error) == (
        State.ERRORED,
        ErrorKind.UPLOAD,
        "mux upload cancelled",
    )
    assert after.check_at is None
    assert await send_file(world, link) == 403


async def test_cancelling_twice_changes_nothing_more(world: World) -> None:
    row = await begun(world)

    once = await cancel_upload(world.context, row)
    again = await cancel_upload(world.context, once)
    with_an_old_row = await cancel_upload(world.context, row)

    assert again == once
    assert (with_an_old_row.state, with_an_old_row.last_sync_error) == (
        once.state,
        once.last_sync_error,
    )
    assert len(await history(world, row)) == 2


async def test_cancelling_twice_at_once_changes_the_row_once(world: World) -> None:
    row = await begun(world)

    both = await asyncio.gather(*(cancel_upload(world.context, row) for _ in range(2)))

    assert {row.last_sync_error for row in both} == {"mux upload cancelled"}
    assert len(await history(world, row)) == 2


async def test_a_cancel_that_comes_too_late_leaves_the_truth(world: World) -> None:
    row = await begun(world)
    asset = world.emulator.finish_upload(row.provider_upload_id or "")

    after = await cancel_upload(world.context, row)

    assert (after.state, after.provider_asset_id) == (State.PROCESSING, asset)
    assert world.emulator.statuses[403] == 1


@pytest.mark.parametrize("is_late", [False, True], ids=["in time", "too late"])
async def test_a_cancel_takes_each_of_its_calls_out_of_the_bucket(
    world: World, *, is_late: bool
) -> None:
    row = await begun(world)
    if is_late:
        world.emulator.finish_upload(row.provider_upload_id or "")
    (before,) = await world.context.gateway.reads.levels([world.context.gateway.reads])

    await cancel_upload(world.context, row)

    (after,) = await world.context.gateway.reads.levels([world.context.gateway.reads])
    ways = [event.way for event in world.called if event.way != CREATE]
    assert ways == [CANCEL, "upload"][: 1 + is_late]
    assert before.calls - after.calls == pytest.approx(len(ways))


async def test_a_cancel_of_an_upload_that_timed_out_says_that(world: World) -> None:
    row = await begun(world)
    world.clock.move(WISH.timeout)

    assert (await cancel_upload(world.context, row)).last_sync_error == "mux upload timed out"


async def test_a_cancel_of_an_upload_that_the_provider_does_not_know_is_said(world: World) -> None:
    row = await world.track(
        State.UPLOADING, provider_asset_id=None, provider_upload_id="unknown-upload"
    )

    after = await cancel_upload(world.context, row)

    assert (after.error_kind, after.last_sync_error) == (
        ErrorKind.NOT_FOUND,
        "mux upload not found",
    )


@pytest.mark.parametrize("state", [State.PROCESSING, State.READY, State.ERRORED, State.DELETED])
async def test_a_row_that_waits_for_no_file_is_left_as_it_is(world: World, state: State) -> None:
    row = await world.track(state, provider_upload_id="upload-1")

    assert await cancel_upload(world.context, row) == row
    assert world.calls == 0


async def test_a_row_that_the_app_has_deleted_is_cancelled_at_the_provider_all_the_same(
    world: World,
) -> None:
    row = await begun(world)
    async with world.context.store.database.writing() as connection:
        await connection.execute(assets.delete())

    assert (await cancel_upload(world.context, row)).id == row.id
    assert uploads(world)[0].is_cancelled


async def test_a_row_without_an_upload_is_cancelled_without_a_call(world: World) -> None:
    row = a_new_row(world)
    await world.context.store.assets.add(row)

    after = await cancel_upload(world.context, row)

    assert (after.error_kind, after.last_sync_error) == (ErrorKind.UPLOAD, "upload cancelled")
    assert world.calls == 0


async def test_a_cancel_while_the_upload_is_made_is_not_undone(world: World) -> None:
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def slowly(_: float) -> None:
        asked.set()
        await may_answer.wait()

    world.emulator.sleep = slowly
    world.emulator.add_fault("late_answer", operation=CREATE, seconds=1)
    beginning = asyncio.create_task(begin_upload(world.context, a_new_row(world), WISH))
    await asyncio.wait_for(asked.wait(), 10)
    world.clock.move(1)
    row = await cancel_upload(world.context, await the_row(world))
    world.clock.move(1)
    may_answer.set()

    with pytest.raises(Conflict):
        await beginning
    assert (await world.now_is(row)).state is State.ERRORED


@pytest.mark.parametrize("kind", ["server_error", "unauthorized", "forbidden"])
async def test_a_cancel_without_an_answer_leaves_the_row_as_it_was(world: World, kind: str) -> None:
    row = await begun(world)
    world.emulator.add_fault(kind)

    with pytest.raises(ProviderError):
        await cancel_upload(world.context, row)

    assert await world.now_is(row) == row


async def test_a_rate_limited_cancel_waits(world: World) -> None:
    row = await begun(world)
    world.emulator.add_fault("rate_limited", operation=CANCEL, times=1, retry_after=3)

    assert (await cancel_upload(world.context, row)).state is State.ERRORED
    assert world.emulator.calls[CANCEL] == 2


async def test_a_row_whose_asset_is_known_is_not_ended_by_a_cancel(world: World) -> None:
    row = await world.track(State.UPLOADING)

    await cancel_upload(world.context, row)

    assert (await world.now_is(row)).state is State.UPLOADING


# the sweep


async def test_a_timed_out_upload_is_found_by_the_sweep_since_no_webhook_tells_of_it(
    world: World,
) -> None:
    with_secrets(world)
    world.emulator.add_webhook(
        "http://us/", SECRET, transport=httpx.ASGITransport(app=WebhookApp(a_receiver(world)))
    )
    row = await begun(world)
    world.clock.move(WISH.timeout + MINUTE)

    await world.emulator.deliver_due()
    await process_webhook_events(world.context)
    told = await world.now_is(row)
    await world.sweep()

    after = await world.now_is(row)
    assert told.state is State.UPLOADING
    assert (after.state, after.error_kind, after.last_sync_error) == (
        State.ERRORED,
        ErrorKind.UPLOAD,
        "mux upload timed out",
    )


async def test_an_upload_whose_file_is_no_film_ends_as_errored(world: World) -> None:
    world.emulator.life = ERRORED
    row = await begun(world)
    world.emulator.finish_upload(row.provider_upload_id or "")
    world.clock.move(MINUTE)

    await world.sweep()

    assert (await world.now_is(row)).state is State.ERRORED


async def test_an_upload_that_another_row_holds_is_given_to_nobody(world: World) -> None:
    async def taken(_: float) -> None:
        await world.track(
            State.UPLOADING, provider_asset_id=None, provider_upload_id=uploads(world)[0].id
        )

    world.emulator.sleep = taken
    world.emulator.add_fault("late_answer", operation=CREATE, seconds=1)
    row = a_new_row(world)

    with pytest.raises(Conflict):
        await begin_upload(world.context, row, WISH)
    clashed = await world.now_is(row)
    world.clock.move(GRACE)
    await world.sweep()

    assert (clashed.state, clashed.provider_upload_id) == (State.PENDING, None)
    assert "another row holds" in (clashed.last_sync_error or "")
    assert (await world.now_is(row)).error_kind is ErrorKind.UPLOAD
    assert [e.reason for e in world.events(Failed) if isinstance(e, Failed)] == ["clash"]


# two steps


async def prepared(world: World, reference: str = "video-1") -> PreparedUpload:
    row = upload_row(world.context, reference, "default", WISH)
    return await prepare_upload(world.context, row, WISH)


async def test_a_prepared_upload_is_made_by_one_process_alone(world: World) -> None:
    waiting = pickle.loads(pickle.dumps(await prepared(world)))
    assert (world.calls, (await the_row(world)).state) == (0, State.PENDING)

    came = await asyncio.gather(
        *(start_upload(world.context, waiting) for _ in range(3)), return_exceptions=True
    )

    assert sorted(type(result).__name__ for result in came) == [
        "AlreadyBegun",
        "AlreadyBegun",
        "DirectUpload",
    ]
    assert (len(uploads(world)), (await the_row(world)).state) == (1, State.UPLOADING)


async def test_a_prepared_upload_that_nobody_starts_ends_by_itself(world: World) -> None:
    waiting = await prepared(world)

    world.clock.move(GRACE)
    await world.sweep()

    assert (await the_row(world)).last_sync_error == "mux upload was not begun"
    with pytest.raises(Conflict):
        await start_upload(world.context, waiting)
    assert world.calls == 0


async def test_an_upload_that_is_started_late_has_its_own_grace(world: World) -> None:
    waiting = await prepared(world)
    world.clock.move(GRACE - MINUTE)

    async def sweep(_: float) -> None:
        world.clock.move(2 * MINUTE)
        await world.sweep()

    world.emulator.sleep = sweep
    world.emulator.add_fault("latency", operation=CREATE, seconds=1)
    await start_upload(world.context, waiting)

    assert (await the_row(world)).state is State.UPLOADING


async def test_what_was_prepared_in_a_transaction_that_failed_cannot_be_started(
    world: World,
) -> None:
    async with world.context.store.database.engine.connect() as connection:
        row = upload_row(world.context, "video-1", "default", WISH)
        context = world.context.within(connection.for_app())
        waiting = await prepare_upload(context, row, WISH)
        await connection.rollback()

    with pytest.raises(Conflict):
        await start_upload(world.context, waiting)
    assert (await world.states(), world.calls) == ({}, 0)


async def test_a_row_of_another_kind_is_not_started_as_an_upload(world: World) -> None:
    row = await world.track(State.ERRORED, provider_asset_id=None)

    with pytest.raises(Conflict):
        await start_upload(world.context, PreparedUpload(row_id=row.id, request=WISH))
    assert world.calls == 0


# resuming


async def resumed(world: World, reference: str = "video-1", **options: Any) -> DirectUpload:
    row = upload_row(world.context, reference, "default", WISH)
    return await resume_upload(world.context, row, WISH, **options)


async def test_a_page_that_was_reloaded_gets_its_upload_again(world: World) -> None:
    first = await resumed(world)
    world.clock.move(MINUTE)

    again = await resumed(world)

    assert again == first
    assert len(uploads(world)) == 1
    assert await send_file(world, again) == 200


@pytest.mark.parametrize("why", ["cancelled", "timed out", "errored", "not found"])
async def test_an_upload_that_waits_no_more_is_made_anew_in_the_same_row(
    world: World, why: str
) -> None:
    first = await resumed(world)
    row = await now_is(world, first)
    if why == "cancelled":
        world.emulator.cancel_upload(row.provider_upload_id or "")
    elif why == "timed out":
        world.clock.move(WISH.timeout)
    elif why == "errored":
        await cancel_upload(world.context, row)
    else:
        world.emulator.reset()

    again = await resumed(world)

    assert again.row_id == first.row_id
    assert (await now_is(world, again)).state is State.UPLOADING
    assert await send_file(world, again) == 200


async def test_an_upload_whose_file_has_come_is_not_made_again(world: World) -> None:
    first = await resumed(world)
    asset = world.emulator.finish_upload((await now_is(world, first)).provider_upload_id or "")

    with pytest.raises(AlreadyTracked) as raised:
        await resumed(world)

    assert (raised.value.row_id, raised.value.state) == (first.row_id, State.PROCESSING)
    assert (await now_is(world, first)).provider_asset_id == asset
    assert len(uploads(world)) == 1


async def test_a_prepared_upload_is_begun_by_whoever_resumes_it(world: World) -> None:
    waiting = await prepared(world)

    link = await resumed(world)

    assert (link.row_id, len(uploads(world))) == (waiting.row_id, 1)
    with pytest.raises(AlreadyBegun):
        await start_upload(world.context, waiting)


async def test_an_upload_whose_url_was_lost_with_its_process_is_made_anew(world: World) -> None:
    await begin_lost(world)
    row = await the_row(world)

    with pytest.raises(AlreadyBegun):
        await resumed(world)
    world.clock.move(world.context.lease)
    link = await resumed(world)

    after = await now_is(world, link)
    assert (after.id, after.state, after.passthrough != row.passthrough) == (
        row.id,
        State.UPLOADING,
        True,
    )


async def begin_lost(world: World) -> None:
    """A process that dies in its call."""
    world.emulator.sleep = asyncio.sleep
    world.emulator.add_fault("silence", operation=CREATE, times=1)
    beginning = asyncio.create_task(resumed(world))
    async with asyncio.timeout(10):
        while not world.emulator.calls[CREATE]:  # noqa: ASYNC110  the emulator has no event to wait for
            await asyncio.sleep(0.01)
    beginning.cancel()
    with suppress(asyncio.CancelledError):
        await beginning
    world.emulator.sleep = world.clock.sleep


async def test_an_upload_that_cannot_be_asked_about_is_left_as_it_is(world: World) -> None:
    row = await now_is(world, await resumed(world))
    world.emulator.add_fault("server_error", operation=LOOK)

    with pytest.raises(ProviderUnavailable):
        await resumed(world)

    assert await world.now_is(row) == row
    assert len(uploads(world)) == 1


# for an app that embeds it


@pytest.fixture
def far_end() -> MuxEmulator:
    return MuxEmulator(prepare_seconds=0)


@pytest.fixture
async def rindle(tables_url: str, far_end: MuxEmulator) -> AsyncIterator[RindleSync]:
    settings = plain_settings(
        database_url=tables_url,
        mux_token_id=far_end.token_id,
        mux_token_secret=far_end.token_secret,
    )
    async with connect(settings, transport=httpx.ASGITransport(app=far_end.app)) as rindle:
        yield rindle


async def test_an_app_begins_an_upload_with_its_own_id_and_origin(
    rindle: RindleSync, far_end: MuxEmulator
) -> None:
    link = await rindle.begin_upload(
        reference="video-1", cors_origin="https://app.example", playback_policy="signed"
    )

    row, [upload] = await rindle.get(link.row_id), far_end.environment.uploads(limit=10)
    assert row
    assert (row.reference, row.profile, row.state) == ("video-1", "default", State.UPLOADING)
    assert (row.ingest_mode, row.playback_policy, row.passthrough) == (
        DIRECT_UPLOAD,
        "signed",
        upload.settings.passthrough,
    )
    assert upload.cors_origin == "https://app.example"


async def test_an_app_cancels_an_upload_by_the_row_s_id(rindle: RindleSync) -> None:
    link = await rindle.begin_upload(reference="video-1", cors_origin="*")

    row = await rindle.cancel_upload(link.row_id)

    assert row
    assert row.error_kind is ErrorKind.UPLOAD
    assert await rindle.cancel_upload(str(uuid4())) is None
    assert await rindle.cancel_upload("no id") is None


async def test_an_app_prepares_an_upload_with_its_own_row(
    rindle: RindleSync, far_end: MuxEmulator
) -> None:
    async with rindle.store.database.engine.begin() as connection:
        waiting = await rindle.prepare_upload(
            reference="video-1", cors_origin="*", connection=connection.for_app()
        )
        await connection.execute(text("CREATE TABLE videos (rindle_row TEXT)"))

    link = await rindle.start_upload(waiting)
    again = await rindle.begin_upload(reference="video-1", cors_origin="*", resume=True)

    assert (link.row_id, again.url) == (waiting.row_id, link.url)
    assert far_end.calls[CREATE] == 1


async def test_an_app_begins_again_after_a_cancel(rindle: RindleSync, far_end: MuxEmulator) -> None:
    first = await rindle.begin_upload(reference="video-1", cors_origin="*")
    with pytest.raises(AlreadyTracked):
        await rindle.begin_upload(reference="video-1", cors_origin="*")
    await rindle.cancel_upload(first.row_id)

    second = await rindle.begin_upload(reference="video-1", cors_origin="*")

    assert second.row_id == first.row_id
    assert second.url != first.url
    assert far_end.calls[CREATE] == 2


@pytest.mark.parametrize("expires_in", [timedelta(seconds=59), timedelta(days=7, seconds=1), 3600])
async def test_a_time_that_the_provider_does_not_take_is_refused_before_there_is_a_row(
    rindle: RindleSync, expires_in: Any
) -> None:
    with pytest.raises(ConfigurationError, match="expires_in"):
        await rindle.begin_upload(reference="video-1", cors_origin="*", expires_in=expires_in)

    assert (await rindle.status()).rows == 0


async def test_without_a_token_no_row_is_made(tables_url: str) -> None:
    async with connect(plain_settings(database_url=tables_url)) as rindle:
        with pytest.raises(ConfigurationError, match="mux_token_id"):
            await rindle.begin_upload(reference="video-1", cors_origin="*")

        assert [row async for row in rindle.store.assets.rows()] == []


async def test_an_upload_comes_to_ready_under_a_real_clock(
    rindle: RindleSync, far_end: MuxEmulator
) -> None:
    link = await rindle.begin_upload(reference="video-1", cors_origin="*")
    far_end.life = Life(ends="ready", after=0)
    row = await rindle.get(link.row_id)
    assert row
    asset = far_end.finish_upload(row.provider_upload_id or "")
    await cancel_upload(rindle.context, row)

    settled = await rindle.sync(asset)

    assert settled
    assert settled.row.state is State.READY
