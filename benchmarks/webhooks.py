"""The webhook endpoint over real HTTP: the service in a process of its own, its load from here.

Half of the deliveries are about a row, a quarter about assets that no row knows, a quarter of a
type not acted on.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import cycle, islice, takewhile
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Final, Self
from uuid import uuid4

from sqlalchemy import ColumnElement, func, select

from benchmarks.bench import urls
from benchmarks.tables import a_due_row, fill
from rindle_sync.app import now
from rindle_sync.domain import EventStatus, State, replace
from rindle_sync.providers.mux import sign
from rindle_sync.store import Store
from rindle_sync.store.schema import assets, webhook_events
from tests.support.processes import Running, Shell, a_store, free_port

SECRET: Final = "whsec-of-the-benchmark"
PATH: Final = "/webhooks/mux"
CONNECTIONS: Final = 16
PER_SECOND: Final = 200
STEADY_SECONDS: Final = 4
SATURATED_SECONDS: Final = 4.0
MOST: Final = 6_000
"""Deliveries at saturation; after so many it ends early."""
CATCH_UP_SECONDS: Final = 8.0

KINDS: Final = (
    ("about a row", "video.asset.ready"),
    ("about no row", "video.asset.ready"),
    ("about a row", "video.asset.ready"),
    ("not acted on", "video.live_stream.active"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """What the endpoint kept.

    Times in milliseconds, those of the steady load from when a delivery was due.
    """

    database: str
    kept_per_second: float
    saturated_median_ms: float
    saturated_p99_ms: float
    steady_median_ms: float
    steady_p99_ms: float
    applied_per_second: float
    """Notices taken up while the flood went on and until none waited.

    Bounded by `CATCH_UP_SECONDS`.
    """
    events: int
    refused: int
    """Deliveries that were answered with a 503, to be sent again."""


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


class Line:
    """One connection that is kept alive."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def to(cls, port: int) -> Self:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def post(self, event: Event, began: float) -> Answer:
        self._writer.write(event.request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
        await self._reader.readexactly(int(length))
        return Answer(event, int(head.split(None, 2)[1]), time.perf_counter() - began)

    def close(self) -> None:
        self._writer.close()


async def endpoints(database: str, progress: Callable[[str], None]) -> list[Endpoint]:
    """The endpoint on one kind of database, under a steady load and at saturation."""
    count = PER_SECOND * STEADY_SECONDS + MOST
    progress(f"{database}: webhooks, {count:,} deliveries made")
    events = list(islice(an_event_stream(), count))
    with urls(database, 1) as (url,):
        async with a_store(url) as store:
            tracked = (event.asset_id for event in events if event.kind == "about a row")
            hour_ago = now() - timedelta(hours=1)
            rows = (a_due_row(asset_id, hour_ago, now()) for asset_id in tracked)
            await fill(store, (replace(row, check_at=None) for row in rows))
            async with _service(url) as port, _lines(port) as lines:
                return [await _measured(database, store, lines, events, progress)]


async def _measured(
    database: str,
    store: Store,
    lines: Sequence[Line],
    events: Sequence[Event],
    progress: Callable[[str], None],
) -> Endpoint:
    steadily = events[: PER_SECOND * STEADY_SECONDS]
    progress(f"{database}: webhooks, {PER_SECOND} a second for {STEADY_SECONDS} s")
    steadied = await steady(lines, steadily)
    await all_applied(store)
    waiting = await _taken_up(store)
    progress(f"{database}: webhooks, as many as it takes for {SATURATED_SECONDS:g} s")
    began = time.perf_counter()
    flooded_with = await flood(lines, events[len(steadily) :])
    flooded = time.perf_counter() - began
    progress(f"{database}: webhooks, until they are applied")
    await all_applied(store)
    taken_up, seconds = await _taken_up(store) - waiting, time.perf_counter() - began
    await _check(store, [*steadied, *flooded_with])
    return Endpoint(
        database=database,
        kept_per_second=sum(a.status != 503 for a in flooded_with) / flooded,
        saturated_median_ms=median(a.seconds for a in flooded_with) * 1000,
        saturated_p99_ms=_p99(flooded_with),
        steady_median_ms=median(a.seconds for a in steadied) * 1000,
        steady_p99_ms=_p99(steadied),
        applied_per_second=taken_up / seconds,
        events=len(steadied) + len(flooded_with),
        refused=sum(a.status == 503 for a in [*steadied, *flooded_with]),
    )


def _p99(answers: Sequence[Answer]) -> float:
    return quantiles([a.seconds for a in answers], n=100)[98] * 1000


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


@asynccontextmanager
async def _service(url: str) -> AsyncIterator[int]:
    """The service as users run it; the provider is a port that nobody listens on."""
    port = free_port()
    settings = {
        "database_url": url,
        "mux_base_url": f"http://127.0.0.1:{free_port()}",
        "mux_token_id": "nobody",
        "mux_token_secret": "nothing",
        "mux_webhook_secrets": SECRET,
        "listen_port": str(port),
    }
    with TemporaryDirectory(prefix="rindle-bench-") as folder:
        async with Shell(Path(folder), settings).started("run") as running:
            await listening(running, port)
            yield port


async def listening(running: Running, port: int) -> None:
    end = time.perf_counter() + 15
    while time.perf_counter() < end:
        assert running.process.returncode is None, running.err
        try:
            (await Line.to(port)).close()
        except OSError:
            await asyncio.sleep(0.05)
        else:
            return
    raise AssertionError(running.err)


@asynccontextmanager
async def _lines(port: int) -> AsyncIterator[list[Line]]:
    lines = [await Line.to(port) for _ in range(CONNECTIONS)]
    try:
        yield lines
    finally:
        for line in lines:
            line.close()


async def flood(lines: Sequence[Line], events: Sequence[Event]) -> list[Answer]:
    """Each line sends its next event once the last is answered, until the time is over."""
    end, answers = time.perf_counter() + SATURATED_SECONDS, list[Answer]()
    in_time = takewhile(lambda _: time.perf_counter() < end, iter(events))

    async def send(line: Line) -> None:
        for event in in_time:
            answers.append(await line.post(event, time.perf_counter()))

    await asyncio.gather(*(send(line) for line in lines))
    return answers


async def steady(lines: Sequence[Line], events: Sequence[Event]) -> list[Answer]:
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
        *(send(event, began + place / PER_SECOND) for place, event in enumerate(events))
    )


