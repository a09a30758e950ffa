"""The fixtures at work: a service that lives through what Mux does in a test."""

import asyncio
import os
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from rindle_sync import ChangeEvent, RindleSync, Settings, State, load_settings
from rindle_sync.config import plain_settings
from rindle_sync.config.replacing import variables_of
from rindle_sync.domain import FetchFailure, OutgoingStatus
from rindle_sync.emulator import Life
from rindle_sync.errors import AlreadyClosed, ConfigurationError, ProviderUnavailable
from rindle_sync.integrations.blocking import BlockingRindle
from rindle_sync.integrations.blocking import connect as blocking_connect
from rindle_sync.integrations.starlette import StarletteRindle
from rindle_sync.runtime.outgoing.signature import new_secret
from rindle_sync.testing import (
    Clock,
    Disturbance,
    FakeMux,
    connected,
    connected_blocking,
    only_these_settings,
    run_jobs,
    run_jobs_blocking,
    settings_for,
    sqlite_database,
)
from tests.support.app_endpoint import an_endpoint


async def state_of(rindle: RindleSync, row_id: str) -> State:
    row = await rindle.get(row_id)
    assert row
    return row.state


async def test_an_uploaded_video_becomes_ready(rindle: RindleSync, rindle_mux: FakeMux) -> None:
    upload = await rindle.begin_upload(reference="video-1", cors_origin="https://app.example")
    asset_id = rindle_mux.receive_file(upload)
    await rindle_mux.deliver_due()
    await run_jobs(rindle)
    waiting = await state_of(rindle, upload.row_id)
    rindle_mux.finish(asset_id)
    await rindle_mux.deliver_due()
    await run_jobs(rindle)

    assert waiting is State.PROCESSING
    assert await state_of(rindle, upload.row_id) is State.READY


async def test_a_file_that_is_no_video_and_a_deleted_asset_end_their_rows(
    rindle: RindleSync, rindle_mux: FakeMux
) -> None:
    failed = await rindle.track(reference="song", provider_asset_id=rindle_mux.create_asset())
    deleted = await rindle.track(reference="old", provider_asset_id=rindle_mux.create_asset())
    rindle_mux.fail(failed)
    rindle_mux.finish(deleted)
    rindle_mux.delete(deleted)
    await rindle_mux.deliver_due()
    await run_jobs(rindle)

    assert await state_of(rindle, failed.id) is State.ERRORED
    assert await state_of(rindle, deleted.id) is State.DELETED


async def test_webhooks_out_of_order_and_forged_ones_change_nothing(
    rindle: RindleSync, rindle_mux: FakeMux, rindle_clock: Clock
) -> None:
    row = await rindle.track(reference="video-1", provider_asset_id=rindle_mux.create_asset())
    rindle_clock.move(seconds=5)
    rindle_mux.finish(row)
    rindle_mux.reverse_webhooks()
    rindle_mux.forge_webhook(row.provider_asset_id or "")
    await rindle_mux.deliver_due()
    await run_jobs(rindle)

    assert rindle_mux.deliveries.forged_answers == {400: 1}
    assert await state_of(rindle, row.id) is State.READY


async def test_a_row_waits_for_a_mux_that_is_down(
    rindle: RindleSync, rindle_mux: FakeMux, rindle_clock: Clock
) -> None:
    row = await rindle.track(reference="video-1", provider_asset_id=rindle_mux.create_asset())
    rindle_mux.finish(row)
    rindle_mux.lose_webhooks()
    rindle_clock.move(minutes=2)
    with rindle_mux.go_down() as down:
        await run_jobs(rindle)
    during = await state_of(rindle, row.id)
    rindle_clock.move(hours=1)
    await run_jobs(rindle)

    assert down.calls > 0
    assert during is State.PROCESSING
    assert await state_of(rindle, row.id) is State.READY


async def test_outgoing_webhooks_are_sent_with_the_other_jobs(
    rindle: RindleSync, rindle_mux: FakeMux
) -> None:
    async with an_endpoint(500) as app:
        await rindle.outgoing.create("crm", app.url, allow_private=True)
        row = await rindle.track(reference="video-1", provider_asset_id=rindle_mux.create_asset())
        rindle_mux.finish(row)
        await rindle_mux.deliver_due()
        await run_jobs(rindle)
        failed = list(app.types)
        await rindle.outgoing.enable("crm")
        await run_jobs(rindle)
    counts = await rindle.outgoing.counts()

    assert failed == ["asset.processing"]
    assert app.types == ["asset.processing", "asset.processing", "asset.ready"]
    assert counts["crm"][OutgoingStatus.DELIVERED] == 2


