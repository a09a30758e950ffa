"""A connection of the app: where it leads, and what a failure on it means to the app."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, InvalidRequestError

from rindle_sync.errors import ConfigurationError, DatabaseUnavailable
from rindle_sync.store.app_connections import ARGUMENT, NO_TRANSACTION, AppConnection
from rindle_sync.store.database import SERVER, Database
from rindle_sync.store.driver_errors import code_of, named_errors, state_of
from rindle_sync.store.savepoints import Lent
from rindle_sync.store.schema.engine import file_of

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
