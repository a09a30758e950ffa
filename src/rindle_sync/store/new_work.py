"""How a process that rests hears of work that other processes make, without asking for it."""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from sqlalchemy.engine import URL

from rindle_sync.store.schema.engine import file_of


class NewWork(Protocol):
    """What tells of new work."""

    is_heard: bool
    """Whether it does, now: if not, the tables have to be asked more often."""

    def mark(self) -> None:
        """Take what is there for known: the tables are asked next."""

    async def watch(self, on_work: Callable[[], None], *, every: float) -> None:
        """Call `on_work` where there may be new work, until cancelled; raises nothing.

        Where that takes looking, it looks `every` so many seconds. Where nothing can be heard, it
        ends.
        """


class Unheard:
    """A database that tells of nothing: SQLite in memory."""

    is_heard = False

    def mark(self) -> None:
        """Nothing."""

    async def watch(self, on_work: Callable[[], None], *, every: float) -> None:
        """Nothing."""


class WatchedFile:
    """A SQLite file: each commit changes it, or its write-ahead log.

    Neither is opened: closing a file gives up the locks that this process holds on it.
    """

    is_heard = True

    def __init__(self, file: Path) -> None:
        self._files = (str(file), f"{file}-wal")
        self._known: object = None

    def mark(self) -> None:
        """Remember how the files stand."""
        self._known = self._standing()

    async def watch(self, on_work: Callable[[], None], *, every: float) -> None:
        """Look how the files stand."""
        while True:
            await asyncio.sleep(every)
            standing = self._standing()
            if standing != self._known:
                self._known = standing
                on_work()

    def _standing(self) -> object:
        found = []
        for file in self._files:
            with suppress(OSError):
                status = os.stat(file)  # noqa: PTH116  a few microseconds less
                found.append((status.st_mtime_ns, status.st_size))
        return found


def new_work(url: URL) -> NewWork:
    """What tells of new work in the database at `url`."""
    if url.get_backend_name() == "postgresql":
        from rindle_sync.store.listening import Listening

        return Listening(url)
    file = file_of(url)
    return WatchedFile(file) if file else Unheard()
