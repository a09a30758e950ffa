"""How fast a sweep is without a rate limit, by list page and by id, against each far end."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

from benchmarks.bench import Bench, Progress, Road, Sizes, opened, urls
from benchmarks.far_ends import FAR_ENDS, TOKEN, Assets, World, assets_at, served
from benchmarks.measures import prepared
from rindle_sync.providers.mux import Mux
from rindle_sync.reconcile import sweep

FEWER: Final = 5
"""By id a fifth of the rows is swept: it is slower, and its figures are per row, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One sweep; all but `rows_per_second` and `ratio` is per row, times in microseconds."""

    database: str
    far_end: str
    road: str
    rows_per_second: float
    ratio: float = 1.0
    """How much faster than by id."""
    total_us: float
    cpu_us: float
    """Processor time of this process, threads included; a busy machine moves it least."""
    read_us: float
    """Surveying, claiming, and looking up what stands on a page.

    That goes on beside other work, as writing does.
    """
    write_us: float
    statements: float
    transactions: float
    calls: float


@dataclass(frozen=True, slots=True)
class _FarEnd:
    name: str
    assets: Assets
    provider: Mux


async def passes(database: str, sizes: Sizes, progress: Progress) -> list[Pass]:
    """One sweep over due rows whose assets are ready, on each road against each far end."""
    world, found = await World.of(sizes.rows), list[Pass]()
    with urls(database, 1) as (url,):
        async with opened(url, world) as bench, _far_ends(world) as far_ends:
            for repeat in range(sizes.repeats):
                for far_end in far_ends:
                    progress(f"{database}: rate, {far_end.name}, {repeat + 1} of {sizes.repeats}")
                    found += [await _pass(bench, far_end, road) for road in Road]
    return [
        rate for name in FAR_ENDS for rate in _compared([p for p in found if p.far_end == name])
    ]


@asynccontextmanager
async def _far_ends(world: World) -> AsyncIterator[list[_FarEnd]]:
    async with served() as url:
        there = Mux(TOKEN, base_url=url)
        others = {
            name: (world.assets, world.provider(name)) for name in FAR_ENDS if name != "process"
        }
        remote = {"process": (await assets_at(url, len(world.assets.ids)), there)}
        try:
            yield [_FarEnd(name, *(others | remote)[name]) for name in FAR_ENDS]
        finally:
            await there.close()


async def _pass(bench: Bench, far_end: _FarEnd, road: Road) -> Pass:
    count = len(far_end.assets.ids)
    assets = far_end.assets if road is Road.PAGE else far_end.assets.newest(max(1, count // FEWER))
    rows = len(await prepared(bench, assets))
    context = bench.context(far_end.provider, road)
    worked, began = time.process_time(), time.perf_counter()
    result = await sweep(context)
    seconds, cpu = time.perf_counter() - began, time.process_time() - worked
    assert result.changed == rows, result
    read, write = (bench.meter.seconds[name] for name in ("read", "write"))
    return Pass(
        database=bench.database,
        far_end=far_end.name,
        road=road,
        rows_per_second=rows / seconds,
        total_us=seconds / rows * 1e6,
        cpu_us=cpu / rows * 1e6,
        read_us=read / rows * 1e6,
        write_us=write / rows * 1e6,
        statements=bench.meter.counts["statements"] / rows,
        transactions=bench.meter.counts["transactions"] / rows,
        calls=result.calls / rows,
    )


def _compared(found: Sequence[Pass]) -> list[Pass]:
    by_page, by_id = (
        _median([p for p in found if p.road is road]) for road in (Road.PAGE, Road.ID)
    )
    return [
        replace(rate, ratio=rate.rows_per_second / by_id.rows_per_second)
        for rate in (by_page, by_id)
    ]


def _median(found: Sequence[Pass]) -> Pass:
    """The pass in the middle, whole: its parts belong together."""
    return sorted(found, key=lambda p: p.total_us)[len(found) // 2]
