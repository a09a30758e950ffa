"""The tables, and what differs between the databases that hold them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ColumnElement,
    DateTime,
    Dialect,
    Engine,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    bindparam,
    cast,
    event,
    literal_column,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import TableValuedAlias
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

from rindle_sync.errors import Misconfigured
from rindle_sync.quiet import keep_from_debug

BUSY_SECONDS: Final = 15
"""How long a statement waits for another writer before it fails."""

STATEMENT_SECONDS: Final = 30
"""How long one statement may take on PostgreSQL."""

_TELLTALES: Final = ("sqlalchemy.engine.Engine.rindle_sync", "aiosqlite")
"""At DEBUG, SQLAlchemy logs every row that it reads, and aiosqlite every parameter."""


class UtcTime(TypeDecorator[datetime]):
    """A moment in UTC to the microsecond: `timestamptz`, or on SQLite text of one width, which sorts by time."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The column type."""
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """To the database."""
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).isoformat(timespec="microseconds")

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """From the database."""
        if value is None:
            return None
        return datetime.fromisoformat(value) if isinstance(value, str) else value.astimezone(UTC)


class RowId(TypeDecorator[str]):
    """A UUID as text: `uuid` on PostgreSQL, 36 characters on SQLite."""

    impl = String(36)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The column type."""
        return dialect.type_descriptor(String(36) if dialect.name == "sqlite" else UUID(as_uuid=False))


Json: Final = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
Serial: Final = BigInteger().with_variant(Integer(), "sqlite")

metadata: Final = MetaData()

assets: Final = Table(
    "media_provider_assets",
    metadata,
    Column("id", RowId(), primary_key=True),
    Column("asset_id", Text(), nullable=False),
    Column("profile", Text(), nullable=False),
    Column("provider_name", Text(), nullable=False),
    Column("environment", Text(), nullable=False),
    Column("provider_asset_id", Text()),
    Column("provider_upload_id", Text()),
    Column("passthrough", Text()),
    Column("playback_ids", Json, nullable=False),
    Column("playback_policy", Text()),
    Column("ingest_mode", Text()),
    Column("state", Text(), nullable=False),
    Column("error_kind", Text()),
    Column("last_sync_error", Text()),
    Column("last_event_id", Text()),
    Column("last_event_at", UtcTime()),
    Column("raw_provider_metadata", Json),
    Column("inserted_at", UtcTime(), nullable=False),
    Column("updated_at", UtcTime(), nullable=False),
    Column("seen_at", UtcTime()),
    Column("checked_at", UtcTime()),
    Column("check_at", UtcTime()),
    Column("check_failures", Integer(), nullable=False),
    Column("missing_since", UtcTime()),
    Column("lease_token", RowId()),
    Column("lease_until", UtcTime()),
    Column("version", BigInteger(), nullable=False),
    UniqueConstraint("asset_id", "profile", "provider_name", name="uq_media_provider_assets_asset_profile_provider"),
)
Index(
    "uq_media_provider_assets_provider_asset_id",
    assets.c.provider_name,
    assets.c.environment,
    assets.c.provider_asset_id,
    unique=True,
)
Index(
    "uq_media_provider_assets_provider_upload_id",
    assets.c.provider_name,
    assets.c.environment,
    assets.c.provider_upload_id,
    unique=True,
)
Index(
    "uq_media_provider_assets_passthrough",
    assets.c.provider_name,
    assets.c.environment,
    assets.c.passthrough,
    unique=True,
)
# rows at rest have no check_at and so no entry here: the due scan costs what is due, whatever the table holds
Index(
    "ix_media_provider_assets_due",
    assets.c.provider_name,
    assets.c.environment,
    assets.c.check_at,
    sqlite_where=assets.c.check_at.is_not(None),
    postgresql_where=assets.c.check_at.is_not(None),
)
Index(
    "ix_media_provider_assets_lease",
    assets.c.lease_token,
    sqlite_where=assets.c.lease_token.is_not(None),
    postgresql_where=assets.c.lease_token.is_not(None),
)

notices: Final = Table(
    "provider_notices",
    metadata,
    Column("id", RowId(), primary_key=True),
    Column("provider_name", Text(), nullable=False),
    Column("environment", Text(), nullable=False),
    Column("event_id", Text(), nullable=False),
    Column("type", Text(), nullable=False),
    Column("provider_asset_id", Text()),
    Column("provider_upload_id", Text()),
    Column("passthrough", Text()),
    Column("occurred_at", UtcTime()),
    Column("received_at", UtcTime(), nullable=False),
    Column("body", LargeBinary(), nullable=False),
    Column("status", Text(), nullable=False),
    Column("attempts", Integer(), nullable=False),
    Column("next_attempt_at", UtcTime()),
    Column("reason", Text()),
    Column("lease_token", RowId()),
    Column("lease_until", UtcTime()),
    UniqueConstraint("provider_name", "environment", "event_id", name="uq_provider_notices_event"),
)
Index(
    "ix_provider_notices_pending",
    notices.c.provider_name,
    notices.c.environment,
    notices.c.next_attempt_at,
    sqlite_where=notices.c.next_attempt_at.is_not(None),
    postgresql_where=notices.c.next_attempt_at.is_not(None),
)

changes: Final = Table(
    "provider_asset_changes",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("row_id", RowId(), nullable=False),
    Column("provider_name", Text(), nullable=False),
    Column("environment", Text(), nullable=False),
    Column("version", BigInteger(), nullable=False),
    Column("from_state", Text(), nullable=False),
    Column("to_state", Text(), nullable=False),
    Column("error_kind", Text()),
    Column("by", Text(), nullable=False),
    Column("reason", Text(), nullable=False),
    Column("at", UtcTime(), nullable=False),
    Column("late_ms", BigInteger(), nullable=False),
    Column("announce_at", UtcTime()),
    Column("announce_attempts", Integer(), nullable=False, server_default="0"),
    Column("lease_token", RowId()),
    Column("lease_until", UtcTime()),
    UniqueConstraint("row_id", "version", name="uq_provider_asset_changes_row_version"),
)


Index(
    "ix_provider_asset_changes_announce",
    changes.c.provider_name,
    changes.c.environment,
    changes.c.announce_at,
    sqlite_where=changes.c.announce_at.is_not(None),
    postgresql_where=changes.c.announce_at.is_not(None),
)


def engine_url(url: str) -> URL:
    """`url` with our async driver in it; raises `Misconfigured` for one that names no database we know."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise Misconfigured(
            "database_url",
            "is no database URL; write sqlite:///rindle-sync.sqlite3 or postgresql://user:password@host:5432/database",
        ) from None
    match parsed.drivername.split("+")[0]:
        case "sqlite":
            return parsed.set(drivername="sqlite+aiosqlite")
        case "postgresql" | "postgres":
            return parsed.set(drivername="postgresql+psycopg")
        case other:
            raise Misconfigured(
                "database_url", f"names a database that is not supported ({other}); use sqlite:/// or postgresql://"
            )


