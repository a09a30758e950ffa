"""SQLAlchemy's engine and its connections for code that awaits, without SQLAlchemy's ORM.

`sqlalchemy.ext.asyncio` has the same, and imports the whole ORM for it, of which nothing here is
used: a fifth of what SQLAlchemy costs each process in time and memory.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa
from sqlalchemy.util.concurrency import greenlet_spawn

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    Result = sa.CursorResult[*tuple[Any, ...]]

P = ParamSpec("P")
T = TypeVar("T")


class CoreEngine:
    """An engine with an async driver, and what `AsyncEngine` of SQLAlchemy has of the same names.

    Events are those of `sync_engine`.
    """

    def __init__(self, sync_engine: sa.Engine) -> None:
        self.sync_engine = sync_engine

    @property
    def url(self) -> sa.URL:
        """Where the database is."""
        return self.sync_engine.url

    @property
    def dialect(self) -> sa.Dialect:
        """How statements are written for it."""
        return self.sync_engine.dialect

    @property
    def pool(self) -> sa.Pool:
        """The connections that are open."""
        return self.sync_engine.pool

    def execution_options(self, **options: Any) -> CoreEngine:
        """An engine on the same pool whose connections have these options."""
        return CoreEngine(self.sync_engine.execution_options(**options))

    def connect(self) -> CoreConnection:
        """A connection, opened when it is awaited or entered; a block closes it at its end."""
        return CoreConnection(self)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[CoreConnection]:
        """A connection in a transaction, which is committed unless the block raises."""
        async with self.connect() as connection:
            transaction = await greenlet_spawn(connection.sync_connection.begin)
            transaction.__enter__()  # else statements behind its end would begin another one
            try:
                yield connection
            except BaseException:
                await greenlet_spawn(transaction.__exit__, *sys.exc_info())
                raise
            await greenlet_spawn(transaction.__exit__, None, None, None)

    async def dispose(self) -> None:
        """Close the connections that nobody uses."""
        await greenlet_spawn(self.sync_engine.dispose)


class CoreConnection:
    """A connection, and what `AsyncConnection` of SQLAlchemy has of the same names."""

    sync_connection: sa.Connection

    def __init__(self, engine: CoreEngine) -> None:
        self.engine = engine

    @property
    def dialect(self) -> sa.Dialect:
        """How statements are written for it."""
        return self.engine.dialect

    def __await__(self) -> Generator[Any, Any, CoreConnection]:
        return self.__aenter__().__await__()

    async def __aenter__(self) -> CoreConnection:
        self.sync_connection = await greenlet_spawn(self.engine.sync_engine.connect)
        return self

    async def __aexit__(self, *_: object) -> None:
        # who is cancelled gives the connection back all the same, before anybody closes the pool
        await _to_its_end(self.close())

    async def execute(self, statement: sa.Executable, values: Any = None) -> Result:
        """Run a statement; its result, with all its rows."""
        return await greenlet_spawn(self.sync_connection.execute, statement, values)

    async def exec_driver_sql(self, sql: str, values: Any = None) -> Result:
        """Run a text as it is."""
        return await greenlet_spawn(self.sync_connection.exec_driver_sql, sql, values)

    async def run_sync(
        self,
        work: Callable[Concatenate[sa.Connection, P], T],
        *arguments: P.args,
        **named: P.kwargs,
    ) -> T:
        """What `work` returns, a function that is not async, with the connection itself."""
        return await greenlet_spawn(lambda: work(self.sync_connection, *arguments, **named))

    async def get_raw_connection(self) -> sa.PoolProxiedConnection:
        """The driver's connection, as the pool has it."""
        return await greenlet_spawn(lambda: self.sync_connection.connection)

    async def rollback(self) -> None:
        """Undo what the transaction did, if one is open."""
        await greenlet_spawn(self.sync_connection.rollback)

    async def invalidate(self) -> None:
        """Have the pool forget the driver's connection."""
        await greenlet_spawn(self.sync_connection.invalidate)

    async def close(self) -> None:
        """Give it back to the pool; a transaction that is open is rolled back."""
        await greenlet_spawn(self.sync_connection.close)

    def for_app(self) -> AsyncConnection:
        """The same connection as SQLAlchemy's own class, for code of the app."""
        from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

        return AsyncConnection(AsyncEngine(self.engine.sync_engine), self.sync_connection)


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Wait for the end of `work`, also where this is cancelled meanwhile."""
    task, cancelled = asyncio.ensure_future(work), None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    task.result()
    if cancelled:
        raise cancelled
