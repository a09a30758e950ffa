"""A provider in a process of its own: real HTTP, answers that were prepared, and nothing else.

`python -m benchmarks.canned` reads what it is to answer from its standard input, prints its port,
and ends with that input. An answer costs it some 20 µs, so that it is never what a figure shows.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from rindle_sync.providers.mux import Mux

HEAD = (
    b"HTTP/1.1 200 OK\r\ndate: Mon, 30 Nov 2026 10:00:00 GMT\r\nx-ratelimit-remaining: 1000000\r\n"
    b"content-type: application/json\r\ncontent-length: %d\r\n\r\n"
)
MISSING = b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}"
LIST = "/video/v1/assets"


class Answers(msgspec.Struct):
    """Assets at the provider, newest first, and how long each answer takes in seconds.

    Every asset is `asset`, but for its id and when it was made, in whole unix seconds.
    """

    ids: list[str]
    made: list[int]
    asset: msgspec.Raw
    latency: float = 0.0

    def by_path(self) -> dict[str, bytes]:
        """The answers, by path."""
        first_id, first_made = self.ids[0].encode(), str(self.made[0]).encode()
        answers, bodies = {}, []
        for asset_id, made in zip(self.ids, self.made, strict=True):
            body = bytes(self.asset).replace(first_id, asset_id.encode())
            bodies.append(body.replace(first_made, str(made).encode()))
            answers[f"{LIST}/{asset_id}"] = _answer(b'{"data":%s}' % bodies[-1])
        for start in range(0, len(bodies), Mux.page_size):
            answers[str(start)] = _answer(_page(bodies, start))
        return answers


def _page(bodies: list[bytes], start: int) -> bytes:
    following = start + Mux.page_size
    cursor = str(following) if following < len(bodies) else None
    data = [msgspec.Raw(body) for body in bodies[start:following]]
    return msgspec.json.encode({"data": data, "next_cursor": cursor})


def _answer(body: bytes) -> bytes:
    return HEAD % len(body) + body


class _Connection(asyncio.Protocol):
    """One kept-alive connection; a request has no body, and ends with an empty line."""

    def __init__(self, answers: dict[str, bytes], latency: float) -> None:
        self._answers = answers
        self._latency = latency
        self._received = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            request, _, self._received = self._received.partition(b"\r\n\r\n")
            target = urlsplit(request.split(b" ", 2)[1].decode())
            key = target.path
            if key == LIST:
                key = parse_qs(target.query).get("cursor", ["0"])[0]
            answer = self._answers.get(key, MISSING)
            asyncio.get_running_loop().call_later(self._latency, self._transport.write, answer)


async def _serve() -> None:
    spec = msgspec.json.decode(sys.stdin.buffer.readline(), type=Answers)
    answers, loop = spec.by_path(), asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: _Connection(answers, spec.latency), "127.0.0.1", 0, backlog=1000
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.buffer.readline)
    server.close()


@asynccontextmanager
async def serving(answers: Answers) -> AsyncIterator[str]:
    """The address of a process that gives these answers."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "benchmarks.canned"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin
    assert process.stdout
    try:
        process.stdin.write(msgspec.json.encode(answers) + b"\n")
        port = int(await process.stdout.readline())
        yield f"http://127.0.0.1:{port}"
    finally:
        process.stdin.close()
        await process.wait()


if __name__ == "__main__":
    asyncio.run(_serve())
