"""SQLite: the app has begun to write on its own connection, and then calls rindle-sync."""

import asyncio
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from rindle_sync.errors import DatabaseUnavailable, LockedByThisProcess
from rindle_sync.store import Database, Store
from rindle_sync.store.file_locks import is_held_here
from rindle_sync.store.schema import open_engine
from tests.support.app_connections import ADD_VIDEO, KINDS, Opens, file_of, make_videos
from tests.support.rows import a_row

pytestmark = pytest.mark.skipif(
    not Path("/proc/locks").exists(), reason="only Linux tells who holds a lock"
)

LONG_ENOUGH = 3.0
"""Seconds within which it must be told; the busy timeout is 15 s."""


@pytest.fixture
async def store(sqlite_tables_url: str) -> AsyncIterator[Store]:
    await make_videos(sqlite_tables_url)
    database = Database(open_engine(sqlite_tables_url))
    yield Store(database, "mux", "default")
    await database.close()


@pytest.mark.parametrize("opens", KINDS.values(), ids=KINDS)
async def test_a_lock_of_this_very_process_is_told_at_once(
    sqlite_tables_url: str, store: Store, opens: Opens
) -> None:
    began = time.monotonic()
    async with opens(sqlite_tables_url) as app:
        await app.run(ADD_VIDEO)
        assert is_held_here(Path(file_of(sqlite_tables_url)))
        with pytest.raises(LockedByThisProcess, match="connection"):
            await store.assets.add(a_row())
        assert time.monotonic() - began < LONG_ENOUGH
        await store.within(app.connection).assets.add(a_row())
        await app.end(commit=True)

    await store.assets.add(a_row())
    assert len([row async for row in store.assets.rows()]) == 2


async def test_all_writers_are_told_together(sqlite_tables_url: str, store: Store) -> None:
    began = time.monotonic()
    async with KINDS["driver"](sqlite_tables_url) as app:
        await app.run(ADD_VIDEO)
        came = await asyncio.gather(
            *(store.assets.add(a_row()) for _ in range(5)), return_exceptions=True
        )
    assert [type(error) for error in came] == [LockedByThisProcess] * 5
    assert time.monotonic() - began < LONG_ENOUGH


async def test_a_short_transaction_of_the_app_is_waited_for(
    sqlite_tables_url: str, store: Store
) -> None:
    async with KINDS["async_driver"](sqlite_tables_url) as app:
        await app.run(ADD_VIDEO)
        adding = asyncio.ensure_future(store.assets.add(a_row()))
        assert await asyncio.wait({adding}, timeout=0.3) == (set(), {adding})
        await app.end(commit=True)
        await adding


async def test_a_later_transaction_of_the_app_has_its_own_time(
    sqlite_tables_url: str, store: Store
) -> None:
    async with KINDS["async_driver"](sqlite_tables_url) as app:
        await app.run(ADD_VIDEO)
        with pytest.raises(LockedByThisProcess):
            await store.assets.add(a_row())
        await app.end(commit=False)

        await app.run(ADD_VIDEO)
        adding = asyncio.ensure_future(store.assets.add(a_row()))
        assert await asyncio.wait({adding}, timeout=0.3) == (set(), {adding})
        await app.end(commit=True)
        await adding


@pytest.mark.parametrize("kind", ["driver", "connection", "session"])
async def test_a_sync_connection_lets_a_write_of_ours_end_before_it_begins(
    sqlite_tables_url: str, store: Store, kind: str
) -> None:
    has_begun, began = asyncio.Event(), time.monotonic()

    async def write() -> None:
        async with store.database.writing():
            has_begun.set()
            await asyncio.wait({asyncio.ensure_future(asyncio.Event().wait())}, timeout=0.3)

    writing = asyncio.ensure_future(write())
    await has_begun.wait()
    async with KINDS[kind](sqlite_tables_url) as app:
        await store.within(app.connection).assets.add(a_row())
        await app.end(commit=True)

    await writing
    assert time.monotonic() - began < LONG_ENOUGH


async def test_a_lock_of_another_process_is_waited_for(
    sqlite_tables_url: str, store: Store
) -> None:
    script = (
        "import sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1]); c.execute('BEGIN IMMEDIATE')\n"
        "print('held', flush=True); sys.stdin.read(); c.rollback()"
    )
    file, pipe = file_of(sqlite_tables_url), asyncio.subprocess.PIPE
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, file, stdin=pipe, stdout=pipe
    )
    assert other.stdout
    assert await other.stdout.readline() == b"held\n"
    assert not is_held_here(Path(file))
    adding = asyncio.ensure_future(store.assets.add(a_row()))
    assert await asyncio.wait({adding}, timeout=LONG_ENOUGH) == (set(), {adding})
    await other.communicate(b"")
    await adding


def test_no_lock_is_seen_on_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert not is_held_here(tmp_path / "missing.sqlite3")


def test_a_lock_without_a_write_ahead_log_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "old.sqlite3"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE a (b)")
        connection.commit()
        assert not is_held_here(file)
        connection.execute("BEGIN IMMEDIATE")
        assert is_held_here(file)


def test_the_error_is_one_of_the_database() -> None:
    assert issubclass(LockedByThisProcess, DatabaseUnavailable)
