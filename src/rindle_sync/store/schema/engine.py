"""The engine for a database URL: driver, time limits, and no values in logs."""

from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, NullPool, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError

from rindle_sync.errors import LACKS_SETTINGS, ConfigurationError, DatabaseUnavailable
from rindle_sync.store.schema.core_engine import CoreEngine
from rindle_sync.store.schema.json_rows import from_json, to_json
from rindle_sync.store.schema.sessions import BUSY_SECONDS, is_single, prepare_postgresql
from rindle_sync.store.schema.urls import DRIVER_MISSING, engine_url
from rindle_sync.telemetry import keep_from_debug

SWITCHES: Final = 10
"""Attempts to switch a new SQLite file to its write-ahead log."""

_DEFAULTS: Final = {
    "application_name": "rindle-sync",
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "25000",
}
"""Connection parameters, unless the URL has others: a dead server is noticed within 25 seconds.

https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
"""

_FIXED: Final = {"client_encoding": "utf8"}
"""Whatever the URL, `PGCLIENTENCODING` or the server says."""

_NO_SCHEMAS: Final = (
    "is for PostgreSQL, and database_url names SQLite: leave it out; a file has no schemas"
)

_VERBOSE: Final = ("sqlalchemy.engine.Engine.rindle_sync", "aiosqlite")
"""At DEBUG, SQLAlchemy logs every row that it reads, and aiosqlite every parameter."""


def parameters(url: URL) -> dict[str, Any]:
    """The parameters of each connection to PostgreSQL, whichever library makes it."""
    named = url.translate_connect_args(username="user", database="dbname")
    return {**_DEFAULTS, **named, **url.query, **_FIXED}


def conninfo(url: str) -> str:
    """`url` in the form of libpq; raises `ConfigurationError` for another database."""
    parsed = engine_url(url)
    if parsed.get_backend_name() != "postgresql":
        raise ConfigurationError(
            "engine", "is procrastinate, which needs PostgreSQL: set database_url to postgresql://…"
        )
    return " ".join(f"{name}={_quoted(value)}" for name, value in parameters(parsed).items())


def _quoted(value: object) -> str:
    return "'" + str(value).replace("\\", r"\\").replace("'", r"\'") + "'"


class NoConnections(NullPool):
    """The pool of an engine that keeps no connection, not even the one of the intake."""


def open_engine(
    url: str, *, schema: str | None = None, pool_size: int = 5, keep_connections: bool = True
) -> CoreEngine:
    """An engine for `url` with time limits; no log and no error text shows parameters.

    On PostgreSQL our tables are in `schema`, whatever the search path says. Without
    `keep_connections` each is closed after its use.
    """
    parsed = engine_url(url)
    if schema and parsed.get_backend_name() != "postgresql":
        raise ConfigurationError("database_schema", _NO_SCHEMAS)
    keep_from_debug(*_VERBOSE)
    options: dict[str, Any] = {} if keep_connections else {"poolclass": NoConnections}
    options |= {
        "hide_parameters": True,
        "logging_name": "rindle_sync",
        "json_serializer": to_json,
        "json_deserializer": from_json,
        "execution_options": {"schema_translate_map": {None: schema}} if schema else {},
    }
    try:
        if parsed.get_backend_name() == "sqlite":
            file = file_of(parsed)
            _check_folder(file)
            engine = create_engine(parsed, **options, connect_args={"timeout": BUSY_SECONDS})
            prepare_sqlite(engine, file)
            from rindle_sync.store.schema.one_hop import connect_with_one_hop

            connect_with_one_hop(engine)
        else:
            if keep_connections:
                options |= {"pool_size": pool_size, "max_overflow": 2, "pool_timeout": 10}
            from rindle_sync.store.schema.cancelling import CancellingConnection

            engine = create_engine(
                parsed.set(query={**_DEFAULTS, **parsed.query, **_FIXED}),
                **options,
                connect_args={
                    "prepare_threshold": None,  # a pooler may change the session
                    "async_creator_fn": CancellingConnection.connect,
                },
            )
            prepare_postgresql(engine)
    except (ArgumentError, ValueError, TypeError, OSError):
        raise ConfigurationError(
            "database_url", "has a part that is not understood; see docs/settings.md"
        ) from None
    except ModuleNotFoundError:
        raise ConfigurationError("database_url", DRIVER_MISSING) from None
    return CoreEngine(engine)


def _check_folder(file: Path | None) -> None:
    if file is None:
        return
    try:
        with suppress(FileNotFoundError, NotADirectoryError):
            file.lstat()
    except OSError as error:  # a name too long, or a folder that this user may not look into
        text = f"names a SQLite file that cannot be looked for ({error.strerror})"
        raise ConfigurationError("database_url", text) from None
    if file.is_dir() or not file.parent.is_dir():
        raise ConfigurationError(
            "database_url", "names a SQLite file in a folder that is not there, or a folder itself"
        )


def file_of(url: URL) -> Path | None:
    """The file of a SQLite database; None for one in memory, or named by a URI of SQLite."""
    path = url.database if url.get_backend_name() == "sqlite" else None
    if not path or path == ":memory:" or path.startswith("file:"):
        return None
    return Path(path).absolute()


def _switch_to_wal(cursor: Any) -> None:
    from sqlite3 import OperationalError

    # unlike all else, this fails at once while another process writes, whatever the time limit
    for _ in range(SWITCHES):
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except OperationalError:
            cursor.execute("BEGIN IMMEDIATE")  # waits for the other writer
            cursor.execute("COMMIT")
        else:
            return
    cursor.execute("PRAGMA journal_mode=WAL")


def prepare_sqlite(engine: Engine, file: Path | None = None) -> None:
    """Configure each connection, and begin each transaction as a reading or a writing one."""
    from sqlalchemy.dialects.sqlite.base import SQLiteCompiler

    class Hinting(SQLiteCompiler):
        """Writes hints, such as `INDEXED BY`, which SQLAlchemy leaves out for SQLite."""

        def get_from_hint_text(self, _table: Any, text: str | None) -> str | None:
            return text

    engine.dialect.statement_compiler = Hinting

    @event.listens_for(engine, "do_connect")
    def connecting(*_: Any) -> None:
        # SQLite would create a missing file, which then lacks the tables: only a migration may
        if file and not file.exists():
            raise DatabaseUnavailable(
                f"there is no database at {file}: {LACKS_SETTINGS}? "
                "`rindle-sync migrate` makes a new one"
            )

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        _switch_to_wal(cursor)
        for setting in ("synchronous=NORMAL", "foreign_keys=ON", "temp_store=MEMORY"):
            cursor.execute(f"PRAGMA {setting}")
        cursor.close()

    # a cancelled statement keeps its connection from closing, and with it the write lock
    @event.listens_for(engine, "invalidate")
    def invalidated(connection: Any, _: Any, __: Any) -> None:
        with suppress(Exception):
            connection.rollback()

    # a transaction that reads first could fail to get the write lock later
    @event.listens_for(engine, "begin")
    def began(connection: Any) -> None:
        if not is_single(connection):
            connection.exec_driver_sql("BEGIN IMMEDIATE")
