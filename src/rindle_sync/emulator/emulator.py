"""The emulated account as an ASGI app, with its webhooks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cached_property
from typing import Final

from starlette.applications import Starlette

from rindle_sync.emulator.account import MuxAccount
from rindle_sync.emulator.control_api import control_routes
from rindle_sync.emulator.router import fallback_route, mux_routes
from rindle_sync.emulator.webhook_sender import WebhookSender

_TICK: Final = 0.1


class MuxEmulator(MuxAccount):
    """A fake Mux environment; pass its `app` to `httpx.ASGITransport` or to uvicorn."""

    @cached_property
    def app(self) -> Starlette:
        """Mux's REST API and the control API; under a server it also delivers webhooks."""
        # Routes are matched in this order, and most calls are Mux's.
        routes = [*mux_routes(self), *control_routes(self), fallback_route(self)]
        return Starlette(routes=routes, lifespan=self._deliver_while_serving)

    async def deliver_due(self) -> int:
        """Send every due webhook delivery, forged ones too; returns the number of POST requests."""
        return await WebhookSender(self).deliver_due()

    async def run_webhooks(self, stop: asyncio.Event, every: float = _TICK) -> None:
        """Send due webhook deliveries `every` so many seconds, until `stop` is set."""
        await WebhookSender(self).run(stop, every, self.sleep)

    @asynccontextmanager
    async def _deliver_while_serving(self, _app: Starlette) -> AsyncIterator[None]:
        stop = asyncio.Event()
        # In real time: a sleep that moves a test's clock would advance it while nothing happens.
        running = asyncio.create_task(WebhookSender(self).run(stop, _TICK, asyncio.sleep))
        try:
            yield
        finally:
            stop.set()
            await running
