"""One database: its connections, its leases, and the base of the repositories."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from sqlalchemy import (
    ColumnElement,
    Executable,
    Row,
    Table,
    Update,
    and_,
    bindparam,
    inspect,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from rindle_sync.errors import DatabaseUnavailable
from rindle_sync.store.driver_errors import LOCKED, named_errors
from rindle_sync.store.schema.engine import BUSY_SECONDS, place_of
from rindle_sync.store.schema.json_rows import json_field, json_table
from rindle_sync.store.schema.tables import assets


class Database:
    """The connections of this process to one database.

    Every statement on them raises `DatabaseUnavailable` when the database does not answer, and
    `InvalidValue` for a value that it cannot store.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self._reads = engine.execution_options(reads_only=True)
        self._writer = asyncio.Lock()
        self._unreleased: dict[tuple[Table, str], None] = {}
        """The leases that could not be released, oldest first; a dict, used as an ordered set."""

    @property
    def place(self) -> str:
        """The file or the address of the database, for people to read."""
        return place_of(self.engine.url)

    async def close(self) -> None:
        """Close the connections."""
        await self.engine.dispose()

    async def ping(self) -> None:
        """Check that the database answers and has the tables."""
        async with self.reading() as connection:
            await connection.execute(select(assets.c.id).limit(1))

    async def has_table(self, name: str) -> bool:
        """Whether the database has a table of this name, of rindle-sync or of another program."""
        async with self.reading() as connection:
            return await connection.run_sync(lambda session: inspect(session).has_table(name))

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
            async with self._turn(), self.engine.begin() as connection:
                yield connection

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """One writer at a time on SQLite: a queue is fair, the busy wait of SQLite is not."""
        if self.engine.dialect.name != "sqlite":
            yield
            return
        try:
            async with asyncio.timeout(BUSY_SECONDS):
                await self._writer.acquire()
        except TimeoutError:
            raise DatabaseUnavailable(LOCKED) from None
        try:
            yield
        finally:
            self._writer.release()

    async def release(self, table: Table, token: str) -> None:
        """Release what is leased under `token`, or leave it to a later call on a database error."""
        self.release_later(table, token)
        await self.release_all()

    def release_later(self, table: Table, token: str) -> None:
        """Release what is leased under `token` with the next lease or release."""
        self._unreleased[table, token] = None

    async def release_all(self) -> None:
        """Release what could not be released before, instead of waiting until the leases end."""
        if self._unreleased:
            async with self.releasing():
                pass

    @asynccontextmanager
    async def releasing(self) -> AsyncIterator[AsyncConnection]:
        """One transaction that first releases what could not be released before."""
        unreleased = list(self._unreleased)
        async with self.writing() as connection:
            for table, token in unreleased:
                held = update(table).where(table.c.lease_token == token)
                await connection.execute(held.values(lease_token=None, lease_until=None))
            yield connection
        for lease in unreleased:
            self._unreleased.pop(lease, None)


class Repository:
    """The statements on `table`, for one environment of one provider.

    Every method raises `DatabaseUnavailable` when the database does not answer.
    """

    table: ClassVar[Table]

    def __init__(self, database: Database, provider: str, environment: str) -> None:
        self.database = database
        self.provider = provider
        self.environment = environment
        self.reading = database.reading
        self.writing = database.writing

    @property
    def key(self) -> dict[str, Any]:
        """The columns that name the environment, for an insert."""
        return {"provider_name": self.provider, "environment": self.environment}

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of `in_environment`."""
        return {"provider": self.provider, "in_environment": self.environment}

    @property
    def here(self) -> tuple[ColumnElement[bool], ...]:
        """The conditions that a row of `table` is of this environment."""
        return self.here_in(self.table)

    def here_in(self, table: Table) -> tuple[ColumnElement[bool], ...]:
        """The conditions that a row of another table is of this environment."""
        return table.c.provider_name == self.provider, table.c.environment == self.environment

    async def read(self, statement: Executable, values: Any = None) -> Sequence[Row[Any]]:
        """The rows that a statement finds."""
        async with self.reading() as connection:
            return (await connection.execute(statement, values)).all()

    async def execute(self, statement: Executable, values: Any = None) -> int:
        """Run a statement in a transaction of its own; the number of rows that it wrote."""
        async with self.writing() as connection:
            return (await connection.execute(statement, values)).rowcount

    def insert_once(self) -> Executable:
        """An insert into `table` that does nothing where a unique key is there already.

        https://docs.sqlalchemy.org/en/20/core/connections.html: `preserve_rowcount`
        """
        counted = {"preserve_rowcount": True}
        if self.database.engine.dialect.name == "sqlite":
            new = sqlite.insert(self.table).on_conflict_do_nothing()
            return new.execution_options(**counted)
        return postgresql.insert(self.table).on_conflict_do_nothing().execution_options(**counted)

    async def release(self, token: str) -> None:
        """Release what is leased under `token`, or leave it to a later call on a database error."""
        await self.database.release(self.table, token)

    async def lease(
        self, statement: Executable, token: str, values: Mapping[str, Any]
    ) -> Sequence[Row[Any]]:
        """Run a statement that leases under `token`; the rows that it returns."""
        began = False
        try:
            async with self.database.releasing() as connection:
                began = True
                return (await connection.execute(statement, {**values, "token": token})).all()
        except DatabaseUnavailable:
            if began:  # the commit may have succeeded all the same
                self.database.release_later(self.table, token)
            raise


def in_environment(table: Table) -> ColumnElement[bool]:
    """Whether a row is of the environment in the parameters `provider` and `in_environment`."""
    here = table.c.environment == bindparam("in_environment")
    return and_(table.c.provider_name == bindparam("provider"), here)


def is_free(table: Table) -> ColumnElement[bool]:
    """Whether no unexpired lease is held on a row; the parameter is `now`."""
    return or_(table.c.lease_until.is_(None), table.c.lease_until < bindparam("now"))


def claim_statement(
    table: Table, *due: ColumnElement[bool], first: Sequence[ColumnElement[Any]]
) -> Update:
    """Lease the `most` first rows that are `due` and free, and return them.

    The parameters beside those of `due` are `provider`, `in_environment`, `now`, `token`, `until`
    and `most`.
    """
    free = select(table.c.id).where(in_environment(table), *due, is_free(table))
    taken = free.order_by(*first).limit(bindparam("most"))
    # rows that another process is leasing right now are skipped, not waited for
    chosen = taken.with_for_update(skip_locked=True).cte("due")
    lease: dict[str, Any] = {"lease_token": bindparam("token"), "lease_until": bindparam("until")}
    return update(table).where(table.c.id == chosen.c.id).values(lease).returning(*table.c)


def outcome_statement(table: Table, names: Sequence[str]) -> Update:
    """Write `names` of the JSON `rows` that are leased under `held`, and end their leases."""
    rows = json_table("rows", "r")
    values: dict[str, Any] = {name: json_field(rows, table.c[name]) for name in names}
    mine = table.c.lease_token == bindparam("held")
    ended = values | {"lease_token": None, "lease_until": None}
    return update(table).where(table.c.id == json_field(rows, table.c.id), mine).values(ended)
