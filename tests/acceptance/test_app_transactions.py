"""Killed by -9 at any point of a transaction of the app, its table and ours agree; and at once."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from rindle_sync.app import RindleSync, connect
from rindle_sync.config import plain_settings
from rindle_sync.errors import AlreadyTracked
from rindle_sync.store import Database, Store
from rindle_sync.store.schema import assets, open_engine, webhook_events
from tests.support.app_connections import driver_url, make_videos, with_videos
from tests.support.crash_points import (
    Databases,
    Forks,
    Living,
    Order,
    SqliteFiles,
    forking,
    postgres_databases,
)
from tests.support.rows import NOW
from tests.support.tables import migrate
from tests.support.webhooks import an_untracked_event

pytestmark = pytest.mark.acceptance

VIDEO = sa.text("INSERT INTO app_videos VALUES (:id)")
MANY = 3

# what a process does


async def in_an_async_session(living: Living) -> None:
    engine = create_async_engine(driver_url(living.given["url"], is_async=True))
    living.points.watch(engine.sync_engine)
    async with AsyncSession(engine) as session:
        await session.execute(VIDEO, {"id": "video-0"})
        await living.rindle.track(**values_of(0), connection=session)
        await session.commit()
    await engine.dispose()


async def in_a_sync_session(living: Living) -> None:
    engine = sa.create_engine(driver_url(living.given["url"], is_async=False))
    living.points.watch(engine)
    with Session(engine) as session:
        await living.rindle.track(**values_of(0), connection=session)
        session.execute(VIDEO, {"id": "video-0"})
        session.commit()
    engine.dispose()


async def many_in_a_session(living: Living) -> None:
    engine = create_async_engine(driver_url(living.given["url"], is_async=True))
    living.points.watch(engine.sync_engine)
    async with AsyncSession(engine) as session:
        for number in range(MANY):
            await session.execute(VIDEO, {"id": f"video-{number}"})
        rows = [values_of(number) for number in range(MANY)]
        await living.rindle.track_many(rows, connection=session)
        await session.commit()
    await engine.dispose()


async def many_alone(living: Living) -> None:
    await living.rindle.track_many([values_of(number) for number in range(MANY)])


def values_of(number: int) -> dict[str, Any]:
    return {"reference": f"video-{number}", "provider_asset_id": f"asset-{number}"}


# what is left


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def databases(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Databases]:
    with ExitStack() as stack:
        if request.param == "SQLite":
            yield SqliteFiles(tmp_path)
        else:
            server = request.getfixturevalue("postgres_server")
            yield stack.enter_context(postgres_databases(server))


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with forking(__name__) as forks:
        yield forks


@pytest.mark.parametrize(
    ("act", "with_videos"),
    [
        ("in_an_async_session", True),
        ("in_a_sync_session", True),
        ("many_in_a_session", True),
        ("many_alone", False),
    ],
)
def test_a_process_that_is_killed_leaves_both_tables_agreeing(
    databases: Databases, forks: Forks, tmp_path: Path, act: str, *, with_videos: bool
) -> None:
    prepared = databases.new()
    migrate(prepared)
    asyncio.run(_prepare(prepared))

    def lived(kill_at: int, *, is_first: bool = False) -> tuple[Any, dict[str, int]]:
        url = databases.new(like=prepared)
        journal = tmp_path / f"{act}-{kill_at}-{is_first}.jsonl"
        order = Order(
            act=act,
            now=NOW.isoformat(),
            database_url=url,
            mux_url="http://127.0.0.1:9",
            journal=str(journal),
            kill_at=kill_at,
            is_first=is_first,
            given={"url": url},
        )
        ended = forks.run(order)
        databases.wait_until_left(url)
        return ended, asyncio.run(_counted(url))

    whole, left = lived(0, is_first=True)
    assert whole.code == 0, whole.trouble
    count = left["rows"]
    assert count in {1, MANY}
    assert left == {"rows": count, "revived": 1, "videos": count * with_videos}
    points = len(whole.all("point"))
    assert points > 5

    commits = set()
    for number in range(1, points + 1):
        ended, left = lived(number)
        assert ended.was_killed, ended.trouble
        is_there = left["rows"] == count
        commits.add(is_there)
        agreed = {"rows": count * is_there, "revived": int(is_there)}
        assert left == agreed | {"videos": count * is_there * with_videos}, ended.all("point")
    assert commits == {True, False}


async def _prepare(url: str) -> None:
    await make_videos(url)
    database = Database(open_engine(url))
    await Store(database, "mux", "default").inbox.storing(an_untracked_event("asset-0"))
    await database.close()


async def _counted(url: str) -> dict[str, int]:
    engine = create_async_engine(driver_url(url, is_async=True))
    async with engine.connect() as connection:
        revived = webhook_events.c.status == "pending"
        counts: dict[str, sa.Executable] = {
            "rows": sa.select(sa.func.count()).select_from(assets),
            "revived": sa.select(sa.func.count()).select_from(webhook_events).where(revived),
            "videos": sa.text("SELECT count(*) FROM app_videos"),
        }
        found = {
            name: (await connection.execute(count)).scalar_one() for name, count in counts.items()
        }
    await engine.dispose()
    return found


# many at once


REQUESTS = 100


@asynccontextmanager
async def serving(url: str) -> AsyncIterator[tuple[RindleSync, Any]]:
    pool: dict[str, Any] = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}
    engine = create_async_engine(
        driver_url(url, is_async=True), pool_size=20, max_overflow=0, **pool
    )
    async with with_videos(url):
        async with connect(plain_settings(database_url=url)) as rindle:
            yield rindle, engine
        await engine.dispose()


async def test_a_hundred_requests_at_once_track_in_transactions_of_their_own(
    tables_url: str,
) -> None:
    async with serving(tables_url) as (rindle, engine):

        async def request(number: int) -> None:
            async with engine.begin() as connection:
                await connection.execute(VIDEO, {"id": f"video-{number}"})
                await rindle.track(**values_of(number), connection=connection)

        await asyncio.gather(*(request(number) for number in range(REQUESTS)))

        rows = [row async for row in rindle.store.assets.rows()]
        left = await _counted(tables_url)
    assert {row.reference for row in rows} == {f"video-{n}" for n in range(REQUESTS)}
    assert (left["rows"], left["videos"]) == (REQUESTS, REQUESTS)


async def test_a_hundred_requests_for_the_same_video_make_one_row(tables_url: str) -> None:
    async with serving(tables_url) as (rindle, engine):

        async def request(number: int) -> str:
            async with engine.begin() as connection:
                await connection.execute(VIDEO, {"id": f"request-{number}"})
                try:
                    values = values_of(0) | ({"profile": "hls"} if number % 2 else {})
                    row = await rindle.track(**values, connection=connection)
                except AlreadyTracked as error:
                    differs.add(error.differs)
                    return str(error.row_id)
                return row.id

        differs = set[tuple[str, ...]]()
        ids = await asyncio.gather(*(request(number) for number in range(REQUESTS)))

        left = await _counted(tables_url)
    assert len(set(ids)) == 1
    assert differs == {("profile",)}
    assert (left["rows"], left["videos"]) == (1, REQUESTS)
