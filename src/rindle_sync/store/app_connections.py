"""The app's own connections, of every kind that is taken, behind one `execute`.

Nothing here commits, rolls back or leaves a setting on a connection.
"""

import sqlite3
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext, suppress
from typing import Any, ClassVar, Final, cast

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from rindle_sync.errors import ConfigurationError
from rindle_sync.store.callers_thread import on_callers_thread
from rindle_sync.store.raw_statements import Found, RawStatement, dialect_of

ARGUMENT: Final = "connection"
BEGIN_SQLITE: Final = "BEGIN IMMEDIATE"

NO_TRANSACTION: Final = (
    "is in autocommit mode, and no transaction is open: begin one first, and commit it afterwards"
)


Turn = Callable[[], AbstractAsyncContextManager[object]]
"""Waits until none of our own connections writes, and keeps them from it."""


class AppConnection(ABC):
    """One connection of the app; statements run in the transaction that is open on it."""

    backend: str
    """`sqlite` or `postgresql`."""
    schema: str | None = None
    """Where our tables are, whatever the search path says; None on SQLite."""
    is_async: bool = False
    """Whether it belongs to an event loop."""

    @abstractmethod
    async def execute(self, statement: sa.Executable, values: Any = None) -> Any:
        """Run one of our statements; its result."""

    @abstractmethod
    async def begin(self, turn: Turn) -> None:
        """Have a transaction open; raises `ConfigurationError` where the app must begin it.

        On SQLite a sync one begins in a `turn` of our writers: blocked, the event loop could not
        end a write that the connection waits for.
        """


# Nothing is of a class that the app has not imported; to import it here would load the ORM.


def async_kinds() -> tuple[Any, ...]:
    """The connections and sessions of SQLAlchemy that belong to an event loop."""
    if "sqlalchemy.ext.asyncio" not in sys.modules:
        return ()
    from sqlalchemy.ext.asyncio import AsyncConnection

    return AsyncConnection, *async_session_kinds()


def async_session_kinds() -> tuple[Any, ...]:
    """Those of them that are sessions."""
    if "sqlalchemy.ext.asyncio" not in sys.modules:
        return ()
    from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session

    return AsyncSession, async_scoped_session


def session_kinds() -> tuple[Any, ...]:
    """The sessions of SQLAlchemy that are not async."""
    if "sqlalchemy.orm" not in sys.modules:
        return ()
    from sqlalchemy.orm import Session, scoped_session

    return Session, scoped_session


class SqlAlchemyConnection(AppConnection):
    """A connection of SQLAlchemy, or of a session, async or not."""

    def __init__(self, given: Any) -> None:
        self.given = given
        self.is_async = isinstance(given, async_kinds())
        self._connection: Any = None

    async def execute(self, statement: sa.Executable, values: Any = None) -> Any:
        """Run one of our statements; its result."""
        connection = await self._opened()
        # the app's own translation of schemas is not meant for our tables
        schema = {None: self.schema} if self.schema else None
        options = {"schema_translate_map": schema}
        if self.is_async:
            return await connection.execute(statement, values, execution_options=options)
        return await on_callers_thread(
            lambda: connection.execute(statement, values, execution_options=options)
        )

    async def begin(self, turn: Turn) -> None:
        """Have a transaction open; raises `ConfigurationError` where the app must begin it."""
        connection = await self._opened()
        self.backend = connection.dialect.name
        if not connection.in_transaction():
            await self.execute(sa.select(sa.literal(1)))  # it begins with its first statement
        if self.backend == "sqlite" and needs_begin(await self._driver_connection()):
            async with nullcontext() if self.is_async else turn():
                await self.execute(sa.text(BEGIN_SQLITE))

    async def _opened(self) -> Any:
        if self._connection is None:
            connection = self.given
            if not self.is_async:
                connection = await on_callers_thread(lambda: _sync_connection(self.given))
            elif isinstance(connection, async_session_kinds()):
                connection = await connection.connection()
            self._connection = connection
        return self._connection

    async def _driver_connection(self) -> Any:
        if self.is_async:
            return (await self._connection.get_raw_connection()).driver_connection
        return self._connection.connection.driver_connection


def _sync_connection(given: Any) -> Any:
    """The connection of a session that is not async; one that is no session is itself."""
    if not isinstance(given, session_kinds()):
        _refuse_inner(given)
        return given
    _refuse_inner(given.get_bind())
    return given.connection()


