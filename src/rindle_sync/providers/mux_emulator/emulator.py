"""The emulated environment, served as an ASGI app, with its webhooks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cached_property
from typing import Final

from starlette.applications import Starlette

from rindle_sync.providers.mux_emulator.control import control_routes
from rindle_sync.providers.mux_emulator.courier import Courier
from rindle_sync.providers.mux_emulator.far_end import FarEnd
from rindle_sync.providers.mux_emulator.gate import mux_routes, other_route

_TICK: Final = 0.1


class MuxEmulator(FarEnd):
    """A Mux environment of your own, for tests: `app` goes to `httpx.ASGITransport` or to uvicorn."""

    @cached_property
    def app(self) -> Starlette:
        """Mux's REST paths and, under /_emulator/, the emulator's own; a server's lifespan also delivers webhooks."""
        # Looked through in this order for each call; most are Mux's.
        routes = [*mux_routes(self), *control_routes(self), other_route(self)]
        return Starlette(routes=routes, lifespan=self._delivering)

    async def deliver_due(self) -> int:
        """Send every webhook delivery whose time has come by now; how many POSTs that were, forged ones too."""
        return await Courier(self).deliver_due()

    async def run_webhooks(self, stop: asyncio.Event, every: float = _TICK) -> None:
        """Send webhook deliveries as they come due, looking `every` so many seconds, until `stop` is set."""
        await Courier(self).run(stop, every, self.sleep)

    @asynccontextmanager
    async def _delivering(self, _app: Starlette) -> AsyncIterator[None]:
        stop = asyncio.Event()
        # Ticks of real time: a sleep that moves a test's clock would run it away while the server is idle.
        running = asyncio.create_task(Courier(self).run(stop, _TICK, asyncio.sleep))
        try:
            yield
        finally:
            stop.set()
            await running
