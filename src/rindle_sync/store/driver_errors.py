"""Turns driver errors into `DatabaseUnavailable` or `InvalidValue`, with a text that helps."""

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from rindle_sync.domain import scrub
from rindle_sync.errors import (
    ConfigurationError,
    DatabaseUnavailable,
    InvalidValue,
    TransactionEnded,
)
from rindle_sync.store.schema.sessions import BUSY_SECONDS, READ_ONLY, STATEMENT_SECONDS

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

P = ParamSpec("P")
T = TypeVar("T")

ATTEMPTS: Final = 5
"""How often a transaction is run that the database rolls back in favour of another one."""

NO_TABLES: Final = "the database lacks the tables of rindle-sync; run `rindle-sync migrate`"
_OTHER_TABLES: Final = (
    "the tables lack a column: they are of an older version of rindle-sync, or of another program "
    "(Rindle has one of the same name); run `rindle-sync migrate`, which tells these apart"
)
_FULL: Final = "the disk of the database is full; make room on it"
_NO_MORE: Final = "the database takes no more connections; close some, or raise its max_connections"
_ABOUT_TO: Final = "the database is starting, or about to stop"

COLLIDED: Final = (
    f"a transaction was rolled back {ATTEMPTS} times in favour of others; does another program "
    "lock the tables of rindle-sync in an order of its own?"
)

ALL_WAIT: Final = (
    "all connections wait for the database; is it overloaded, or does somebody hold a lock on "
    "the tables of rindle-sync?"
)

_OTHER_ENCODING: Final = (
    "the database answers in another encoding than UTF-8; is client_encoding set for this user?"
)

LOCKED: Final = (
    f"another process has been writing to the SQLite file for over {BUSY_SECONDS} s; what holds "
    "it? If it is a transaction of this process, pass its connection as `connection`"
)

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_BY_STATE: Final = {
    READ_ONLY: "the database is read-only; does database_url lead to the primary, and not to a "
    "standby, and is default_transaction_read_only off?",
    "42P01": NO_TABLES,
    "42703": _OTHER_TABLES,
    "53100": _FULL,
    "53300": _NO_MORE,
    "55P03": "another session has held a lock on the tables of "
    f"rindle-sync for over {BUSY_SECONDS} s; what holds it?",
    "57014": "a statement was cancelled, "
    f"by an administrator or because it took over {STATEMENT_SECONDS} s",
    "57P01": _ABOUT_TO,
    "57P02": _ABOUT_TO,
    "57P03": _ABOUT_TO,
}

# https://www.sqlite.org/rescode.html
_BY_CODE: Final = {
    5: LOCKED,
    8: "the SQLite file of database_url is read-only; "
    "may this user write to it, and to its folder?",
    10: "the SQLite file cannot be read or written; is its disk full, over a quota, or broken?",
    11: "the SQLite file is broken; restore a backup of it",
    13: _FULL,
    14: "the SQLite file of database_url cannot be opened; "
    "does its folder exist, and may this user write there?",
    26: "the file of database_url is no SQLite database",
}

_REFUSES_VALUE: Final = frozenset({"22", "44", "54", "P0"})
"""The classes of SQLSTATE for a value: data, view check, program limit, and a trigger's own."""

# a server or a pooler that refuses a connection gives its reason as text only
_BY_WORDS: Final = (
    (re.compile(r"no such table"), NO_TABLES),
    (re.compile(r"no such column|has no column named"), _OTHER_TABLES),
    (
        re.compile(r"unsupported startup parameter"),
        "the pooler refuses an option of database_url: leave it out, or add it to "
        "ignore_startup_parameters of PgBouncer",
    ),
    (
        re.compile(r"in statement pooling mode"),
        "the pooler is in statement mode, which has no transactions; "
        "set pool_mode = transaction or session",
    ),
    (re.compile(r"query_wait_timeout"), ALL_WAIT),
    (re.compile(r"max_client_conn|max_db_connections"), _NO_MORE),
    (re.compile(r"too many (clients|connections)|connection slots are reserved"), _NO_MORE),
    (re.compile(r"the database system is "), _ABOUT_TO),
)


_WRONG_VALUE: Final = re.compile(
    r"invalid \S+ value: |invalid integer value |invalid port number|could not match \d+ |"
    r"could not parse network address|definition of service|certificate file .* does not exist"
)
"""What libpq says before it tries to connect, about an option of the URL or a PG… variable.

https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
"""

_ROLLED_BACK: Final = frozenset({"40001", "40P01"})
"""Serialization failure and deadlock: the database has rolled the transaction back."""


