"""Databases with our tables and no row in them.

Migrated once, then copied on SQLite and emptied on PostgreSQL.
"""

import asyncio
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from rindle_sync.store.migrations import upgrade
from rindle_sync.store.revisions import VERSION_TABLE
from rindle_sync.store.schema import metadata
from rindle_sync.store.schema.engine import open_engine
from tests.support import postgres

SHAPE = sql.SQL("""
    SELECT (SELECT array_agg(version_num) FROM {version}),
        (SELECT md5(string_agg(
            concat_ws(' ', oid, relname, relnatts, relchecks, relhastriggers, relhasrules), ','
            ORDER BY oid)) FROM pg_class WHERE relnamespace = 'public'::regnamespace),
        (SELECT md5(string_agg(
            concat_ws(' ', attrelid, attname, atttypid, attnotnull, atthasdef), ','
            ORDER BY attrelid, attnum)) FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
            WHERE relnamespace = 'public'::regnamespace),
        (SELECT count(*) FROM pg_namespace), (SELECT count(*) FROM pg_proc),
        (SELECT count(*) FROM pg_db_role_setting)
""").format(version=sql.Identifier(VERSION_TABLE))
"""All that a test could have altered in a database but for the rows of our tables."""

OTHERS_LEAVE = """
    SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""

NUMBERED = [
    (table.name, column.name)
    for table in metadata.sorted_tables
    for column in table.c
    if column.autoincrement is True
]


def migrate(url: str) -> None:
    """Make the tables in the database at `url`."""

    async def migrated() -> None:
        engine = open_engine(url)
        await upgrade(engine)
        await engine.dispose()

    asyncio.run(migrated())


class SqliteTables:
    """A file with our tables, and copies of it."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "tables.sqlite3"
        migrate(f"sqlite:///{self._file}")
        assert [path.name for path in folder.iterdir()] == [self._file.name], (
            "somebody is still connected"
        )

    def copy_to(self, url: str) -> None:
        """Make the database at `url`."""
        shutil.copyfile(self._file, url.removeprefix("sqlite:///"))


class PostgresTables:
    """One database for one test after another.

    If a test altered more than rows, the next one gets another database.
    """

    def __init__(self, server: str, stack: ExitStack) -> None:
        self._server, self._stack = server, stack
        self._url = ""
        self._shape: Any = None

    def empty(self) -> str:
        """The URL of the database, in which no row is, and to which nobody is connected."""
        if not self._url or not self._is_emptied():
            self._url = self._stack.enter_context(postgres.new_database(self._server))
            migrate(self._url)
            with psycopg.connect(self._url) as connection:
                self._shape = connection.execute(SHAPE).fetchone()
        return self._url

    def _is_emptied(self) -> bool:
        with psycopg.connect(self._url) as connection:
            connection.execute(OTHERS_LEAVE)
            if connection.execute(SHAPE).fetchone() != self._shape:
                return False
            tables = [sql.Identifier(table.name) for table in metadata.sorted_tables]
            sizes = sql.SQL(", ").join(
                sql.SQL("pg_relation_size({})").format(sql.Literal(table.name))
                for table in metadata.sorted_tables
            )
            told = connection.execute(sql.SQL("SELECT ") + sizes).fetchone() or ()
            if used := [table for table, size in zip(tables, told, strict=True) if size]:
                connection.execute(sql.SQL("TRUNCATE ") + sql.SQL(", ").join(used))
            for numbered in NUMBERED:
                connection.execute(
                    "SELECT setval(pg_get_serial_sequence(%s, %s), 1, false)", numbered
                )
        return True
