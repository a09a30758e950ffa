"""Connections of psycopg whose cancelled statements end soon; needs the extra `postgresql`."""

import asyncio
from contextlib import suppress
from typing import Any, Final

from psycopg import AsyncConnection, Error
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow

CANCEL_AGAIN: Final = 0.25
"""Seconds after which a statement that still runs is cancelled again."""


class CancellingConnection(AsyncConnection[TupleRow]):
    """Asks the server again and again to end a statement whose task was cancelled.

    The server ignores a request that comes before it has begun the statement, as on a busy machine.
    psycopg asks once: the statement would then go on, with all locks of its transaction, on a
    connection that psycopg has given up meanwhile.
    """

    _ended: asyncio.Event | None = None
    _asking: asyncio.Task[None] | None = None

    async def cancel_safe(self, *, timeout: float = 30.0) -> None:  # noqa: ASYNC109  psycopg's name
        """Ask the server to end the statement that runs; again until `wait` returns."""
        await super().cancel_safe(timeout=timeout)
        if self._asking is None:
            self._ended = asyncio.Event()
            self._asking = asyncio.create_task(self._ask_again(self._ended, timeout))

    async def wait(self, *arguments: Any, **named: Any) -> Any:
        """Wait until the server has answered."""
        try:
            return await super().wait(*arguments, **named)
        finally:
            if self._asking and self._ended:
                asking, self._asking = self._asking, None
                self._ended.set()
                # a request under way would end the next statement instead
                await asyncio.wait({asking})

    async def _ask_again(self, ended: asyncio.Event, within: float) -> None:
        with suppress(TimeoutError, Error):
            async with asyncio.timeout(within):
                while self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(ended.wait(), CANCEL_AGAIN)
                        return
                    await super().cancel_safe(timeout=within)
