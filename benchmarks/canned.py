"""A provider in a process of its own that answers at once: an asset by its id, over HTTP.

The emulator takes longer for an answer than a client that is measured against it. Here every body
is one real answer of the emulator with another id; the id itself says when its asset was made. The
first segment of a path is how many milliseconds each answer takes.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import httpx

from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.emulator.lifecycle import Life

_PREFIX: Final = "made"
_END: Final = b"\r\n\r\n"
_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\ndate: %s\r\ncontent-type: application/json; charset=utf-8\r\n"
    b"x-ratelimit-remaining: 1000000\r\ncontent-length: %d\r\n\r\n"
)


def asset_ids(count: int) -> tuple[Sequence[str], Sequence[int]]:
    """The ids of as many ready assets, newest first, and when each was made: within one hour."""
    newest = int(time.time()) - 3600
    made = [newest - 3600 * place // count for place in range(count)]
    return [f"{_PREFIX}{second}{place:034d}" for place, second in enumerate(made)], made


@asynccontextmanager
async def canned() -> AsyncIterator[str]:
    """The address of such a provider, without the milliseconds."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout
    try:
        port = int(await process.stdout.readline())
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


class _Connection(asyncio.Protocol):
    def __init__(self, body: bytes, asset_id: bytes, made: bytes) -> None:
        self._body, self._id, self._made = body, asset_id, made
        self._date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime()).encode()
        self._loop = asyncio.get_running_loop()
        self._got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._got += data
        while _END in self._got:
            head, _, self._got = self._got.partition(_END)
            path = head.split(b" ", 2)[1].split(b"/")
            answer, delay = self._answer(path[-1]), int(path[1])
            if delay:
                self._loop.call_later(delay / 1000, self._transport.write, answer)
            else:
                self._transport.write(answer)

    def _answer(self, asset_id: bytes) -> bytes:
        made = asset_id[len(_PREFIX) : len(_PREFIX) + 10]
        body = self._body.replace(self._id, asset_id).replace(self._made, made)
        return _HEAD % (self._date, len(body)) + body


async def _body() -> tuple[bytes, bytes, bytes]:
    """One answer of the emulator, with the id and the time that stand in it."""
    emulator, made = MuxEmulator(), int(time.time()) - 7200
    [asset_id] = emulator.create_assets(
        1, life=Life(ends="ready", after=0), created_at=made, every=1
    )
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(emulator.app),
        auth=(emulator.token_id, emulator.token_secret),
        base_url="http://mux.invalid",
    ) as client:
        answer = (await client.get(f"/video/v1/assets/{asset_id}")).raise_for_status()
    return answer.content, asset_id.encode(), str(made).encode()


async def _serve() -> None:
    known = await _body()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(*known), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve())
