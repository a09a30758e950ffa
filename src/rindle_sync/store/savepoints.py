"""Our statements in a transaction that others begin and end: a part of it, or none of it."""

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from typing import Any, Final, cast

import sqlalchemy as sa

from rindle_sync.errors import DatabaseUnavailable
from rindle_sync.store.database import Database
from rindle_sync.store.driver_errors import RolledBack, named_errors
from rindle_sync.store.schema.core_engine import CoreConnection

SAVEPOINT: Final = "rindle_sync"
"""Its name; those of SQLAlchemy, psycopg and Django have others."""

_BEGIN: Final = sa.text(f"SAVEPOINT {SAVEPOINT}")
_UNDO: Final = sa.text(f"ROLLBACK TO SAVEPOINT {SAVEPOINT}")
_END: Final = sa.text(f"RELEASE SAVEPOINT {SAVEPOINT}")
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
