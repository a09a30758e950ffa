"""What an engine must do: wake the steps. The tables are the queue, so its jobs carry no state and may be lost."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol


class Engine(Protocol):
    """Something that calls the tick again and again."""

    async def run(self, tick: Callable[[], Awaitable[object]], stop: asyncio.Event) -> None:
        """Call `tick` until `stop` is set, then let what is under way end, in bounded time."""
        ...
