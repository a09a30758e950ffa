"""Assets made from a URL.

The row first, then the call; and where the answer is lost, never a second asset.
"""

import asyncio
import dataclasses
import logging
import pickle
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from rindle_sync.app import RindleSync, connect
from rindle_sync.config import plain_settings
from rindle_sync.diagnostics import explain
from rindle_sync.domain import FROM_URL, ErrorKind, ProviderAsset, State
from rindle_sync.emulator import MuxEmulator
from rindle_sync.errors import (
    AlreadyBegun,
    AlreadyTracked,
    AuthenticationFailed,
    ConfigurationError,
    Conflict,
    EnvironmentMismatch,
    ProviderUnavailable,
    RindleSyncError,
)
from rindle_sync.providers import AssetRequest
from rindle_sync.providers.mux import Credentials, Mux
from rindle_sync.reconcile import backfill
from rindle_sync.store.schema import assets, changes, webhook_events
from rindle_sync.tracking import (
    PreparedAsset,
    asset_row,
    cancel_upload,
    create_asset,
    inputs_of,
    prepare_asset,
    replace_asset,
    start_asset,
    untrack,
)
from rindle_sync.webhooks import process_webhook_events
from tests.support.processes import free_port
from tests.support.webhooks import an_event, deliver, with_secrets
from tests.support.world import READY, World

URL = "https://files.example/film-of-the-year.mp4?signature=s3cr3t-0123456789"
REQUEST = AssetRequest(inputs=inputs_of(URL))
CREATE, LIST = "create_asset", "list_assets"
GRACE = timedelta(minutes=10)
MINUTE = timedelta(minutes=1)


async def made(world: World, reference: str = "video-1", **options: Any) -> ProviderAsset:
    row = asset_row(world.context, reference, "default", REQUEST)
    return await create_asset(world.context, row, REQUEST, **options)


async def prepared(world: World, reference: str = "video-1") -> PreparedAsset:
    row = asset_row(world.context, reference, "default", REQUEST)
    return await prepare_asset(world.context, row, REQUEST)


async def the_row(world: World) -> ProviderAsset:
    [row] = [row async for row in world.context.store.assets.rows()]
    return row


def there(world: World) -> list[str]:
    """Every asset at the provider."""
    return list(world.emulator.environment.assets)


async def lost(world: World, kind: str = "late_answer", **values: Any) -> ProviderAsset:
    """The row of an asset that was made, or not, and whose answer was lost."""
    world.emulator.sleep = asyncio.sleep
    world.with_timeout(0.05)
    if kind == "late_answer":
        values = {"seconds": 60}
    world.emulator.add_fault(kind, operation=CREATE, times=1, **values)
    with pytest.raises(ProviderUnavailable):
        await made(world)
    world.with_timeout(10)
    world.emulator.sleep = world.clock.sleep
    return await the_row(world)


# the steps


async def test_an_asset_is_made_of_a_url_and_carries_the_row_s_passthrough(world: World) -> None:
    row = await made(world)

    [asset_id] = there(world)
    assert (row.state, row.provider_asset_id, row.ingest_mode) == (
        State.PROCESSING,
        asset_id,
        FROM_URL,
    )
    assert world.emulator.truth(asset_id).passthrough == row.passthrough
    assert world.emulator.calls[CREATE] == 1


async def test_the_row_stands_before_the_provider_is_asked(world: World) -> None:
    stood: list[ProviderAsset] = []

    async def look(_: float) -> None:
        stood.append(await the_row(world))

    world.emulator.sleep = look
    world.emulator.add_fault("latency", operation=CREATE, seconds=1)

    await made(world)

    assert [row.state for row in stood] == [State.PENDING]


async def test_it_comes_to_ready_like_any_row(world: World) -> None:
    world.emulator.life = READY
    row = await made(world)

    world.clock.move(MINUTE)
    await world.sweep()

    assert (await world.now_is(row)).state is State.READY


