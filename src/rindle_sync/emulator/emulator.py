"""The emulated account as an ASGI app, with its webhooks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cached_property
from typing import Final

from starlette.applications import Starlette

from rindle_sync.emulator import webhook_sender
from rindle_sync.emulator.account import MuxAccount
from rindle_sync.emulator.control_api import control_routes
from rindle_sync.emulator.router import all_routes

_TICK: Final = 0.1


class MuxEmulator(MuxAccount):
    """A fake Mux environment; pass its `app` to `httpx.ASGITransport` or to uvicorn."""

    @cached_property
    def app(self) -> Starlette:
        """Mux's REST API and the control API; under a server it also delivers webhooks."""
        routes = all_routes(self, control_routes(self))
        return Starlette(routes=routes, lifespan=self._deliver_while_serving)

    async def deliver_due(self) -> int:
        """Send every due webhook delivery, forged ones too; returns the number of POST requests."""
        async with asyncio.TaskGroup() as group:
            deliveries = [webhook_sender.deliver(self, webhook) for webhook in self.webhooks]
            tasks = [group.create_task(delivery) for delivery in deliveries]
        return sum(task.result() for task in tasks)

    async def run_webhooks(self, stop: asyncio.Event, every: float = _TICK) -> None:
        """Send due webhook deliveries `every` so many seconds, until `stop` is set."""
        await webhook_sender.run(self, stop, every, self.sleep)

    @asynccontextmanager
    async def _deliver_while_serving(self, _app: Starlette) -> AsyncIterator[None]:
        stop = asyncio.Event()
        # In real time: a sleep that moves a test's clock would advance it while nothing happens.
        running = asyncio.create_task(webhook_sender.run(self, stop, _TICK, asyncio.sleep))
        try:
            yield
        finally:
            stop.set()
            await running
