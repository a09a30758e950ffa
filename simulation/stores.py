"""Where the tables of a history are.

A fresh SQLite file in memory, or a fresh PostgreSQL database.
"""

import asyncio
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from rindle_sync.store.migrations import upgrade
from rindle_sync.store.schema.core_engine import CoreEngine
from rindle_sync.store.schema.engine import open_engine
from simulation.sqlite import open_sqlite, opened
from simulation.steps import Stepping


class Place(Protocol):
    """One database, for all hosts of a history."""

    has_app: bool
    """Whether the app has a table of its own there, `app_videos`."""

    def open(self, host: Stepping) -> CoreEngine:
        """The engine of one host."""

    def connect(self) -> sqlite3.Connection:
        """A connection of the app's own, which never waits."""

    def read(self, *statements: str) -> Sequence[Sequence[Mapping[str, Any]]]:
        """What `statements` find, as lines whose columns have names."""


class SqlitePlace:
    """A file with our tables, and one of the app's."""

    has_app = True

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection

    def open(self, host: Stepping) -> CoreEngine:
        """The engine of one host."""
        return open_sqlite(str(self._path), host)

    def connect(self) -> sqlite3.Connection:
        """A connection of the app's own, which never waits."""
        return sqlite3.connect(self._path, timeout=0)

    def read(self, *statements: str) -> Sequence[Sequence[Mapping[str, Any]]]:
        """What `statements` find."""
        return [
            [dict(line) for line in self._connection.execute(statement)] for statement in statements
        ]


@contextmanager
def sqlite_place() -> Iterator[SqlitePlace]:
    """A fresh database, gone afterwards."""
    with TemporaryDirectory(dir=_memory(), prefix="simulation-") as folder:
        path = Path(folder) / "rows.sqlite3"
        path.write_bytes(_empty())
        with closing(opened(str(path))) as connection:
            yield SqlitePlace(path, connection)


@cache
def _empty() -> bytes:
    """A database with our tables and nothing in them, made by the real migrations."""
    with TemporaryDirectory(dir=_memory(), prefix="simulation-") as folder:
        path = Path(folder) / "empty.sqlite3"

        async def make() -> None:
            engine = open_engine(f"sqlite:///{path}")
            await upgrade(engine)
            await engine.dispose()

        asyncio.run(make())
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE app_videos (reference TEXT PRIMARY KEY)")
            connection.commit()
        return path.read_bytes()


def _memory() -> str | None:
    """A folder in memory, where the system has one."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