def open_engine(url: str, *, pool_size: int = 5) -> AsyncEngine:
    """An engine for `url` with time limits set and parameters hidden from every log and error text."""
    parsed = engine_url(url)
    keep_from_debug(*_TELLTALES)
    options: dict[str, Any] = {
        "hide_parameters": True,
        "logging_name": "rindle_sync",
        "json_serializer": to_json,
        "json_deserializer": from_json,
    }
    try:
        if parsed.get_backend_name() == "sqlite":
            _check_file(parsed.database)
            engine = create_async_engine(parsed, **options, connect_args={"timeout": BUSY_SECONDS})
            _prepare_sqlite(engine.sync_engine)
        else:
            options |= {"pool_size": pool_size, "max_overflow": 2, "pool_timeout": 10, "pool_pre_ping": True}
            engine = create_async_engine(parsed, **options, connect_args={"connect_timeout": 10})
            _prepare_postgresql(engine.sync_engine)
    except (ArgumentError, ValueError, TypeError, OSError):
        raise Misconfigured("database_url", "has a part that is not understood; see docs/settings.md") from None
    except ModuleNotFoundError:
        raise Misconfigured(
            "database_url", "names PostgreSQL, whose driver is not installed; pip install 'rindle-sync[postgresql]'"
        ) from None
    return engine


def _check_file(path: str | None) -> None:
    if not path or path == ":memory:" or path.startswith("file:"):
        return
    if Path(path).is_dir() or not Path(path).absolute().parent.is_dir():
        raise Misconfigured("database_url", "names a SQLite file in a folder that is not there, or a folder itself")


def _prepare_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for setting in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "temp_store=MEMORY"):
            cursor.execute(f"PRAGMA {setting}")
        cursor.close()

    # a write transaction takes the write lock as it begins: one that first reads could never get it later
    @event.listens_for(engine, "begin")
    def began(connection: Any) -> None:
        reads = connection.get_execution_options().get("reads_only", False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _prepare_postgresql(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def connected(connection: Any, _: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                f"SET statement_timeout = '{STATEMENT_SECONDS}s'; SET lock_timeout = '{BUSY_SECONDS}s'; "
                "SET timezone = 'UTC'"
            )
        connection.commit()


def to_json(value: Any) -> str:
    """`value` as JSON text."""
    return msgspec.json.encode(value).decode()


def from_json(text: str) -> Any:
    """JSON text as plain values."""
    return msgspec.json.decode(text)


class _JsonRows(FunctionElement[Any]):
    """One JSON array as a table of its elements, in a column `value`."""

    name = "json_rows"
    inherit_cache = True


@compiles(_JsonRows, "sqlite")
def _json_rows_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **options)})"


@compiles(_JsonRows, "postgresql")
def _json_rows_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    return f"jsonb_array_elements(CAST({compiler.process(element.clauses, **options)} AS JSONB))"


class _Typed(FunctionElement[Any]):
    """A text out of JSON, as the type that the column wants; SQLite takes it as it is."""

    name = "typed"
    inherit_cache = True


@compiles(_Typed, "sqlite")
def _typed_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    text, _ = element.clauses
    return str(compiler.process(text, **options))


@compiles(_Typed, "postgresql")
def _typed_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    _, typed = element.clauses
    return str(compiler.process(typed, **options))


def json_table(parameter: str, alias: str) -> TableValuedAlias:
    """The bound JSON array `parameter` as a table: any number of rows in one statement whose text never changes."""
    return _JsonRows(bindparam(parameter, type_=Text())).table_valued("value", name=alias)


def json_field(rows: TableValuedAlias, column: Column[Any]) -> ColumnElement[Any]:
    """The field of `rows` that is named like `column`, as its type."""
    text: ColumnElement[Any] = rows.c.value.op("->>", return_type=Text())(literal_column(f"'{column.name}'"))
    return _Typed(text, cast(text, column.type))


def json_parameter(rows: Sequence[Mapping[str, Any]], table: Table) -> str:
    """`rows` as the bound value of a `json_table`, each field as text that its column's type can read."""
    return to_json([{name: _as_text(value, table.c[name]) for name, value in row.items()} for row in rows])


def _as_text(value: Any, column: Column[Any]) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(column.type, JSON) and value is not None:
        return to_json(value)
    return value
