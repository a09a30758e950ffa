"""A database of our own with the library on it, and the meters.

Time in the store, SQL statements, transactions.
"""

import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field, replace
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
from rindle_sync.store import AssetQueries, AssetStore, Database, Store
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


@dataclass(slots=True)
class Meter:
    """What was timed and counted since it was last cleared."""

    seconds: dict[str, float] = field(default_factory=dict)
    """In the database, by whether it was read or written."""
    counts: Counter[str] = field(default_factory=Counter)
    """`statements`, and `transactions` (a BEGIN and its COMMIT) apart from them."""

    def clear(self) -> None:
        self.seconds.clear()
        self.counts.clear()

    @contextmanager
    def timing(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began

    def listen(self, database: Database) -> None:
        engine = database.engine.sync_engine

        @event.listens_for(engine, "before_cursor_execute")
        def executed(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            self.counts["statements"] += not statement.startswith("BEGIN")

        @event.listens_for(engine, "begin")
        def began(_: Any) -> None:
            self.counts["transactions"] += 1


class TimedAssets(AssetStore):
    """The rows, with the time spent in them.

    SQLAlchemy, the driver, the database, and the mapping of rows.
    """

    meter: Meter

    async def claim(self, *args: Any, **options: Any) -> Any:
        with self.meter.timing("read"):
            return await super().claim(*args, **options)

    async def write(self, *args: Any, **options: Any) -> Any:
        with self.meter.timing("write"):
            return await super().write(*args, **options)


class TimedQueries(AssetQueries):
    """What is asked about rows, with the time spent in it."""

    meter: Meter

    async def due(self, *args: Any, **options: Any) -> Any:
        with self.meter.timing("read"):
            return await super().due(*args, **options)

    async def listed(self, *args: Any, **options: Any) -> Any:
        with self.meter.timing("read"):
            return await super().listed(*args, **options)


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
    database, meter = Database(open_engine(url)), Meter()
    meter.listen(database)
    transport = httpx.ASGITransport(world.emulator.app)
    rindle = RindleSync(chosen, database, [EventLog()], transport)
    store = rindle.store
    rows = store.assets = TimedAssets(database, store.provider, store.environment)
    queries = store.queries = TimedQueries(database, store.provider, store.environment)
    rows.meter = queries.meter = meter
    try:
        await rindle.migrate()
        yield Bench(url, rindle, meter)
    finally:
        await rindle.close()


def groom(url: str) -> None:
    """Do what a database does by itself in time: PostgreSQL's autovacuum, SQLite's checkpoint."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    else:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
