"""A thousand environments in one process.

What one question about all of them costs, and one pass over all.
"""

import asyncio
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Final

import httpx
from sqlalchemy import event

from benchmarks.bench import Progress, Sizes, urls
from benchmarks.providers import BASE_URL, TOKEN, World
from benchmarks.tables import a_due_row, fill
from rindle_sync.app import now
from rindle_sync.config import plain_settings
from rindle_sync.domain import replace
from rindle_sync.installation import Installation, connect_all
from rindle_sync.store import DueJobs

NUMBERS: Final = (1, 100, 1_000)
ROWS_EACH: Final = 10
ASKED: Final = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Environments:
    """So many environments with ten due rows each, in one process with the embedded engine."""

    database: str
    environments: int
    asking_ms: float
    """One question what is due, of all environments, when nothing is."""
    seconds: float
    """Until all rows are in sync: each environment has its own budget, and its own sweep."""
    calls_per_row: float
    statements_per_row: float
    mebibytes: float
    """What the process has grown by."""


async def environments(database: str, _: Sizes, progress: Progress) -> list[Environments]:
    """All environments at once, against the emulator in this process."""
    found = []
    for number in NUMBERS:
        progress(f"{database}: environments, {number:,}")
        with urls(database, 1) as (url,):
            found.append(await _measured(database, url, number))
    return found


async def _measured(database: str, url: str, number: int) -> Environments:
    before, world = _resident(), await World.of(ROWS_EACH)
    tables = {
        f"env-{place}": {"mux_token_id": TOKEN.token_id, "mux_token_secret": TOKEN.token_secret}
        for place in range(number)
    }
    settings = plain_settings(
        database_url=url, mux_base_url=BASE_URL, environments=tables, audit_days=0
    )
    async with connect_all(
        settings, transports=lambda _: httpx.ASGITransport(world.emulator.app)
    ) as all_:
        await all_.migrate()
        for service in all_.values():
            await service.webhook_events.prune()
        asking = await _asking(all_)
        await _fill(all_, world.assets.ids)
        world.emulator.calls.clear()
        statements, seconds = await _in_step(all_)
        rows = number * ROWS_EACH
        return Environments(
            database=database,
            environments=number,
            asking_ms=asking * 1000,
            seconds=seconds,
            calls_per_row=world.emulator.calls.total() / rows,
            statements_per_row=statements / rows,
            mebibytes=_resident() - before,
        )


async def _asking(all_: Installation) -> float:
    due_jobs, times = DueJobs(all_.database, all_.any_service.store.provider), []
    for _ in range(ASKED):
        moment, began = now(), time.perf_counter()
        job_runners = [service.job_runner for service in all_.values()]
        thresholds = [job_runner.due_thresholds(moment) for job_runner in job_runners]
        await due_jobs.due(thresholds, now=moment)
        times.append(time.perf_counter() - began)
    return median(times)


async def _fill(all_: Installation, ids: Sequence[str]) -> None:
    moment = now()
    made = moment - timedelta(hours=2)
    await fill(
        all_.any_service.store,
        (replace(a_due_row(i, made, moment), environment=name) for name in all_ for i in ids),
    )


async def _in_step(all_: Installation) -> tuple[int, float]:
    statements = 0

    @event.listens_for(all_.database.engine.sync_engine, "before_cursor_execute")
    def executed(*_: object) -> None:
        nonlocal statements
        statements += 1

    stop, began = asyncio.Event(), time.perf_counter()
    running = asyncio.create_task(all_.run(stop))
    while not await _is_done(all_):  # noqa: ASYNC110  the tables have no event
        await asyncio.sleep(0.2)
    seconds = time.perf_counter() - began
    stop.set()
    await running
    return statements, seconds


async def _is_done(all_: Installation) -> bool:
    async with all_.database.reading() as connection:
        left = "SELECT count(*) FROM media_provider_assets WHERE state <> 'ready'"
        return not (await connection.exec_driver_sql(left)).scalar_one()


def _resident() -> float:
    """The memory of this process in MiB, where Linux tells it."""
    try:
        return int(re.findall(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())[0]) / 1024
    except OSError:
        return 0.0
