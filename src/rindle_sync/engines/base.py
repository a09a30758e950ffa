"""What an engine must do: wake the steps. The tables are the queue, so its jobs carry no state and may be lost."""

import asyncio
from typing import Protocol


class Engine(Protocol):
    """Something that runs what is due, again and again."""

    async def run(self, stop: asyncio.Event) -> None:
        """Run what is due until `stop` is set, then let what is under way end, in bounded time."""
        ...
