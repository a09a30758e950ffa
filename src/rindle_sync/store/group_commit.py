"""Writes that come together, or while others are written, are one transaction."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Final, Generic, TypeVar

from rindle_sync.errors import DatabaseUnavailable
from rindle_sync.store.schema.sessions import STATEMENT_SECONDS

T = TypeVar("T")

MOST_TOGETHER: Final = 100


class GroupCommit(Generic[T]):
    """Writes items by `write`, which says for each whether it was new, or why it was refused."""

    def __init__(self, write: Callable[[Sequence[T]], Awaitable[Sequence[bool | Exception]]]):
        self._write = write
        self._waiting: list[tuple[T, asyncio.Future[bool]]] = []
        self._writing: asyncio.Task[None] | None = None

    def add(self, item: T) -> "asyncio.Future[bool]":
        """What becomes of `item`; it is written also when nobody waits for that any more."""
        outcome: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        # read, so that asyncio does not log it: the caller may have left
        outcome.add_done_callback(lambda done: None if done.cancelled() else done.exception())
        self._waiting.append((item, outcome))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.ensure_future(self._write_all())
        return outcome

    async def finish(self, within: timedelta) -> None:
        """Wait up to `within` until all is written, then give up what is not."""
        if self._writing is None or self._writing.done():
            return
        await asyncio.wait({self._writing}, timeout=within.total_seconds())
        if not self._writing.done():
            self._writing.cancel()
            # a cancelled aiosqlite task ends with its statement; cancelled twice, it hangs
            await asyncio.wait({self._writing}, timeout=STATEMENT_SECONDS)

    async def _write_all(self) -> None:
        while self._waiting:
            batch: list[tuple[T, asyncio.Future[bool]]] = []
            try:
                await self._gather()
                batch, self._waiting = self._waiting[:MOST_TOGETHER], self._waiting[MOST_TOGETHER:]
                items = [item for item, _ in batch]
                outcomes = await self._write(items)
            except asyncio.CancelledError:
                ended = DatabaseUnavailable("the service ended before it was stored")
                _settle(batch + self._waiting, ended)
                self._waiting = []
                raise
            except Exception as error:  # noqa: BLE001  each of those who wait is to get it
                _settle(batch, error)
            else:
                for waiting, outcome in zip(batch, outcomes, strict=True):
                    _settle([waiting], outcome)

    async def _gather(self) -> None:
        """Wait while more is added at each turn of the event loop: fewer writes are faster."""
        number = 0
        while number < len(self._waiting) < MOST_TOGETHER:
            number = len(self._waiting)
            await asyncio.sleep(0)


def _settle(waiting: "Sequence[tuple[T, asyncio.Future[bool]]]", outcome: object) -> None:
    for _, future in waiting:
        if future.done():  # nobody waits for it any more
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(bool(outcome))
