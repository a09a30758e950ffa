"""A database of our own with the library on it, and the meters: time in the store, SQL statements, transactions."""

import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import httpx
import psycopg
from sqlalchemy import event

from benchmarks.far_ends import BASE_URL, World
from rindle_sync.app import RindleSync
from rindle_sync.config import Settings
from rindle_sync.schema import open_engine
from rindle_sync.store import Store
from rindle_sync.telemetry import Telemetry, log_event
from tests import postgres

DATABASES: Final = ("sqlite", "postgresql")
UNLIMITED: Final = 1_000_000
"""Calls to the provider at once and per second: no budget holds a run back."""


@dataclass(slots=True)
class Meter:
    """What was timed and counted since it was last cleared."""

    seconds: dict[str, float] = field(default_factory=dict)
    """By method of the store."""
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

    def listen(self, store: Store) -> None:
        engine = store.engine.sync_engine

        @event.listens_for(engine, "before_cursor_execute")
        def executed(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            self.counts["statements"] += not statement.startswith("BEGIN")

        @event.listens_for(engine, "begin")
        def began(_: Any) -> None:
            self.counts["transactions"] += 1


class TimedStore(Store):
    """The store, with the time spent in it: SQLAlchemy, the driver, the database, and the mapping of rows."""

    meter: Meter

    async def claim(self, *args: Any, **options: Any) -> Any:
        with self.meter.timing("claim"):
            return await super().claim(*args, **options)

    async def write(self, *args: Any, **options: Any) -> Any:
        with self.meter.timing("write"):
            return await super().write(*args, **options)


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


@contextmanager
def urls(database: str, count: int) -> Iterator[list[str]]:
    """The URLs of `count` empty databases: files in a temporary folder, or databases of one real server."""
    with ExitStack() as stack:
        if database == "sqlite":
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="rindle-bench-")))
            yield [f"sqlite:///{folder / f'{number}.sqlite3'}" for number in range(count)]
        else:
            server = stack.enter_context(postgres.serving())
            yield [stack.enter_context(postgres.new_database(server)) for _ in range(count)]


@asynccontextmanager
async def opened(url: str, world: World) -> AsyncIterator[Bench]:
    """The library on `url`, with its tables made, no rate limit of its own, and the emulator as its provider."""
    chosen = Settings(
        database_url=url,
        mux_base_url=BASE_URL,
        provider_read_burst=UNLIMITED,
        provider_reads_per_second=UNLIMITED,
        **world.token,
    )
    store, meter = TimedStore(open_engine(url)), Meter()
    store.meter = meter
    meter.listen(store)
    rindle = RindleSync(chosen, store, Telemetry(log_event), httpx.ASGITransport(world.emulator.app))
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