class RolledBack(DatabaseUnavailable):
    """The database has rolled back a transaction in favour of another one; it may be run again."""


def retried(work: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """`work`, which is one transaction, run again where it is `RolledBack`; `ATTEMPTS` in all."""

    @wraps(work)
    async def attempted(*arguments: P.args, **named: P.kwargs) -> T:
        for _ in range(ATTEMPTS - 1):
            with suppress(RolledBack):
                return await work(*arguments, **named)
        return await work(*arguments, **named)

    return attempted


@contextmanager
def named_errors() -> Iterator[None]:
    """Raise errors of the driver and the pool as `DatabaseUnavailable` or `InvalidValue`.

    An `IntegrityError` is left to the caller, who knows what the key means.
    """
    try:
        yield
    except IntegrityError:
        raise
    except DBAPIError as error:
        if isinstance(error, DataError) or state_of(error.orig)[:2] in _REFUSES_VALUE:
            raise InvalidValue(complaint(error.orig)) from None
        if state_of(error.orig) in _ROLLED_BACK:
            raise RolledBack(COLLIDED) from None
        raise unavailable(error.orig) from None
    # raised before it was sent: its encoding is not the database's, or it is too large or too deep
    except (StatementError, UnicodeEncodeError, OverflowError, RecursionError) as error:
        cause = (error.orig if isinstance(error, StatementError) else None) or error
        raise InvalidValue(f"a value cannot be sent to it ({type(cause).__name__})") from None
    except UnicodeDecodeError:
        raise DatabaseUnavailable(_OTHER_ENCODING) from None
    except PoolTimeout:
        raise DatabaseUnavailable(ALL_WAIT) from None
    except UnicodeError:
        raise ConfigurationError(
            "database_url", "or PGHOST names a host that no network has"
        ) from None
    except OSError as error:
        raise DatabaseUnavailable(
            f"no connection to the database ({type(error).__name__}); is it up?"
        ) from None


def state_of(error: BaseException | None) -> str:
    """The SQLSTATE of an error of a PostgreSQL driver; empty where the server gave none."""
    # psycopg and asyncpg, then psycopg2
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    return state or _fields_of(error).get("C", "")


def _message_of(error: BaseException | None) -> str:
    """What a driver says; of psycopg2, which cites our statement with its values, a part."""
    fields = getattr(error, "diag", None) if hasattr(error, "pgcode") else None
    return getattr(fields, "message_primary", None) or _fields_of(error).get("M") or str(error)


def _fields_of(error: BaseException | None) -> Mapping[str, str]:
    """The fields of the server's message, where the driver raises them, as pg8000 does.

    https://www.postgresql.org/docs/current/protocol-error-fields.html
    """
    given = error.args[0] if error and error.args else None
    return given if isinstance(given, Mapping) else {}


def code_of(error: BaseException | None) -> int:
    """The primary result code of an error of SQLite; 0 for any other error."""
    # it is the lowest byte: https://www.sqlite.org/rescode.html
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def unavailable(error: BaseException | None) -> DatabaseUnavailable | ConfigurationError:
    """What to raise where a driver raised `error`."""
    wrong = _WRONG_VALUE.search(str(error))
    if wrong and not state_of(error):
        text = scrub(str(error)[wrong.start() :])
        return ConfigurationError(
            "database_url", f"or a PG… variable has an option that PostgreSQL refuses: {text}"
        )
    return DatabaseUnavailable(complaint(error))


def complaint(error: BaseException | None) -> str:
    """What is wrong and how to fix it, where a driver raised `error`."""
    state, text = state_of(error), scrub(_message_of(error))
    code = code_of(error)
    named = _BY_STATE.get(state) or _BY_CODE.get(code)
    if named:
        return named
    for words, named in _BY_WORDS:
        if words.search(text):
            return named
    # every driver has its own class of this name
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "OperationalError" in kinds and not (state or code):
        return f"no connection to the database; is it up? ({text})"
    return f"the database refused the statement: {text}"


async def check_transaction(connection: "AsyncConnection") -> None:
    """Raise `TransactionEnded` where the transaction is over, or can only be rolled back.

    PostgreSQL answers a COMMIT of a failed transaction without an error, and SQLite ends one by
    itself where its disk is full.
    """
    driver: Any = (await connection.get_raw_connection()).driver_connection
    is_sqlite = connection.dialect.name == "sqlite"
    # https://www.postgresql.org/docs/current/libpq-status.html: PQTRANS_INTRANS
    if not (driver.in_transaction if is_sqlite else driver.info.transaction_status == 2):
        raise TransactionEnded
