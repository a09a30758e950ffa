"""The app's end of outgoing webhooks, in a process of its own; it says what came, and when.

`python -m benchmarks.receiver` prints its port, and ends with its standard input. An answer costs
it some 20 µs, so that it is never what a figure shows.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from statistics import quantiles
from typing import Any, Final

import httpx

ANSWERED: Final = "/answered"
"""What is sent to a path that begins so is answered with 204."""

HANGS: Final = "/hangs"
"""What is sent here is never answered."""

_ARRIVED: Final = "/arrived/"
WITHIN: Final = 90.0
"""Seconds that is waited for what is to come."""

_DONE: Final = b"HTTP/1.1 204 No Content\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Receiver:
    """The process, by its URL."""

    url: str
    client: httpx.AsyncClient

    async def arrived(self, number: int = 0) -> list[float]:
        """Seconds from each change to the arrival of its webhook, once at least so many came."""
        url = f"{self.url}{_ARRIVED}{number}"
        found: list[float] = (await self.client.get(url, timeout=WITHIN)).json()
        return found


def p99(seconds: list[float]) -> float:
    return quantiles(seconds, n=100)[98]


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that has got nothing yet."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __name__),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin
    assert process.stdout
    try:
        async with asyncio.timeout(60):
            port = int(await process.stdout.readline())
        async with httpx.AsyncClient() as client:
            yield Receiver(f"http://127.0.0.1:{port}", client)
    finally:
        process.stdin.close()
        await process.wait()


class _App:
    """What came, and who waits for how much of it."""

    def __init__(self) -> None:
        self._came: list[tuple[float, bytes]] = []
        self._waits: dict[asyncio.Transport, int] = {}

    def add(self, body: bytes) -> None:
        self._came.append((time.time(), body))
        self._tell()

    def wait(self, transport: asyncio.Transport, number: int) -> None:
        self._waits[transport] = number
        self._tell()

    def _tell(self) -> None:
        for transport, number in list(self._waits.items()):
            if len(self._came) >= number:
                del self._waits[transport]
                told = json.dumps([_seconds(*each) for each in self._came]).encode()
                transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(told))
                transport.write(told)


class _Connection(asyncio.Protocol):
    """One connection, kept alive; requests come one after another."""

    def __init__(self, app: _App) -> None:
        self._app = app
        self._received = b""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        if not end or len(body) < int(length or 0):
            return
        self._received = b""
        path = head.split(b" ", 2)[1].decode()
        if path.startswith(_ARRIVED):
            self._app.wait(self._transport, int(path.removeprefix(_ARRIVED)))
        elif path != HANGS:
            self._transport.write(_DONE)
            self._app.add(body)


def _seconds(arrived: float, body: bytes) -> float:
    return arrived - datetime.fromisoformat(json.loads(body)["timestamp"]).timestamp()


async def _serve() -> None:
    app, loop = _App(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(app), "127.0.0.1")
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(_serve())
