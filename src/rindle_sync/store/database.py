"""One database: its connections, its leases, and the transactions that run there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
from msgspec import Struct

from rindle_sync.errors import (
    AlreadyClosed,
    DatabaseUnavailable,
    WriteInsideCallback,
    WrongEventLoop,
)
from rindle_sync.store.driver_errors import NO_TABLES, named_errors, retried
from rindle_sync.store.lent import is_lent_here, lend, take_back
from rindle_sync.store.notifications import Notifications
from rindle_sync.store.schema.core_engine import CoreConnection, CoreEngine
from rindle_sync.store.schema.engine import file_of
from rindle_sync.store.schema.tables import assets
from rindle_sync.store.write_queue import NoQueue, WriteQueue

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from rindle_sync.store.intake import Intake

ENCODING_REMEDY: Final = (
    "use a database in UTF-8: CREATE DATABASE name ENCODING 'UTF8' TEMPLATE template0"
)

LENT_AT_ONCE: Final = 3
"""How many transactions callbacks of the app hold at once on PostgreSQL: the pool has five."""


SERVER: Final = sa.text(
    "SELECT CAST(current_database() AS TEXT) AS name, "
    "CAST(extract(epoch FROM pg_postmaster_start_time()) AS TEXT) AS began"
).columns(sa.column("name", sa.Text()), sa.column("began", sa.Text()))
"""What tells a database of PostgreSQL from all others."""

_SCHEMA: Final = sa.text(
    "SELECT CAST(nspname AS TEXT) FROM pg_class AS c "
    "JOIN pg_namespace AS n ON c.relnamespace = n.oid WHERE c.oid = to_regclass(:name)"
)


class Server(Struct, frozen=True):
    """A database of PostgreSQL, and the schema that has our tables."""

    identity: tuple[str, str]
    schema: str


class Database:
    """The connections of this process to one database.

    Every statement on them raises `DatabaseUnavailable` when the database does not answer, and
    `InvalidValue` for a value that it cannot store; `AlreadyClosed` and `WrongEventLoop` where they
    cannot be used.
    """

    def __init__(self, engine: CoreEngine) -> None:
        self.engine = engine
        self._single = engine.execution_options(single=True)
        self._lent = asyncio.Semaphore(1 if self._has_one_writer else LENT_AT_ONCE)
        self._unreleased: dict[tuple[sa.Table, str], None] = {}
        """The leases to release next, by table and token; a dict, used as an ordered set."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self.is_closed = False
        file = file_of(engine.sync_engine.url)
        self._writers = WriteQueue(file) if self._has_one_writer else NoQueue()
        self._server: Server | None = None
        self.notifications = Notifications(engine.dialect.name)

    @cached_property
    def intake(self) -> Intake:
        """What stores webhook events as they come in; most processes get none."""
        from rindle_sync.store.intake import Intake

        return Intake(self.engine, self.turn, self.notifications, self.schema)

    @property
    def schema(self) -> str | None:
        """The schema of PostgreSQL that has our tables; None where the search path leads there."""
        return schema_of(self.engine)

    @property
    def _has_one_writer(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @property
    def place(self) -> str:
        """The file, or the address without its password, of the database, for people to read."""
        url = self.engine.url
        if url.get_backend_name() == "sqlite":
            return str(file_of(url) or url.database or ":memory:")
        shown = {name: url.query[name] for name in ("host", "port", "dbname") if name in url.query}
        return url.set(drivername="postgresql", query=shown).render_as_string(hide_password=True)

    async def finish_storing(self, within: timedelta) -> None:
        """Wait up to `within` for webhook events that are being stored, then give them up."""
        if "intake" in self.__dict__:
            await self.intake.finish(within)

    async def close(self) -> None:
        """Release what is still leased, if the database answers, and close the connections."""
        with suppress(DatabaseUnavailable):
            await self.release_all()
        self._unreleased.clear()
        if "intake" in self.__dict__:
            await self.intake.close()
        # a pool opens connections again after its end, which nobody would close
        self.is_closed = True
        await self.engine.dispose()

    async def close_elsewhere(self) -> None:
        """Close the connections in another event loop than theirs, which has ended.

        What is still leased stays so until the leases end. Raises nothing.
        """
        self.is_closed = True
        if "intake" in self.__dict__:
            with suppress(Exception):
                await self.intake.close()
        await self.engine.dispose()

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop of its first use; None before that."""
        return self._loop

    def check_usable(self) -> None:
        """Raise `AlreadyClosed` after `close`, `WrongEventLoop` outside the loop of first use."""
        if self.is_closed:
            raise AlreadyClosed
        # the connections, and what waits for them, belong to one loop
        loop = asyncio.get_running_loop()
        self._loop = self._loop or loop
        if loop is not self._loop:
            raise WrongEventLoop

    async def ping(self) -> None:
        """Check that the database answers and has the tables."""
        async with self.reading() as connection:
            # a table of Rindle's has the same name, and no reference
            await connection.execute(sa.select(assets.c.id, assets.c.reference).limit(1))

    async def has_table(self, name: str) -> bool:
        """Whether the database has a table of this name, of rindle-sync or of another program."""
        async with self.reading() as connection:
            return await connection.run_sync(
                lambda session: sa.inspect(session).has_table(name, schema=self.schema)
            )

    async def encoding_trouble(self) -> str | None:
        """What is wrong with the encoding of the database; None where it stores every text."""
        if self.engine.dialect.name == "sqlite":
            return None
        async with self.reading() as connection:
            shown = await connection.exec_driver_sql("SHOW server_encoding")
            encoding = str(shown.scalar_one())
        if encoding == "UTF8":
            return None
        return f"its encoding is {encoding}, which cannot store every text"

    async def is_pooled(self) -> bool:
        """Whether a pooler, such as PgBouncer, is between; it gives out process ids of its own."""
        if self.engine.dialect.name == "sqlite":
            return False
        from rindle_sync.store.sessions import is_own

        async with self.reading() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            return not await is_own(driver)

    async def server(self, *, again: bool = False) -> Server:
        """The database of PostgreSQL, asked once, or `again`; raises `DatabaseUnavailable`."""
        if self._server is None or again:
            async with self.reading() as connection:
                name, began = (await connection.execute(SERVER)).one()
                table = f'"{self.schema}".{assets.name}' if self.schema else assets.name
                found = await connection.execute(_SCHEMA, {"name": table})
                schema = found.scalar_one_or_none()
            if schema is None:
                raise DatabaseUnavailable(NO_TABLES)
            self._server = Server((name, began), schema)
        return self._server

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[CoreConnection]:
        """A connection for statements that only read, each as of the moment when it runs."""
        self.check_usable()
        with named_errors():
            async with self._single.connect() as connection:
                yield connection

    @asynccontextmanager
    async def writing(self, *, single: bool = False) -> AsyncIterator[CoreConnection]:
        """One transaction, committed at its end; `single` is for one that is one statement."""
        self.check_usable()
        async with self.turn() as has_begun:
            with named_errors():
                engine = self._single if single else self.engine
                async with engine.begin() as connection:
                    has_begun()
                    yield connection

    def turn(self) -> AbstractAsyncContextManager[Callable[[], None]]:
        """The turn to write, of which SQLite has one; call what it gives once that has begun."""
        if self._has_one_writer and is_lent_here(self):
            raise WriteInsideCallback  # it would wait for itself
        return self._writers.turn()

    @asynccontextmanager
    async def lending(self, row_id: str | None = None) -> AsyncIterator[AsyncConnection]:
        """One transaction for a callback of the app; few at once, so that others go on.

        The callback is about the row `row_id`.
        """
        async with self._lent, self.writing() as ours:
            connection = ours.for_app()
            lend(self, connection, row_id)
            try:
                yield connection
            finally:
                take_back()

    def few_at_once(self) -> AbstractAsyncContextManager[None]:
        """A turn for a callback of the app with a transaction of its own, as in `lending`."""
        return self._lent

    def release_later(self, table: sa.Table, token: str) -> None:
        """Release what is leased under `token` with the next lease or release."""
        self._unreleased[table, token] = None

    @retried
    async def release_all(self) -> None:
        """Release what is not released yet, instead of waiting until the leases end."""
        if self._unreleased:
            async with self.releasing():
                pass

    @asynccontextmanager
    async def releasing(self, *, single: bool = False) -> AsyncIterator[CoreConnection]:
        """One transaction that first releases what is not released yet.

        `single` is for one that is one statement otherwise.
        """
        unreleased = list(self._unreleased)
        async with self.writing(single=single and not unreleased) as connection:
            for table, token in unreleased:
                held = sa.update(table).where(table.c.lease_token == token)
                await connection.execute(held.values(lease_token=None, lease_until=None))
            yield connection
        for lease in unreleased:
            self._unreleased.pop(lease, None)

    @asynccontextmanager
    async def leasing(
        self, token: str, *tables: sa.Table, single: bool = False
    ) -> AsyncIterator[CoreConnection]:
        """`releasing`, to lease under `token`: where that fails, it is released later."""
        began = False
        try:
            async with self.releasing(single=single) as connection:
                began = True
                yield connection
        except (DatabaseUnavailable, asyncio.CancelledError):
            if began:  # the commit may have succeeded all the same
                for table in tables:
                    self.release_later(table, token)
            raise


def schema_of(engine: CoreEngine) -> str | None:
    """The schema of PostgreSQL that `open_engine` was given."""
    translated = engine.sync_engine.get_execution_options().get("schema_translate_map", {})
    schema: str | None = translated.get(None)
    return schema
