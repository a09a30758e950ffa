"""A connection to PostgreSQL that listens for new work; needs the extra `postgresql`."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from psycopg import AsyncConnection, Error
from sqlalchemy.engine import URL

from rindle_sync.store.notifications import CHANNEL
from rindle_sync.store.schema.engine import parameters
from rindle_sync.store.sessions import is_own

FIRST_GAP, LONGEST_GAP = 1.0, 60.0
"""Seconds between two attempts to listen: they grow while the database does not answer."""

_LISTEN: Final = f"LISTEN {CHANNEL}"


class Listening:
    """Listens on a connection of its own, and asks nothing while it does."""

    def __init__(self, url: URL) -> None:
        self._url = url
        self.is_heard = False

    def mark(self) -> None:
        """Nothing: what is committed later is heard later."""

    async def watch(self, on_work: Callable[[], None], *, every: float) -> None:  # noqa: ARG002
        """Listen, and again after a connection was lost."""
        gap = FIRST_GAP
        while True:
            with suppress(Error, OSError):
                if not await self._listen(on_work):
                    return
            if self.is_heard:
                gap, self.is_heard = FIRST_GAP, False
                on_work()  # it is to ask, and then to rest for no longer than it may unheard
            await asyncio.sleep(gap)
            gap = min(2 * gap, LONGEST_GAP)

    async def _listen(self, on_work: Callable[[], None]) -> bool:
        """Listen until the connection is lost; False behind a pooler, which passes nothing on."""
        async with await AsyncConnection.connect(
            **parameters(self._url), autocommit=True, prepare_threshold=None
        ) as connection:
            # before LISTEN, which would stay in a session that other programs share
            if not await is_own(connection):
                return False
            await connection.execute(_LISTEN)
            self.is_heard = True
            on_work()  # what was committed before
            async for _ in connection.notifies():
                on_work()
        return True
