"""What an engine must do. The tables are the queue: its jobs carry no state and may be lost."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from rindle_sync.domain import Job

Due = Callable[[], Awaitable[Sequence[Job]]]
"""Queries the tables, for all environments at once, for the jobs that are due."""


class Engine(Protocol):
    """Runs due jobs, again and again."""

    async def run(self, stop: asyncio.Event) -> None:
        """Run due jobs until `stop` is set, then let running ones end, in bounded time."""


class Distributed(Engine, Protocol):
    """An engine whose jobs run in whatever process is free."""

    async def forward(self, stop: asyncio.Event) -> None:
        """Queue the jobs that this process has made due, and run none, until `stop` is set."""

    async def defer_sync(self, row_id: str, *, connection: Any = None) -> None:
        """Queue a check of one row; with a `connection`, as a part of its transaction."""
