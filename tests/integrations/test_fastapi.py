"""The service in apps of FastAPI and Starlette, as their teams set it up."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from rindle_sync import ChangeEvent, ProviderAsset, RindleSync, State
from rindle_sync.config import plain_settings
from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.errors import ConfigurationError, NotStarted
from rindle_sync.integrations.starlette import StarletteRindle
from rindle_sync.providers.mux import sign
from tests.support.processes import eventually, serving
from tests.support.readers import blocks_of
from tests.support.webhooks import SECRET, an_event
from tests.support.world import READY

fastapi = pytest.importorskip("fastapi")
from rindle_sync.integrations import fastapi as ours  # noqa: E402


def settings_of(url: str, emulator: MuxEmulator) -> Any:
    return plain_settings(
        database_url=url,
        mux_token_id=emulator.token_id,
        mux_token_secret=emulator.token_secret,
        mux_webhook_secrets=SECRET,
        provider_polling_floor_seconds=1,
        sweep_interval_seconds=0.1,
    )


@pytest.fixture
def emulator() -> MuxEmulator:
    return MuxEmulator()


@pytest.fixture
def rindle(tables_url: str, emulator: MuxEmulator) -> ours.FastAPIRindle:
    transport = httpx.ASGITransport(emulator.app)
    return ours.FastAPIRindle(settings_of(tables_url, emulator), transport=transport)


def an_app(rindle: ours.FastAPIRindle) -> Any:
    app = fastapi.FastAPI(lifespan=rindle.lifespan)
    app.include_router(rindle.router())

    @app.get("/videos/{reference}")  # type: ignore[untyped-decorator]
    async def video(row: Annotated[ProviderAsset, fastapi.Depends(rindle.row)]) -> ours.RowModel:
        return ours.RowModel.of(row)

    @app.get("/rows/{row_id}")  # type: ignore[untyped-decorator]
    async def by_id(
        row: Annotated[ProviderAsset, fastapi.Depends(rindle.row_by_id)],
    ) -> ours.RowModel:
        return ours.RowModel.of(row)

    @app.post("/uploads/{reference}")  # type: ignore[untyped-decorator]
    async def upload(
        reference: str, service: Annotated[RindleSync, fastapi.Depends(rindle)]
    ) -> ours.UploadModel:
        origin = "https://app.example.com"
        return ours.UploadModel.of(
            await service.begin_upload(reference=reference, cors_origin=origin)
        )

    return app


def client_of(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app")


async def post(client: httpx.AsyncClient, path: str = "/webhooks/mux") -> httpx.Response:
    body = json.dumps(an_event("asset-1")).encode()
    headers = {"mux-signature": sign(body, SECRET, datetime.now(UTC))}
    return await client.post(path, content=body, headers=headers)


@asynccontextmanager
async def started(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with app.router.lifespan_context(app), client_of(app) as client:
        yield client


# FastAPI


async def test_an_app_tracks_receives_and_shows_a_row(
    rindle: ours.FastAPIRindle, emulator: MuxEmulator
) -> None:
    heard: list[ours.ChangeModel] = []

    @rindle.on_start
    def add_callbacks(service: RindleSync) -> None:
        @service.on_change
        async def hear(event: ChangeEvent) -> None:
            heard.append(ours.ChangeModel.of(event))

    async with started(an_app(rindle)) as client:
        asset_id = emulator.create_asset(life=READY)
        row = await rindle.running.track(reference="video-1", provider_asset_id=asset_id)

        async def is_ready() -> None:
            shown = (await client.get("/videos/video-1")).json()
            assert shown["state"] == "ready"
            assert shown["playback_ids"][0]["policy"] == "public"
            assert heard

        await eventually(is_ready)
        by_id = await client.get(f"/rows/{row.id}")
        stored = await post(client)

    assert by_id.json()["reference"] == "video-1"
    assert asset_id not in by_id.text
    assert stored.status_code == 202
    assert [(change.to_state, change.reference) for change in heard] == [("ready", "video-1")]
    assert heard[0].row
    assert heard[0].row.version >= heard[0].version


async def test_what_is_not_there_is_a_404(rindle: ours.FastAPIRindle) -> None:
    async with started(an_app(rindle)) as client:
        row = await rindle.running.track(
            reference="video-1", profile="small", provider_asset_id="asset-1"
        )
        answers = {
            path: (await client.get(path)).status_code
            for path in (
                "/videos/none",
                "/videos/video-1",
                "/videos/video-1?profile=small",
                f"/videos/{row.id}",
                "/rows/none",
            )
        }
        elsewhere = await post(client, "/webhooks/other")

    assert list(answers.values()) == [404, 404, 200, 404, 404]
    assert elsewhere.status_code == 404


async def test_an_upload_is_an_answer(rindle: ours.FastAPIRindle) -> None:
    async with started(an_app(rindle)) as client:
        upload = (await client.post("/uploads/video-1")).json()

    assert upload["url"].startswith("http")
    assert set(upload) == {"row_id", "url", "expires_at"}


def test_the_api_document_has_parameters_and_models(rindle: ours.FastAPIRindle) -> None:
    document = an_app(rindle).openapi()

    video = document["paths"]["/videos/{reference}"]["get"]
    assert {parameter["name"] for parameter in video["parameters"]} == {"reference", "profile"}
    assert {"RowModel", "UploadModel"} <= set(document["components"]["schemas"])
    assert not [path for path in document["paths"] if "webhooks" in path]


async def test_the_app_of_the_page_begins_one_upload_of_a_video(
    tables_url: str, emulator: MuxEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    [block, *_] = [text for language, text in blocks_of("fastapi.md") if language == "python"]
    names: dict[str, Any] = {"__name__": "main"}
    exec(block, names)
    with serving(emulator) as far_end:
        monkeypatch.setenv("RINDLE_DATABASE_URL", tables_url)
        monkeypatch.setenv("RINDLE_MUX_BASE_URL", far_end.url)
        monkeypatch.setenv("RINDLE_MUX_TOKEN_ID", emulator.token_id)
        monkeypatch.setenv("RINDLE_MUX_TOKEN_SECRET", emulator.token_secret)
        async with started(names["app"]) as client:
            answers = [await client.post("/videos/video-1/upload") for _ in range(2)]
            shown = await client.get("/videos/video-1")

    assert [answer.status_code for answer in answers] == [200, 409]
    assert answers[1].json() == {"detail": "this video is there already: uploading"}
    assert shown.json()["state"] == "uploading"


async def test_outside_the_lifespan_the_service_is_not_there(rindle: ours.FastAPIRindle) -> None:
    app = an_app(rindle)
    async with client_of(app) as client:
        before = await post(client)
    async with started(app) as client:
        within = await post(client)
    async with started(app) as client:
        again = await post(client)

    assert (before.status_code, before.headers["retry-after"]) == (503, "5")
    assert [within.status_code, again.status_code] == [202, 202]
    with pytest.raises(NotStarted, match="lifespan"):
        rindle()


# lifespans


async def test_the_lifespan_of_the_app_runs_within_that_of_the_service(
    rindle: ours.FastAPIRindle,
) -> None:
    seen: list[object] = []

    @asynccontextmanager
    async def own(app: Starlette) -> AsyncIterator[dict[str, str]]:
        seen.append(await rindle.running.status())
        yield {"name": "own"}
        seen.append(await rindle.running.status())

    async def name(request: Request) -> JSONResponse:
        return JSONResponse(request.state.name)

    app = Starlette(routes=[Route("/name", name)], lifespan=rindle.around(own))
    async with AsyncExitStack() as stack:
        state = await stack.enter_async_context(app.router.lifespan_context(app))

    assert state == {"name": "own"}
    assert len(seen) == 2


async def test_without_jobs_events_are_stored_and_left_to_others(
    tables_url: str, emulator: MuxEmulator
) -> None:
    rindle = StarletteRindle(settings_of(tables_url, emulator), migrate=False, run_jobs=False)
    app = Starlette(routes=[rindle.route("/hooks")], lifespan=rindle.lifespan)

    async with started(app) as client:
        await rindle.running.track(reference="video-1", provider_asset_id="asset-1")
        answer = await post(client, "/hooks")
        await asyncio.sleep(0)
        [row] = await rindle.running.find_by_reference("video-1")

    assert answer.status_code == 202
    assert row.state is State.PROCESSING


async def test_without_credentials_the_app_does_not_start(tables_url: str) -> None:
    rindle = StarletteRindle(plain_settings(database_url=tables_url))
    app = Starlette(lifespan=rindle.lifespan)

    with pytest.raises(ConfigurationError, match="mux_token_id"):
        async with started(app):
            pass


async def test_jobs_that_end_by_themselves_are_logged_and_the_app_goes_on(
    sqlite_tables_url: str, emulator: MuxEmulator, caplog: pytest.LogCaptureFixture
) -> None:
    # without our tables the jobs cannot begin
    empty = sqlite_tables_url.replace(".sqlite3", "-empty.sqlite3")
    rindle = StarletteRindle(settings_of(empty, emulator), migrate=False)
    app = Starlette(routes=[rindle.route()], lifespan=rindle.lifespan)
    caplog.set_level(logging.ERROR, "rindle_sync")

    async def is_logged() -> None:
        assert "the jobs of this process have ended" in caplog.text

    async with started(app) as client:
        await eventually(is_logged)
        answer = await post(client)

    assert answer.status_code == 503
