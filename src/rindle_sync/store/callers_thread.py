"""Where a sync connection of the app is used: on the thread that passed it.

A session may belong to its thread or its request, and a connection of sqlite3 does.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, TypeVar

T = TypeVar("T")

Hop = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Runs a function on the thread that has called; its result."""

_hop: Final[ContextVar[Hop | None]] = ContextVar("hop", default=None)


@contextmanager
def called_from(hop: Hop) -> Iterator[None]:
    """Within this block `on_callers_thread` goes by `hop`: the event loop is not the caller's."""
    token = _hop.set(hop)
    try:
        yield
    finally:
        _hop.reset(token)


async def on_callers_thread(function: Callable[[], T]) -> T:
    """What `function` returns, run on the thread that has called; by default that is this one."""
    hop = _hop.get()
    if hop is None:
        return function()
    found: T = await hop(function)
    return found


def is_called_from_elsewhere() -> bool:
    """Whether the thread that has called is another one than that of this event loop."""
    return _hop.get() is not None
