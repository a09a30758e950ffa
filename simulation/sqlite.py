"""The real SQLite without its threads.

Each statement runs at once, between two steps of the host that sends it.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeVar, cast

import aiosqlite
import sqlalchemy
from sqlalchemy import URL, CursorResult, Executable, QueuePool, create_engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from rindle_sync.store.schema import assets, json_rows
from rindle_sync.store.schema.core_engine import CoreEngine
from rindle_sync.store.schema.engine import prepare_sqlite
from rindle_sync.store.schema.sessions import BUSY_SECONDS
from simulation.history import NOTED, OF_LEASES, Noted, Written
from simulation.steps import Stepping

Result = TypeVar("Result")

_CACHE: Final[dict[Any, Any]] = {}
"""Compiled statements, for all engines of this process."""

CONNECTIONS: Final = 15
POOL_SECONDS: Final = 30.0
"""As SQLAlchemy's own pool has it: so many connections, and so long a wait for one of them."""

_CONTENT: Final = tuple(column.name for column in assets.c if column.name not in OF_LEASES)
_NOTE_UPDATE: Final = f"""
CREATE TEMP TRIGGER simulation_update AFTER UPDATE ON main.media_provider_assets
WHEN {" OR ".join(f"OLD.{name} IS NOT NEW.{name}" for name in _CONTENT)}
BEGIN SELECT simulation_wrote(NEW.id, {", ".join(f"OLD.{n}, NEW.{n}" for n in NOTED)}); END
"""
_NOTE_CHANGE: Final = """
CREATE TEMP TRIGGER simulation_change AFTER INSERT ON main.provider_asset_changes
BEGIN SELECT simulation_changed(
  NEW.row_id, NEW.version, NEW.kind, NEW.from_state, NEW.to_state); END
"""
_REFUSE: Final = """
CREATE TEMP TRIGGER simulation_refuse BEFORE INSERT ON main.provider_webhook_events
WHEN simulation_refuses(NEW.event_id) BEGIN SELECT RAISE(ABORT, 'refused'); END
"""


class Connection(sqlite3.Connection):
    """One connection of a host; what it commits goes into the history."""

    host: Stepping
    wrote: list[Written | Noted]

    def commit(self) -> None:
        """Commit, and note what that wrote."""
        super().commit()
        self.host.committed(self.wrote)
        self.wrote = []

    def rollback(self) -> None:
        """Undo; nothing was written."""
        self.wrote = []
        if self.host.is_alive:
            super().rollback()

    def end(self) -> None:
        """Undo, and be gone, as when the process is killed."""
        with suppress(sqlite3.ProgrammingError):  # closed already, after a failure
            super().rollback()
            super().close()

    def watch(self, host: Stepping) -> "Connection":
        """Note for `host` what is written."""
        self.host, self.wrote = host, []
        self.create_function("simulation_wrote", 1 + 2 * len(NOTED), self._note_row)
        self.create_function("simulation_changed", 5, self._note_change)
        self.create_function("simulation_refuses", 1, host.refuses)
        for trigger in (
            "PRAGMA temp_store=MEMORY",
            _NOTE_UPDATE,
            _NOTE_CHANGE,
            _REFUSE,
        ):  # to set it later would drop them
            self.execute(trigger)
        return self

    def _note_row(self, *values: Any) -> None:
        self.wrote.append(Written.of(*values))

    def _note_change(self, *values: Any) -> None:
        self.wrote.append(Noted(*values))


