"""Our tables in a schema of their own, beside tables of the same names in `public`."""

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from rindle_sync.app import RindleSync, connect
from rindle_sync.config import Settings, load_settings, plain_settings
from rindle_sync.domain import State, replace
from rindle_sync.errors import ConfigurationError
from rindle_sync.installation import connect_all
from rindle_sync.runtime import ChangeEvent
from rindle_sync.store import Database, Store, Write
from rindle_sync.store.revisions import VERSION_TABLE
from rindle_sync.store.schema import metadata, open_engine
from tests.store.test_store import claim
from tests.support.app_connections import ADD_VIDEO, KINDS, Opens, make_videos, videos
from tests.support.rows import NOW, a_row
from tests.support.webhooks import an_untracked_event

SCHEMA = "rindle_own"


@pytest.fixture
def hostile_url(postgres_url: str) -> str:
    """A database with a table of another program for each name of ours, in `public`."""
    with psycopg.connect(postgres_url) as direct:
        for name in (*metadata.tables, VERSION_TABLE, "procrastinate_jobs"):
            direct.execute(f"CREATE TABLE public.{name} (hostile BOOLEAN)".encode())
    return postgres_url


def settings_on(url: str, **values: Any) -> Settings:
    return plain_settings(database_url=url, database_schema=SCHEMA, **values)


@pytest.fixture
async def rindle(hostile_url: str) -> AsyncIterator[RindleSync]:
    async with connect(settings_on(hostile_url)) as rindle:
        await rindle.migrate()
        yield rindle


async def test_the_tables_are_made_in_it_and_found_there(
    hostile_url: str, rindle: RindleSync
) -> None:
    assert await rindle.migrate() == ("rindle_5", "rindle_5")
    await rindle.check_ready()
    async with connect_all(settings_on(hostile_url)) as installation:
        diagnosis = await installation.doctor()
    with psycopg.connect(hostile_url) as direct:
        made = direct.execute(
            "SELECT schemaname, count(*) FROM pg_tables "
            "WHERE tablename = ANY(%s) GROUP BY 1 ORDER BY 1",
            [[*metadata.tables, VERSION_TABLE]],
        ).fetchall()
    assert made == [(schema, len(metadata.tables) + 1) for schema in ("public", SCHEMA)]
    assert [f.text for f in diagnosis.findings if "table" in f.text and f.level == "problem"] == []


async def test_rows_are_added_claimed_and_written_there(rindle: RindleSync) -> None:
    store, rows = rindle.store, [a_row(check_at=NOW) for _ in range(3)]
    await store.assets.add_all(rows)
    assert sorted(await claim(store.assets, *rows)) == sorted(row.id for row in rows)
    ready = replace(rows[0], state=State.READY, check_at=None, version=2)
    assert (await store.assets.write([Write(ready)])).ids == {ready.id}
    [found] = await store.assets.find_by_id_or_reference(ready.reference)
    assert (found.id, found.state) == (ready.id, State.READY)


async def test_events_and_passes_are_kept_there(rindle: RindleSync) -> None:
    assert await rindle.store.inbox.storing(an_untracked_event("asset-1"))
    assert len(await rindle.webhook_events.list()) == 1
    await rindle.process_webhook_events()
    await rindle.dispatch()
    await rindle.status()


