"""Each statement on SQLite goes once to the thread of its connection."""

from collections.abc import AsyncIterator
from typing import Any

import aiosqlite
import pytest
import pytest_asyncio
from sqlalchemy.exc import OperationalError

from rindle_sync.store.schema import open_engine
from rindle_sync.store.schema.core_engine import CoreEngine

ADD = "INSERT INTO numbers VALUES (1)"
READ = "SELECT number FROM numbers ORDER BY number"


@pytest_asyncio.fixture
async def engine(sqlite_tables_url: str) -> AsyncIterator[CoreEngine]:
    """One with an open connection, on a file with an empty table of numbers."""
    engine = open_engine(sqlite_tables_url)
    async with engine.begin() as connection:
        await connection.exec_driver_sql("CREATE TABLE numbers (number INTEGER)")
    yield engine
    await engine.dispose()


@pytest.fixture
def hops(engine: CoreEngine, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is run in the threads of connections from now on."""
    seen = list[Any]()
    original: Any = aiosqlite.Connection._execute  # noqa: SLF001

    async def noted(self: aiosqlite.Connection, work: Any, *arguments: Any) -> Any:
        seen.append(work)
        return await original(self, work, *arguments)

    monkeypatch.setattr(aiosqlite.Connection, "_execute", noted)
    return seen


async def numbers(engine: CoreEngine) -> list[Any]:
    async with engine.execution_options(single=True).connect() as connection:
        return list((await connection.exec_driver_sql(READ)).scalars())


async def test_a_statement_that_reads_takes_one_hop_and_its_end_none(
    engine: CoreEngine, hops: list[Any]
) -> None:
    assert await numbers(engine) == []

    assert len(hops) == 1


async def test_a_transaction_takes_a_hop_more_for_its_begin_and_its_commit(
    engine: CoreEngine, hops: list[Any]
) -> None:
    async with engine.begin() as connection:
        await connection.exec_driver_sql(ADD)

    assert len(hops) == 3
    assert await numbers(engine) == [1]


async def test_what_was_left_open_is_rolled_back(engine: CoreEngine) -> None:
    async with engine.connect() as connection:
        await connection.exec_driver_sql(ADD)

    assert await numbers(engine) == []
    async with engine.begin() as connection:  # nobody holds the lock
        await connection.exec_driver_sql(ADD)
    assert await numbers(engine) == [1]


async def test_what_failed_is_rolled_back(engine: CoreEngine) -> None:
    async def fail() -> None:
        async with engine.begin() as connection:
            await connection.exec_driver_sql(ADD)
            await connection.exec_driver_sql("SELECT letter FROM numbers")

    for _ in range(2):
        with pytest.raises(OperationalError, match="no such column"):
            await fail()

    assert await numbers(engine) == []


async def test_lines_are_read_one_by_one_a_few_at_once_or_all(engine: CoreEngine) -> None:
    async with engine.begin() as connection:
        added = "INSERT INTO numbers VALUES (?)"
        written = await connection.exec_driver_sql(added, [(1,), (2,), (3,), (4,)])
        assert written.rowcount == 4

    async with engine.connect() as connection:
        found = await connection.exec_driver_sql(READ)
        parts = found.fetchone(), found.fetchmany(2), found.fetchall()
    assert parts == ((1,), [(2,), (3,)], [(4,)])
