"""What it costs to tell how things stand, beside few settled rows and beside many."""

import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.bench import Bench, Progress, Sizes, World, groom, opened, urls
from benchmarks.measures import due_rows
from benchmarks.tables import fill, settled_rows
from rindle_sync.diagnostics import overview
from rindle_sync.exporters import Gauges

DUE: Final = 500
ROUNDS: Final = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """One look, by whoever looks first: nothing is cached."""

    database: str
    settled: int
    what: str
    milliseconds: float
    """From question to answer, the fastest of some: with the work of the database."""
    cpu_milliseconds: float
    """Of this process, in which SQLite works, too."""


async def counted(database: str, sizes: Sizes, progress: Progress) -> list[Counted]:
    """`status`, the gauges of `/metrics` and the overview of the console."""
    world, found = await World.of(DUE), list[Counted]()
    async with AsyncExitStack() as stack:
        addresses = stack.enter_context(urls(database, len(sizes.settled)))
        for url, settled in zip(addresses, sizes.settled, strict=True):
            progress(f"{database}: filling {settled:,} settled rows")
            bench = await stack.enter_async_context(opened(url, world))
            await fill(bench.store, settled_rows(settled))
            await fill(bench.store, due_rows(world.assets))
            await bench.store.statistics.merge_counts()  # as a service does every hour
            groom(url)
            for what, look in _LOOKS.items():
                progress(f"{database}: {what} beside {settled:,}")
                found.append(await _costing(bench, settled, what, look))
    return found


async def _status(bench: Bench) -> None:
    status = await bench.rindle.status()
    assert status.rows > DUE


async def _gauges(bench: Bench) -> None:
    gauges = Gauges([bench.rindle.context])
    assert await gauges.readings()
    await gauges.close()


async def _console(bench: Bench) -> None:
    assert await overview([bench.rindle.context])


Look = Callable[[Bench], Awaitable[Any]]

_LOOKS: Final[dict[str, Look]] = {
    "status": _status,
    "/metrics": _gauges,
    "console overview": _console,
}


async def _costing(bench: Bench, settled: int, what: str, look: Look) -> Counted:
    costs = []
    for _ in range(ROUNDS):
        worked, began = time.process_time(), time.perf_counter()
        await look(bench)
        costs.append((time.perf_counter() - began, time.process_time() - worked))
    return Counted(
        database=bench.database,
        settled=settled,
        what=what,
        milliseconds=1000 * min(seconds for seconds, _ in costs),
        cpu_milliseconds=1000 * min(cpu for _, cpu in costs),
    )
