"""One database: its connections, and the leases in it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Final
from weakref import WeakKeyDictionary

from sqlalchemy import ColumnElement, Engine, Table, Update, bindparam, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from rindle_sync.errors import DatabaseUnavailable
from rindle_sync.store.driver_errors import LOCKED, named_errors
from rindle_sync.store.schema.engine import BUSY_SECONDS, place_of
from rindle_sync.store.schema.json_rows import json_field, json_table


def is_free(table: Table) -> ColumnElement[bool]:
    """Whether nobody alive holds a lease on it; the parameter is `now`."""
    return or_(table.c.lease_until.is_(None), table.c.lease_until < bindparam("now"))


def claim_statement(
    table: Table, *due: ColumnElement[bool], first: Sequence[ColumnElement[Any]]
) -> Update:
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

_OWED: Final[WeakKeyDictionary[Engine, dict[tuple[Table, str], None]]] = WeakKeyDictionary()
"""Tokens of leases that could not be given back, in their order."""


class Database:
    """The connections to `table`; everything under them raises `DatabaseUnavailable` when the database does not answer."""

    table: ClassVar[Table]

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self._reads = engine.execution_options(reads_only=True)
        self._owed = _OWED.setdefault(engine.sync_engine, {})

    @property
    def place(self) -> str:
        """Where the database is, for people to read."""
        return place_of(self.engine.url)

    async def close(self) -> None:
        """Give the connections back."""
        await self.engine.dispose()

    async def release(self, token: str) -> None:
        """Give back what is still leased under `token`; if the database does not answer, `repay` does it later."""
        self._owe(token)
        await self.repay()

    async def repay(self) -> None:
        """Give back what the database did not let us give back: it need not wait until its lease has ended."""
        if self._owed:
            async with self._repaying():
                pass

    @asynccontextmanager
    async def leasing(self, token: str) -> AsyncIterator[AsyncConnection]:
        """A transaction that leases under `token`, and repays first."""
        began = False
        try:
            async with self._repaying() as connection:
                began = True
                yield connection
        except DatabaseUnavailable:
            if began:  # it may be committed all the same
                self._owe(token)
            raise

    @asynccontextmanager
    async def _repaying(self) -> AsyncIterator[AsyncConnection]:
        owed = list(self._owed)
        async with self.writing() as connection:
            for table, token in owed:
                held = update(table).where(table.c.lease_token == token)
                await connection.execute(held.values(lease_token=None, lease_until=None))
            yield connection
        for one in owed:
            self._owed.pop(one, None)

    def _owe(self, token: str) -> None:
        self._owed[self.table, token] = None

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection that only reads."""
        with named_errors():
            async with self._reads.connect() as connection:
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """One transaction, committed at its end."""
        with named_errors():
            async with _turn(self.engine), self.engine.begin() as connection:
                yield connection


@asynccontextmanager
async def _turn(engine: AsyncEngine) -> AsyncIterator[None]:
    """SQLite has one writer at a time: in one process they queue here, in order, and not in its busy wait."""
    if engine.dialect.name != "sqlite":
        yield
        return
    turn = _TURNS.setdefault(engine.sync_engine, asyncio.Lock())
    try:
        async with asyncio.timeout(BUSY_SECONDS):
            await turn.acquire()
    except TimeoutError:
        raise DatabaseUnavailable(LOCKED) from None
    try:
        yield
    finally:
        turn.release()
