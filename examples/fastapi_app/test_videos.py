"""The app's own tests: real databases, and a fake Mux, by the fixtures of rindle-sync.

`TEST_DATABASE_URL` names another database than a new SQLite file; its tables are dropped before.
"""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from fastapi import FastAPI
from sqlalchemy import create_engine, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from videos.main import create_app
from videos.models import Base, Video

from rindle_sync import RindleSync, Settings
from rindle_sync.integrations.alembic import include_name
from rindle_sync.testing import Clock, FakeMux, run_jobs

HERE = Path(__file__).parent


@pytest.fixture
def rindle_database_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A database with the app's tables, which is rindle-sync's as well."""
    url = os.environ.get("TEST_DATABASE_URL", f"sqlite+aiosqlite:///{tmp_path}/videos.sqlite3")
    monkeypatch.setenv("DATABASE_URL", url)
    command.upgrade(Config(HERE / "alembic.ini"), "head")
    yield url
    if "TEST_DATABASE_URL" in os.environ:
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
        engine.dispose()


@pytest.fixture
async def app(
    rindle_settings: Settings, rindle_mux: FakeMux, rindle_clock: Clock
) -> AsyncIterator[FastAPI]:
    """The app; Mux's webhooks go to its endpoint, and its jobs run when a test says so."""
    app = create_app(
        rindle_settings.database_url,
        rindle_settings,
        transport=rindle_mux.transport,
        clock=rindle_clock.now,
        run_jobs=False,
    )
    rindle_mux.deliver_to(asgi=app)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
def rindle(app: FastAPI) -> RindleSync:
    """The service in the app."""
    service: RindleSync = app.state.rindle.running
    return service


@pytest.fixture
async def browser(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        yield client


async def test_an_uploaded_video_becomes_ready_and_its_page_plays_it(
    browser: httpx.AsyncClient, rindle: RindleSync, rindle_mux: FakeMux
) -> None:
    made = await browser.post("/videos", json={"title": "Holidays"})
    page_before = await browser.get(f"/videos/{made.json()['id']}/page")
    rindle_mux.finish(rindle_mux.receive_file(made.json()["url"]))
    await rindle_mux.deliver_due()
    await run_jobs(rindle)
    shown = (await browser.get(f"/videos/{made.json()['id']}")).json()
    page = await browser.get(f"/videos/{made.json()['id']}/page")
    front = await browser.get("/")

    assert made.status_code == 201
    assert "looks again every five seconds" in page_before.text
    assert shown["state"] == "ready"
    assert shown["duration"] > 0
    assert "https://stream.mux.com/" in page.text
    assert "Holidays" in front.text


async def test_each_change_of_a_video_that_mux_has_already_counts_once(
    browser: httpx.AsyncClient, rindle: RindleSync, rindle_mux: FakeMux
) -> None:
    asset_id = rindle_mux.create_asset()
    made = await browser.post(
        "/videos/existing", json={"title": "Old", "provider_asset_id": asset_id}
    )
    rindle_mux.finish(asset_id)
    rindle_mux.repeat_webhooks()
    await rindle_mux.deliver_due()
    await run_jobs(rindle)

    shown = (await browser.get(f"/videos/{made.json()['id']}")).json()
    [row] = await rindle.find_by_reference(made.json()["id"])
    assert row.provider_asset_id == asset_id
    assert shown["state"] == "ready"
    assert shown["changes"] == len(await rindle.store.assets.changes_of(row.id))


async def test_a_video_whose_webhooks_are_lost_is_found_by_the_sweep(
    browser: httpx.AsyncClient, rindle: RindleSync, rindle_mux: FakeMux, rindle_clock: Clock
) -> None:
    asset_id = rindle_mux.create_asset()
    made = await browser.post(
        "/videos/existing", json={"title": "Old", "provider_asset_id": asset_id}
    )
    rindle_mux.finish(asset_id)
    rindle_mux.lose_webhooks()
    rindle_clock.move(minutes=2)
    await run_jobs(rindle)

    assert (await browser.get(f"/videos/{made.json()['id']}")).json()["state"] == "ready"


async def test_neither_table_has_a_video_whose_tracking_is_refused(
    app: FastAPI, browser: httpx.AsyncClient, rindle_mux: FakeMux
) -> None:
    asset_id = rindle_mux.create_asset()
    existing = {"title": "Old", "provider_asset_id": asset_id}
    await browser.post("/videos/existing", json=existing)
    again = await browser.post("/videos/existing", json=existing)

    assert again.status_code == 409
    assert await numbers(app) == (1, 1)


async def numbers(app: FastAPI) -> tuple[int, int]:
    """How many rows the app's table and rindle-sync's have."""
    rindle: RindleSync = app.state.rindle.running
    async with AsyncSession(app.state.engine) as session:
        videos = await session.scalar(select(func.count()).select_from(Video))
    return videos or 0, await rindle.count()


async def test_a_hundred_videos_at_once_are_in_both_tables(
    app: FastAPI, browser: httpx.AsyncClient, rindle_mux: FakeMux
) -> None:
    async def add(asset_id: str) -> int:
        existing = {"title": "Old", "provider_asset_id": asset_id}
        return (await browser.post("/videos/existing", json=existing)).status_code

    asset_ids = rindle_mux.create_assets(100)

    assert set(await asyncio.gather(*map(add, asset_ids))) == {201}
    assert await numbers(app) == (100, 100)


async def test_of_a_hundred_uploads_at_once_those_past_the_rate_limit_can_be_tried_again(
    app: FastAPI, browser: httpx.AsyncClient, rindle_mux: FakeMux
) -> None:
    async def begin(number: int) -> int:
        made = await browser.post("/videos", json={"title": f"Video {number}"})
        return made.status_code

    statuses = Counter(await asyncio.gather(*map(begin, range(100))))

    assert set(statuses) == {201, 503}
    assert await numbers(app) == (100, 100)
    assert rindle_mux.calls["create_upload"] == statuses[201]
    assert await app.state.rindle.running.count(state="errored") == statuses[503]


async def test_a_page_that_was_reloaded_gets_its_upload_again(
    browser: httpx.AsyncClient, rindle_mux: FakeMux
) -> None:
    made = (await browser.post("/videos", json={"title": "Holidays"})).json()
    again = (await browser.post(f"/videos/{made['id']}/upload")).json()

    assert again == made
    assert rindle_mux.calls["create_upload"] == 1


async def test_a_deleted_video_leaves_no_row_in_either_table(
    app: FastAPI, browser: httpx.AsyncClient
) -> None:
    made = (await browser.post("/videos", json={"title": "Holidays"})).json()
    gone = await browser.delete(f"/videos/{made['id']}")

    assert gone.status_code == 204
    assert await numbers(app) == (0, 0)


@pytest.mark.usefixtures("app")
async def test_alembic_proposes_no_change_beside_rindle_syncs_tables(
    rindle_database_url: str,
) -> None:
    engine = create_engine(rindle_database_url.replace("+aiosqlite", ""))
    with engine.connect() as connection:
        options = {"include_name": include_name}
        context = MigrationContext.configure(connection, opts=options)
        proposed = compare_metadata(context, Base.metadata)
    engine.dispose()

    assert proposed == []
