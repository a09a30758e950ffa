"""The real SQLite without its threads: each statement runs at once, between two steps of the host that sends it."""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any, Final

from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, Pool
from sqlalchemy.util import await_only

from rindle_sync.schema import BUSY_SECONDS, assets, json_rows
from rindle_sync.schema.engine import prepare_sqlite
from simulation.history import NOTED, OF_LEASES, Noted, Written
from simulation.steps import Stepping

_CACHE: Final[dict[Any, Any]] = {}
"""Compiled statements, for all engines of this process."""

_CONTENT: Final = tuple(column.name for column in assets.c if column.name not in OF_LEASES)
_NOTE_UPDATE: Final = f"""
CREATE TEMP TRIGGER simulation_update AFTER UPDATE ON main.media_provider_assets
WHEN {" OR ".join(f"OLD.{name} IS NOT NEW.{name}" for name in _CONTENT)}
BEGIN SELECT simulation_wrote(NEW.id, {", ".join(f"OLD.{n}, NEW.{n}" for n in NOTED)}); END
"""
_NOTE_CHANGE: Final = """
CREATE TEMP TRIGGER simulation_change AFTER INSERT ON main.provider_asset_changes
BEGIN SELECT simulation_changed(NEW.row_id, NEW.version, NEW.from_state, NEW.to_state); END
"""


class Cursor(sqlite3.Cursor):
    """Sends a statement, and waits for whoever writes."""

    connection: "Connection"

    def execute(self, sql: str, parameters: Any = ()) -> "Cursor":
        """Run one statement."""
        waited = 0.0
        while True:
            try:
                super().execute(sql, parameters)
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or waited > BUSY_SECONDS:
                    raise
                waited += await_only(self.connection.host.wait_for_lock())
            else:
                return self

    async def _async_soft_close(self) -> None:
        """SQLAlchemy asks for it; there is nothing to close."""


class Connection(sqlite3.Connection):
    """One connection of a host; what it commits goes into the history."""

    host: Stepping
    wrote: list[Written | Noted]

    def cursor(self, *_: Any) -> Any:
        """A cursor of ours."""
        return super().cursor(Cursor)

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
        super().rollback()
        super().close()

    def watch(self, host: Stepping) -> "Connection":
        """Note for `host` what is written."""
        self.host, self.wrote = host, []
        self.create_function("simulation_wrote", 13, self._note_row)
        self.create_function("simulation_changed", 4, self._note_change)
        for trigger in ("PRAGMA temp_store=MEMORY", _NOTE_UPDATE, _NOTE_CHANGE):  # to set it later would drop them
            super().cursor().execute(trigger)
        return self

    def _note_row(self, *values: Any) -> None:
        self.wrote.append(Written.of(*values))

    def _note_change(self, *values: Any) -> None:
        self.wrote.append(Noted(*values))


class _Driver:
    """The module of the driver, as SQLAlchemy wants it."""

    paramstyle = "qmark"

    def __getattr__(self, name: str) -> Any:
        return getattr(sqlite3, name)

    @staticmethod
    def connect(path: str, *, host: Stepping, **options: Any) -> Connection:
        """A connection that never blocks: who finds a lock waits in virtual time."""
        connection: Connection = sqlite3.connect(path, **options, timeout=0, factory=Connection)
        host.on_kill.append(connection.end)
        return connection.watch(host)


class Dialect(SQLiteDialect_pysqlite):
    """SQLite for an async engine; one for all engines, so that they share what is compiled."""

    driver = "simulated"
    is_async = True
    supports_statement_cache = True
    _only: "Dialect | None" = None

    def __new__(cls, **_: Any) -> "Dialect":
        """The only one."""
        cls._only = cls._only or super().__new__(cls)
        return cls._only

    def __init__(self, **options: Any) -> None:
        if "dbapi" not in self.__dict__:
            super().__init__(**options)

    @classmethod
    def import_dbapi(cls) -> Any:
        """The driver."""
        return _Driver()

    @classmethod
    def get_pool_class(cls, url: URL) -> type[Pool]:  # noqa: ARG003  the signature is SQLAlchemy's
        """A pool that waits as asyncio does."""
        return AsyncAdaptedQueuePool


registry.register("sqlite.simulated", __name__, "Dialect")


def open_sqlite(path: str, host: Stepping) -> AsyncEngine:
    """The engine of one host."""
    engine = create_async_engine(
        URL.create("sqlite+simulated", database=path),
        connect_args={"host": host, "check_same_thread": False},
        hide_parameters=True,
        json_serializer=json_rows.to_json,
        json_deserializer=json_rows.from_json,
    )
    prepare_sqlite(engine.sync_engine)
    return engine.execution_options(compiled_cache=_CACHE)


def tables_of(path: str, *statements: str) -> Sequence[Sequence[Mapping[str, Any]]]:
    """What `statements` find, read past every host."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return [[dict(line) for line in connection.execute(statement)] for statement in statements]
