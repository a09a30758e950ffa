"""What an emulator delivers to real endpoints, and what became of what they acknowledged."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from rindle_sync.domain import EventStatus
from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.store import Store
from rindle_sync.web.server import listen, serve
from tests.support.processes import FarEnd, eventually


class Acknowledging(httpx.AsyncBaseTransport):
    """Carries deliveries, and notes the events that were answered with 2xx."""

    def __init__(self, acknowledged: set[str]) -> None:
        self._acknowledged = acknowledged
        self._inner = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._inner.handle_async_request(request)
        if response.is_success:
            self._acknowledged.add(json.loads(request.content)["id"])
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


@asynccontextmanager
async def delivering(emulator: MuxEmulator) -> AsyncIterator[FarEnd]:
    """The emulator on a port of this process, which delivers its webhooks meanwhile."""
    listening, stop = listen("127.0.0.1", 0), asyncio.Event()
    serving = asyncio.create_task(serve(emulator.app, listening, stop, lifespan=True))
    try:
        yield FarEnd(emulator, f"http://127.0.0.1:{listening.getsockname()[1]}")
    finally:
        stop.set()
        await serving


async def nothing_acknowledged_is_lost(store: Store, acknowledged: set[str]) -> None:
    """Each delivery is kept, and none waits.

    Those that came before their row, and are dead by now, can be replayed.
    """
    inbox = store.inbox

    async def none_waits() -> None:
        kept = await inbox.list(limit=100_000)
        assert acknowledged <= {webhook_event.event_id for webhook_event in kept}
        assert not [
            webhook_event
            for webhook_event in kept
            if webhook_event.status is EventStatus.PENDING and not webhook_event.attempts
        ]

    await eventually(none_waits)