@pytest.mark.parametrize("opens", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("own_schema", [True, False], ids=["setting", "search path"])
async def test_a_connection_of_the_app_needs_no_search_path(
    hostile_url: str, rindle: RindleSync, opens: Opens, *, own_schema: bool
) -> None:
    await make_videos(hostile_url)
    settings = settings_on(hostile_url)
    if not own_schema:
        url = f"{hostile_url}?options=-csearch_path%3D{SCHEMA}"
        settings = plain_settings(database_url=url)
    async with connect(settings) as other, opens(hostile_url) as app:
        await app.run(ADD_VIDEO)
        row = await other.track(
            reference="video-1", provider_asset_id="asset-1", connection=app.connection
        )
        await app.end(commit=True)
    assert await rindle.get(row.id) == row
    assert await videos(hostile_url) == 1


async def test_a_transactional_callback_finds_the_tables_of_the_app(
    hostile_url: str, rindle: RindleSync
) -> None:
    await make_videos(hostile_url)
    app_videos = sa.Table("app_videos", sa.MetaData(), sa.Column("id", sa.Text()))
    row = await rindle.track(reference="video-1", provider_asset_id="asset-1")

    @rindle.on_change(transactional=True)
    async def keep(event: ChangeEvent, connection: AsyncConnection) -> None:
        await rindle.track(
            reference=event.reference, profile="b", provider_asset_id="b", connection=connection
        )
        mine = await connection.execution_options(schema_translate_map={"app": "public"})
        await mine.execute(app_videos.insert().values(id=event.reference))

    await rindle.replace(row.id, provider_asset_id="asset-2")
    assert await rindle.dispatch() == 1

    assert await videos(hostile_url) == 1
    assert len(await rindle.find_by_reference(row.reference)) == 2
    assert await rindle.dispatch() == 0


async def test_the_statement_for_the_app_names_the_schema(
    hostile_url: str, rindle: RindleSync
) -> None:
    tracking = rindle.tracking(reference="video-1", provider_asset_id="asset-1")
    assert f"{SCHEMA}.media_provider_assets" in tracking.sql
    async with KINDS["async_session"](hostile_url) as app:
        await app.connection.execute(tracking.statement)
        await app.end(commit=True)
    assert await rindle.get(tracking.row.id) == tracking.row


async def test_procrastinates_tables_are_made_there(hostile_url: str) -> None:
    async with connect(settings_on(hostile_url, engine="procrastinate")) as rindle:
        await rindle.migrate()
        await rindle.check_ready()
        stop = asyncio.Event()
        running = asyncio.ensure_future(
            rindle.runtime._run(stop, process_jobs=False)  # noqa: SLF001  no token is needed so
        )
        await asyncio.wait({running}, timeout=1)
        stop.set()
        await running
    with psycopg.connect(hostile_url) as direct:
        found = direct.execute(
            "SELECT schemaname FROM pg_tables WHERE tablename = 'procrastinate_events'"
        ).fetchall()
    assert found == [(SCHEMA,)]


async def test_a_schema_that_may_not_be_made_is_named(postgres_url: str) -> None:
    user = f"rindle_test_{uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as direct:
        direct.execute(f"CREATE ROLE {user} LOGIN".encode())
        try:
            url = postgres_url.replace("postgres@", f"{user}@")
            async with connect(settings_on(url)) as rindle:
                with pytest.raises(ConfigurationError, match=r"database_schema.*may not make"):
                    await rindle.migrate()
                direct.execute(f"CREATE SCHEMA {SCHEMA} AUTHORIZATION {user}".encode())
                await rindle.migrate()
        finally:
            direct.execute(f"DROP OWNED BY {user} CASCADE".encode())
            direct.execute(f"DROP ROLE {user}".encode())


def test_a_schema_on_sqlite_is_a_wrong_setting(sqlite_url: str) -> None:
    with pytest.raises(ConfigurationError, match="database_schema: is for PostgreSQL"):
        open_engine(sqlite_url, schema=SCHEMA)


@pytest.mark.parametrize("name", ["Video", "a-b", "1a", "pg_own", "a b", 'a"b', "a" * 64])
def test_a_name_that_is_no_plain_identifier_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="database_schema"):
        load_settings(database_schema=name)


async def test_migrations_are_quiet_in_the_log_of_the_app(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    names = ("alembic", "alembic.runtime.migration", "alembic.runtime.plugins")
    before = [(logging.getLogger(name).level, logging.getLogger(name).filters) for name in names]
    with caplog.at_level(logging.INFO):
        async with connect(plain_settings(database_url=database_url)) as rindle:
            await rindle.migrate()
            await rindle.check_ready()
    assert [record for record in caplog.records if record.name.startswith("alembic")] == []
    after = [(logging.getLogger(name).level, logging.getLogger(name).filters) for name in names]
    assert after == before == [(level, []) for level, _ in before]


async def test_a_store_of_its_own_schema_is_another_one(hostile_url: str) -> None:
    stores = []
    for schema in ("rindle_a", "rindle_b"):
        async with connect(
            plain_settings(database_url=hostile_url, database_schema=schema)
        ) as rindle:
            await rindle.migrate()
        stores.append(Store(Database(open_engine(hostile_url, schema=schema)), "mux", "default"))
    first, second = stores
    row = a_row(check_at=NOW - timedelta(hours=1))
    await first.assets.add(row)
    assert (await first.assets.get(row.id), await second.assets.get(row.id)) == (row, None)
    for store in stores:
        await store.database.close()
