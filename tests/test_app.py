"""The whole service inside an app.

Deliveries in, callbacks out, and a URL to play what became ready.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import httpx2
import pytest
from sqlalchemy import text
from sqlalchemy.pool import QueuePool

from rindle_sync import (
    ChangeEvent,
    ErrorKind,
    PlaybackKind,
    RindleSync,
    State,
    connect,
    connect_all,
)
from rindle_sync.config import plain_settings
from rindle_sync.domain import replace as replaced
from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.emulator.lifecycle import Life
from rindle_sync.errors import ConfigurationError, DatabaseUnavailable
from rindle_sync.providers.mux import sign
from tests.providers.test_playback import a_key, pem
from tests.support.processes import a_store, eventually
from tests.support.rows import PUBLIC, SIGNED, a_row
from tests.support.webhooks import SECRET, an_event, receiver_of


@pytest.fixture
async def rindle(tables_url: str) -> AsyncIterator[RindleSync]:
    emulator = MuxEmulator()
    settings = plain_settings(
        database_url=tables_url,
        mux_token_id=emulator.token_id,
        mux_token_secret=emulator.token_secret,
        mux_webhook_secrets=SECRET,
        mux_signing_key_id="key-1",
        mux_signing_private_key=pem(a_key()),
        sweep_interval_seconds=600,
    )
    async with connect(settings, transport=httpx.ASGITransport(app=emulator.app)) as rindle:
        yield rindle


async def test_a_delivery_reaches_the_apps_callback_at_once_and_the_video_can_be_played(
    rindle: RindleSync,
) -> None:
    heard: asyncio.Queue[ChangeEvent] = asyncio.Queue()
    rindle.on_change(heard.put)
    row = await rindle.track(reference="video-1", provider_asset_id="asset-1")
    stop = asyncio.Event()
    service = asyncio.create_task(rindle.run(stop))
    body = json.dumps(
        an_event(row, playback_ids=[{"id": "playback-1", "policy": "signed"}])
    ).encode()

    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=rindle.webhooks), base_url="http://us"
    ) as client:
        reply = await client.post(
            "/mux", content=body, headers={"mux-signature": sign(body, SECRET, datetime.now(UTC))}
        )
        changed = await asyncio.wait_for(heard.get(), 10)
    url = await rindle.playback_url(
        row.id, PlaybackKind.VIDEO, expires_at=datetime.now(UTC) + timedelta(hours=1)
    )
    stop.set()
    await asyncio.wait_for(service, 10)

    assert reply.status_code == 202
    assert (changed.change.to_state, changed.row and changed.row.id) == (State.READY, row.id)
    assert url
    assert url.url.startswith("https://stream.mux.com/playback-1.m3u8?token=")
    assert heard.empty()


async def test_a_delivery_that_is_being_kept_as_the_app_closes_is_kept_and_leaves_nothing_open(
    rindle: RindleSync, tables_url: str
) -> None:
    event, came, pool = an_event("asset-1"), asyncio.Event(), rindle.store.database.engine.pool
    body = json.dumps(event).encode()
    headers = {"mux-signature": sign(body, SECRET, datetime.now(UTC))}
    rindle.context = replace(
        rindle.context, webhooks=replace(rindle.context.webhooks, store_within=timedelta(minutes=1))
    )
    receiver = receiver_of(rindle.context)
    assert isinstance(pool, QueuePool)

    async def chunks() -> AsyncIterator[bytes]:
        yield body
        came.set()

    async with a_store(tables_url) as others:
        async with others.database.writing() as connection:
            await connection.execute(
                text(
                    "LOCK TABLE provider_webhook_events" if "postgres" in tables_url else "SELECT 1"
                )
            )
            delivering = asyncio.create_task(receiver.receive("POST", headers, chunks()))
            await came.wait()
            closing = asyncio.create_task(rindle.close())
        await closing
        in_use = pool.checkedout()
        reply = await delivering
        [webhook_event] = await others.inbox.list()

    assert (reply.status, webhook_event.event_id) == (202, event["id"])
    assert in_use == 0


async def test_a_url_for_a_row_that_is_not_there_is_none(rindle: RindleSync) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)

    assert await rindle.playback_url("no-uuid", PlaybackKind.VIDEO, expires_at=later) is None
    assert await rindle.get("no-uuid") is None
    assert await rindle.cancel_upload("no-uuid") is None


async def test_a_row_is_played_without_its_database_or_a_key(sqlite_url: str) -> None:
    row = a_row(State.READY, playback_ids=(PUBLIC,), title="A film")
    nowhere = plain_settings(database_url=sqlite_url)
    async with connect(nowhere) as rindle:  # there are no tables
        url = await rindle.playback_url(row, PlaybackKind.THUMBNAIL_JPG, modifiers={"time": 3})
        player = await rindle.playback_bundle(row)

        with pytest.raises(ConfigurationError, match=r"^mux_signing_key_id: is not set"):
            await rindle.playback_url(
                replaced(row, playback_ids=(SIGNED,)),
                PlaybackKind.VIDEO,
                expires_at=datetime.now(UTC) + timedelta(hours=1),
            )

    assert url.url == f"https://image.mux.com/{PUBLIC.id}/thumbnail.jpg?time=3"
    assert (player.playback_id, player.title, player.tokens) == (PUBLIC.id, "A film", {})


async def test_a_player_is_found_by_the_id_of_its_row(rindle: RindleSync) -> None:
    row = a_row(State.READY, playback_ids=(SIGNED,))
    await rindle.store.assets.add(row)
    later = datetime.now(UTC) + timedelta(hours=1)

    player = await rindle.playback_bundle(row.id, expires_at=later)

    assert player
    assert sorted(player.tokens) == ["playback", "storyboard", "thumbnail"]
    assert await rindle.playback_bundle("no-uuid", expires_at=later) is None


async def test_an_upload_may_not_wait_for_longer_than_a_row_may_be_in_flight(
    rindle: RindleSync,
) -> None:
    with pytest.raises(ConfigurationError, match="expires_in"):
        await rindle.begin_upload(
            reference="video-1", cors_origin="*", expires_in=timedelta(hours=3)
        )

    assert [row async for row in rindle.store.assets.rows()] == []


async def test_a_playback_policy_that_is_none_is_refused_and_makes_no_row(
    rindle: RindleSync,
) -> None:
    with pytest.raises(ConfigurationError, match="playback_policy"):
        await rindle.begin_upload(reference="video-1", cors_origin="*", playback_policy="bogus")
    with pytest.raises(ConfigurationError, match="playback_policy"):
        await rindle.track(
            reference="video-1", provider_asset_id="asset-1", playback_policy="bogus"
        )

    assert [row async for row in rindle.store.assets.rows()] == []


async def test_what_the_provider_does_not_take_is_told_as_a_wrong_setting(
    rindle: RindleSync,
) -> None:
    with pytest.raises(ConfigurationError, match="new_asset_settings"):
        await rindle.begin_upload(
            reference="video-1", cors_origin="*", new_asset_settings={"video_quality": "odd"}
        )

    [row] = [row async for row in rindle.store.assets.rows()]
    assert (row.state, row.error_kind) == (State.ERRORED, ErrorKind.UPLOAD)


async def test_a_callback_that_is_not_async_is_refused_as_it_is_registered(
    rindle: RindleSync,
) -> None:
    class Callable:
        async def __call__(self, changed: ChangeEvent) -> None:
            """Hears of it."""

    with pytest.raises(ConfigurationError, match="async function"):
        rindle.on_change(print)  # type: ignore[call-overload]
    rindle.on_change(Callable())


async def test_a_callback_of_other_arguments_is_refused_as_it_is_registered(
    rindle: RindleSync,
) -> None:
    async def plain(_: ChangeEvent) -> None:
        """Takes no connection."""

    async def transactional(_: ChangeEvent, connection: object) -> None:
        """Takes one."""

    with pytest.raises(ConfigurationError, match=r"called with \(event, connection\)"):
        rindle.on_change(plain, transactional=True)  # type: ignore[call-overload]
    with pytest.raises(ConfigurationError, match=r"called with \(event\)"):
        rindle.on_change(transactional)  # type: ignore[call-overload]
    with pytest.raises(ConfigurationError, match=r"called with \(event\)"):
        rindle.on_webhook("video.live_stream.*", transactional)  # type: ignore[call-overload]


@pytest.mark.parametrize("given", [5, uuid4(), None])
async def test_an_id_that_is_no_text_is_refused(rindle: RindleSync, given: Any) -> None:
    calls = (
        rindle.get(given),
        rindle.find_by_reference(given),
        rindle.find_by_provider_id(given),
        rindle.sync(given),
        rindle.untrack(given),
        rindle.cancel_upload(given),
        rindle.replace(given, provider_asset_id="asset-1"),
        rindle.playback_url(given, PlaybackKind.VIDEO),
        rindle.playback_bundle(given),
        rindle.webhook_events.get(given),
    )
    for call in calls:
        with pytest.raises(ConfigurationError, match=f"must be a text, not {type(given).__name__}"):
            await call


@pytest.mark.parametrize("lacks", ["token", "tables"])
async def test_a_service_that_cannot_work_says_so_as_it_starts(
    database_url: str, lacks: str
) -> None:
    token = {} if lacks == "token" else {"mux_token_id": "id", "mux_token_secret": "secret"}
    async with connect(plain_settings(database_url=database_url, **token)) as rindle:
        with pytest.raises(
            ConfigurationError if lacks == "token" else DatabaseUnavailable,
            match=r"mux_token_id|migrate",
        ):
            await rindle.run(asyncio.Event())


@pytest.mark.parametrize("odd", [datetime.now(UTC), "half an emoji \ud83d", float("nan")])
async def test_settings_that_json_cannot_carry_are_refused_and_make_no_row(
    rindle: RindleSync, odd: object
) -> None:
    with pytest.raises(ConfigurationError, match="new_asset_settings"):
        await rindle.begin_upload(
            reference="video-1", cors_origin="*", new_asset_settings={"odd": odd}
        )

    assert [row async for row in rindle.store.assets.rows()] == []


@pytest.mark.parametrize("odd", ["\ud800", "\x00", "a\nb"])
async def test_an_id_that_no_row_can_have_is_found_nowhere(rindle: RindleSync, odd: str) -> None:
    assert await rindle.find_by_provider_id(odd) == []
    assert await rindle.find_by_reference(odd) == []
    assert await rindle.sync(odd) is None


async def test_a_service_says_at_its_start_whether_the_provider_accepts_the_token(
    rindle: RindleSync, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "rindle_sync")

    async def is_accepted() -> None:
        assert "default: mux accepts the token" in caplog.text

    await run_until(rindle, is_accepted)


async def test_a_token_that_is_refused_is_an_error_in_the_log_at_once_and_ends_nothing(
    tables_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    emulator = MuxEmulator()
    settings = plain_settings(
        database_url=tables_url, mux_token_id=emulator.token_id, mux_token_secret="of-another"
    )
    transport = httpx.ASGITransport(app=emulator.app)

    async def is_refused() -> None:
        assert "default: AuthenticationFailed" in caplog.text
        # of a job, too, the line names the environment
        assert "default: audit: AuthenticationFailed" in caplog.text

    async with connect(settings, transport=transport) as rindle:
        await run_until(rindle, is_refused)

        assert (await rindle.status()).circuit == "refused"
    assert "check mux_token_id and mux_token_secret" in caplog.text
    assert "of-another" not in caplog.text


@pytest.mark.parametrize("library", [httpx, httpx2])
async def test_a_transport_of_either_library_replaces_the_network(
    tables_url: str, library: Any
) -> None:
    emulator = MuxEmulator()
    asset_id = emulator.create_asset(life=Life("ready", after=0))
    account = {"mux_token_id": emulator.token_id, "mux_token_secret": emulator.token_secret}
    settings = plain_settings(database_url=tables_url, **account)

    async with connect(settings, transport=library.ASGITransport(app=emulator.app)) as rindle:
        row = await rindle.track(reference="video-1", provider_asset_id=asset_id)
        await rindle.sync(asset_id)
        synced = await rindle.get(row.id)

    assert synced
    assert synced.state is State.READY


class Silent(httpx.AsyncBaseTransport):
    """A provider that never answers."""

    def __init__(self) -> None:
        self.calls = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.calls += 1
        await asyncio.Event().wait()
        raise AssertionError(request)


async def test_tokens_that_nobody_answers_about_do_not_hold_up_the_end(tables_url: str) -> None:
    silent, stop = Silent(), asyncio.Event()
    account = {"mux_token_id": "id", "mux_token_secret": "secret"}
    settings = plain_settings(
        database_url=tables_url,
        environments={"live": account, "test": account, "trial": account},
        audit_days=0,
    )

    async def is_asked() -> None:
        assert silent.calls

    async with connect_all(settings, transports=lambda _: silent) as installation:
        service = asyncio.create_task(installation.run(stop))
        await eventually(is_asked)
        stop.set()
        await asyncio.wait_for(service, 3)


async def run_until(rindle: RindleSync, reached: Callable[[], Awaitable[None]]) -> None:
    """Run the service until `reached` raises nothing."""
    stop = asyncio.Event()
    service = asyncio.create_task(rindle.run(stop))
    await eventually(reached)
    stop.set()
    await asyncio.wait_for(service, 10)


@pytest.mark.parametrize(
    "text",
    ["می\u200cخواهم", "動画\u3000一", "10\u00a0km", "Donau\u00addampf", "👨\u200d👩", "s3://a/b"],
)
async def test_a_text_of_any_script_is_kept_exactly_and_found_by(
    rindle: RindleSync, text: str
) -> None:
    row = await rindle.track(
        reference=text, profile=text, provider_asset_id="asset-1", passthrough=text
    )

    [found] = await rindle.find_by_reference(text)
    assert (found.id, found.reference, found.profile) == (row.id, text, text)
    assert found.passthrough == text


@pytest.mark.parametrize("name", ["reference", "profile", "passthrough", "provider_asset_id"])
@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a\x00b", "control character: character 2 is U\\+0000"),
        ("a\ud83d", "lone surrogate: character 2 is U\\+D83D"),
        ("\u202eb", "bidirectional override"),
        ("x" * 256, "at most 255 characters, not 256"),
        (" ", "empty or blank"),
        (5, "must be a text, not int"),
    ],
)
async def test_what_no_row_can_hold_is_refused_by_the_name_of_its_field(
    rindle: RindleSync, name: str, text: Any, fault: str
) -> None:
    values = {"reference": "video-1", "provider_asset_id": "asset-1"} | {name: text}

    with pytest.raises(ConfigurationError, match=f"^{name}: .*{fault}") as refused:
        await rindle.track(**values)

    assert refused.value.setting == name
    assert [row async for row in rindle.store.assets.rows()] == []
