"""A statement whose task is cancelled ends at the server, also where that has not begun it yet."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

import sqlalchemy as sa
from sqlalchemy.engine import make_url

from rindle_sync.store.schema import open_engine
from rindle_sync.store.schema.core_engine import CoreEngine

CANCEL_REQUEST = (80877102).to_bytes(4, "big")
"""https://www.postgresql.org/docs/current/protocol-message-formats.html"""

SLEEP = "SELECT pg_sleep(25)"
SOON = 4.0
"""Seconds: less than psycopg waits after a request before it gives the connection up."""


@asynccontextmanager
async def holding_back(url: str) -> AsyncIterator[str]:
    """A way to the server on which `SLEEP` arrives only after a request to cancel it was ended."""
    parts = make_url(url)
    was_asked = asyncio.Event()

    async def forward(asks: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        back, on = await asyncio.open_connection(parts.host, parts.port)
        sending = asyncio.create_task(send(asks, on))
        with closing(answers), closing(on):
            while data := await back.read(2**16):
                answers.write(data)
        # the server ends the connection of a request once it has signalled the session
        if await sending:
            was_asked.set()

    async def send(asks: asyncio.StreamReader, on: asyncio.StreamWriter) -> bool:
        """Send all on; whether it was a request to cancel, after which nothing follows."""
        while data := await asks.read(2**16):
            if SLEEP.encode() in data:
                await was_asked.wait()
            on.write(data)
            if data[4:8] == CANCEL_REQUEST:
                return True
        on.close()
        return False

    async with await asyncio.start_server(forward, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        yield parts.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)


async def sleeps(engine: CoreEngine, began: asyncio.Event) -> None:
    async with engine.begin() as connection:
        await connection.exec_driver_sql("SELECT 1")
        began.set()
        await connection.exec_driver_sql(SLEEP)


async def test_a_request_that_comes_before_the_statement_is_made_again(postgres_url: str) -> None:
    async with holding_back(postgres_url) as url:
        engine, began = open_engine(url), asyncio.Event()
        sleeping = asyncio.create_task(sleeps(engine, began))
        await asyncio.wait_for(began.wait(), 30)
        await asyncio.sleep(0)
        sleeping.cancel()
        await asyncio.wait({sleeping}, timeout=SOON)

        assert sleeping.cancelled()
        async with engine.connect() as connection:
            active = sa.text("SELECT count(*) FROM pg_stat_activity WHERE query = :sleep")
            found = await connection.execute(active, {"sleep": SLEEP})
            assert found.scalar_one() == 0
        await engine.dispose()


async def test_the_next_statement_on_the_connection_is_not_cancelled(postgres_url: str) -> None:
    engine = open_engine(postgres_url, pool_size=1)
    for number in range(20):
        began = asyncio.Event()
        sleeping = asyncio.create_task(sleeps(engine, began))
        await began.wait()
        for _ in range(number % 5):
            await asyncio.sleep(0)
        sleeping.cancel()
        await asyncio.wait({sleeping})
        async with engine.begin() as connection:
            assert (await connection.exec_driver_sql("SELECT 7")).scalar_one() == 7
    await engine.dispose()
