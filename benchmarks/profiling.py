"""Where the processor's time goes in a sweep by page, by function or as a flame graph.

The answers come from another process at once, so that none of its work is seen.
"""

import asyncio
import cProfile
import os
import pstats
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from benchmarks.bench import Road, opened, urls
from benchmarks.measures import prepared
from benchmarks.providers import World
from rindle_sync.reconcile import Context, sweep

SAMPLES: Final = "400"
"""Samples a second."""


async def profiled(databases: Sequence[str], rows: int, flame: Path | None = None) -> None:
    """Print the functions that cost most, or draw `flame`, which needs py-spy.

    The profiler that prints makes a sweep two to three times slower; py-spy hardly does.
    """
    world = await World.of(rows)
    for database in databases:
        with urls(database, 1) as (url,):
            async with opened(url, world) as bench, world.provider("0 ms") as provider:
                await prepared(bench, world.assets)
                context = bench.context(provider, Road.PAGE)
                if flame:
                    async with _drawn(flame):
                        await sweep(context)
                else:
                    await _printed(context, f"{database}, {rows:,} rows")


async def _printed(context: Context, title: str) -> None:
    with cProfile.Profile() as profile:
        await sweep(context)
    print(title)
    pstats.Stats(profile).sort_stats("tottime").print_stats(30)


@asynccontextmanager
async def _drawn(flame: Path) -> AsyncIterator[None]:
    """A flame graph of this process for as long as the block lasts."""
    options = ("--pid", str(os.getpid()), "--rate", SAMPLES, "--output", str(flame), "--function")
    spy = await asyncio.create_subprocess_exec(
        "py-spy", "record", *options, stdout=asyncio.subprocess.PIPE
    )
    assert spy.stdout
    await spy.stdout.readline()  # it has begun
    try:
        yield
    finally:
        spy.send_signal(signal.SIGINT)
        await spy.wait()
