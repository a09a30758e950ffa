"""Procrastinate's own tables: installed where missing, migrated where installed from here."""

from importlib import resources
from typing import Any, Final, LiteralString, cast

from procrastinate.schema import SchemaManager
from psycopg import AsyncConnection, Error
from sqlalchemy.exc import DBAPIError

from rindle_sync.domain import scrub
from rindle_sync.errors import ConfigurationError, DatabaseUnavailable
from rindle_sync.store.database import schema_of
from rindle_sync.store.migrations import enter_schema
from rindle_sync.store.schema.core_engine import CoreEngine

_LOCK: Final = 0x52494E44_4C46  # any number that no other program locks on


async def install_procrastinate(engine: CoreEngine) -> None:
    """Create or migrate the tables, unless the app has installed them itself.

    Concurrent calls are safe. Raises `ConfigurationError` and `DatabaseUnavailable`.
    """
    if engine.dialect.name != "postgresql":
        raise ConfigurationError(
            "engine", "is procrastinate, which needs PostgreSQL: set database_url to postgresql://…"
        )
    try:
        async with engine.begin() as connection:
            if schema := schema_of(engine):
                await connection.run_sync(enter_schema, schema)
            driver = (await connection.get_raw_connection()).driver_connection
            assert driver is not None
            await _install(cast(AsyncConnection[Any], driver))
    except (Error, DBAPIError, OSError) as error:
        text = scrub(str(getattr(error, "orig", error)))
        raise DatabaseUnavailable(f"Procrastinate's tables could not be migrated: {text}") from None


async def _install(connection: AsyncConnection[Any]) -> None:
    """Apply what is missing; tables without a noted migration belong to the app."""
    folder: Any = resources.files("procrastinate") / "sql" / "migrations"
    names = sorted(path.name for path in folder.iterdir() if path.name.endswith(".sql"))
    await connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS rindle_sync_procrastinate (migration TEXT NOT NULL)"
    )
    found = await connection.execute(
        "SELECT max(migration), to_regclass('procrastinate_jobs')::text "
        "FROM rindle_sync_procrastinate"
    )
    [(noted, installed)] = await found.fetchall()
    if noted is None and installed:
        return
    if noted is None:
        await connection.execute(SchemaManager.get_schema())
    for name in names if noted else []:
        if name > noted:
            await connection.execute(cast(LiteralString, (folder / name).read_text("utf-8")))
    if noted != names[-1]:
        await connection.execute("INSERT INTO rindle_sync_procrastinate VALUES (%s)", [names[-1]])
