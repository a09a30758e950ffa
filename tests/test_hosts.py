"""The service in hosts of other makers.

Mounted once in an ASGI app that starts again, and refusing clearly where it cannot work.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.staticfiles import StaticFiles

from rindle_sync import RindleSync, Settings, State, connect, connect_all, webhook_app
from rindle_sync.config import plain_settings
from rindle_sync.diagnostics import waiting_text
from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.errors import AlreadyClosed, WrongEventLoop
from rindle_sync.providers.mux import sign
from rindle_sync.runtime.engines.loop import Loop
from tests.support.processes import a_store, eventually
from tests.support.webhooks import SECRET, an_event


def settings_at(url: str, emulator: MuxEmulator) -> Settings:
    return plain_settings(
        database_url=url,
        mux_token_id=emulator.token_id,
        mux_token_secret=emulator.token_secret,
        mux_webhook_secrets=SECRET,
        sweep_interval_seconds=600,
    )


def signed(asset_id: str = "asset-1") -> tuple[dict[str, str], bytes]:
    """The headers and the body of a delivery."""
    body = json.dumps(an_event(asset_id)).encode()
    return {"mux-signature": sign(body, SECRET, datetime.now(UTC))}, body


@pytest.fixture
def emulator() -> MuxEmulator:
    return MuxEmulator()


@pytest.fixture
async def rindle(tables_url: str, emulator: MuxEmulator) -> AsyncIterator[RindleSync]:
    transport = httpx.ASGITransport(emulator.app)
    async with connect(settings_at(tables_url, emulator), transport=transport) as rindle:
        yield rindle


async def stored(url: str) -> int:
    async with a_store(url) as store:
        return len(await store.inbox.list())


# mounted once


@pytest.fixture(params=["starlette", "fastapi"])
def framework(request: pytest.FixtureRequest) -> Callable[..., Any]:
    if request.param == "starlette":
        return Starlette
    found: Callable[..., Any] = pytest.importorskip("fastapi").FastAPI
    return found


async def test_an_endpoint_that_is_mounted_once_serves_each_service_that_runs_in_the_process(
    framework: Callable[..., Any], tmp_path: Path, emulator: MuxEmulator
) -> None:
    (tmp_path / "index.html").write_text("the front page")
    urls = [f"sqlite:///{tmp_path}/{name}.sqlite3" for name in ("first", "second")]
    starts = iter(urls)

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        settings = settings_at(next(starts), emulator)
        async with connect(settings, transport=httpx.ASGITransport(emulator.app)) as rindle:
            await rindle.migrate()
            app.state.rindle = rindle
            yield

    app = framework(lifespan=lifespan)
    app.mount("/webhooks", webhook_app(lambda: app.state.rindle.webhooks))
    app.mount("/", StaticFiles(directory=tmp_path, html=True))
    browser = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app")

    async def deliver() -> httpx.Response:
        headers, body = signed()
        return await browser.post("/webhooks/mux", content=body, headers=headers)

    async with browser:
        before = await deliver()
        async with app.router.lifespan_context(app):
            in_first = [await deliver(), await deliver()]
            page = await browser.get("/")
        between = await deliver()
        async with app.router.lifespan_context(app):
            in_second = await deliver()

    for answer in (before, between):
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert [answer.status_code for answer in in_first] == [202, 202]
    assert page.text == "the front page"
    assert in_second.status_code == 202
    assert [await stored(url) for url in urls] == [2, 1]


NOTHING: dict[str, Any] = {}


@pytest.mark.parametrize(
    "nothing",
    [lambda: None, lambda: NOTHING["rindle"], lambda: Starlette().state.rindle.webhooks],
    ids=["None", "LookupError", "AttributeError"],
)
async def test_while_no_service_runs_the_sender_is_told_to_try_again(
    nothing: Callable[[], Any],
) -> None:
    transport = httpx.ASGITransport(webhook_app(nothing))

    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        answer = await client.post("/mux", content=b"{}")

    assert (answer.status_code, answer.json()) == (503, {"error": "try_again"})


# closed


async def test_a_closed_service_tells_senders_to_try_again_and_stores_nothing(
    rindle: RindleSync, tables_url: str
) -> None:
    webhooks = rindle.webhooks
    await rindle.close()

    late = await rindle.receive(*signed())
    mounted = await webhooks.receive(*signed())

    assert (late.status, late.headers["Retry-After"]) == (503, "5")
    assert mounted.status == 503
    assert await stored(tables_url) == 0


async def test_a_closed_service_refuses_all_else_by_name(rindle: RindleSync) -> None:
    await rindle.close()
    await rindle.close()

    calls: list[Callable[[], Any]] = [
        partial(rindle.track, reference="video-1", provider_asset_id="asset-1"),
        partial(rindle.get, "fac395cc-df5d-4e3f-b480-3589eb8faec3"),
        partial(rindle.sync, "asset-1"),
        rindle.status,
        rindle.sweep,
        rindle.migrate,
        rindle.process_webhook_events,
        partial(rindle.begin_upload, reference="video-1", cors_origin="*"),
        partial(rindle.run, asyncio.Event()),
    ]
    for call in calls:
        with pytest.raises(AlreadyClosed, match="connect"):
            await call()


async def test_an_engine_whose_service_was_closed_ends_and_says_why(rindle: RindleSync) -> None:
    async def tick() -> None:
        await rindle.close()
        await rindle.status()

    with pytest.raises(AlreadyClosed):
        await asyncio.wait_for(Loop(0.01, 1).run(tick, asyncio.Event()), 20)


async def test_services_of_many_environments_close_their_database_last(
    sqlite_tables_url: str, emulator: MuxEmulator
) -> None:
    tables = {name: {"mux_webhook_secrets": f"{SECRET}-{name}"} for name in ("live", "trial")}
    settings = plain_settings(database_url=sqlite_tables_url, environments=tables)

    async with connect_all(settings) as installation:
        services = list(installation.values())
        for service in services:
            assert (await service.receive({}, b"{}")).status == 400
    for service in services:
        with pytest.raises(AlreadyClosed):
            await service.status()


# hosts without a loop


async def test_any_host_can_hand_over_a_delivery_and_send_what_comes_back(
    rindle: RindleSync,
) -> None:
    row = await rindle.track(reference="video-1", provider_asset_id="asset-1")

    response = await rindle.receive(*signed())
    forged = await rindle.receive({"Mux-Signature": "t=1,v1=0"}, b"{}")
    applied = await rindle.process_webhook_events()

    assert (response.status, json.loads(response.body)) == (202, {"status": "stored"})
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Content-Length"] == str(len(response.body))
    assert forged.status == 400
    assert applied == 1
    synced = await rindle.get(row.id)
    assert synced
    assert synced.state is State.READY


async def test_another_event_loop_is_refused_with_the_way_to_have_one(rindle: RindleSync) -> None:
    await rindle.status()
    for call in (rindle.status, rindle.sweep, partial(rindle.receive, *signed()), rindle.migrate):
        with pytest.raises(WrongEventLoop, match="connect\\(\\) in each loop"):
            await asyncio.to_thread(lambda work: asyncio.run(work()), call)


# nothing applies what was received


def test_webhook_events_that_wait_are_worth_a_word_if_nothing_applies_them() -> None:
    assert waiting_text(0, 0, has_begun=False) is None
    assert waiting_text(3, 300, has_begun=True) is None
    assert "3 webhook events wait" in (waiting_text(3, 301, has_begun=True) or "")
    assert "1 webhook event waits, and nothing has applied any yet" in (
        waiting_text(1, 0, has_begun=False) or ""
    )


async def test_a_host_in_which_nothing_applies_events_says_so_once_in_a_while(
    tables_url: str, emulator: MuxEmulator, caplog: pytest.LogCaptureFixture
) -> None:
    clock = [datetime.now(UTC)]
    caplog.set_level(logging.WARNING, "rindle_sync")
    counts = []
    settings = settings_at(tables_url, emulator)
    transport = httpx.ASGITransport(emulator.app)
    async with connect_all(
        settings, transports=lambda _: transport, clock=lambda: clock[0]
    ) as all_:
        rindle = all_["default"]
        rindle.context = replace(
            rindle.context, webhooks=replace(rindle.context.webhooks, tolerance=timedelta(days=1))
        )
        for minutes in (0, 1, 9, 11):
            clock[0] += timedelta(minutes=minutes)
            await rindle.receive(*signed(f"asset-{minutes}"))
            await rindle.waiting_events.look()
            counts.append(caplog.text.count("nothing has applied any yet"))
        status, doctor = await rindle.status(), await all_.doctor()
        await rindle.process_webhook_events()

    assert counts == [1, 1, 2, 3]
    assert status.oldest_pending_seconds > 300
    assert "pending" in [finding.check for finding in doctor.findings]


async def test_a_host_that_connects_for_each_request_is_warned_as_well(
    sqlite_tables_url: str, emulator: MuxEmulator, caplog: pytest.LogCaptureFixture
) -> None:
    async with connect(settings_at(sqlite_tables_url, emulator)) as rindle:
        await rindle.receive(*signed())

    assert "nothing has applied any yet" in caplog.text


async def test_a_host_in_which_an_engine_runs_says_nothing(
    rindle: RindleSync, caplog: pytest.LogCaptureFixture
) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(rindle.run(stop))

    async def beats() -> None:
        assert (await rindle.status()).last_heartbeat_at

    await eventually(beats)
    await rindle.receive(*signed())
    await rindle.waiting_events.look()
    stop.set()
    await running

    assert "nothing has applied" not in caplog.text
