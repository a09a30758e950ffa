"""A savepoint in a transaction of the app's own, on a connection of psycopg's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from psycopg import AsyncConnection
from psycopg.pq import TransactionStatus


@asynccontextmanager
async def savepoint(connection: AsyncConnection[Any]) -> AsyncIterator[None]:
    """What fails inside does not break the transaction of the app, nor is that ended here."""
    if connection.info.transaction_status is TransactionStatus.IDLE and not connection.autocommit:
        await connection.execute("SELECT")  # begins the one that the app is to commit
    async with connection.transaction():
        yield
