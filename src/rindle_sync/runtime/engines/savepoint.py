"""A savepoint in a transaction of the app's, on a connection of psycopg's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from psycopg import AsyncConnection
from psycopg.pq import TransactionStatus


@asynccontextmanager
async def savepoint(connection: AsyncConnection[Any]) -> AsyncIterator[None]:
    """A failure inside does not break the app's transaction, which the app ends itself."""
    if connection.info.transaction_status is TransactionStatus.IDLE and not connection.autocommit:
        await connection.execute("SELECT")  # begins the transaction that the app commits
    async with connection.transaction():
        yield
