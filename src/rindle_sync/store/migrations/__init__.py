"""The Alembic migrations of the tables; `upgrade` brings a database to the newest revision."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError

from rindle_sync.domain import scrub
from rindle_sync.errors import ConfigurationError, DatabaseUnavailable
from rindle_sync.store.database import schema_of
from rindle_sync.store.driver_errors import complaint, state_of
from rindle_sync.store.migrations.alembic_logs import quiet
from rindle_sync.store.revisions import (
    NEWEST,
    number_of,
    refuse_newer,
    refuse_unreleased,
    revision_of,
)
from rindle_sync.store.schema import metadata
from rindle_sync.store.schema.core_engine import CoreEngine
from rindle_sync.store.schema.engine import file_of
from rindle_sync.store.schema.tables import assets

with quiet():  # at its first import, Alembic logs a line for each of its plugins
    from alembic import command
    from alembic.config import Config

_FOLDER: Final = str(Path(__file__).parent)
_NOT_PERMITTED: Final = "42501"
LOCK: Final = 0x52494E44_4C45
"""What migrations lock on in PostgreSQL: any number that no other program locks on."""


async def upgrade(engine: CoreEngine) -> tuple[str | None, str]:
    """Create or migrate the tables; the revision before and after. Concurrent calls are safe.

    Raises `DatabaseUnavailable`, also for tables of a newer version or of another program.
    """
    try:
        file = file_of(engine.url)
        if file and not file.exists():
            file.touch()  # only a migration creates a missing file
        async with engine.begin() as connection:
            return await connection.run_sync(_upgrade, schema_of(engine))
    except (DBAPIError, OSError) as error:
        text = complaint(error.orig) if isinstance(error, DBAPIError) else scrub(str(error))
        raise DatabaseUnavailable(f"the tables could not be migrated: {text}") from None


def _upgrade(connection: Connection, schema: str | None) -> tuple[str | None, str]:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    if schema:
        enter_schema(connection, schema)
    before = revision_of(connection, schema)
    refuse_newer(before)
    if before == NEWEST:
        return before, before  # Alembic would read every revision to find that out
    if before is None:
        inspector = inspect(connection)

        def columns(name: str) -> set[str]:
            return {column["name"] for column in inspector.get_columns(name)}

        _refuse_other_tables(inspector.get_table_names(), columns)
    # a connection of ours: Alembic would open one of its own, outside the lock
    config = _config(connection=connection, version_table_schema=schema)
    with quiet():
        command.upgrade(config, "head")
    return before, NEWEST


def _config(**where: object) -> Config:
    config = Config()
    config.set_main_option("script_location", _FOLDER.replace("%", "%%"))
    config.attributes["where"] = where
    return config


class _Statements(list[str]):
    """What Alembic writes: with each call one statement, or a comment."""

    def write(self, text: str) -> None:
        statement = text.strip().removesuffix(";")
        if not statement.startswith("--"):
            self.append(statement)

    def flush(self) -> None:
        """Nothing is held back."""


def statements(backend: str, before: str | None, after: str) -> list[str]:
    """The statements that bring the tables from one revision to a later one, without parameters.

    `backend` is `sqlite` or `postgresql`; `before` is None for a database without our tables.
    """
    found = _Statements()
    # a style of parameters that lets the % of a function be
    options = {"paramstyle": "named"}
    config = _config(dialect_name=backend, dialect_opts=options, output_buffer=found)
    with quiet():
        command.upgrade(config, f"{before or 'base'}:{after}", sql=True)
    return list(found)


def missing_statements(
    backend: str,
    before: str | None,
    after: str,
    tables: Collection[str],
    columns: Callable[[str], Collection[str]],
) -> list[str]:
    """The statements that bring a database at `before` to `after`; none if it is there or beyond.

    `tables` are those of the database, `columns` gives the columns of one. Raises
    `DatabaseUnavailable` as `upgrade` does.
    """
    refuse_unreleased(before)
    refuse_newer(before)
    if before is None:
        _refuse_other_tables(tables, columns)
    elif number_of(before) >= number_of(after):
        return []
    return statements(backend, before, after)


def enter_schema(connection: Connection, schema: str) -> None:
    """Make the schema if it is missing; what follows in this transaction is made in it."""
    there = text("SELECT 1 FROM pg_namespace WHERE nspname = :schema")
    quoted = connection.dialect.identifier_preparer.quote_schema(schema)
    try:
        # asked first: to make it needs a right, though it be there
        if not connection.execute(there, {"schema": schema}).first():
            connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {quoted}"))
    except DBAPIError as error:
        if state_of(error.orig) != _NOT_PERMITTED:
            raise
        raise ConfigurationError(
            "database_schema",
            f"names the schema {schema}, which is not there, and which this user may not make: run "
            f"CREATE SCHEMA {schema} AUTHORIZATION, with this user's name, as another one",
        ) from None
    connection.execute(text(f"SET LOCAL search_path TO {quoted}"))


def _refuse_other_tables(
    tables: Collection[str], columns: Callable[[str], Collection[str]]
) -> None:
    """Raise `DatabaseUnavailable` for a table that has the name of one of ours."""
    for name in sorted(set(tables) & set(metadata.tables)):
        whose, names = "of another program", columns(name)
        # https://hexdocs.pm/rindle: it refers to Rindle's `media_assets`
        if name == assets.name and "asset_id" in names and "reference" not in names:
            whose = "of Rindle, the Elixir library, with other columns"
        raise DatabaseUnavailable(
            f"the database has a table {name} already, {whose}: give rindle-sync a database of its "
            "own, or on PostgreSQL a schema (database_schema = rindle_sync, which this command "
            "makes)"
        )
