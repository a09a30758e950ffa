"""Many processes on one PostgreSQL, woken by Procrastinate: workers sweep, endpoints receive.

The emulator is one more process on the same cores, so more workers than cores show what they cost,
not what they bring.
"""

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Any, Final

from sqlalchemy import func, select

from benchmarks.bench import Progress, Sizes, urls
from benchmarks.providers import TOKEN, assets_at, served
from benchmarks.sender import (
    CONNECTIONS,
    PER_SECOND,
    SATURATED_SECONDS,
    SECRET,
    Line,
    an_event_stream,
    flood,
    steady,
)
from benchmarks.tables import a_due_row, fill
from benchmarks.webhooks import STEADY_SECONDS, all_applied, listening
from rindle_sync.app import now
from rindle_sync.domain import State, replace
from rindle_sync.store import Store
from rindle_sync.store.schema import assets, changes, webhook_events
from tests.support.processes import Shell, a_store, free_port

WORKERS: Final = (1, 2, 4)
ENDPOINTS: Final = (1, 2)
ENVIRONMENTS: Final = 8
UNLIMITED: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweeping:
    """Rows that are due in eight environments, until all are in sync."""

    workers: int
    rows: int
    seconds: float
    rows_per_second: float
    ratio: float
    """To one worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiving:
    """Webhooks under a steady load and at saturation; times in milliseconds."""

    endpoints: int
    kept_per_second: float
    ratio: float
    """To one endpoint."""
    kept_median_ms: float
    kept_p99_ms: float
    settled_median_ms: float
    """From when a delivery came in to the commit of its row, under the steady load."""
    settled_p95_ms: float


async def workers(database: str, sizes: Sizes, progress: Progress) -> list[Sweeping]:
    """How many rows a second so many workers bring in sync."""
    found: list[Sweeping] = []
    for number in WORKERS if database == "postgresql" else ():
        progress(f"{database}: workers, {number}")
        with urls(database, 1) as (url,):
            async with served() as provider, a_store(url) as store:
                seconds = await _swept(url, store, provider, sizes.rows, number)
        rate = sizes.rows / seconds
        found.append(
            Sweeping(
                workers=number,
                rows=sizes.rows,
                seconds=seconds,
                rows_per_second=rate,
                ratio=rate / found[0].rows_per_second if found else 1.0,
            )
        )
    return found


async def _swept(url: str, store: Store, provider: str, rows: int, number: int) -> float:
    there = await assets_at(provider, rows // ENVIRONMENTS)
    async with _fleet(url, provider) as fleet:
        for _ in range(number):
            await fleet.start("worker", "sweeping")
        due, moment = [], now()
        for place in range(ENVIRONMENTS):
            due += [
                replace(
                    a_due_row(i, moment - timedelta(hours=2), moment), environment=f"env-{place}"
                )
                for i in there.ids
            ]
        await fill(store, due)
        began = time.perf_counter()
        await _until(store, select(func.count()).where(assets.c.state != State.READY.value))
        return time.perf_counter() - began


async def endpoints_of_a_fleet(database: str, _: Sizes, progress: Progress) -> list[Receiving]:
    """How many webhooks a second so many endpoints store, and how soon one worker applies them."""
    found: list[Receiving] = []
    for number in ENDPOINTS if database == "postgresql" else ():
        progress(f"{database}: endpoints, {number}")
        with urls(database, 1) as (url,):
            async with (
                a_store(url) as store,
                _fleet(url, f"http://127.0.0.1:{free_port()}", tables=False) as fleet,
            ):
                figures = await _received(store, fleet, number)
        ratio = figures.kept_per_second / found[0].kept_per_second if found else 1.0
        found.append(dataclasses.replace(figures, ratio=ratio))
    return found


async def _received(store: Store, fleet: "_Fleet", number: int) -> Receiving:
    events = list(
        islice(an_event_stream(), PER_SECOND * STEADY_SECONDS + int(4_000 * SATURATED_SECONDS))
    )
    hour_ago = now() - timedelta(hours=1)
    tracked = [e.asset_id for e in events if e.kind == "about a row"]
    await fill(store, (replace(a_due_row(i, hour_ago, now()), check_at=None) for i in tracked))
    await fleet.start("worker", "sweeping")
    ports = [await fleet.endpoint() for _ in range(number)]
    lines = [await Line.to(ports[place % number]) for place in range(CONNECTIONS)]
    try:
        kept = await steady(lines, events[: PER_SECOND * STEADY_SECONDS])
        await all_applied(store)
        settled = await _settled(store)
        began = time.perf_counter()
        flooded = await flood(lines, events[PER_SECOND * STEADY_SECONDS :])
        seconds = time.perf_counter() - began
    finally:
        for line in lines:
            line.close()
    return Receiving(
        endpoints=number,
        kept_per_second=sum(a.status != 503 for a in flooded) / seconds,
        ratio=1.0,
        kept_median_ms=median(a.seconds for a in kept) * 1000,
        kept_p99_ms=quantiles([a.seconds for a in kept], n=100)[98] * 1000,
        settled_median_ms=median(settled) * 1000,
        settled_p95_ms=quantiles(settled, n=20)[18] * 1000,
    )


async def _settled(store: Store) -> list[float]:
    """Seconds from the coming in of each delivery to the change that it made."""
    by_asset = assets.join(changes, changes.c.row_id == assets.c.id).join(
        webhook_events, webhook_events.c.provider_asset_id == assets.c.provider_asset_id
    )
    async with store.database.reading() as connection:
        found = await connection.execute(
            select(webhook_events.c.received_at, changes.c.at).select_from(by_asset)
        )
        return [(line.at - line.received_at).total_seconds() for line in found]


async def _until(store: Store, none_left: Any) -> None:
    async with store.database.reading() as connection:
        while (await connection.execute(none_left)).scalar_one():
            await connection.rollback()
            await asyncio.sleep(0.05)


@dataclass(frozen=True, slots=True)
class _Fleet:
    shell: Shell
    stack: AsyncExitStack

    async def start(self, command: str, says: str) -> None:
        running = await self.stack.enter_async_context(self.shell.started(command))
        await running.says(says)

    async def endpoint(self) -> int:
        port = free_port()
        running = await self.stack.enter_async_context(
            self.shell.but(listen_port=port).started("receive")
        )
        await listening(running, port)
        return port


@asynccontextmanager
async def _fleet(url: str, provider: str, *, tables: bool = True) -> AsyncIterator[_Fleet]:
    settings = {
        "engine": "procrastinate",
        "database_url": url,
        "mux_base_url": provider,
        "mux_webhook_secrets": SECRET,
        "provider_read_burst": str(UNLIMITED),
        "provider_reads_per_second": str(UNLIMITED),
        "sweep_interval_seconds": "1",
        "audit_days": "0",
    }
    token = {"mux_token_id": TOKEN.token_id, "mux_token_secret": TOKEN.token_secret}
    with TemporaryDirectory(prefix="rindle-bench-") as folder:
        if tables:
            lines = [f'{name} = "{value}"' for name, value in token.items()]
            each = [
                f"[environments.env-{place}]\n" + "\n".join(lines) for place in range(ENVIRONMENTS)
            ]
            (Path(folder) / "rindle-sync.toml").write_text("\n".join(each))
        shell = Shell(Path(folder), settings if tables else settings | token)
        migrated = await shell.run("migrate")
        assert migrated.code == 0, migrated.err
        async with AsyncExitStack() as stack:
            yield _Fleet(shell, stack)
