"""What settled rows cost a sweep.

Its time and statements beside few and beside many, and the memory of the service.
"""

import gc
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

from sqlalchemy import delete

from benchmarks.bench import Bench, Progress, Road, Sizes, groom, opened, urls
from benchmarks.measures import due_rows
from benchmarks.providers import TOKEN, Assets, World
from benchmarks.tables import fill, settled_rows
from rindle_sync.domain import ProviderAsset
from rindle_sync.reconcile import sweep
from rindle_sync.store import Store
from rindle_sync.store.schema import assets
from tests.support.processes import Shell, a_store

DUE: Final = 10_000
AT_ONCE: Final = 5_000

PRELUDE: Final = """
import atexit, re, resource, sys
def told():
    try:
        peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
    except OSError:  # no Linux: a peak that may be that of the process which started this one
        unit = 1024 if sys.platform == "darwin" else 1
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit
    print("peak", peak, file=sys.stderr)
atexit.register(told)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettledSweep:
    """One sweep over 10,000 due rows beside this many settled.

    Ratios to the smallest table of the run.
    """

    database: str
    road: str
    settled: int
    seconds: float
    ratio: float
    cpu_seconds: float
    cpu_ratio: float
    statements: float
    """Per due row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The most memory that `rindle-sync sweep` held, in a process of its own."""

    database: str
    settled: int
    due: int
    mebibytes: float
    before: float
    """The most that it held with one due row: the imports, the connections, the statements."""
    seconds: float
    """From start to end of the command."""


@dataclass(frozen=True, slots=True)
class _Cost:
    seconds: float
    cpu_seconds: float
    statements: float


async def settled_sweeps(database: str, sizes: Sizes, progress: Progress) -> list[SettledSweep]:
    """The same sweep in tables that differ only in their settled rows, on both roads."""
    world = await World.of(DUE)
    found: dict[tuple[Road, int], list[_Cost]] = {
        (road, n): [] for road in Road for n in sizes.settled
    }
    async with AsyncExitStack() as stack:
        benches: dict[int, Bench] = {}
        for url, settled in zip(
            stack.enter_context(urls(database, len(sizes.settled))), sizes.settled, strict=True
        ):
            progress(f"{database}: filling {settled:,} settled rows")
            benches[settled] = await stack.enter_async_context(opened(url, world))
            await fill(benches[settled].store, settled_rows(settled))
        for repeat in range(sizes.repeats):
            for (road, settled), costs in found.items():
                progress(
                    f"{database}: settled, by {road}, {settled:,} settled, "
                    f"{repeat + 1} of {sizes.repeats}"
                )
                costs.append(await _cost(benches[settled], world, road))
    return [
        measured
        for road in Road
        for measured in _compared(database, road, {n: found[road, n] for n in sizes.settled})
    ]


async def _cost(bench: Bench, world: World, road: Road) -> _Cost:
    async with _due_beside(bench, world.assets):
        context = bench.context(world.told, road)
        worked, began = time.process_time(), time.perf_counter()
        result = await sweep(context)
        seconds, cpu = time.perf_counter() - began, time.process_time() - worked
        assert result.changed == DUE, result
        return _Cost(seconds, cpu, bench.meter.counts["statements"] / DUE)


@asynccontextmanager
async def _due_beside(bench: Bench, due: Assets) -> AsyncIterator[None]:
    """Due rows for as long as the block lasts; those settled stay."""
    rows = due_rows(due)
    await fill(bench.store, rows)
    groom(bench.url)
    gc.collect()
    bench.meter.clear()
    yield
    await _remove(bench.store, rows)


async def _remove(store: Store, rows: Sequence[ProviderAsset]) -> None:
    async with store.database.engine.begin() as connection:
        for row_ids in _slices([row.id for row in rows]):
            await connection.execute(delete(assets).where(assets.c.id.in_(row_ids)))


def _slices(row_ids: Sequence[str]) -> Iterator[list[str]]:
    left = iter(row_ids)
    return iter(lambda: list(islice(left, AT_ONCE)), [])


def _compared(database: str, road: Road, costs: dict[int, list[_Cost]]) -> list[SettledSweep]:
    found = [
        SettledSweep(
            database=database,
            road=road.value,
            settled=settled,
            seconds=median(cost.seconds for cost in same),
            ratio=1.0,
            cpu_seconds=median(cost.cpu_seconds for cost in same),
            cpu_ratio=1.0,
            statements=median(cost.statements for cost in same),
        )
        for settled, same in costs.items()
    ]
    first = found[0]
    return [
        replace(
            measured,
            ratio=measured.seconds / first.seconds,
            cpu_ratio=measured.cpu_seconds / first.cpu_seconds,
        )
        for measured in found
    ]


async def memories(database: str, sizes: Sizes, progress: Progress) -> list[Memory]:
    """The memory of the command line beside the most settled rows, for one due row and for many.

    The provider is another process.
    """
    settled = max(sizes.settled)
    with urls(database, 1) as (url,):
        progress(f"{database}: filling {settled:,} settled rows")
        async with a_store(url) as store:
            await fill(store, settled_rows(settled))
        progress(f"{database}: memory")
        before, _ = await _memory(url, 1)
        peak, seconds = await _memory(url, DUE)
    return [
        Memory(
            database=database,
            settled=settled,
            due=DUE,
            mebibytes=peak,
            before=before,
            seconds=seconds,
        )
    ]


async def _memory(url: str, due: int) -> tuple[float, float]:
    """The peak of one sweep over so many due rows in MiB, and how long it took."""
    world = await World.of(due)
    rows = due_rows(world.assets)
    async with a_store(url) as store:
        await fill(store, rows)
    groom(url)
    async with world.served("0 ms") as address:
        settings = {
            "database_url": url,
            "mux_base_url": address,
            "mux_environment_id": world.emulator.whoami.environment_id,
            "mux_token_id": TOKEN.token_id,
            "mux_token_secret": TOKEN.token_secret,
            "provider_read_burst": "1000000",
            "provider_reads_per_second": "1000000",
        }
        with TemporaryDirectory(prefix="rindle-bench-") as folder:
            began = time.perf_counter()
            ended = await Shell(Path(folder), settings, PRELUDE).run("sweep", "--json", within=900)
            seconds = time.perf_counter() - began
    assert ended.json["changed"] == due, ended
    async with a_store(url) as store:
        await _remove(store, rows)
    return int(ended.err.rpartition("peak ")[2].split()[0]) / 1024, seconds