@pytest.mark.parametrize("is_blocking", [False, True])
async def test_the_endpoint_of_the_settings_is_told_of_every_change(
    rindle_mux: FakeMux, rindle_settings: Settings, *, is_blocking: bool
) -> None:
    async with an_endpoint() as app:
        settings = settings_for(
            rindle_mux,
            database_url=rindle_settings.database_url,
            outgoing_webhook_url=app.url,
            outgoing_webhook_secret=new_secret(),
            outgoing_webhook_allow_private="on",
        )
        if is_blocking:
            await asyncio.to_thread(_an_upload, settings, rindle_mux)
        else:
            with connected(settings, rindle_mux) as rindle:
                await rindle.begin_upload(reference="video-1", cors_origin="https://app.example")
                await run_jobs(rindle)

    assert app.types == ["asset.uploading"]


def _an_upload(settings: Settings, mux: FakeMux) -> None:
    with connected_blocking(settings, mux) as rindle:
        rindle.begin_upload(reference="video-1", cors_origin="https://app.example")
        run_jobs_blocking(rindle)


async def test_a_slow_mux_is_waited_for_no_longer_than_the_settings_say(
    rindle_mux: FakeMux, rindle_settings: Settings
) -> None:
    settings = rindle_settings.model_copy(update={"provider_timeout_seconds": 1})
    with connected(settings, rindle_mux) as rindle:
        rindle_mux.slow_down(3600, "create_upload")
        with pytest.raises(ProviderUnavailable):
            await rindle.begin_upload(reference="video-1", cors_origin="https://app.example")


def test_time_passes_for_mux_and_the_blocking_service_alike(
    rindle_blocking: BlockingRindle, rindle_mux: FakeMux, rindle_clock: Clock
) -> None:
    row = rindle_blocking.track(reference="video-1", provider_asset_id=rindle_mux.create_asset())
    rindle_clock.move(days=2)
    rindle_mux.finish(row)
    rindle_mux.deliver_webhooks()
    run_jobs_blocking(rindle_blocking)
    found = rindle_blocking.get(row.id)

    assert found
    assert found.state is State.READY
    assert (found.updated_at - row.updated_at).days == 2


async def test_work_that_makes_work_without_an_end_is_told(
    rindle: RindleSync, rindle_mux: FakeMux, rindle_clock: Clock
) -> None:
    async def track_one_that_is_due(_event: ChangeEvent | None = None) -> None:
        asset_id = rindle_mux.create_asset(life=Life(after=0))
        await rindle.track(reference=asset_id, provider_asset_id=asset_id)
        rindle_clock.move(minutes=2)

    rindle_mux.clear_webhooks()
    rindle.on_change(track_one_that_is_due, state="ready")
    await track_one_that_is_due()

    with pytest.raises(AssertionError, match="does a callback make work each time"):
        await run_jobs(rindle)


async def test_the_service_is_of_no_use_after_its_block(rindle_mux: FakeMux) -> None:
    with sqlite_database() as url:
        with connected(settings_for(rindle_mux, database_url=url), rindle_mux) as rindle:
            assert await rindle.count() == 0
        with pytest.raises(AlreadyClosed):
            await rindle.count()


def test_a_database_is_gone_after_its_block() -> None:
    with sqlite_database() as url:
        file = Path(url.removeprefix("sqlite:///"))
        before = file.exists()

    assert before
    assert not file.parent.exists()


def test_a_service_of_a_loop_that_goes_on_is_closed_in_it(rindle_mux: FakeMux) -> None:
    with asyncio.Runner() as runner, sqlite_database() as url:
        with connected(settings_for(rindle_mux, database_url=url), rindle_mux) as rindle:
            runner.run(rindle.count())

        assert rindle.store.database.is_closed


def test_webhooks_go_to_the_endpoint_of_the_app_once_it_is_named(
    rindle_blocking: BlockingRindle, rindle_mux: FakeMux
) -> None:
    came: list[bytes] = []

    def receive(_headers: object, body: bytes) -> httpx.Response:
        came.append(body)
        return httpx.Response(200)

    rindle_mux.deliver_to(function=receive)
    rindle_mux.create_asset()
    rindle_mux.deliver_webhooks()

    assert len(came) == 1
    assert rindle_blocking.webhook_events.list() == []


