"""Whatever a connection to the provider does, a call ends in an answer or in an error of ours."""

import asyncio
import gzip
import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rindle_sync.errors import (
    AuthenticationFailed,
    NotFound,
    ProviderUnavailable,
    RateLimited,
    RindleSyncError,
)
from rindle_sync.providers.mux import Credentials, Mux
from tests.support.rows import NOW

ID: Final = "aPlantedIdOfAnAsset0123456789abcdefghij"
TOKEN: Final = Credentials("aPlantedTokenId0123456789", "aPlantedTokenSecret0123456789")
RESET: Final = struct.pack("ii", 1, 0)
"""Closed so, a connection is reset at the other end."""
KNOWN: Final = (AuthenticationFailed, NotFound, ProviderUnavailable, RateLimited)


@dataclass(frozen=True)
class Talk:
    """What the far end writes, in at most 50 parts of `step` bytes or more, and how it ends."""

    written: bytes
    step: int = 1000
    ends: str = "hang_up"


def answer(status: int, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Word", f"content-length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


BODY = json.dumps({"data": {"id": ID, "status": "ready", "playback_ids": []}}).encode()
ERROR = json.dumps({"error": {"type": "not_found", "messages": [f"no {ID}"]}}).encode()
PACKED = gzip.compress(BODY)

whole = st.sampled_from(
    [
        answer(200, BODY),
        answer(200, PACKED, "content-encoding: gzip"),
        answer(404, ERROR),
        answer(404, b"<html>"),
        answer(401, ERROR),
        answer(429, ERROR, "retry-after: 7"),
        answer(429, ERROR, "retry-after: soon"),
        answer(302, b"", f"location: https://elsewhere.example/{ID}"),
        answer(503, ERROR, f"x-asset: {ID}"),
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\n{}  \r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n" + ID.encode(),
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n" + BODY,
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 7\r\n\r\n" + BODY,
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
    ]
)


@st.composite
def talks(draw: st.DrawFn) -> Talk:
    """An answer that may be cut off, bent or not be one at all."""
    written = draw(st.one_of(whole, st.binary(max_size=200)))
    if draw(st.booleans()):
        written = written[: draw(st.integers(0, len(written)))]
    if draw(st.booleans()) and written:
        place = draw(st.integers(0, len(written) - 1))
        written = written[:place] + draw(st.binary(min_size=1, max_size=3)) + written[place + 1 :]
    step = draw(st.sampled_from([1, 7, 100, 100_000]))
    return Talk(written, step, draw(st.sampled_from(["hang_up", "reset", "wait"])))


@asynccontextmanager
async def listening(talk: Talk) -> AsyncIterator[str]:
    """The address of a far end that reads a request and then talks so."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await reader.readuntil(b"\r\n\r\n")
            step = max(talk.step, len(talk.written) // 50 + 1)
            for start in range(0, len(talk.written), step):
                writer.write(talk.written[start : start + step])
                await writer.drain()
            if talk.ends == "wait":
                await reader.read()
            if talk.ends == "reset":
                writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, RESET
                )
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@given(talk=talks())
@example(talk=Talk(answer(200, BODY)))
@example(talk=Talk(answer(200, BODY)[:-1]))
@example(talk=Talk(b"", ends="reset"))
@example(talk=Talk(b"", ends="wait"))
def test_whatever_a_connection_does_the_call_ends_and_shows_no_secret(talk: Talk) -> None:
    async def call() -> RindleSyncError | None:
        async with listening(talk) as url:
            mux = Mux(TOKEN, base_url=url, timeout=0.2)
            try:
                observation = await mux.get_asset(ID, NOW)
            except RindleSyncError as error:
                return error
            finally:
                await mux.close()
        assert observation.provider_asset_id == ID
        return None

    error = asyncio.run(call())

    assert error is None or isinstance(error, KNOWN)
    # the request was read: what creates something must not be tried again blindly
    assert getattr(error, "was_sent", True)
    told = f"{error} {error!r} {error.__cause__!r}" if error else ""
    assert ID not in told
    assert TOKEN.token_id not in told
    assert TOKEN.token_secret not in told


async def test_each_way_to_fail_has_its_name() -> None:
    expected = {
        answer(404, ERROR): NotFound,
        answer(404, b"<html>"): ProviderUnavailable,
        answer(401, ERROR): AuthenticationFailed,
        answer(302, b"", "location: /elsewhere"): ProviderUnavailable,
        answer(503, b""): ProviderUnavailable,
        answer(200, BODY)[:-1]: ProviderUnavailable,
        b"": ProviderUnavailable,
    }
    for written, kind in expected.items():
        assert await failure(Talk(written)) is kind, written
    assert await failure(Talk(b"", ends="reset")) is ProviderUnavailable
    assert await failure(Talk(b"HTTP/1.1 200 OK\r\n", ends="wait")) is ProviderUnavailable


async def test_a_429_says_when_to_come_back() -> None:
    async with listening(Talk(answer(429, ERROR, "Retry-After: 7"))) as url:
        mux = Mux(TOKEN, base_url=url)
        with pytest.raises(RateLimited) as limited:
            await mux.get_asset(ID, NOW)
        await mux.close()

    assert limited.value.retry_after == 7


async def failure(talk: Talk) -> type[Exception] | None:
    async with listening(talk) as url:
        mux = Mux(TOKEN, base_url=url, timeout=0.2)
        try:
            await mux.get_asset(ID, NOW)
        except RindleSyncError as error:
            return type(error)
        finally:
            await mux.close()
    return None
