"""Whose turn it is to write to a SQLite file, and when waiting for it is of no use."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from rindle_sync.errors import DatabaseUnavailable, LockedByThisProcess
from rindle_sync.store.driver_errors import LOCKED
from rindle_sync.store.file_locks import is_held_here
from rindle_sync.store.schema.engine import BUSY_SECONDS

OWN_SECONDS: Final = 1.5
"""Seconds that a writer waits for a transaction of the app in this process."""

_POLL_SECONDS: Final = 0.02


class NoQueue:
    """PostgreSQL has many writers."""

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Callable[[], None]]:
        """At once."""
        yield lambda: None


class WriteQueue(NoQueue):
    """One writer of ours at a time: a queue is fair, the busy wait of SQLite is not.

    A writer may wait for a transaction that the app has open on a connection of its own. Where the
    app, in the same task, waits for that writer, neither would ever end: raises
    `LockedByThisProcess` instead, or `DatabaseUnavailable` where nobody can tell.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._writer = asyncio.Lock()
        self._has_begun = False

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Callable[[], None]]:
        """The turn; call what it gives once the transaction has begun."""
        loop = asyncio.get_running_loop()
        until = loop.time() + OWN_SECONDS
        await self._acquire(loop)
        try:
            while self._is_held_by_app():
                if loop.time() > until:
                    raise LockedByThisProcess
                await asyncio.sleep(_POLL_SECONDS)
            yield self._note_begun
        finally:
            self._has_begun = False
            self._writer.release()

    async def _acquire(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            async with asyncio.timeout(BUSY_SECONDS) as limit:
                watch = loop.call_later(OWN_SECONDS, self._end_deadlock, limit)
                try:
                    await self._writer.acquire()
                finally:
                    watch.cancel()
        except TimeoutError:
            if self._is_held_by_app():
                raise LockedByThisProcess from None
            raise DatabaseUnavailable(LOCKED) from None

    def _note_begun(self) -> None:
        self._has_begun = True

    def _end_deadlock(self, limit: asyncio.Timeout) -> None:
        """End the wait for a writer of ours that itself waits for the app."""
        if self._is_held_by_app():
            limit.reschedule(0)

    def _is_held_by_app(self) -> bool:
        """Whether this process writes to the file on a connection that is not ours."""
        return self._file is not None and not self._has_begun and is_held_here(self._file)
