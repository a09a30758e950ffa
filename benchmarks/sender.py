"""Webhook deliveries, signed, and the connections over which they are sent."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import cycle, takewhile
from typing import Any, Final, Self
from uuid import uuid4

from rindle_sync.app import now
from rindle_sync.providers.mux import sign

SECRET: Final = "whsec-of-the-benchmark"
PATH: Final = "/webhooks/mux"
CONNECTIONS: Final = 16
PER_SECOND: Final = 200
SATURATED_SECONDS: Final = 4.0

KINDS: Final = (
    ("about a row", "video.asset.ready"),
    ("about no row", "video.asset.ready"),
    ("about a row", "video.asset.ready"),
    ("not acted on", "video.live_stream.active"),
)


@dataclass(frozen=True, slots=True)
class Event:
    """One delivery, ready to be sent."""

    id: str
    asset_id: str
    kind: str
    request: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one delivery."""

    event: Event
    status: int
    seconds: float


class Line(asyncio.Protocol):
    """One connection that is kept alive; it costs the sender little."""

    def __init__(self) -> None:
        self._transport: Any = None
        self._answer: asyncio.Future[int] | None = None
        self._received = b""

    @classmethod
    async def to(cls, port: int) -> Self:
        _, line = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return line

    async def post(self, event: Event, began: float) -> Answer:
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(event.request)
        return Answer(event, await self._answer, time.perf_counter() - began)

    def close(self) -> None:
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if end and self._answer:
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            if len(body) >= int(length):
                self._received = b""
                self._answer.set_result(int(head[9:12]))

    def connection_lost(self, _: Exception | None) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_exception(ConnectionError("the server closed the connection"))


@asynccontextmanager
async def lines_to(port: int) -> AsyncIterator[list[Line]]:
    lines = [await Line.to(port) for _ in range(CONNECTIONS)]
    try:
        yield lines
    finally:
        for line in lines:
            line.close()


def an_event_stream() -> Iterator[Event]:
    """Deliveries without end, signed."""
    for kind, type_ in cycle(KINDS):
        event_id, asset_id = str(uuid4()), uuid4().hex
        event = {
            "type": type_,
            "id": event_id,
            "created_at": now().isoformat(),
            "object": {"type": "asset", "id": asset_id},
            "environment": {"name": "Benchmark", "id": "benchmark"},
            "data": {
                "id": asset_id,
                "status": "ready",
                "created_at": int(time.time()),
                "duration": 23.87,
                "playback_ids": [{"id": uuid4().hex, "policy": "public"}],
                "tracks": [
                    {"type": "video", "max_width": 1920, "max_height": 1080, "duration": 23.83}
                ]
                * 3,
            },
            "attempts": [],
        }
        body = json.dumps(event).encode()
        head = (
            f"POST {PATH} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nmux-signature: {sign(body, SECRET, now())}\r\n\r\n"
        )
        yield Event(event_id, asset_id, kind, head.encode() + body)


async def flood(
    lines: Sequence[Line], events: Sequence[Event], seconds: float = SATURATED_SECONDS
) -> list[Answer]:
    """Each line sends its next event once the last is answered, until the time is over."""
    end, answers = time.perf_counter() + seconds, list[Answer]()
    in_time = takewhile(lambda _: time.perf_counter() < end, iter(events))

    async def send(line: Line) -> None:
        for event in in_time:
            answers.append(await line.post(event, time.perf_counter()))

    await asyncio.gather(*(send(line) for line in lines))
    return answers


async def steady(
    lines: Sequence[Line], events: Sequence[Event], per_second: int = PER_SECOND
) -> list[Answer]:
    """Each event at its own moment, whether or not earlier ones are answered.

    The wait for a free line counts.
    """
    free: asyncio.Queue[Line] = asyncio.Queue()
    for line in lines:
        free.put_nowait(line)
    began = time.perf_counter() + 0.1

    async def send(event: Event, moment: float) -> Answer:
        await asyncio.sleep(moment - time.perf_counter())
        line = await free.get()
        answer = await line.post(event, moment)
        free.put_nowait(line)
        return answer

    return await asyncio.gather(
        *(send(event, began + place / per_second) for place, event in enumerate(events))
    )
