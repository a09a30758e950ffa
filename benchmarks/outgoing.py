"""How fast changes are published and sent to endpoints, and how soon after the change they arrive.

The endpoints are in a process of their own. The rates are those of one process that does nothing
else; how soon they arrive is that of `rindle-sync run`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

from sqlalchemy import delete, insert

from benchmarks.bench import Bench, Progress, Sizes, World, groom, opened, urls
from benchmarks.dispatches import MOST, changes_of
from benchmarks.measures import prepared
from benchmarks.receiver import ANSWERED, HANGS, Receiver, p99, receiver
from benchmarks.sender import SECRET, Event, an_event_stream, lines_to, steady
from benchmarks.tables import a_due_row, fill
from benchmarks.webhooks import listening
from rindle_sync.app import now
from rindle_sync.domain import replace
from rindle_sync.runtime import ChangeEvent
from rindle_sync.runtime.outgoing.signature import new_secret
from rindle_sync.store.schema import changes
from rindle_sync.store.schema.outgoing_tables import outgoing_webhooks
from tests.support.processes import Shell, a_store, free_port

A_SECOND: Final = 50
SECONDS: Final = 10
"""So many changes a second are made for so long, to see how soon they arrive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingRate:
    """Changes a second, one of each row, and statements for each change."""

    database: str
    what: str
    changes_per_second: float
    ratio: float
    """To the same changes dispatched to a callback, in this run."""
    statements: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """From a change until its webhook has arrived, at 50 changes a second."""

    database: str
    webhooks: int
    median_ms: float
    p99_ms: float


async def outgoing_rates(database: str, sizes: Sizes, progress: Progress) -> list[OutgoingRate]:
    """Changes that are dispatched in the process, published, and sent; the median of each."""
    world = await World.of(min(sizes.rows, MOST))
    found: list[OutgoingRate] = []
    async with receiver() as app:
        for repeat in range(sizes.repeats):
            with urls(database, 1) as (url,):
                async with opened(url, world) as bench:
                    progress(f"{database}: outgoing, {repeat + 1} of {sizes.repeats}")
                    found += await _rates(bench, world, app)
    return [_median([r for r in found if r.what == what]) for what in {r.what: 0 for r in found}]


def _median(rates: Sequence[OutgoingRate]) -> OutgoingRate:
    return sorted(rates, key=lambda rate: rate.ratio)[len(rates) // 2]


async def _hear(_: ChangeEvent) -> None: ...


async def _rates(bench: Bench, world: World, app: Receiver) -> list[OutgoingRate]:
    number = len(world.assets.ids)
    rindle, runner = bench.rindle, bench.rindle.job_runner
    rindle.on_change(_hear)
    first = await _rated(bench, world, "to a callback", rindle.dispatch, 1.0)
    rates = [first]

    async def rate(what: str, work: Callable[[], Awaitable[object]]) -> None:
        rates.append(await _rated(bench, world, what, work, first.changes_per_second))

    await bench.store.change_feed.turn_on()
    await rate("published", runner.publish)
    await rindle.outgoing.create("first", app.url + ANSWERED, allow_private=True)
    await rate("published, for one endpoint", runner.publish)
    await rate("to one endpoint", _sending(bench, app, number))
    await rindle.outgoing.create("second", app.url + ANSWERED, allow_private=True)
    await rindle.outgoing.create("third", app.url + HANGS, allow_private=True)
    await rate("to three, of which one hangs", _sending(bench, app, 2 * number))
    return rates


def _sending(bench: Bench, app: Receiver, webhooks: int) -> Callable[[], Awaitable[None]]:
    """Publishes the changes and sends them, until so many webhooks more have arrived."""

    async def send() -> None:
        wanted = len(await app.arrived()) + webhooks
        sending = asyncio.create_task(bench.rindle.deliver())
        try:
            await app.arrived(wanted)
        finally:
            sending.cancel()
            with suppress(asyncio.CancelledError):
                await sending

    return send


async def _rated(
    bench: Bench, world: World, what: str, work: Callable[[], Awaitable[object]], base: float
) -> OutgoingRate:
    rows = await prepared(bench, world.assets)
    async with bench.store.database.engine.begin() as connection:
        await connection.execute(delete(outgoing_webhooks))
        await connection.execute(insert(changes), changes_of(rows))
    groom(bench.url)
    bench.meter.clear()
    began = time.perf_counter()
    await work()
    per_second = len(rows) / (time.perf_counter() - began)
    return OutgoingRate(
        database=bench.database,
        what=what,
        changes_per_second=per_second,
        ratio=per_second / base if base != 1.0 else 1.0,
        statements=bench.meter.counts["statements"] / len(rows),
    )


async def arrivals(database: str, _: Sizes, progress: Progress) -> list[Arrival]:
    """A service with one endpoint, whose provider's webhooks make the changes."""
    events = [e for e in islice(an_event_stream(), 2 * A_SECOND * SECONDS) if e.kind == _ABOUT]
    progress(f"{database}: outgoing, {A_SECOND} changes a second for {SECONDS} s")
    async with receiver() as app:
        with urls(database, 1) as (url,):
            seconds = await _arrived(url, app, events)
    ordered = [each * 1000 for each in seconds]
    return [
        Arrival(
            database=database, webhooks=len(ordered), median_ms=median(ordered), p99_ms=p99(ordered)
        )
    ]


_ABOUT: Final = "about a row"


async def _arrived(url: str, app: Receiver, events: Sequence[Event]) -> list[float]:
    hour_ago, port = now() - timedelta(hours=1), free_port()
    async with a_store(url) as store:
        rows = (a_due_row(event.asset_id, hour_ago, now()) for event in events)
        await fill(store, (replace(row, check_at=None) for row in rows))
    settings = {
        "database_url": url,
        "mux_base_url": f"http://127.0.0.1:{free_port()}",
        "mux_token_id": "nobody",
        "mux_token_secret": "nothing",
        "mux_webhook_secrets": SECRET,
        "listen_port": str(port),
        "outgoing_webhook_url": app.url + ANSWERED,
        "outgoing_webhook_secret": new_secret(),
        "outgoing_webhook_allow_private": "on",
    }
    with TemporaryDirectory(prefix="rindle-bench-") as folder:
        async with Shell(Path(folder), settings).started("run") as running:
            await listening(running, port)
            async with lines_to(port) as lines:
                await steady(lines, events, A_SECOND)
                return await app.arrived(len(events))
