"""Our statements in a transaction of the app: its commit is ours, and its rollback, too."""

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from rindle_sync.errors import (
    AlreadyTracked,
    ConfigurationError,
    DatabaseUnavailable,
    RindleSyncError,
)
from rindle_sync.store import Database, Store, complaint, state_of
from rindle_sync.store.migrations import upgrade
from rindle_sync.store.schema import open_engine
from tests.support.app_connections import (
    ADD_VIDEO,
    KINDS,
    Opens,
    driver_url,
    file_of,
    videos,
    with_videos,
)
from tests.support.rows import a_row
from tests.support.tables import SqliteTables


@pytest.fixture
async def store(tables_url: str) -> AsyncIterator[Store]:
    async with with_videos(tables_url):
        database = Database(open_engine(tables_url))
        yield Store(database, "mux", "default")
        await database.close()


@pytest.mark.parametrize("opens", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("commit", [True, False], ids=["commit", "rollback"])
async def test_both_commit_or_neither(
    tables_url: str, store: Store, opens: Opens, *, commit: bool
) -> None:
    row = a_row(playback_ids=(), raw_provider_metadata={"a": [1, "ü"]})
    async with opens(tables_url) as app:
        await app.run(ADD_VIDEO)
        within = store.within(app.connection)
        await within.assets.add(row)
        assert await within.assets.get(row.id) == row
        await app.end(commit=commit)
    assert await videos(tables_url) == commit
    assert await store.assets.get(row.id) == (row if commit else None)


@pytest.mark.parametrize("opens", KINDS.values(), ids=KINDS)
async def test_a_clash_leaves_the_transaction_of_the_app_as_it_was(
    tables_url: str, store: Store, opens: Opens
) -> None:
    row = a_row()
    await store.assets.add(row)
    async with opens(tables_url) as app:
        with pytest.raises(AlreadyTracked):
            await store.within(app.connection).assets.add(a_row(reference=row.reference))
        await app.run(ADD_VIDEO)
        await app.end(commit=True)
    assert await videos(tables_url) == 1


# a connection that leads elsewhere, or on which nothing can be written


async def refusal(store: Store, connection: Any) -> str:
    """What is said of a connection, before anything is written."""
    row = a_row()
    with pytest.raises(ConfigurationError) as raised:
        await store.within(connection).assets.add(row)
    assert raised.value.setting == "connection"
    assert await store.assets.get(row.id) is None
    return str(raised.value)


@pytest.mark.parametrize("opens", KINDS.values(), ids=KINDS)
async def test_a_database_of_another_kind_is_refused(
    sqlite_tables_url: str, postgres_tables_url: str, opens: Opens
) -> None:
    for ours, theirs in (
        (sqlite_tables_url, postgres_tables_url),
        (postgres_tables_url, sqlite_tables_url),
    ):
        database = Database(open_engine(ours))
        async with opens(theirs) as app:
            told = await refusal(Store(database, "mux", "default"), app.connection)
        assert "another kind" in told
        await database.close()


@pytest.mark.parametrize("opens", KINDS.values(), ids=KINDS)
async def test_another_file_is_refused_though_it_has_the_tables(
    store: Store, sqlite_tables: SqliteTables, tmp_path: Path, tables_url: str, opens: Opens
) -> None:
    if not tables_url.startswith("sqlite"):
        pytest.skip("of SQLite")
    other = f"sqlite:///{tmp_path / 'other.sqlite3'}"
    sqlite_tables.copy_to(other)
    async with opens(other) as app:
        assert "another database" in await refusal(store, app.connection)


@pytest.mark.parametrize("opens", KINDS.values(), ids=KINDS)
async def test_another_database_of_the_server_is_refused_though_it_has_the_tables(
    postgres_tables_url: str, postgres_url: str, opens: Opens
) -> None:
    migrated = Database(open_engine(postgres_url))
    await upgrade(migrated.engine)
    database = Database(open_engine(postgres_tables_url))
    async with opens(postgres_url) as app:
        assert "another database" in await refusal(
            Store(database, "mux", "default"), app.connection
        )
    for used in (database, migrated):
        await used.close()


async def test_a_connection_in_autocommit_mode_needs_a_transaction_of_the_app(
    tables_url: str, store: Store
) -> None:
    if tables_url.startswith("sqlite"):
        with closing(sqlite3.connect(file_of(tables_url), isolation_level=None)) as connection:
            assert "begin one first" in await refusal(store, connection)
            connection.execute("BEGIN")
            await store.within(connection).assets.add(a_row())
            assert connection.in_transaction
            connection.execute("COMMIT")
    else:
        with psycopg.connect(tables_url, autocommit=True) as session:
            assert "begin one first" in await refusal(store, session)
            with session.transaction():
                await store.within(session).assets.add(a_row())
    assert len([row async for row in store.assets.rows()]) == 1


@pytest.mark.parametrize("is_async", [True, False])
async def test_an_engine_in_autocommit_mode_is_refused(
    tables_url: str, store: Store, *, is_async: bool
) -> None:
    if is_async:
        options = {"isolation_level": "AUTOCOMMIT"}
        engine = create_async_engine(driver_url(tables_url, is_async=True), **options)
        async with engine.connect() as connection:
            assert "begin one first" in await refusal(store, connection)
        await engine.dispose()
        return
    sync_engine = sa.create_engine(
        driver_url(tables_url, is_async=False), isolation_level="AUTOCOMMIT"
    )
    with sync_engine.connect() as sync_connection:
        assert "begin one first" in await refusal(store, sync_connection)
    sync_engine.dispose()


async def test_a_transaction_that_has_failed_is_named(postgres_tables_url: str) -> None:
    database = Database(open_engine(postgres_tables_url))
    store = Store(database, "mux", "default")
    for kind in ("driver", "async_driver", "connection", "async_connection"):
        async with KINDS[kind](postgres_tables_url) as app:
            with suppress(psycopg.Error, sa.exc.DBAPIError):
                await app.run("SELECT nothing FROM nowhere")
            assert "roll it back" in await refusal(store, app.connection)
            await app.end(commit=False)
    await database.close()


async def test_a_closed_connection_is_named(tables_url: str, store: Store) -> None:
    for kind in ("driver", "async_driver", "connection", "async_connection"):
        async with KINDS[kind](tables_url) as app:
            pass
        with pytest.raises(RindleSyncError):
            await store.within(app.connection).assets.add(a_row())


async def test_the_inner_session_of_an_async_one_is_refused(tables_url: str, store: Store) -> None:
    async with KINDS["async_session"](tables_url) as app:
        with pytest.raises(ConfigurationError, match="pass the async one"):
            await store.within(app.connection.sync_session).assets.add(a_row())


async def test_tables_that_are_missing_are_named(sqlite_url: str) -> None:
    async with KINDS["driver"](sqlite_url) as app:
        await app.run("CREATE TABLE a (b)")
        database = Database(open_engine(sqlite_url))
        with pytest.raises(DatabaseUnavailable, match="rindle-sync migrate"):
            await Store(database, "mux", "default").within(app.connection).assets.add(a_row())
        await database.close()


# what is left on the connection


async def test_nothing_is_left_on_a_connection_of_sqlite3(sqlite_tables_url: str) -> None:
    database = Database(open_engine(sqlite_tables_url))
    sqlite_store = Store(database, "mux", "default")
    with closing(sqlite3.connect(file_of(sqlite_tables_url))) as connection:

        def factory(*_: object) -> object:
            return "odd"

        connection.row_factory, connection.text_factory = factory, bytes
        before = connection.isolation_level
        await sqlite_store.within(connection).assets.add(a_row())
        await sqlite_store.within(connection).assets.add(a_row(reference="video-2"))
        with pytest.raises(AlreadyTracked):
            await sqlite_store.within(connection).assets.add(a_row(reference="video-2"))

        assert (connection.row_factory, connection.text_factory) == (factory, bytes)
        assert connection.isolation_level == before
        assert connection.in_transaction
        connection.commit()
    await database.close()


async def test_nothing_is_left_on_a_session_of_postgresql(postgres_tables_url: str) -> None:
    shown = "SELECT name, setting FROM pg_settings WHERE source IN ('session', 'client') ORDER BY 1"
    database = Database(open_engine(postgres_tables_url))
    with psycopg.connect(postgres_tables_url) as session:
        before = session.execute(shown).fetchall()
        row = a_row()
        await Store(database, "mux", "default").within(session).assets.add(row)
        assert session.execute(shown).fetchall() == before
        assert session.execute("SELECT state FROM media_provider_assets").fetchall() == [
            ("processing",)
        ]
    await database.close()


async def test_the_apps_own_translation_of_schemas_is_not_meant_for_us(
    postgres_tables_url: str,
) -> None:
    database = Database(open_engine(postgres_tables_url))
    engine = create_async_engine(
        driver_url(postgres_tables_url, is_async=True),
        execution_options={"schema_translate_map": {None: "tenant"}},
    )
    store, row = Store(database, "mux", "default"), a_row()
    async with engine.begin() as connection:
        await store.within(connection).assets.add(row)
    assert await store.assets.get(row.id) == row
    await engine.dispose()
    await database.close()


# the app's own drivers


def error_of_psycopg2() -> Exception:
    """It cites the statement, into which psycopg2 has written the values itself."""

    class Diagnostics:
        message_primary = "permission denied"

    class OperationalError(Exception):
        pgcode = "42501"
        diag = Diagnostics()

    return OperationalError("permission denied\nLINE 1: DELETE WHERE id = 'asset-1'")


def error_of_pg8000() -> Exception:
    return Exception({"S": "ERROR", "C": "42501", "M": "permission denied", "R": "asset-1"})


@pytest.mark.parametrize("made", [error_of_psycopg2, error_of_pg8000])
def test_errors_of_other_drivers_are_understood_and_cite_no_values(
    made: Callable[[], Exception],
) -> None:
    error = made()
    assert state_of(error) == "42501"
    assert complaint(error) == "the database refused the statement: permission denied"
