"""Time that passes only where everybody waits: an event loop that jumps to its next timer."""

import asyncio
import os
import random
import selectors
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final, TypeVar
from unittest.mock import patch

BEGIN: Final = datetime(2026, 3, 1, tzinfo=UTC)
"""When every history begins."""

PATIENCE: Final = 0.2
"""Real seconds that a database server is waited for before time goes on without it.

Its client may wait for a lock.
"""

Result = TypeVar("Result")


class Deadlock(Exception):
    """Everybody waits, and for nothing that time brings."""


class _Jumps(selectors.DefaultSelector):
    """Waits for real only while a connection waits for its server."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        has_connections = len(self.get_map()) > 1  # the first one is the loop's own
        if has_connections and (ready := super().select(0 if timeout == 0 else PATIENCE)):
            return ready
        if timeout is None:
            raise Deadlock
        self.loop.moment += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time begins at 0 and jumps."""

    def __init__(self) -> None:
        self.moment = 0.0
        selector = _Jumps()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        """Seconds since the history began."""
        return self.moment

    def now(self) -> datetime:
        """The time of day in the simulated world."""
        return BEGIN + timedelta(seconds=self.moment)


def run(main: Coroutine[Any, Any, Result], loop: VirtualLoop) -> Result:
    """The result of `main`, with every chance taken from its `seed`."""
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(main)
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        asyncio.set_event_loop(None)
        loop.close()


@contextmanager
def chance_of(seed: int) -> Iterator[None]:
    """Within this, UUIDs and `random` are a function of `seed`."""
    random.seed(seed)
    with patch.object(os, "urandom", Random(f"{seed}:urandom").randbytes):
        yield