async def test_webhooks_go_nowhere_else_where_the_app_named_its_endpoint_first(
    rindle_mux: FakeMux, rindle_settings: Settings
) -> None:
    rindle_mux.deliver_to(function=lambda _headers, _body: httpx.Response(200))
    with connected(rindle_settings, rindle_mux) as rindle:
        rindle_mux.create_asset()
        sent = await rindle_mux.deliver_due()
        stored = await rindle.webhook_events.list()

    assert (sent, stored) == (1, [])


def test_sync_tests_of_an_asgi_app_run_its_jobs_in_its_event_loop(
    rindle_mux: FakeMux, rindle_settings: Settings, rindle_clock: Clock
) -> None:
    rindle = StarletteRindle(
        rindle_settings, transport=rindle_mux.transport, clock=rindle_clock.now, run_jobs=False
    )
    app = Starlette(routes=[rindle.route()], lifespan=rindle.lifespan)
    with TestClient(app) as client:
        assert client.portal
        rindle_mux.deliver_to(client=client)
        asset_id = rindle_mux.create_asset()
        track = partial(rindle.running.track, reference="video-1", provider_asset_id=asset_id)
        row = client.portal.call(track)
        rindle_clock.move(days=1)
        rindle_mux.finish(row)
        rindle_mux.deliver_webhooks()
        client.portal.call(run_jobs, rindle.running)
        state = client.portal.call(state_of, rindle.running, row.id)

    assert rindle_mux.deliveries.answers == {202: 2}
    assert state is State.READY


def test_mux_is_served_for_others(rindle_mux: FakeMux, rindle_mux_url: str) -> None:
    asset_id = rindle_mux.create_asset()
    shown = httpx.get(
        f"{rindle_mux_url}/video/v1/assets/{asset_id}",
        auth=(rindle_mux.token_id, rindle_mux.token_secret),
        trust_env=False,
    )

    assert shown.json()["data"]["status"] == "preparing"


@pytest.mark.rindle_settings(audit_days=3, webhook_types=["video.live_stream.*"])
@pytest.mark.usefixtures("rindle_variables")
def test_settings_that_are_read_from_the_process_are_those_of_the_test(
    rindle_settings: Settings, rindle_mux_url: str
) -> None:
    read = load_settings()

    assert read == rindle_settings
    assert variables_of(read) == variables_of(rindle_settings)
    assert os.environ["RINDLE_MUX_BASE_URL"] == rindle_mux_url
    assert os.environ["RINDLE_WEBHOOK_TYPES"] == "video.live_stream.*"