async def all_applied(store: Store) -> None:
    """Wait until every kept notice was taken up once, or the time is over."""
    end = time.perf_counter() + CATCH_UP_SECONDS
    waits = (webhook_events.c.status == EventStatus.PENDING.value) & (
        webhook_events.c.attempts == 0
    )
    while time.perf_counter() < end and await _count(store, waits):  # noqa: ASYNC110  another process has no event
        await asyncio.sleep(0.1)


async def _taken_up(store: Store) -> int:
    return await _count(store, webhook_events.c.attempts > 0)


async def _count(store: Store, which: ColumnElement[bool]) -> int:
    async with store.database.reading() as connection:
        found = await connection.execute(
            select(func.count()).select_from(webhook_events).where(which)
        )
        return int(found.scalar_one())


async def _check(store: Store, answers: Sequence[Answer]) -> None:
    """Exactly what was answered with a 2xx is stored, and what is processed of it is applied."""
    statuses = {answer.status for answer in answers}
    assert statuses <= {200, 202, 503}, statuses
    kept_events = {a.event.id: a.event for a in answers if a.status != 503}
    async with store.database.reading() as connection:
        kept = {row.event_id: row for row in await connection.execute(select(webhook_events))}
        ready = select(assets.c.provider_asset_id).where(assets.c.state == State.READY.value)
        applied_to = set((await connection.execute(ready)).scalars())
    not_kept = {a.event.id for a in answers if a.status == 503}
    assert kept_events.keys() <= kept.keys() <= kept_events.keys() | not_kept
    assert {row.type for row in kept.values() if row.status == EventStatus.IGNORED} == {
        "video.live_stream.active"
    }
    assert applied_to == {
        row.provider_asset_id for row in kept.values() if row.status == EventStatus.APPLIED
    }
    assert applied_to <= {
        event.asset_id for event in kept_events.values() if event.kind == "about a row"
    }
    assert applied_to
