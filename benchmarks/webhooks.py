"""The webhook endpoint over real HTTP: the service in a process of its own, its load from here.

Half of the deliveries are about a row, a quarter about assets that no row knows, a quarter of a
type not acted on.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Final

from sqlalchemy import ColumnElement, func, select

from benchmarks.bench import urls
from benchmarks.sender import (
    PER_SECOND,
    SATURATED_SECONDS,
    SECRET,
    Answer,
    Event,
    Line,
    an_event_stream,
    flood,
    lines_to,
    steady,
)
from benchmarks.tables import a_due_row, fill
from rindle_sync.app import now
from rindle_sync.domain import EventStatus, State, replace
from rindle_sync.store import Store
from rindle_sync.store.schema import assets, webhook_events
from tests.support.processes import PATIENCE, Running, Shell, a_store, free_port

STEADY_SECONDS: Final = 4
MOST: Final = 16_000
"""Deliveries at saturation; after so many it ends early."""
CATCH_UP_SECONDS: Final = 8.0


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


async def endpoints(database: str, progress: Callable[[str], None]) -> list[Endpoint]:
    """The endpoint on one kind of database, under a steady load and at saturation."""
    count = PER_SECOND * STEADY_SECONDS + MOST
    progress(f"{database}: webhooks, {count:,} deliveries made")
    events = list(islice(an_event_stream(), count))
    with urls(database, 1) as (url,):
        async with a_store(url) as store:
            await track(store, events)
            async with service(url) as (_, port), lines_to(port) as lines:
                return [await _measured(database, store, lines, events, progress)]


async def track(store: Store, events: Sequence[Event]) -> None:
    """Add the rows that half of the deliveries are about; no check of them is planned."""
    tracked = (event.asset_id for event in events if event.kind == "about a row")
    hour_ago = now() - timedelta(hours=1)
    rows = (a_due_row(asset_id, hour_ago, now()) for asset_id in tracked)
    await fill(store, (replace(row, check_at=None) for row in rows))


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
    waiting = await taken_up(store)
    progress(f"{database}: webhooks, as many as it takes for {SATURATED_SECONDS:g} s")
    began = time.perf_counter()
    flooded_with = await flood(lines, events[len(steadily) :])
    flooded = time.perf_counter() - began
    progress(f"{database}: webhooks, until they are applied")
    await all_applied(store)
    applied, seconds = await taken_up(store) - waiting, time.perf_counter() - began
    await check(store, [*steadied, *flooded_with])
    return Endpoint(
        database=database,
        kept_per_second=sum(a.status != 503 for a in flooded_with) / flooded,
        saturated_median_ms=median(a.seconds for a in flooded_with) * 1000,
        saturated_p99_ms=p99(flooded_with),
        steady_median_ms=median(a.seconds for a in steadied) * 1000,
        steady_p99_ms=p99(steadied),
        applied_per_second=applied / seconds,
        events=len(steadied) + len(flooded_with),
        refused=sum(a.status == 503 for a in [*steadied, *flooded_with]),
    )


def p99(answers: Sequence[Answer]) -> float:
    return quantiles([a.seconds for a in answers], n=100)[98] * 1000


@asynccontextmanager
async def service(url: str) -> AsyncIterator[tuple[Running, int]]:
    """The service as users run it; the provider is a port that nobody listens on."""
    port = free_port()
    settings = {
        "database_url": url,
        "mux_base_url": f"http://127.0.0.1:{free_port()}",
        "mux_token_id": "nobody",
        "mux_token_secret": "nothing",
        "mux_webhook_secrets": SECRET,
        "listen_port": str(port),
        "log_level": "warning",
    }
    with TemporaryDirectory(prefix="rindle-bench-") as folder:
        async with Shell(Path(folder), settings).started("run") as running:
            await listening(running, port)
            yield running, port


async def listening(running: Running, port: int) -> None:
    end = time.perf_counter() + PATIENCE
    while time.perf_counter() < end:
        assert running.process.returncode is None, running.err
        try:
            (await Line.to(port)).close()
        except OSError:
            await asyncio.sleep(0.05)
        else:
            return
    raise AssertionError(running.err)


async def all_applied(store: Store, within: float = CATCH_UP_SECONDS) -> bool:
    """Wait until every stored event was taken up once, or the time is over; whether it was."""
    end = time.perf_counter() + within
    table = webhook_events.c
    waits = (table.status == EventStatus.PENDING.value) & (table.attempts == 0)
    left = True
    while left and time.perf_counter() < end:
        await asyncio.sleep(0.05)  # another process has no event to wait for
        left = bool(await _count(store, waits & table.next_attempt_at.is_not(None)))
    return not left


async def taken_up(store: Store) -> int:
    return await _count(store, webhook_events.c.attempts > 0)


async def _count(store: Store, which: ColumnElement[bool]) -> int:
    async with store.database.reading() as connection:
        found = await connection.execute(
            select(func.count()).select_from(webhook_events).where(which)
        )
        return int(found.scalar_one())


async def check(store: Store, answers: Sequence[Answer]) -> None:
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
