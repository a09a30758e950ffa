"""The app's end of outgoing webhooks: a real HTTP server that answers as a test says."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Received:
    """One request, as it came."""

    headers: dict[str, str]
    body: bytes
    path: str

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def type(self) -> str:
        return str(self.json["type"])

    @property
    def place(self) -> tuple[str, int]:
        data = self.json["data"]
        return data["row_id"], data["version"]


@dataclass
class AppEndpoint:
    """What came, and how it is answered: with `statuses` in turn, then with 204."""

    url: str = ""
    received: list[Received] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    """Of each answer."""
    hangs: bool = False
    answer: Answer | None = None
    at_once: int = 0
    most_at_once: int = 0
    came: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def types(self) -> list[str]:
        return [request.type for request in self.received]

    @property
    def ids(self) -> list[str]:
        return [request.headers["webhook-id"] for request in self.received]

    async def has_received(self, number: int) -> None:
        """Wait until so many requests have come."""
        async with self.came:
            await self.came.wait_for(lambda: len(self.received) >= number)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.received.append(Received(headers, body, request.path_qs))
        async with self.came:
            self.came.notify_all()
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        try:
            if self.hangs:
                await asyncio.Event().wait()
            if self.answer:
                return await self.answer(request)
            status = self.statuses.pop(0) if self.statuses else 204
            return web.Response(status=status, headers=self.headers)
        finally:
            self.at_once -= 1


@asynccontextmanager
async def an_endpoint(
    *statuses: int, tls: ssl.SSLContext | None = None, **options: Any
) -> AsyncIterator[AppEndpoint]:
    """A server at `url`, on this machine."""
    endpoint = AppEndpoint(statuses=list(statuses), **options)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", endpoint.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    port = runner.addresses[0][1]
    endpoint.url = f"http{'s' if tls else ''}://127.0.0.1:{port}/hooks/secretpath0001"
    try:
        yield endpoint
    finally:
        await runner.cleanup()
