"""The app's own tests: real databases and requests, and the emulator in the place of Mux.

`TEST_DATABASE_URL` names another database than a new SQLite file; its tables are dropped after.
"""

import asyncio
import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from flask import Flask
from sqlalchemy import func, select, text
from videosite import create_app
from videosite.database import session
from videosite.extensions import rindle
from videosite.models import Video
from werkzeug.serving import make_server

from rindle_sync.emulator import MuxEmulator

SECRET = "a-webhook-secret"
PATIENCE = 60
"""Seconds that a busy machine may take."""


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """Where Mux's API is."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@pytest.fixture
def mux(listening: socket.socket) -> Iterator[MuxEmulator]:
    """Mux, in which an asset is ready a moment after its file has come."""
    mux = MuxEmulator(prepare_seconds=0.2)
    config = uvicorn.Config(mux.app, lifespan="off", log_level="critical", ws="none")
    server = uvicorn.Server(config)

    async def serve() -> None:
        stop = asyncio.Event()
        delivering = asyncio.create_task(mux.run_webhooks(stop, every=0.05))
        await server.serve(sockets=[listening])
        stop.set()
        await delivering

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    yield mux
    mux.clear_webhooks()
    server.should_exit = True
    thread.join(PATIENCE)


@pytest.fixture
def app(tmp_path: Path, mux: MuxEmulator, listening: socket.socket) -> Iterator[Flask]:
    """The app at work, with tables of its own."""
    url = os.environ.get("TEST_DATABASE_URL", f"sqlite:///{tmp_path}/videosite.sqlite3")
    app = create_app(
        {
            "TESTING": True,
            "DATABASE_URL": url,
            "RINDLE_MUX_BASE_URL": f"http://127.0.0.1:{listening.getsockname()[1]}",
            "RINDLE_MUX_TOKEN_ID": mux.token_id,
            "RINDLE_MUX_TOKEN_SECRET": mux.token_secret,
            "RINDLE_MUX_WEBHOOK_SECRETS": SECRET,
        }
    )
    assert app.test_cli_runner().invoke(args=["init-db"]).exit_code == 0
    with app.app_context():
        rindle.migrate()
        rindle.start()
    yield app
    app.extensions["rindle_sync"].close()
    engine = app.extensions["engine"]
    if "TEST_DATABASE_URL" in os.environ:
        with engine.begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()


@pytest.fixture
def browser(app: Flask, mux: MuxEmulator) -> Iterator[httpx.Client]:
    """A browser at the app, which serves a port; Mux's webhooks go there, too."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    mux.add_webhook(f"{url}/webhooks/mux", SECRET)
    with httpx.Client(base_url=url, timeout=PATIENCE) as client:
        yield client
    mux.clear_webhooks()
    server.shutdown()
    thread.join(PATIENCE)
    server.server_close()


def until(browser: httpx.Client, video_id: str, state: str) -> dict[str, Any]:
    """What the API says of a video once it is in this state."""
    end = time.monotonic() + PATIENCE
    while True:
        shown = browser.get(f"/videos/{video_id}").json()
        if shown["state"] == state:
            return dict(shown)
        assert time.monotonic() < end, shown
        time.sleep(0.05)


def numbers(app: Flask) -> tuple[int, int]:
    """How many rows the app's table and rindle-sync's have."""
    with app.app_context():
        videos = session().scalar(select(func.count()).select_from(Video))
        return videos or 0, rindle.count()


def test_an_uploaded_video_becomes_ready_and_its_page_plays_it(browser: httpx.Client) -> None:
    made = browser.post("/videos", json={"title": "Holidays"})
    page_before = browser.get(f"/videos/{made.json()['id']}/page")
    sent = httpx.put(made.json()["url"], content=b"a video")
    shown = until(browser, made.json()["id"], "ready")
    page = browser.get(f"/videos/{made.json()['id']}/page")
    front = browser.get("/")

    assert (made.status_code, sent.status_code) == (201, 200)
    assert "looks again every five seconds" in page_before.text
    assert shown["duration"] > 0
    assert "https://stream.mux.com/" in page.text
    assert "Holidays" in front.text


def test_each_change_of_a_video_that_mux_has_already_counts_once(
    app: Flask, browser: httpx.Client, mux: MuxEmulator
) -> None:
    existing = {"title": "Old", "provider_asset_id": mux.create_asset()}
    made = browser.post("/videos/existing", json=existing)

    shown = until(browser, made.json()["id"], "ready")
    with app.app_context():
        [row] = rindle.find_by_reference(made.json()["id"])

    assert row.provider_asset_id == existing["provider_asset_id"]
    assert shown["changes"] == row.version - 1


def test_neither_table_has_a_video_whose_tracking_is_refused(
    app: Flask, browser: httpx.Client, mux: MuxEmulator
) -> None:
    existing = {"title": "Old", "provider_asset_id": mux.create_asset()}
    first = browser.post("/videos/existing", json=existing)
    again = browser.post("/videos/existing", json=existing)

    assert (first.status_code, again.status_code) == (201, 409)
    assert numbers(app) == (1, 1)


def test_many_videos_at_once_are_in_both_tables(
    app: Flask, browser: httpx.Client, mux: MuxEmulator
) -> None:
    def add(asset_id: str) -> int:
        existing = {"title": "Old", "provider_asset_id": asset_id}
        return browser.post("/videos/existing", json=existing).status_code

    with ThreadPoolExecutor(8) as threads:
        statuses = set(threads.map(add, mux.create_assets(40)))

    assert statuses == {201}
    assert numbers(app) == (40, 40)


def test_an_upload_that_mux_does_not_begin_is_in_both_tables_and_can_be_tried_again(
    app: Flask, browser: httpx.Client, mux: MuxEmulator
) -> None:
    fault = mux.add_fault("server_error", operation="create_upload")
    failed = browser.post("/videos", json={"title": "Holidays"})
    mux.remove_fault(fault)
    with app.app_context():
        [video_id] = session().scalars(select(Video.id))

    again = browser.post(f"/videos/{video_id}/upload")

    assert (failed.status_code, failed.headers["Retry-After"]) == (503, "30")
    assert numbers(app) == (1, 1)
    assert again.status_code == 200
    assert again.json()["id"] == video_id


def test_a_page_that_was_reloaded_gets_its_upload_again(
    browser: httpx.Client, mux: MuxEmulator
) -> None:
    made = browser.post("/videos", json={"title": "Holidays"}).json()
    again = browser.post(f"/videos/{made['id']}/upload").json()

    assert again == made
    assert mux.calls["create_upload"] == 1


def test_a_deleted_video_leaves_no_row_in_either_table(app: Flask, browser: httpx.Client) -> None:
    made = browser.post("/videos", json={"title": "Holidays"}).json()
    gone = browser.delete(f"/videos/{made['id']}")
    page = browser.get(f"/videos/{made['id']}/page")

    assert (gone.status_code, page.status_code) == (204, 404)
    assert numbers(app) == (0, 0)


def test_what_is_no_video_is_refused(app: Flask, browser: httpx.Client) -> None:
    assert browser.post("/videos", json={}).status_code == 400
    assert browser.get("/videos/none").status_code == 404
    assert numbers(app) == (0, 0)
