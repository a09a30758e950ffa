"""What an engine must do: wake the steps. The tables are the queue, so its jobs carry no state and may be lost."""

import asyncio
from typing import Any, Protocol


class Engine(Protocol):
    """Something that does what is due, again and again."""

    async def run(self, stop: asyncio.Event) -> None:
        """Do what is due until `stop` is set, then let what is under way end, in bounded time."""
        ...


class Distributed(Engine, Protocol):
    """An engine whose jobs are done in whatever process is free."""

    async def forward(self, stop: asyncio.Event) -> None:
        """Make jobs of what this process has made due, and take none, until `stop` is set."""
        ...

    async def defer_sync(self, row_id: str, *, connection: Any = None) -> None:
        """Have one row brought into step; with a `connection`, as a part of its transaction."""
        ...
