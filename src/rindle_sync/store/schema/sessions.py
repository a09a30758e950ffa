"""How long statements may take, and how transactions and sessions of PostgreSQL begin."""

import asyncio
import select
from contextlib import suppress
from math import inf
from typing import Any, Final

from sqlalchemy import Engine, ExceptionContext, event
from sqlalchemy.exc import InvalidatePoolError

BUSY_SECONDS: Final = 15
"""Seconds that a statement waits for another writer."""

STATEMENT_SECONDS: Final = 30
"""Seconds that one statement may take on PostgreSQL."""

BEGIN: Final = (
    "BEGIN ISOLATION LEVEL READ COMMITTED; "
    f"SET LOCAL statement_timeout = '{STATEMENT_SECONDS}s'; "
    f"SET LOCAL lock_timeout = '{BUSY_SECONDS}s'; "
    "SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO'"
)
"""Begins each transaction behind a pooler, in one round trip, and leaves nothing to the session.

It is shared with other programs there, whatever defaults the server, the database or the role has.
"""

SESSION: Final = (
    f"SET statement_timeout = '{STATEMENT_SECONDS}s'; SET lock_timeout = '{BUSY_SECONDS}s'"
)
"""The same limits for a session that is ours alone, and whose transactions a library begins."""

_OURS: Final = (
    f"{SESSION}; SET timezone = 'UTC'; SET datestyle = 'ISO'; "
    "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED"
)
"""All of `BEGIN`, once for a session that is ours alone: a single statement needs no BEGIN then."""

_IS_OWN: Final = "rindle_sync_is_own"
"""Of a connection: whether no pooler is between, so that the session is ours alone."""

_RESTS_SINCE: Final = "rindle_sync_rests_since"
"""Of a connection in the pool: since when, by the clock of the loop."""

PREPARED_AFTER: Final = 5
"""The uses after which a statement is prepared, in sessions that are ours alone."""

TRUSTED_SECONDS: Final = 5
"""Seconds of rest after which a connection is asked whether it still answers, before its use.

Sooner, only one on which the server has said something meanwhile, as it does when it stops.
"""

READ_ONLY: Final = "25006"
"""SQLSTATE: https://www.postgresql.org/docs/current/errcodes-appendix.html"""


def is_single(connection: Any) -> bool:
    """Whether what begins is a single statement, or reads, each a transaction by itself."""
    return bool(connection.get_execution_options().get("single", False))


def prepare_postgresql(engine: Engine) -> None:
    """Give each session our limits, and begin each transaction with them."""

    @event.listens_for(engine, "connect")
    def connected(connection: Any, record: Any) -> None:
        connection.autocommit = True  # psycopg would send a BEGIN of its own
        driver, cursor = connection.driver_connection, connection.cursor()
        cursor.execute("SELECT pg_backend_pid()")
        # a pooler gives out process ids of its own
        record.info[_IS_OWN] = is_own = cursor.fetchone() == (driver.info.backend_pid,)
        if is_own:
            cursor.execute(_OURS)
            driver.prepare_threshold = PREPARED_AFTER
        cursor.close()

    @event.listens_for(engine, "begin")
    def began(connection: Any) -> None:
        is_own = connection.info[_IS_OWN]
        if not (is_own and is_single(connection)):
            connection.exec_driver_sql("BEGIN" if is_own else BEGIN)

    # a server that became a standby still answers; a new connection may reach the primary
    @event.listens_for(engine, "handle_error")
    def failed(context: ExceptionContext) -> None:
        if getattr(context.original_exception, "sqlstate", None) == READ_ONLY:
            context.is_disconnect = True

    _check_before_use(engine)


def _check_before_use(engine: Engine) -> None:
    """Replace a connection that has died, as with a restart of the server."""

    @event.listens_for(engine, "checkin")
    def rests(_: Any, record: Any) -> None:
        record.info[_RESTS_SINCE] = _seconds()

    @event.listens_for(engine, "checkout")
    def check(connection: Any, record: Any, _: Any) -> None:
        since = record.info.pop(_RESTS_SINCE, None)
        if since is None or _is_trusted(connection, since):
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error:
            raise InvalidatePoolError from None  # SQLAlchemy makes a new one then


def _is_trusted(connection: Any, rests_since: float) -> bool:
    if _seconds() - rests_since > TRUSTED_SECONDS:
        return False
    said = select.poll()
    said.register(connection.driver_connection.fileno(), select.POLLIN)
    return not said.poll(0)


def _seconds() -> float:
    """The time of the running loop; long ago where none runs, as at the end of a program."""
    with suppress(RuntimeError):
        return asyncio.get_running_loop().time()
    return -inf
