"""The app's own connections of psycopg; needs the extra `postgresql`."""

from collections.abc import Mapping
from typing import Any, cast

from psycopg import AsyncConnection, AsyncCursor, Connection, Cursor, Error
from psycopg.rows import tuple_row
from psycopg.types.json import set_json_loads

from rindle_sync.store.app_connections import AppConnection, RawConnection, Turn
from rindle_sync.store.callers_thread import on_callers_thread
from rindle_sync.store.raw_statements import Found
from rindle_sync.store.schema.json_rows import from_json


class PsycopgConnection(RawConnection):
    """A connection of psycopg, used on the calling thread."""

    backend = "postgresql"
    errors = Error

    async def begin(self, turn: Turn) -> None:
        """Nothing: the driver begins; in autocommit mode the server refuses a savepoint."""

    async def run(self, sql: str, parameters: Mapping[str, Any]) -> Found:
        """Run one statement, whatever cursors and rows the connection makes."""
        return await on_callers_thread(lambda: self._run(sql, parameters))

    def _run(self, sql: str, parameters: Mapping[str, Any]) -> Found:
        with Cursor(self.given, row_factory=tuple_row) as cursor:
            set_json_loads(from_json, cursor)
            # in binary form no time depends on the DateStyle of the session
            cursor.execute(cast(Any, sql), parameters, binary=True)
            lines = cursor.fetchall() if cursor.description else []
            return Found(lines, cursor.rowcount)


class AsyncPsycopgConnection(PsycopgConnection):
    """An async connection of psycopg."""

    is_async = True

    async def run(self, sql: str, parameters: Mapping[str, Any]) -> Found:
        """Run one statement, whatever cursors and rows the connection makes."""
        async with AsyncCursor(self.given, row_factory=tuple_row) as cursor:
            set_json_loads(from_json, cursor)
            await cursor.execute(cast(Any, sql), parameters, binary=True)
            lines = await cursor.fetchall() if cursor.description else []
            return Found(lines, cursor.rowcount)


def psycopg_connection(connection: Any) -> AppConnection | None:
    """A connection of psycopg; None for another object."""
    if isinstance(connection, Connection):
        return PsycopgConnection(connection)
    if isinstance(connection, AsyncConnection):
        return AsyncPsycopgConnection(connection)
    return None