def _refuse_inner(bind: Any) -> None:
    if bind.dialect.is_async and not isinstance(bind, async_kinds()):
        raise ConfigurationError(ARGUMENT, "is the inner, sync one: pass the async one itself")


class RawConnection(AppConnection):
    """A connection of a driver: our statements are compiled for it here."""

    errors: ClassVar[type[Exception]]
    """The base class of the driver's errors."""

    def __init__(self, given: Any) -> None:
        self.given = given

    async def execute(self, statement: sa.Executable, values: Any = None) -> Any:
        """Run one of our statements; its result."""
        raw = RawStatement(statement, values, dialect_of(self.backend), self.schema)
        found = Found()
        with self.wrapped_errors():
            for parameters in raw.parameters:
                found = await self.run(raw.sql, parameters)
        return raw.result(found)

    @abstractmethod
    async def run(self, sql: str, parameters: Mapping[str, Any]) -> Found:
        """Run one statement on the driver's connection."""

    @contextmanager
    def wrapped_errors(self) -> Iterator[None]:
        """Raise errors of the driver as SQLAlchemy does."""
        try:
            yield
        except self.errors as error:
            dialect = dialect_of(self.backend)
            wrapped = DBAPIError.instance(
                None, None, error, self.errors, hide_parameters=True, dialect=dialect
            )
            raise wrapped from None


class SqliteConnection(RawConnection):
    """A connection of sqlite3, used on the calling thread."""

    backend = "sqlite"
    errors = sqlite3.Error

    async def begin(self, turn: Turn) -> None:
        """Have a transaction open; raises `ConfigurationError` where the app must begin it."""
        try:
            needs_to = await self.needs_begin()
        except (sqlite3.ProgrammingError, ValueError, AttributeError):
            raise ConfigurationError(ARGUMENT, "is closed, or was never opened") from None
        if needs_to:
            async with nullcontext() if self.is_async else turn():
                with self.wrapped_errors():
                    await self.run(BEGIN_SQLITE, {})

    async def needs_begin(self) -> bool:
        """Whether a transaction must be begun here."""
        return await on_callers_thread(lambda: needs_begin(self.given))

    async def run(self, sql: str, parameters: Mapping[str, Any]) -> Found:
        """Run one statement."""
        return await on_callers_thread(lambda: run_sqlite(self.given, sql, parameters))


class AiosqliteConnection(SqliteConnection):
    """A connection of aiosqlite, used on its own thread."""

    is_async = True

    async def needs_begin(self) -> bool:
        """Whether a transaction must be begun here."""
        # `autocommit`, from Python 3.12 on, can be read on the thread of the connection alone
        return cast(bool, await self.given._execute(needs_begin, inner(self.given)))  # noqa: SLF001

    async def run(self, sql: str, parameters: Mapping[str, Any]) -> Found:
        """Run one statement."""
        given = self.given
        # a cursor of aiosqlite has the factories of the connection
        run = given._execute(run_sqlite, inner(given), sql, parameters)  # noqa: SLF001
        return cast(Found, await run)


def run_sqlite(connection: sqlite3.Connection, sql: str, parameters: Mapping[str, Any]) -> Found:
    """Run one statement, whatever factories the connection has; they are the same afterwards."""
    text_factory = connection.text_factory
    connection.text_factory = str
    try:
        cursor = connection.cursor()
        cursor.row_factory = None
        cursor.execute(sql, parameters)
        lines: Sequence[Any] = cursor.fetchall() if cursor.description else ()
        found = Found(lines, cursor.rowcount)
        cursor.close()
        return found
    finally:
        connection.text_factory = text_factory


def needs_begin(driver_connection: Any) -> bool:
    """Whether SQLite has no transaction open, and would begin none for each of our statements.

    Raises `ConfigurationError` where the app has to begin it, since it would not commit ours.
    """
    connection = inner(driver_connection)
    if connection.in_transaction:
        return False
    # https://docs.python.org/3/library/sqlite3.html#sqlite3.Connection.autocommit
    if connection.isolation_level is None or getattr(connection, "autocommit", -1) is True:
        raise ConfigurationError(ARGUMENT, NO_TRANSACTION)
    return True


def inner(connection: Any) -> Any:
    """The connection of sqlite3 in one of aiosqlite."""
    with suppress(AttributeError, ValueError):
        return connection._conn  # noqa: SLF001  it shows no `autocommit`
    return connection
