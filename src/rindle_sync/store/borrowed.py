"""Our statements in a transaction that others begin and end: a part of it, or none of it."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, cast

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, InvalidRequestError

from rindle_sync.errors import ConfigurationError, DatabaseUnavailable
from rindle_sync.store.app_connections import ARGUMENT, NO_TRANSACTION, AppConnection
from rindle_sync.store.database import SERVER, Database
from rindle_sync.store.driver_errors import RolledBack, code_of, named_errors, state_of
from rindle_sync.store.schema.core_engine import CoreConnection
from rindle_sync.store.schema.engine import file_of

SAVEPOINT: Final = "rindle_sync"
"""Its name; those of SQLAlchemy, psycopg and Django have others."""

_BEGIN: Final = sa.text(f"SAVEPOINT {SAVEPOINT}")
_UNDO: Final = sa.text(f"ROLLBACK TO SAVEPOINT {SAVEPOINT}")
_END: Final = sa.text(f"RELEASE SAVEPOINT {SAVEPOINT}")
_FILES: Final = sa.text("PRAGMA database_list").columns(
    sa.column("seq", sa.Integer()), sa.column("name", sa.Text()), sa.column("file", sa.Text())
)

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_BY_STATE: Final = {
    "25P01": NO_TRANSACTION,
    "25P02": "is in a transaction in which a statement has failed: roll it back, and begin again",
}
_LIMITS: Final = {
    "55P03": "another session held a lock on the tables of rindle-sync for longer than "
    "`connection` waits (its lock_timeout); what holds it?",
    "57014": "a statement on `connection` was cancelled, by an administrator or because it took "
    "longer than it allows (its statement_timeout)",
}
"""The limits are those of the app's session, not ours."""

_BUSY: Final = (
    "the SQLite file was locked by another connection for longer than `connection` waits, or was "
    "written by one since its transaction began: roll back, begin with BEGIN IMMEDIATE, try again"
)
_ELSEWHERE: Final = (
    "is to another database than database_url; rindle-sync writes only to the one of its settings"
)
_ROLLED_BACK: Final = (
    "the database has rolled back the transaction of `connection` in favour of another: run it "
    "again from its beginning"
)


class RolledBackInside(DatabaseUnavailable):
    """The database has rolled back a transaction that only those who began it can run again."""


class Lent(Database):
    """One open transaction in place of the connections of a database.

    What fails in it undoes its own part alone, so that the transaction can go on.
    """

    def __init__(self, lender: Database, connection: Any) -> None:
        super().__init__(lender.engine)
        self._lender = lender
        self._connection = connection

    def check_usable(self) -> None:
        """Raise `AlreadyClosed` or `WrongEventLoop` as the lender does."""
        self._lender.check_usable()

    @asynccontextmanager
    async def writing(
        self,
        *,
        single: bool = False,  # noqa: ARG002
    ) -> AsyncIterator[CoreConnection]:
        """A part of the transaction, between two savepoints, however few statements."""
        self.check_usable()
        execute = self._connection.execute
        try:
            with self._named_errors():
                await self._prepare()
                await execute(_BEGIN)
                try:
                    yield cast(CoreConnection, self._connection)
                except BaseException:
                    # where this fails, the transaction has ended, and the first error says why
                    with suppress(Exception):
                        await execute(_UNDO)
                        await execute(_END)
                    raise
                await execute(_END)
        except RolledBack:
            raise RolledBackInside(_ROLLED_BACK) from None

    async def _prepare(self) -> None:
        """Make sure that what follows is in the transaction."""

    def _named_errors(self) -> AbstractContextManager[None]:
        return named_errors()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[CoreConnection]:
        """The same: on PostgreSQL a failed statement ends a transaction, reading or not."""
        async with self.writing() as connection:
            yield connection

    @asynccontextmanager
    async def releasing(self, *, single: bool = False) -> AsyncIterator[CoreConnection]:  # noqa: ARG002
        """The same: leases are released in transactions of our own."""
        async with self.writing() as connection:
            yield connection

    async def release_all(self) -> None:
        """Nothing is leased here for longer than the transaction."""


class Borrowed(Lent):
    """A connection of the app, checked to lead to the database of the settings."""

    _connection: AppConnection

    def __init__(self, lender: Database, connection: AppConnection) -> None:
        super().__init__(lender, connection)
        self._is_checked = False

    async def _prepare(self) -> None:
        """Begin where the app leaves it to its driver; check once where the connection leads."""
        await self._connection.begin(self._lender.turn)
        if self._is_checked:
            return
        ours, theirs = self.engine.dialect.name, self._connection.backend
        if ours != theirs:
            text = f"is to a database of another kind ({theirs}) than database_url ({ours})"
            raise ConfigurationError(ARGUMENT, text)
        if ours == "sqlite":
            await self._check_file()
        else:
            await self._check_server()
        self._is_checked = True

    async def _check_file(self) -> None:
        file = file_of(self.engine.url)
        if file is None:  # in memory, or named by a URI: only the tables can tell
            return
        for attached in await self._connection.execute(_FILES):
            if attached.name == "main" and _is_same(Path(attached.file), file):
                return
        raise ConfigurationError(ARGUMENT, _ELSEWHERE)

    async def _check_server(self) -> None:
        theirs = tuple((await self._connection.execute(SERVER)).one())
        ours = await self._lender.server()
        if ours.identity != theirs:  # a server that was started again has another identity
            ours = await self._lender.server(again=True)
        if ours.identity != theirs:
            raise ConfigurationError(ARGUMENT, _ELSEWHERE)
        self._connection.schema = ours.schema

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        with named_errors():
            try:
                yield
            except InvalidRequestError as error:
                # its text may have values in it
                text = f"cannot be used: SQLAlchemy raises {type(error).__name__}"
                raise ConfigurationError(ARGUMENT, text) from None
            except DBAPIError as error:
                if known := _BY_STATE.get(state_of(error.orig)):
                    raise ConfigurationError(ARGUMENT, known) from None
                if limit := _LIMITS.get(state_of(error.orig)):
                    raise DatabaseUnavailable(limit) from None
                if code_of(error.orig) == sqlite3.SQLITE_BUSY:
                    raise DatabaseUnavailable(_BUSY) from None
                raise


def _is_same(file: Path, other: Path) -> bool:
    # asks for both, and opens neither: a file that is closed here would lose its locks
    try:
        return file.samefile(other)
    except OSError:
        return False
