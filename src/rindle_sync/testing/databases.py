"""Databases with our tables and no row in them, for one test after another."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from uuid import uuid4

from rindle_sync.config import Settings
from rindle_sync.errors import ConfigurationError
from rindle_sync.store.emptying import drop_schema, empty_tables
from rindle_sync.store.migrations import upgrade
from rindle_sync.store.schema import open_engine
from rindle_sync.testing.apart import run_apart

_with_tables: Final[set[tuple[str, str | None]]] = set()
"""The databases, by URL and schema, that were made here: they need no migration."""


@contextmanager
def sqlite_database() -> Iterator[str]:
    """The URL of a new SQLite database with our tables, whose file is gone after the block."""
    migrated = _migrated()
    with TemporaryDirectory(prefix="rindle-", ignore_cleanup_errors=True) as folder:
        file = Path(folder, "rindle-sync.sqlite3")
        file.write_bytes(migrated)
        url = f"sqlite:///{file}"
        _with_tables.add((url, None))
        try:
            yield url
        finally:
            _with_tables.discard((url, None))


@cache
def _migrated() -> bytes:
    """A database file with our tables: the migrations run once in a process."""
    with TemporaryDirectory(prefix="rindle-", ignore_cleanup_errors=True) as folder:
        file = Path(folder, "template.sqlite3")
        migrate(f"sqlite:///{file}")
        return file.read_bytes()


@dataclass(frozen=True, slots=True)
class PostgresSchema:
    """A schema of a PostgreSQL database that holds our tables, and that nobody else uses."""

    url: str = field(repr=False)
    name: str

    def empty(self) -> None:
        """Delete every row of our tables. Raises `DatabaseUnavailable`."""

        async def empty() -> None:
            engine = open_engine(self.url, schema=self.name)
            try:
                await empty_tables(engine)
            finally:
                await engine.dispose()

        run_apart(empty)


@contextmanager
def postgres_schema(url: str) -> Iterator[PostgresSchema]:
    """A new schema with our tables in the database at `url`, dropped after the block.

    Raises `ConfigurationError` for another kind of database, `DatabaseUnavailable`.
    """
    if not url.startswith(("postgresql", "postgres:")):
        text = "is no URL of PostgreSQL; leave it out: each test then has a SQLite file of its own"
        raise ConfigurationError("--rindle-database-url", text)
    schema = PostgresSchema(url, f"rindle_test_{uuid4().hex}")
    migrate(url, schema.name)
    _with_tables.add((url, schema.name))
    try:
        yield schema
    finally:
        _with_tables.discard((url, schema.name))
        run_apart(lambda: drop_schema(url, schema.name))


def make_tables(settings: Settings) -> None:
    """Create or migrate our tables, unless they were made here.

    Raises `ConfigurationError`, `DatabaseUnavailable`.
    """
    if (settings.database_url, settings.database_schema) not in _with_tables:
        migrate(settings.database_url, settings.database_schema)


def migrate(url: str, schema: str | None = None) -> None:
    """Create or migrate our tables. Raises `ConfigurationError`, `DatabaseUnavailable`."""

    async def migrate() -> None:
        engine = open_engine(url, schema=schema)
        try:
            await upgrade(engine)
        finally:
            await engine.dispose()

    run_apart(migrate)
