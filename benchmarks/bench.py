"""A database of our own with the library on it, and what counts its statements."""

import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import httpx
import psycopg
from sqlalchemy import event

from benchmarks.providers import BASE_URL, TOKEN, World
from rindle_sync.app import RindleSync
from rindle_sync.config import plain_settings
from rindle_sync.providers import Provider
from rindle_sync.reconcile import Context, ListIndex
from rindle_sync.store import Database, Store
from rindle_sync.store.schema import open_engine
from rindle_sync.telemetry import EventLog
from tests.support import postgres

DATABASES: Final = ("sqlite", "postgresql")
UNLIMITED: Final = 1_000_000
"""Calls to the provider at once and per second: no budget holds a run back."""


Progress = Callable[[str], None]


class Road(StrEnum):
    """How a sweep asks."""

    PAGE = "page"
    """By list page where that pays, else by id: the sweep as it is."""
    ID = "id"
    """Every row by its id: what the sweep is compared with."""

    @property
    def list_index(self) -> ListIndex:
        return ListIndex(trust=self is Road.PAGE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much is measured."""

    rows: int
    repeats: int
    settled: Sequence[int]
    is_full: bool
    """Both priorities of a token, and every case to its end."""


class Meter:
    """Counts what is sent to a database, from its making on or from when it was cleared.

    Each BEGIN, COMMIT, ROLLBACK and ping is a statement, as it is to the database.
    """

    def __init__(self, database: Database) -> None:
        self.counts = Counter[str]()
        engine = database.engine.sync_engine
        ping = engine.dialect.do_ping

        @event.listens_for(engine, "before_cursor_execute")
        def executed(*_: Any) -> None:
            self.counts["statements"] += 1

        @event.listens_for(engine, "begin")
        def began(_: Any) -> None:
            self.counts["transactions"] += 1

        @event.listens_for(engine, "commit")
        @event.listens_for(engine, "rollback")
        def ended(connection: Any) -> None:
            self.counts["statements"] += _is_in_transaction(connection)

        def pinged(connection: Any) -> bool:
            self.counts["statements"] += 1
            return ping(connection)

        engine.dialect.do_ping = pinged  # type: ignore[method-assign,assignment]

    def clear(self) -> None:
        self.counts.clear()


def _is_in_transaction(connection: Any) -> bool:
    driver = connection.connection.driver_connection
    if connection.dialect.name == "sqlite":
        return bool(driver.in_transaction)
    return bool(driver.info.transaction_status)  # 0 where it is idle


@dataclass(frozen=True, slots=True)
class Bench:
    """The library on one database."""

    url: str
    rindle: RindleSync
    meter: Meter

    @property
    def database(self) -> str:
        return self.url.partition(":")[0]

    @property
    def store(self) -> Store:
        return self.rindle.store

    def context(self, provider: Provider, road: Road) -> Context:
        """What a sweep on this road needs, as if it were the first one of its process."""
        context = self.rindle.context
        context.gateway.provider = provider
        return replace(context, list_index=road.list_index)


@contextmanager
def urls(database: str, count: int) -> Iterator[list[str]]:
    """The URLs of `count` empty databases.

    Files in a temporary folder, or databases of one real server.
    """
    with ExitStack() as stack:
        if database == "sqlite":
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="rindle-bench-")))
            yield [f"sqlite:///{folder / f'{number}.sqlite3'}" for number in range(count)]
        else:
            server = stack.enter_context(postgres.serving())
            yield [stack.enter_context(postgres.new_database(server)) for _ in range(count)]


@asynccontextmanager
async def opened(url: str, world: World) -> AsyncIterator[Bench]:
    """The library on `url`, with its tables and no rate limit; its provider is the emulator."""
    chosen = plain_settings(
        database_url=url,
        mux_base_url=BASE_URL,
        mux_environment_id=world.emulator.whoami.environment_id,
        provider_read_burst=UNLIMITED,
        provider_reads_per_second=UNLIMITED,
        mux_token_id=TOKEN.token_id,
        mux_token_secret=TOKEN.token_secret,
    )
    database = Database(open_engine(url))
    meter = Meter(database)
    transport = httpx.ASGITransport(world.emulator.app)
    rindle = RindleSync(chosen, database, [EventLog()], transport)
    try:
        await rindle.migrate()
        yield Bench(url, rindle, meter)
    finally:
        await rindle.close()


def groom(url: str) -> None:
    """Do what a database does by itself in time: PostgreSQL's autovacuum, SQLite's checkpoint."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            connection.execute("PRAGMA wal_checkpoint(RESTART)")
    else:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
