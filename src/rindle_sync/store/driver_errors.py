"""What a database's error is to us: one of our errors, which says in a sentence what is wrong and what mends it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from rindle_sync.domain import scrub
from rindle_sync.errors import DatabaseUnavailable, InvalidValue
from rindle_sync.store.schema.engine import BUSY_SECONDS, READ_ONLY, STATEMENT_SECONDS

_NO_TABLES: Final = "the database lacks our tables; run `rindle-sync migrate`"
_FULL: Final = "the disk of the database is full; make room on it"
_NO_MORE: Final = "the database takes no more connections; close some, or raise its max_connections"
_ABOUT_TO: Final = "the database is starting, or about to stop"

ALL_WAIT: Final = "all our connections wait for the database; is it overloaded, or does somebody hold a lock on our tables?"

LOCKED: Final = (
    f"another process has been writing to the SQLite file for over {BUSY_SECONDS} s; what holds it?"
)

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_BY_STATE: Final = {
    READ_ONLY: "the database is read-only; does database_url lead to the primary, and not to a standby?",
    "42P01": _NO_TABLES,
    "53100": _FULL,
    "53300": _NO_MORE,
    "55P03": f"somebody else has held a lock on our tables for over {BUSY_SECONDS} s; what holds it?",
    "57014": f"a statement of ours was cancelled, by somebody or because it took over {STATEMENT_SECONDS} s",
    "57P01": _ABOUT_TO,
    "57P02": _ABOUT_TO,
    "57P03": _ABOUT_TO,
}

# https://www.sqlite.org/rescode.html
_BY_CODE: Final = {
    5: LOCKED,
    8: "the SQLite file of database_url is read-only; may we write to it, and to its folder?",
    10: "the SQLite file cannot be read or written; is its disk full, over a quota, or broken?",
    13: _FULL,
    14: "the SQLite file of database_url cannot be opened; does its folder exist, and may we write there?",
}

# a server that refuses a connection gives its reason in words alone
_BY_WORDS: Final = (
    (re.compile(r"no such table"), _NO_TABLES),
    (re.compile(r"too many (clients|connections)|connection slots are reserved"), _NO_MORE),
    (re.compile(r"the database system is "), _ABOUT_TO),
)


@contextmanager
def named_errors() -> Iterator[None]:
    """What the driver and the pool raise inside becomes `DatabaseUnavailable` or `InvalidValue`; a unique key may not."""
    try:
        yield
    except IntegrityError:
        raise
    except DBAPIError as error:
        kind = InvalidValue if _is_refusal(error) else DatabaseUnavailable
        raise kind(complaint(error.orig)) from None
    except PoolTimeout:
        raise DatabaseUnavailable(ALL_WAIT) from None
    except OSError as error:
        raise DatabaseUnavailable(
            f"no connection to the database ({type(error).__name__}); is it up?"
        ) from None


def _is_refusal(error: DBAPIError) -> bool:
    """Whether it is the value that the database minds: SQLSTATE classes 22 (data) and 54 (limits)."""
    return isinstance(error, DataError) or state_of(error.orig)[:2] in {"22", "54"}


def state_of(error: BaseException | None) -> str:
    """The SQLSTATE of what a driver for PostgreSQL raised; nothing, where no server told it."""
    return getattr(error, "sqlstate", None) or ""


def complaint(error: BaseException | None) -> str:
    """What is wrong, and what mends it, where a driver raised this."""
    state, told = state_of(error), scrub(str(error))
    code = (
        getattr(error, "sqlite_errorcode", 0) & 0xFF
    )  # the lowest byte says it, the others how it came
    named = _BY_STATE.get(state) or _BY_CODE.get(code)
    if named:
        return named
    for words, named in _BY_WORDS:
        if words.search(told):
            return named
    is_operational = any(
        kind.__name__ == "OperationalError" for kind in type(error).__mro__
    )  # as each driver calls it
    if is_operational and not (state or code):
        return f"no connection to the database; is it up? ({told})"
    return f"the database did not do what we asked: {told}"