def test_a_secret_that_is_in_a_file_is_passed_on(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("of the file")
    settings = plain_settings(mux_token_secret_file=file)

    with only_these_settings(settings):
        read = load_settings()

    assert variables_of(read) == {"RINDLE_MUX_TOKEN_SECRET": "of the file"}


def test_settings_for_tests_name_their_database(rindle_mux: FakeMux) -> None:
    with pytest.raises(ConfigurationError, match="name the database of the test"):
        settings_for(rindle_mux)


def no_long_sleep(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The sleeps of more than 0.1 s that are asked of the event loop; it takes none of them."""
    asked: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float, *result: Any) -> Any:
        if seconds > 0.1:
            asked.append(seconds)
        return await sleep(min(seconds, 0.1), *result)

    monkeypatch.setattr(asyncio, "sleep", noted)
    return asked


@pytest.mark.parametrize("disturb", [FakeMux.go_down, FakeMux.throttle])
async def test_a_call_that_is_tried_again_moves_the_clock_and_waits_for_nothing(
    rindle: RindleSync,
    rindle_mux: FakeMux,
    rindle_clock: Clock,
    disturb: Callable[[FakeMux], Disturbance],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row = await rindle.track(reference="video-1", provider_asset_id=rindle_mux.create_asset())
    asked, began, began_for_real = no_long_sleep(monkeypatch), rindle_clock.now(), time.monotonic()
    with disturb(rindle_mux) as disturbance:
        applied = await rindle.sync(row, ask_first=True)

    assert applied
    assert isinstance(applied.observation, FetchFailure)
    assert disturbance.calls > 1
    assert rindle_clock.now() - began > timedelta(seconds=3)
    assert asked == []
    assert time.monotonic() - began_for_real < 5


def test_a_service_that_reads_its_variables_goes_by_the_clock_of_the_test(
    rindle_variables: None,
    rindle_mux: FakeMux,
    rindle_clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with blocking_connect() as rindle:
        row = rindle.track(reference="video-1", provider_asset_id=rindle_mux.create_asset())
        asked, began = no_long_sleep(monkeypatch), rindle_clock.now()
        with rindle_mux.throttle():
            rindle.sync(row, ask_first=True)
        rindle_mux.finish(row)
        rindle_clock.move(minutes=2)
        run_jobs_blocking(rindle)
        found = rindle.get(row.id)

    assert found
    assert found.state is State.READY
    assert rindle_clock.now() - began > timedelta(minutes=2, seconds=3)
    assert asked == []


async def test_an_upload_that_is_throttled_at_first_waits_for_nothing(
    rindle: RindleSync, rindle_mux: FakeMux, rindle_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, began = no_long_sleep(monkeypatch), rindle_clock.now()
    with rindle_mux.throttle(times=1, seconds=7):
        upload = await rindle.begin_upload(reference="video-1", cors_origin="https://app.example")

    assert upload.url
    assert rindle_clock.now() - began > timedelta(seconds=3)
    assert asked == []


async def test_an_app_with_another_database_in_its_code_is_refused_in_tests(
    rindle_variables: None, rindle_settings: Settings, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/the-developer-s.sqlite3"
    other = rindle_settings.model_copy(update={"database_url": url})
    app = Starlette(lifespan=StarletteRindle(other, run_jobs=False).lifespan)
    own = Starlette(lifespan=StarletteRindle(rindle_settings, run_jobs=False).lifespan)

    with pytest.raises(ConfigurationError, match="another database than that of the test"):
        async with app.router.lifespan_context(app):
            pass
    async with own.router.lifespan_context(own):
        pass
    with (
        blocking_connect(other) as rindle,
        pytest.raises(ConfigurationError, match="another database than that of the test"),
    ):
        rindle.count()
    assert the_developer_s(tmp_path) == []


def test_the_settings_of_a_test_win_over_those_in_the_config_of_a_flask_app(
    rindle_variables: None, rindle_database_url: str, tmp_path: Path
) -> None:
    flask = pytest.importorskip("flask")
    ours = pytest.importorskip("rindle_sync.integrations.flask")
    app = flask.Flask("videos")
    app.config.update(
        RINDLE_DATABASE_URL=f"sqlite:///{tmp_path}/the-developer-s.sqlite3",
        RINDLE_MUX_TOKEN_ID="the-developer-s",
        RINDLE_SWEEP_BATCH=7,
    )
    rindle = ours.FlaskRindle(app)
    with app.app_context():
        settings = rindle._call(settings_of)  # noqa: SLF001  apps have no way to them
        rindle.close()

    assert settings.database_url == rindle_database_url
    assert settings.sweep_batch == 7
    assert the_developer_s(tmp_path) == []


def the_developer_s(folder: Path) -> list[Path]:
    return list(folder.glob("the-developer-s*"))


async def settings_of(rindle: RindleSync) -> Settings:
    return rindle.settings


async def test_sync_asks_nothing_about_an_id_that_is_none_of_the_provider(
    rindle: RindleSync, rindle_mux: FakeMux
) -> None:
    asset_id = rindle_mux.create_asset()
    row = await rindle.track(reference="video-1", provider_asset_id=asset_id)
    rindle_mux.finish(row)
    with rindle_mux.go_down() as down:
        unknown = [await rindle.sync(given) for given in ("video-1", row.id, "nonsense")]
    known = await rindle.sync(asset_id, ask_first=True)

    assert unknown == [None, None, None]
    assert down.calls == 0
    assert known
    assert known.row.state is State.READY


async def test_an_app_that_runs_no_jobs_logs_no_waiting_webhooks_in_a_test(
    rindle_settings: Settings,
    rindle_mux: FakeMux,
    rindle_clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    of_tests = StarletteRindle(
        rindle_settings, transport=rindle_mux.transport, clock=rindle_clock.now, run_jobs=False
    )
    app = Starlette(routes=[of_tests.route()], lifespan=of_tests.lifespan)
    rindle_mux.deliver_to(asgi=app)
    async with app.router.lifespan_context(app):
        for _ in range(3):
            rindle_mux.create_asset()
            await rindle_mux.deliver_due()
            rindle_clock.move(hours=2)

    assert rindle_mux.deliveries.answers == {202: 3}
    assert [line for line in caplog.messages if "wait" in line] == []
