"""The transaction in which a callback of the app runs, and the end of it."""

from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from sqlalchemy import event

from rindle_sync.errors import TransactionEnded

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection


class _Lent(Struct):
    database: object
    row_id: str | None
    is_open: bool = True


# known to all that the callback starts, and to nothing else
_lent_here: Final[ContextVar[_Lent | None]] = ContextVar("lent_here", default=None)


def lend(database: object, connection: "AsyncConnection", row_id: str | None) -> None:
    """Lend the transaction of `connection` to what this task starts, until `take_back`.

    It holds a change of the row `row_id`.
    """
    _lent_here.set(_Lent(database, row_id))
    event.listen(connection.sync_connection, "before_cursor_execute", _refuse_late)


def take_back() -> None:
    """Refuse each later statement of what this task has lent a transaction to."""
    lent = _lent_here.get()
    if lent:
        lent.is_open = False
        _lent_here.set(None)


def is_lent_here(database: object, row_id: str | None = None) -> bool:
    """Whether this runs in a transaction that is lent, and still open; for `row_id` if given."""
    lent = _lent_here.get()
    if lent is None or not lent.is_open or lent.database is not database:
        return False
    return row_id in {None, lent.row_id}


def _refuse_late(*_: object) -> None:
    # beside the commit or the rollback it would be written for good whatever becomes of these, or
    # begin a transaction that stays open in the pool
    lent = _lent_here.get()
    if lent and not lent.is_open:
        raise TransactionEnded