@dataclass(frozen=True, slots=True)
class Session:
    """What the store sees of a connection: each statement is a step of its host."""

    connection: sqlalchemy.Connection
    host: Stepping

    async def execute(self, statement: Executable, values: Any = None) -> CursorResult[Any]:
        """Run one statement, once nobody else writes."""
        await self.host.go_on()
        self.host.fail()
        return await self.when_free(lambda: self.connection.execute(statement, values))

    async def run_sync(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Run several statements as one step, once nobody else writes."""
        await self.host.go_on()
        self.host.fail()
        return await self.when_free(lambda: work(self.connection, *arguments))

    async def begin(self) -> sqlalchemy.Transaction:
        """Begin a transaction, once nobody else writes."""
        self.host.fail()
        return await self.when_free(self.connection.begin)

    def _note_single(self) -> None:
        """Note what a statement wrote that was a transaction by itself."""
        driver: Any = self.connection.connection.driver_connection
        if not driver.in_transaction:
            driver.commit()

    async def get_raw_connection(self) -> "_Raw":
        """The connection of the driver."""
        return _Raw(Driver(self))

    async def invalidate(self) -> None:
        """Have the connection closed instead of used again."""
        self.connection.invalidate()

    async def close(self) -> None:
        """Give the connection back."""
        self.connection.close()

    async def when_free(self, work: Callable[[], Result]) -> Result:
        """What `work` comes to, once nobody else writes."""
        waited = 0.0
        while True:
            try:
                done = work()
            except (OperationalError, sqlite3.OperationalError) as error:
                if "locked" not in str(error) or waited > BUSY_SECONDS:
                    raise
                waited += await self.host.wait_for_lock()
            else:
                self._note_single()
                return done


class Driver(aiosqlite.Connection):
    """What the store sees of the driver's connection, where it uses that itself."""

    _connection = None

    def __init__(self, session: Session) -> None:
        """No thread is begun."""
        self._session = session

    @property
    def _conn(self) -> sqlite3.Connection:
        """The connection of SQLite, as `aiosqlite` has it."""
        return cast(sqlite3.Connection, self._session.connection.connection.driver_connection)

    async def _execute(self, work: Any, *arguments: Any) -> Any:
        """Run a function of the store's, once nobody else writes."""
        session = self._session
        await session.host.go_on()
        session.host.fail()
        done = await session.when_free(lambda: work(*arguments))
        await session.host.go_on()
        return done


@dataclass(frozen=True, slots=True)
class _Raw:
    driver_connection: Driver


class Engine:
    """What the store sees of an engine.

    It runs in no other thread: what waits, waits in virtual time.
    """

    def __init__(
        self, sync_engine: sqlalchemy.Engine, host: Stepping, free: asyncio.Semaphore
    ) -> None:
        self.sync_engine = sync_engine
        self.dialect = sync_engine.dialect
        self.url = sync_engine.url
        self._host = host
        self._free = free

    def execution_options(self, **options: Any) -> "Engine":
        """The same engine with other options."""
        return Engine(self.sync_engine.execution_options(**options), self._host, self._free)

    def connect(self) -> "_Connecting":
        """A connection, once one is free: for a block, or for as long as it is kept."""
        return _Connecting(self)

    async def kept(self) -> Session:
        """A connection that is given back by its `close`."""
        await self._host.go_on()
        return Session(self.sync_engine.connect(), self._host)

    @asynccontextmanager
    async def for_a_block(self) -> AsyncIterator[Session]:
        """A connection, given back at the end of the block."""
        await self._host.go_on()
        await self._one_free()
        try:
            with self.sync_engine.connect() as connection:
                yield Session(connection, self._host)
        finally:
            self._free.release()
        await self._host.go_on()

    async def _one_free(self) -> None:
        try:
            async with asyncio.timeout(POOL_SECONDS if self._free.locked() else None):
                await self._free.acquire()
        except TimeoutError:
            raise PoolTimeout("no connection is free") from None

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Session]:
        """A transaction, committed at its end."""
        async with self.connect() as session:
            with await session.begin():
                yield session
                await self._host.go_on()
                self._host.fail()

    async def dispose(self) -> None:
        """Close what is open."""
        self.sync_engine.dispose()


class _Connecting:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._block: Any = None

    def __await__(self) -> Generator[Any, Any, Session]:
        return self._engine.kept().__await__()

    async def __aenter__(self) -> Session:
        self._block = self._engine.for_a_block()
        return cast(Session, await self._block.__aenter__())

    async def __aexit__(self, *ended: Any) -> bool | None:
        return cast("bool | None", await self._block.__aexit__(*ended))


def open_sqlite(path: str, host: Stepping) -> CoreEngine:
    """The engine of one host."""

    def connect() -> Connection:
        """A connection that never blocks."""
        connection: Connection = sqlite3.connect(
            path, timeout=0, factory=Connection, check_same_thread=False
        )
        host.on_kill.append(connection.end)
        return connection.watch(host)

    pool = QueuePool(cast(Any, connect), pool_size=CONNECTIONS, use_lifo=True)
    engine = sqlalchemy.Engine(pool, _dialect(), URL.create("sqlite"), hide_parameters=True)
    prepare_sqlite(engine)
    ours = Engine(
        engine.execution_options(compiled_cache=_CACHE), host, asyncio.Semaphore(CONNECTIONS)
    )
    return cast(CoreEngine, ours)


@cache
def _dialect() -> sqlalchemy.Dialect:
    """One for all engines, so that they share what is compiled."""
    engine = create_engine(
        "sqlite://", json_serializer=json_rows.to_json, json_deserializer=json_rows.from_json
    )
    with engine.connect():
        return engine.dialect


def opened(path: str) -> sqlite3.Connection:
    """A connection past every host, to read what stands in the tables."""
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    return connection
