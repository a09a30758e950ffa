"""The Alembic migrations of the tables; `upgrade` brings a database to the newest revision."""

from functools import cache
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from rindle_sync.domain import scrub
from rindle_sync.errors import DatabaseUnavailable
from rindle_sync.store.driver_errors import named_errors
from rindle_sync.store.schema.engine import file_of

VERSION_TABLE: Final = "rindle_sync_alembic_version"
"""A version table of its own: the app may use Alembic for its tables."""

_UNRELEASED: Final = frozenset({"0001", "0002"})
"""Revisions from before the first release, whose tables have other names."""

_FOLDER: Final = str(Path(__file__).parent)
_LOCK: Final = 0x52494E44_4C45  # any number that no other program locks on


async def upgrade(engine: AsyncEngine) -> tuple[str | None, str]:
    """Create or migrate the tables; the revision before and after. Concurrent calls are safe."""
    try:
        file = file_of(engine.url)
        if file and not file.exists():
            file.touch()  # only a migration creates a missing file
        async with engine.begin() as connection:
            return await connection.run_sync(_upgrade)
    except (DBAPIError, OSError) as error:
        text = scrub(str(getattr(error, "orig", error)))
        raise DatabaseUnavailable(f"the tables could not be migrated: {text}") from None


async def revisions(engine: AsyncEngine) -> tuple[str | None, str]:
    """The revision of the database and the newest one; raises `DatabaseUnavailable`."""
    with named_errors():
        async with engine.execution_options(reads_only=True).connect() as connection:
            return await connection.run_sync(_current), _newest()


def _upgrade(connection: Connection) -> tuple[str | None, str]:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    before = _current(connection)
    config = Config()
    config.set_main_option("script_location", _FOLDER.replace("%", "%%"))
    # a connection of ours: Alembic would open one of its own, outside the lock
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    return before, _newest()


def _current(connection: Connection) -> str | None:
    revision = MigrationContext.configure(
        connection, opts={"version_table": VERSION_TABLE}
    ).get_current_revision()
    if revision in _UNRELEASED:
        raise DatabaseUnavailable(
            f"the tables were made by an unreleased version of rindle-sync (revision {revision}): "
            "drop them, or use a new database, and run `rindle-sync migrate`"
        )
    return revision


@cache
def _newest() -> str:
    return ScriptDirectory(_FOLDER).get_current_head() or ""
