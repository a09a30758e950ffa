"""How fast a sweep is without a rate limit, by list page and by id, against each provider."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

from benchmarks.bench import Bench, Progress, Road, Sizes, opened, urls
from benchmarks.measures import prepared
from benchmarks.providers import PROVIDERS, TOKEN, Assets, World, assets_at, served
from rindle_sync.providers.mux import Mux
from rindle_sync.reconcile import sweep

FEWER: Final = 5
"""By id a fifth of the rows is swept: it is slower, and its figures are per row, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One sweep; all but `rows_per_second` and `ratio` is per row, times in microseconds."""

    database: str
    provider: str
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
class _Provider:
    name: str
    assets: Assets
    provider: Mux


async def passes(database: str, sizes: Sizes, progress: Progress) -> list[Pass]:
    """One sweep over due rows whose assets are ready, on each road against each provider."""
    world, found = await World.of(sizes.rows), list[Pass]()
    with urls(database, 1) as (url,):
        async with opened(url, world) as bench, _providers(world) as providers:
            for repeat in range(sizes.repeats):
                for provider in providers:
                    progress(f"{database}: rate, {provider.name}, {repeat + 1} of {sizes.repeats}")
                    found += [await _pass(bench, provider, road) for road in Road]
    return [
        rate for name in PROVIDERS for rate in _compared([p for p in found if p.provider == name])
    ]


@asynccontextmanager
async def _providers(world: World) -> AsyncIterator[list[_Provider]]:
    async with served() as url:
        there = Mux(TOKEN, base_url=url)
        others = {
            name: (world.assets, world.provider(name)) for name in PROVIDERS if name != "process"
        }
        remote = {"process": (await assets_at(url, len(world.assets.ids)), there)}
        try:
            yield [_Provider(name, *(others | remote)[name]) for name in PROVIDERS]
        finally:
            await there.close()


async def _pass(bench: Bench, provider: _Provider, road: Road) -> Pass:
    count = len(provider.assets.ids)
    assets = (
        provider.assets if road is Road.PAGE else provider.assets.newest(max(1, count // FEWER))
    )
    rows = len(await prepared(bench, assets))
    context = bench.context(provider.provider, road)
    worked, began = time.process_time(), time.perf_counter()
    result = await sweep(context)
    seconds, cpu = time.perf_counter() - began, time.process_time() - worked
    assert result.changed == rows, result
    read, write = (bench.meter.seconds[name] for name in ("read", "write"))
    return Pass(
        database=bench.database,
        provider=provider.name,
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
