"""A row's whole life at a provider that is not Mux.

The registry gets one entry, and nothing else knows of it.
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from rindle_sync import RindleSync, State, connect, connect_all
from rindle_sync.config import Settings, load_settings, plain_settings
from rindle_sync.diagnostics import Check
from rindle_sync.domain import ErrorKind
from rindle_sync.errors import ConfigurationError
from rindle_sync.providers import PROVIDERS, Delivery, PlaybackKind
from tests.support.toy_provider import KEY, TOY, ToyServer, delivery

SECRET = "a-webhook-secret-of-the-toy"


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROVIDERS, "toy", lambda: TOY)


@pytest.fixture
def server() -> ToyServer:
    return ToyServer()


def settings_for(url: str, **values: object) -> Settings:
    known = {"provider": "toy", "toy_key": KEY, "toy_secrets": SECRET, "database_url": url}
    schedule = {"provider_polling_floor_seconds": 0.001, "provider_check_cap_seconds": 0.001}
    return plain_settings(**(known | schedule | {"provider_confirm_seconds": 0} | values))


@pytest.fixture
async def rindle(database_url: str, server: ToyServer) -> AsyncIterator[RindleSync]:
    transport = httpx.ASGITransport(app=server)
    async with connect(settings_for(database_url), transport=transport) as rindle:
        await rindle.migrate()
        yield rindle


async def swept(rindle: RindleSync, row_id: str, state: State) -> None:
    """Sweep until the row is in this state."""
    for _ in range(1000):
        await rindle.sweep()
        row = await rindle.get(row_id)
        if row and row.state is state:
            return
    raise AssertionError(f"the row never became {state}")


async def post(rindle: RindleSync, sent: Delivery) -> int:
    transport = httpx.ASGITransport(app=rindle.webhooks)
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        answer = await client.post("/", content=sent.body, headers=dict(sent.headers))
    return answer.status_code


async def test_a_tracked_row_is_brought_in_sync_by_the_sweep(
    rindle: RindleSync, server: ToyServer
) -> None:
    uid = server.create("encoding")
    row = await rindle.track(reference="video-1", provider_asset_id=uid)
    await rindle.sweep()
    server.become(uid, "done")

    await swept(rindle, row.id, State.READY)

    found = await rindle.get(row.id)
    assert found
    assert (found.provider_name, found.provider_asset_id) == ("toy", uid)
    assert [playback.id for playback in found.playback_ids] == [uid]


async def test_a_video_that_is_not_there_says_so_in_the_words_of_its_provider(
    rindle: RindleSync,
) -> None:
    await rindle.track(reference="video-1", provider_asset_id="nothing")

    applied = await rindle.sync("nothing")

    assert applied
    assert (applied.row.state, applied.row.error_kind) == (State.ERRORED, ErrorKind.NOT_FOUND)
    assert applied.row.last_sync_error == "toy has no such video"


async def test_a_deletion_is_found_without_an_identity_once_a_row_was_found(
    rindle: RindleSync, server: ToyServer
) -> None:
    kept, gone = server.create(), server.create()
    for uid in (kept, gone):
        await rindle.track(reference=uid, provider_asset_id=uid)
        await rindle.sync(uid)
    del server.videos[gone]

    await rindle.sync(gone)
    applied = await rindle.sync(gone)

    assert applied
    assert applied.row.state is State.DELETED
    status = await rindle.status()
    assert status.webhooks.expected == 0  # READY is too young to count, DELETED is never reported


async def test_a_webhook_without_an_event_id_is_applied_once(
    rindle: RindleSync, server: ToyServer
) -> None:
    uid = server.create("encoding")
    row = await rindle.track(reference="video-1", provider_asset_id=uid)
    server.become(uid, "done")
    now = datetime.now(UTC)
    sent = delivery(server.videos[uid], SECRET, now)

    answers = [await post(rindle, sent), await post(rindle, sent)]
    await rindle.process_webhook_events()

    assert answers == [202, 200]
    found = await rindle.get(row.id)
    assert found
    assert found.state is State.READY
    assert found.last_event_at == now.replace(microsecond=0)  # told by a header alone
    [event] = await rindle.webhook_events.list()
    assert len(event.event_id) == 64


async def test_an_upload_with_the_id_of_its_video_becomes_ready(
    rindle: RindleSync, server: ToyServer
) -> None:
    upload = await rindle.begin_upload(reference="video-1", cors_origin="https://app.example")
    [(uid, video)] = server.videos.items()
    waiting = await rindle.get(upload.row_id)
    server.become(uid, "done")

    await swept(rindle, upload.row_id, State.READY)

    found = await rindle.get(upload.row_id)
    assert waiting
    assert found
    assert (waiting.state, waiting.provider_upload_id) == (State.UPLOADING, uid)
    assert (found.provider_asset_id, found.passthrough) == (uid, video["tag"])


async def test_an_upload_that_is_cancelled_ends_its_row(
    rindle: RindleSync, server: ToyServer
) -> None:
    upload = await rindle.begin_upload(reference="video-1", cors_origin="https://app.example")

    row = await rindle.cancel_upload(upload.row_id)

    assert row
    assert (row.state, row.error_kind) == (State.ERRORED, ErrorKind.UPLOAD)
    assert server.videos == {}


@pytest.mark.parametrize(
    ("values", "setting"),
    [
        ({"expires_in": timedelta(minutes=1)}, "expires_in"),
        ({"expires_in": timedelta(hours=7)}, "expires_in"),
        ({"playback_policy": "signed"}, "playback_policy"),
    ],
)
async def test_its_own_bounds_hold_for_an_upload(
    rindle: RindleSync, server: ToyServer, values: dict[str, object], setting: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        await rindle.begin_upload(
            reference="video-1",
            cors_origin="https://app.example",
            **values,  # type: ignore[arg-type]
        )
    assert refused.value.setting == setting
    assert server.videos == {}


async def test_playback_that_it_does_not_have_is_refused(
    rindle: RindleSync, server: ToyServer
) -> None:
    row = await rindle.track(reference="video-1", provider_asset_id=server.create())
    with pytest.raises(ConfigurationError, match="toy has no playback URLs"):
        await rindle.playback_url(
            row.id, PlaybackKind.VIDEO, expires_at=datetime.now(UTC) + timedelta(hours=1)
        )


async def test_its_one_bucket_is_shared_by_reads_and_creates(rindle: RindleSync) -> None:
    gateway = rindle.context.gateway
    assert gateway.reads is gateway.creates


async def test_doctor_checks_it_through_the_socket(sqlite_url: str, server: ToyServer) -> None:
    settings = settings_for(sqlite_url, toy_key=None, toy_secrets="short")
    async with connect_all(
        settings, transports=lambda _: httpx.ASGITransport(app=server)
    ) as installation:
        await installation.migrate()
        diagnosis = await installation.doctor(ping=True)

    found = {finding.check: finding.text for finding in diagnosis.findings}
    assert found[Check.CREDENTIALS] == "toy_key is not set: no row can be checked"
    assert Check.WEBHOOK_SECRETS in found


async def test_two_providers_stand_in_one_installation(
    sqlite_url: str, server: ToyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RINDLE_ENVIRONMENTS__OTHER__TOY_KEY", KEY)
    tables = {"main": {"mux_token_id": "id"}, "other": {"provider": "toy"}}
    settings = load_settings(database_url=sqlite_url, environments=tables)
    async with connect_all(
        settings, transports=lambda _: httpx.ASGITransport(app=server)
    ) as installation:
        await installation.migrate()
        other = installation["other"]
        await other.track(reference="video-1", provider_asset_id=server.create())
        due = installation.runtime._due()  # noqa: SLF001  what engines ask

        assert {job.environment for job in (await due()).jobs} == {"main", "other"}
        overviews = {line.environment: line for line in await installation.overview()}

    assert (overviews["main"].provider, overviews["other"].provider) == ("mux", "toy")
    assert (overviews["main"].rows, overviews["other"].rows) == (0, 1)


def test_a_setting_of_another_provider_is_refused_with_its_name() -> None:
    with pytest.raises(ConfigurationError) as refused:
        plain_settings(provider="toy", mux_token_id="id")
    assert refused.value.setting == "mux_token_id"
