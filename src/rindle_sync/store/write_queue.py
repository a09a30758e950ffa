"""Whose turn it is to write to a SQLite file, and when waiting for it is of no use."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final

from rindle_sync.errors import DatabaseUnavailable, LockedByThisProcess
from rindle_sync.store.driver_errors import LOCKED
from rindle_sync.store.file_locks import is_held_here
from rindle_sync.store.schema.sessions import BUSY_SECONDS

OWN_SECONDS: Final = 1.5
"""Seconds that a writer waits for transactions of the app in this process that do not commit."""

_POLL_SECONDS: Final = 0.005


class NoQueue:
    """PostgreSQL has many writers."""

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Callable[[], None]]:
        """At once."""
        yield lambda: None


class WriteQueue(NoQueue):
    """One writer of ours at a time: a queue is fair, the busy wait of SQLite is not.

    A writer may wait for transactions that the app has open on connections of its own. Where the
    app, in the same task, waits for that writer, neither would ever end: raises
    `LockedByThisProcess` once nothing was committed for `OWN_SECONDS`, or `DatabaseUnavailable`
    where nobody can tell.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._writer = asyncio.Lock()
        self._has_begun = False
        self._waiting = 0
        self._stalled_since: float | None = None
        self._committed: object = None

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Callable[[], None]]:
        """The turn; call what it gives once the transaction has begun."""
        with self._watching():
            await self._acquire_free()
        try:
            yield self._note_begun
        finally:
            self._has_begun = False
            self._writer.release()

    async def _acquire_free(self) -> None:
        """Acquire the turn, and wait until the app does not write."""
        loop = asyncio.get_running_loop()
        until = loop.time() + BUSY_SECONDS
        await self._acquire(loop)
        try:
            await self._wait_for_app(loop, until)
        except BaseException:
            self._writer.release()
            raise

    async def _wait_for_app(self, loop: asyncio.AbstractEventLoop, until: float) -> None:
        while self._is_held_by_app():
            if self._is_stalled(loop.time()):
                raise LockedByThisProcess
            if loop.time() > until:
                raise DatabaseUnavailable(LOCKED)
            await asyncio.sleep(_POLL_SECONDS)
        self._stalled_since = None

    @contextmanager
    def _watching(self) -> Iterator[None]:
        """While anybody waits; what was seen before that is of another transaction of the app."""
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._stalled_since = None

    async def _acquire(self, loop: asyncio.AbstractEventLoop) -> None:
        timers: list[asyncio.TimerHandle] = []
        try:
            async with asyncio.timeout(BUSY_SECONDS) as limit:

                def end_deadlock() -> None:
                    """End the wait for a writer of ours that itself waits for the app."""
                    if self._is_stalled(loop.time()):
                        limit.reschedule(0)
                    timers[:] = [loop.call_later(OWN_SECONDS / 5, end_deadlock)]

                timers.append(loop.call_later(OWN_SECONDS / 5, end_deadlock))
                await self._writer.acquire()
        except TimeoutError:
            if self._is_stalled(loop.time()):
                raise LockedByThisProcess from None
            raise DatabaseUnavailable(LOCKED) from None
        finally:
            for timer in timers:
                timer.cancel()

    def _note_begun(self) -> None:
        self._has_begun = True

    def _is_stalled(self, now: float) -> bool:
        """Whether the app has held the lock for `OWN_SECONDS`, and nothing was committed."""
        if not self._is_held_by_app():
            self._stalled_since = None
            return False
        committed = _committed(self._file)
        if self._stalled_since is None or committed != self._committed:
            self._stalled_since, self._committed = now, committed
        return now - self._stalled_since >= OWN_SECONDS

    def _is_held_by_app(self) -> bool:
        """Whether this process writes to the file on a connection that is not ours."""
        return self._file is not None and not self._has_begun and is_held_here(self._file)


def _committed(file: Path | None) -> object:
    """What each commit changes: the write-ahead log."""
    with suppress(OSError):
        log = os.stat(f"{file}-wal")  # noqa: PTH116  a few microseconds less
        return log.st_mtime_ns, log.st_size
    return None
