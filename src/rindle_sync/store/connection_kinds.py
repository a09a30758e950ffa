"""Which kind of connection the app has passed."""

import sqlite3
import sys
from typing import Any, Final

import aiosqlite
import sqlalchemy as sa

from rindle_sync.errors import ConfigurationError
from rindle_sync.store.app_connections import (
    ARGUMENT,
    AiosqliteConnection,
    AppConnection,
    SqlAlchemyConnection,
    SqliteConnection,
    async_kinds,
    session_kinds,
)
from rindle_sync.store.callers_thread import is_called_from_elsewhere

_KINDS: Final = (
    "must be the app's own connection: of SQLAlchemy (Connection, Session, AsyncConnection, "
    "AsyncSession), of psycopg (Connection, AsyncConnection), of sqlite3, aiosqlite or Django"
)


def app_connection(connection: Any) -> AppConnection:
    """The app's connection, of whatever kind; raises `ConfigurationError` for another object."""
    found = connection_of(connection)
    if found.is_async and is_called_from_elsewhere():
        text = "is async, and belongs to another event loop: pass a sync one to a blocking call"
        raise ConfigurationError(ARGUMENT, text)
    return found


def connection_of(connection: Any) -> AppConnection:
    """The connection behind our face; raises `ConfigurationError` for another object."""
    if isinstance(connection, (sa.Connection, *async_kinds(), *session_kinds())):
        return SqlAlchemyConnection(connection)
    if isinstance(connection, sqlite3.Connection):
        return SqliteConnection(connection)
    if isinstance(connection, aiosqlite.Connection):
        return AiosqliteConnection(connection)
    # where psycopg is not imported, nothing is of it
    if "psycopg" in sys.modules:
        from rindle_sync.store.psycopg_connections import psycopg_connection

        if found := psycopg_connection(connection):
            return found
    if "django.db" in sys.modules:
        from rindle_sync.store.django_connections import django_connection

        if found := django_connection(connection):
            return found
    kind = f"{type(connection).__module__}.{type(connection).__qualname__}"
    raise ConfigurationError(ARGUMENT, f"{_KINDS}; not {kind}, for which there is `tracking`")
