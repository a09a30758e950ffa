"""One database: its connections, and its failures as errors of ours."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext
from typing import Any, ClassVar, Final
from weakref import WeakKeyDictionary

from sqlalchemy import ColumnElement, Engine, Table, Update, bindparam, or_, select, update
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from rindle_sync.asset import scrub
from rindle_sync.errors import StoreRefused, StoreUnavailable
from rindle_sync.schema import json_field, json_table


def is_free(table: Table) -> ColumnElement[bool]:
    """Whether nobody alive holds a lease on it; the parameter is `now`."""
    return or_(table.c.lease_until.is_(None), table.c.lease_until < bindparam("now"))


def claim_statement(table: Table, *due: ColumnElement[bool], first: Sequence[ColumnElement[Any]]) -> Update:
    """Lease the `most` first of the rows that are `due` and not leased by somebody alive; answers them.

    One statement; its parameters beside those of `due` are `now`, `token`, `until` and `most`.
    """
    taken = select(table.c.id).where(*due, is_free(table)).order_by(*first).limit(bindparam("most"))
    chosen = taken.with_for_update(skip_locked=True).cte("due")
    lease: dict[str, Any] = {"lease_token": bindparam("token"), "lease_until": bindparam("until")}
    return update(table).where(table.c.id == chosen.c.id).values(lease).returning(*table.c)


def outcome_statement(table: Table, names: Sequence[str]) -> Update:
    """Write `names` of the bound JSON `rows` that are still leased under `held`, and end their leases."""
    rows = json_table("rows", "r")
    values: dict[str, Any] = {name: json_field(rows, table.c[name]) for name in names}
    mine = table.c.lease_token == bindparam("held")
    ended = values | {"lease_token": None, "lease_until": None}
    return update(table).where(table.c.id == json_field(rows, table.c.id), mine).values(ended)


_TURNS: Final[WeakKeyDictionary[Engine, asyncio.Lock]] = WeakKeyDictionary()


class Database:
    """The connections to `table`; everything under them raises `StoreUnavailable` when the database does not answer."""

    table: ClassVar[Table]

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self._reads = engine.execution_options(reads_only=True)
        self._turn = _turn_of(engine)

    async def close(self) -> None:
        """Give the connections back."""
        await self.engine.dispose()

    async def release(self, token: str) -> None:
        """Give back what is still leased under `token`."""
        held = update(self.table).where(self.table.c.lease_token == token)
        async with self.writing() as connection:
            await connection.execute(held.values(lease_token=None, lease_until=None))

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection that only reads."""
        with _named_errors():
            async with self._reads.connect() as connection:
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """One transaction, committed at its end."""
        with _named_errors():
            async with self._turn, self.engine.begin() as connection:
                yield connection


def _turn_of(engine: AsyncEngine) -> asyncio.Lock | nullcontext[None]:
    """SQLite has one writer at a time: in one process they queue here, in order, and not in its busy wait."""
    if engine.dialect.name != "sqlite":
        return nullcontext()
    return _TURNS.setdefault(engine.sync_engine, asyncio.Lock())


@contextmanager
def _named_errors() -> Iterator[None]:
    try:
        yield
    except IntegrityError:
        raise
    except DBAPIError as error:
        kind = StoreRefused if _is_refusal(error) else StoreUnavailable
        raise kind(_complaint(error)) from None
    except (PoolTimeout, OSError) as error:
        raise StoreUnavailable(f"no connection to the database ({type(error).__name__}); is it up?") from None


def _is_refusal(error: DBAPIError) -> bool:
    """Whether it is the value that the database minds: SQLSTATE classes 22 (data) and 54 (limits)."""
    state = getattr(error.orig, "sqlstate", None) or ""
    return isinstance(error, DataError) or state[:2] in {"22", "54"}


def _complaint(error: DBAPIError) -> str:
    told = scrub(str(error.orig))
    if "no such table" in told or type(error.orig).__name__ == "UndefinedTable":
        return "the database lacks our tables; run `rindle-sync migrate`"
    if "unable to open database file" in told:
        return "the SQLite file of database_url cannot be opened; does its folder exist, and may we write there?"
    return f"the database did not do what we asked: {told}"
