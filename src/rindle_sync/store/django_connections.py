"""Django's own connections, as in `django.db.connection`; imported where the app has Django."""

from typing import Any

import sqlalchemy as sa
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import DatabaseError
from django.utils.connection import ConnectionProxy

from rindle_sync.errors import ConfigurationError
from rindle_sync.store.app_connections import (
    ARGUMENT,
    AppConnection,
    RawConnection,
    SqliteConnection,
    Turn,
)
from rindle_sync.store.callers_thread import on_callers_thread

NOT_ATOMIC = "has no transaction open: call within `transaction.atomic()` of its database"
BROKEN = (
    "is in a transaction in which a statement has failed: leave its `transaction.atomic()`, and "
    "begin again"
)


class DjangoConnection(AppConnection):
    """A connection of Django, used on the thread that has called, through its driver."""

    def __init__(self, given: Any) -> None:
        self.given = given
        self._raw: RawConnection | None = None

    async def begin(self, turn: Turn) -> None:
        """Raises `ConfigurationError` where Django has no transaction open, or a broken one."""
        self._raw = await on_callers_thread(self._driver)
        self.backend = self._raw.backend
        await self._raw.begin(turn)

    async def execute(self, statement: sa.Executable, values: Any = None) -> Any:
        """Run one of our statements; its result."""
        assert self._raw is not None
        self._raw.schema = self.schema
        return await self._raw.execute(statement, values)

    def _driver(self) -> RawConnection:
        wrapper = self.given
        if isinstance(wrapper, ConnectionProxy):  # it leads to the wrapper of this thread
            wrapper = wrapper._connections[wrapper._alias]  # noqa: SLF001
        try:
            wrapper.validate_thread_sharing()
        except DatabaseError:
            text = "belongs to another thread: pass the one of the thread that calls"
            raise ConfigurationError(ARGUMENT, text) from None
        is_open = wrapper.in_atomic_block or not wrapper.get_autocommit()
        if not is_open:
            raise ConfigurationError(ARGUMENT, NOT_ATOMIC)
        if wrapper.needs_rollback:
            raise ConfigurationError(ARGUMENT, BROKEN)
        if wrapper.connection is None:
            raise ConfigurationError(ARGUMENT, "is closed: Django has lost it in this transaction")
        if wrapper.vendor == "sqlite":
            return SqliteConnection(wrapper.connection)
        return _psycopg(wrapper)


def _psycopg(wrapper: Any) -> RawConnection:
    if wrapper.vendor == "postgresql":
        from rindle_sync.store.psycopg_connections import psycopg_connection

        if found := psycopg_connection(wrapper.connection):
            assert isinstance(found, RawConnection)
            return found
    text = f"is to {wrapper.display_name}; rindle-sync uses SQLite, and PostgreSQL by psycopg 3"
    raise ConfigurationError(ARGUMENT, text)


def django_connection(connection: Any) -> AppConnection | None:
    """A connection of Django; None for another object."""
    if isinstance(connection, BaseDatabaseWrapper | ConnectionProxy):
        return DjangoConnection(connection)
    return None
