"""Connections to SQLite that go to their own thread once for each statement.

SQLAlchemy goes there four times: to open a cursor, to execute, to fetch and to close. Each time the
thread and the event loop wait for the interpreter, which the other one has, for milliseconds.
"""

import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from sqlalchemy import Engine, event
from sqlalchemy.dialects.sqlite.aiosqlite import AsyncAdapt_aiosqlite_connection
from sqlalchemy.util.concurrency import await_only

_NONE: Final = (None, -1, None, ())


class OneHopConnection(AsyncAdapt_aiosqlite_connection):
    """The driver's connection, as SQLAlchemy uses it."""

    __slots__ = ("_is_at_rest",)

    def __init__(self, dbapi: Any, connection: Any) -> None:
        super().__init__(dbapi, connection)
        self._is_at_rest = False

    def cursor(self, server_side: bool = False) -> Any:  # noqa: FBT001, FBT002  SQLAlchemy's
        """A cursor for one statement after the other."""
        return super().cursor(server_side=True) if server_side else _Cursor(self)

    def run(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """What `work` returns, called in the thread with the connection of sqlite3."""
        self._is_at_rest = False
        driver = self._connection
        try:
            done = await_only(driver._execute(work, driver._conn, *arguments))  # noqa: SLF001
        except Exception as error:  # noqa: BLE001  SQLAlchemy raises it as its own
            self._handle_exception(error)
        self._is_at_rest = True
        return done

    def commit(self) -> None:
        """Commit, where anything is open."""
        if self._has_open():
            super().commit()

    def rollback(self) -> None:
        """Roll back, where anything is open: the pool asks for it after each use."""
        if self._has_open():
            super().rollback()

    def _has_open(self) -> bool:
        """Whether a transaction may be open: a statement that was cancelled may run on."""
        if not self._is_at_rest:
            return True
        try:
            return bool(self._connection.in_transaction)
        except ValueError:  # it is closed
            return False


class _Cursor:
    """A cursor with all that its statement found."""

    arraysize = 1

    def __init__(self, connection: OneHopConnection) -> None:
        self._connection = connection
        self.description, self.rowcount, self.lastrowid, _ = _NONE
        self._lines = deque[Any]()

    def execute(self, sql: str, parameters: Any = ()) -> None:
        """Run a statement."""
        self._take(self._connection.run(_execute, sql, parameters or ()))

    def executemany(self, sql: str, parameters: Sequence[Any]) -> None:
        """Run a statement once for each of `parameters`."""
        self._take(self._connection.run(_execute_many, sql, parameters))

    def _take(self, found: Any) -> None:
        self.description, self.rowcount, self.lastrowid, lines = found
        self._lines = deque(lines)

    def setinputsizes(self, *_: Any) -> None:
        """SQLite needs none."""

    def fetchone(self) -> Any:
        """The next line; None after the last."""
        return self._lines.popleft() if self._lines else None

    def fetchmany(self, size: int | None = None) -> list[Any]:
        """The next `size` lines, or as many as there are."""
        wanted = self.arraysize if size is None else size
        return [self._lines.popleft() for _ in range(min(wanted, len(self._lines)))]

    def fetchall(self) -> list[Any]:
        """All lines that are left."""
        lines = list(self._lines)
        self._lines.clear()
        return lines

    def __iter__(self) -> Iterator[Any]:
        while self._lines:
            yield self._lines.popleft()

    def close(self) -> None:
        """Forget the lines; the cursor of sqlite3 is closed."""
        self._lines.clear()

    async def _async_soft_close(self) -> None:
        """What SQLAlchemy calls before it reads the lines without waiting."""


def connect_with_one_hop(engine: Engine) -> None:
    """Have an engine of `aiosqlite` use these connections."""

    @event.listens_for(engine, "do_connect")
    def connecting(dialect: Any, _: Any, arguments: Any, options: Any) -> OneHopConnection:
        opened = dialect.connect(*arguments, **options)
        return OneHopConnection(opened.dbapi, opened._connection)  # noqa: SLF001


def _execute(connection: sqlite3.Connection, sql: str, parameters: Any) -> Any:
    cursor = connection.cursor()
    try:
        cursor.execute(sql, parameters)
        lines = cursor.fetchall() if cursor.description else ()
        return cursor.description, cursor.rowcount, cursor.lastrowid, lines
    finally:
        cursor.close()


def _execute_many(connection: sqlite3.Connection, sql: str, parameters: Sequence[Any]) -> Any:
    cursor = connection.cursor()
    try:
        cursor.executemany(sql, parameters)
        return None, cursor.rowcount, cursor.lastrowid, ()
    finally:
        cursor.close()