@pytest.mark.parametrize(
    "given", [None, "", "file.mp4", [], {}, [URL], [{}], [{"url": 5}], [{"url": URL, "x": {1, 2}}]]
)
def test_an_input_that_is_none_is_refused_and_not_shown(given: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^input: must") as raised:
        inputs_of(given)

    assert "s3cr3t" not in str(raised.value)


async def test_the_inputs_of_the_provider_s_own_kind_are_sent_as_they_are(world: World) -> None:
    given = [{"url": URL, "generated_subtitles": [{"language_code": "en", "name": "English"}]}]
    request = AssetRequest(inputs=inputs_of(given), playback_policy="signed", test=True)
    row = asset_row(world.context, "video-1", "default", request)

    row = await create_asset(world.context, row, request)

    truth = world.emulator.truth(row.provider_asset_id or "")
    assert (row.playback_policy, [p.policy for p in truth.playback_ids]) == ("signed", ["signed"])


# what is never shown


async def test_the_url_stands_nowhere(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    errors = []
    for kind in ("server_error", "unauthorized", "broken_json"):
        world.emulator.add_fault(kind, operation=CREATE, times=1)
        with pytest.raises(RindleSyncError) as raised:
            await made(world, kind)
        errors.append(repr(raised.value))
    request = dataclasses.replace(REQUEST, settings={"video_quality": URL})
    with pytest.raises(ConfigurationError) as refused:
        await create_asset(
            world.context, asset_row(world.context, "refused", "default", request), request
        )
    errors.append(str(refused.value))
    row = await made(world)

    async with world.context.store.database.reading() as connection:
        tables = [
            list(await connection.execute(select(*table.c)))
            for table in (assets, webhook_events, changes)
        ]
    said = caplog.text + repr(world.told) + repr(tables) + repr(row) + repr(request) + repr(errors)
    assert "s3cr3t" not in said
    assert "film-of-the-year" not in said


# an answer that is lost


@pytest.mark.parametrize("kind", ["server_error", "bad_gateway", "broken_json", "late_answer"])
async def test_without_an_answer_the_row_stays_pending_and_nothing_is_asked_for_again(
    world: World, kind: str
) -> None:
    row = await lost(world, kind)

    with pytest.raises(AlreadyBegun) as raised:
        await made(world)

    assert (raised.value.row_id, raised.value.state) == (row.id, State.PENDING)
    assert (row.state, row.is_unclear, row.provider_asset_id) == (State.PENDING, True, None)
    assert (row.last_sync_error or "").startswith("whether the asset was made is not known: mux ")
    assert world.emulator.calls[CREATE] == 1


async def test_an_asset_that_was_made_is_found_by_its_passthrough_in_the_list(world: World) -> None:
    row = await lost(world)
    world.emulator.create_assets(250, life=READY)

    world.clock.move(MINUTE)
    await world.sweep()

    after = await world.now_is(row)
    assert world.emulator.truth(after.provider_asset_id or "").passthrough == row.passthrough
    assert (after.state, after.last_sync_error) == (State.READY, None)
    assert world.emulator.calls[LIST] == 3


async def test_an_asset_that_was_made_is_linked_by_its_webhook(world: World) -> None:
    with_secrets(world)
    row = await lost(world)
    [asset_id] = there(world)

    await deliver(world, an_event(asset_id, "video.asset.created", passthrough=row.passthrough))
    await process_webhook_events(world.context)

    after = await world.now_is(row)
    assert (after.state, after.provider_asset_id) == (State.PROCESSING, asset_id)


async def test_an_asset_that_was_not_made_ends_the_row_only_after_the_grace(world: World) -> None:
    row = await lost(world, "server_error")

    world.clock.move(GRACE - timedelta(seconds=1))
    await world.sweep()
    early = await world.now_is(row)
    world.clock.move(MINUTE)
    await world.sweep()

    late = await world.now_is(row)
    assert (early.state, early.is_unclear) == (State.PENDING, True)
    assert (late.state, late.error_kind, late.last_sync_error, late.check_at) == (
        State.ERRORED,
        ErrorKind.UPLOAD,
        "mux did not make the asset",
        None,
    )
    again = await made(world)
    assert (again.id, again.state, len(there(world))) == (row.id, State.PROCESSING, 1)
    assert again.passthrough != row.passthrough


async def test_a_look_that_was_not_answered_says_nothing(world: World) -> None:
    row = await lost(world, "server_error")
    world.emulator.add_fault("server_error", operation=LIST)

    world.clock.move(GRACE)
    await world.sweep()

    assert (await world.now_is(row)).is_unclear


async def test_a_look_that_is_not_whole_says_nothing(world: World) -> None:
    row = await lost(world, "server_error")
    world.clock.move(GRACE)
    world.emulator.create_assets(2_100, life=READY)

    await world.sweep()

    after = await world.now_is(row)
    assert after.is_unclear
    assert "too many new assets" in (after.last_sync_error or "")
    assert world.emulator.calls[LIST] == 20


async def test_a_list_of_another_environment_says_nothing(world: World) -> None:
    await world.know_identity()
    row = await lost(world, "server_error")
    stranger = MuxEmulator(now=world.clock.seconds, sleep=world.clock.sleep)
    world.with_token_of(stranger)
    world.context.gateway.identity.expected = "another-environment"

    world.clock.move(GRACE)
    with pytest.raises(EnvironmentMismatch):
        await world.sweep()

    assert (await world.now_is(row)).is_unclear


async def test_one_look_serves_many_rows(world: World) -> None:
    world.emulator.add_fault("server_error", operation=CREATE, times=5)
    for number in range(5):
        with suppress(ProviderUnavailable):
            await made(world, f"video-{number}")

    world.clock.move(MINUTE)
    result = await world.sweep()

    assert (result.checked, world.emulator.calls[LIST]) == (5, 1)


async def test_a_refusal_made_nothing_and_ends_the_row_at_once(world: World) -> None:
    world.emulator.add_fault("unauthorized", operation=CREATE, times=1)

    with pytest.raises(AuthenticationFailed):
        await made(world)

    row = await the_row(world)
    assert (row.state, row.error_kind) == (State.ERRORED, ErrorKind.UPLOAD)
    assert (row.last_sync_error or "").startswith("asset was not made: mux answered 401")
    assert (await made(world)).id == row.id


async def test_a_call_that_was_never_sent_made_nothing_and_ends_the_row_at_once(
    world: World,
) -> None:
    provider = world.context.gateway.provider
    unused = f"http://127.0.0.1:{free_port()}"
    world.with_provider(Mux(Credentials("id", "secret"), base_url=unused))

    with pytest.raises(ProviderUnavailable):
        await made(world)

    assert (await the_row(world)).error_kind is ErrorKind.UPLOAD
    world.with_provider(provider)
    assert (await made(world)).state is State.PROCESSING


async def test_a_late_webhook_of_an_earlier_attempt_is_not_about_the_new_one(world: World) -> None:
    with_secrets(world)
    row = await lost(world, "server_error")
    world.clock.move(GRACE)
    await world.sweep()
    again = await made(world)

    await deliver(world, an_event("asset-0", "video.asset.created", passthrough=row.passthrough))
    await process_webhook_events(world.context)

    assert await world.now_is(again) == again


async def test_explain_says_that_its_asset_is_looked_for(world: World) -> None:
    told = await explain(world.context, await lost(world))

    assert "it is looked for in the list" in told.next


async def test_an_attempt_whose_outcome_is_not_known_cannot_be_cancelled(world: World) -> None:
    row = await lost(world)

    assert await cancel_upload(world.context, row) == row
    assert (await world.now_is(row)).is_unclear


async def test_its_asset_is_not_adopted_by_a_backfill(world: World) -> None:
    row = await lost(world)

    await backfill(world.context)

    assert [found.id async for found in world.context.store.assets.rows()] == [row.id]


async def test_an_asset_that_was_made_for_a_row_that_is_forgotten_is_never_adopted(
    world: World,
) -> None:
    async def forget(_: float) -> None:
        await untrack(world.context, await the_row(world))

    world.emulator.sleep = forget
    world.emulator.add_fault("late_answer", operation=CREATE, seconds=1)

    with pytest.raises(Conflict):
        await made(world)
    filled = await backfill(world.context)

    assert (len(there(world)), filled.adopted) == (1, 0)


@pytest.mark.parametrize("what", ["untracked", "replaced"])
async def test_nor_by_a_scan_that_is_faster_than_the_answer(world: World, what: str) -> None:
    other = world.emulator.create_asset(life=READY)

    async def forget(_: float) -> None:
        world.emulator.sleep = world.clock.sleep
        row = await the_row(world)
        if what == "untracked":
            await untrack(world.context, row)
        else:
            await replace_asset(world.context, row, provider_asset_id=other)
        await backfill(world.context)

    world.emulator.sleep = forget
    world.emulator.add_fault("late_answer", operation=CREATE, times=1, seconds=1)

    with pytest.raises(Conflict):
        await made(world)
    await backfill(world.context)

    rows = [row.provider_asset_id async for row in world.context.store.assets.rows()]
    assert (len(there(world)), rows) == (2, [other])


# two steps


async def test_a_prepared_row_is_started_by_one_process_alone(world: World) -> None:
    waiting = pickle.loads(pickle.dumps(await prepared(world)))
    assert world.calls == 0

    came = await asyncio.gather(
        *(start_asset(world.context, waiting) for _ in range(3)), return_exceptions=True
    )

    assert sorted(type(result).__name__ for result in came) == [
        "AlreadyBegun",
        "AlreadyBegun",
        "ProviderAsset",
    ]
    assert len(there(world)) == 1
    with pytest.raises(AlreadyBegun):
        await start_asset(world.context, waiting)


async def test_a_prepared_row_that_nobody_starts_ends_by_itself(world: World) -> None:
    waiting = await prepared(world)

    world.clock.move(GRACE)
    await world.sweep()

    row = await the_row(world)
    assert (row.error_kind, row.last_sync_error) == (ErrorKind.UPLOAD, "mux asset was not begun")
    with pytest.raises(Conflict):
        await start_asset(world.context, waiting)
    assert world.calls == 0


# an app


@pytest.fixture
def far_end() -> MuxEmulator:
    return MuxEmulator(prepare_seconds=60)


@pytest.fixture
async def rindle(tables_url: str, far_end: MuxEmulator) -> AsyncIterator[RindleSync]:
    settings = plain_settings(
        database_url=tables_url,
        mux_token_id=far_end.token_id,
        mux_token_secret=far_end.token_secret,
    )
    async with connect(settings, transport=httpx.ASGITransport(app=far_end.app)) as rindle:
        yield rindle


async def test_an_app_has_an_asset_made(rindle: RindleSync, far_end: MuxEmulator) -> None:
    row = await rindle.create_asset(
        reference="video-1", input=URL, new_asset_settings={"video_quality": "plus"}
    )
    with pytest.raises(AlreadyTracked) as raised:
        await rindle.create_asset(reference="video-1", input=URL)

    assert (raised.value.row_id, raised.value.state) == (row.id, State.PROCESSING)
    assert far_end.calls[CREATE] == 1
    assert row.provider_asset_id in far_end.environment.assets


async def test_an_app_prepares_an_asset_and_starts_it_later(
    rindle: RindleSync, far_end: MuxEmulator
) -> None:
    waiting = await rindle.prepare_asset(reference="video-1", input=URL)

    row = await rindle.start_asset(waiting)

    assert (row.id, row.state) == (waiting.row_id, State.PROCESSING)
    assert list(far_end.environment.assets) == [row.provider_asset_id]


async def test_two_services_on_one_database_make_one_asset_for_a_hundred_requests(
    rindle: RindleSync, far_end: MuxEmulator
) -> None:
    waiting = await rindle.prepare_asset(reference="video-1", input=URL)
    transport = httpx.ASGITransport(app=far_end.app)
    async with connect(rindle.settings, transport=transport) as other:
        # in one process a SQLite file has one service
        is_shared = rindle.store.database.engine.dialect.name == "postgresql"
        both = (rindle, other if is_shared else rindle)
        calls = [both[number % 2].start_asset(waiting) for number in range(50)]
        calls += [
            both[number % 2].create_asset(reference="video-2", input=URL) for number in range(50)
        ]
        came = await asyncio.gather(*calls, return_exceptions=True)

    made = [result for result in came if isinstance(result, ProviderAsset)]
    assert {type(result) for result in came} <= {ProviderAsset, AlreadyBegun, AlreadyTracked}
    assert len(made) == len({row.id for row in made}) == 2
    assert {row.provider_asset_id for row in made} == set(far_end.environment.assets)
