"""What a check by id costs over real HTTP, against a provider that is never the bottleneck."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Final

from benchmarks.bench import Bench, Progress, Road, Sizes, opened, urls
from benchmarks.canned import asset_ids, canned
from benchmarks.measures import prepared
from benchmarks.providers import TOKEN, Assets, World
from rindle_sync.providers.mux import Mux
from rindle_sync.reconcile import sweep

AT_ONCE: Final = 20
"""How many calls are under way at once."""
DELAYS: Final = (0, 20)
"""How many milliseconds the provider takes for an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ById:
    """One sweep by id. `cpu_us` is the processor time of this process a row, threads included."""

    database: str
    delay_ms: int
    rows_per_second: float
    cpu_us: float
    statements: float
    """A row, with BEGIN and COMMIT."""
    calls: float


async def by_id(database: str, sizes: Sizes, progress: Progress) -> list[ById]:
    """Sweeps over due rows whose assets are ready, each by its id."""
    assets, found = Assets(*asset_ids(sizes.rows)), list[ById]()
    with urls(database, 1) as (url,):
        async with opened(url, await World.of(1)) as bench, canned() as address:
            for repeat in range(sizes.repeats):
                for delay in DELAYS:
                    progress(f"{database}: by id, {delay} ms, {repeat + 1} of {sizes.repeats}")
                    found.append(await _swept(bench, assets, address, delay))
    return [_median([one for one in found if one.delay_ms == delay]) for delay in DELAYS]


async def _swept(bench: Bench, assets: Assets, address: str, delay: int) -> ById:
    rows = len(await prepared(bench, assets))
    mux = Mux(TOKEN, base_url=f"{address}/{delay}", connections=AT_ONCE)
    context = replace(bench.context(mux, Road.ID), batch=AT_ONCE)
    try:
        worked, began = time.process_time(), time.perf_counter()
        result = await sweep(context)
        seconds, cpu = time.perf_counter() - began, time.process_time() - worked
    finally:
        await mux.close()
    assert result.changed == rows, result
    counts = bench.meter.counts
    return ById(
        database=bench.database,
        delay_ms=delay,
        rows_per_second=rows / seconds,
        cpu_us=cpu / rows * 1e6,
        statements=(counts["statements"] + 2 * counts["transactions"]) / rows,
        calls=result.calls / rows,
    )


def _median(found: Sequence[ById]) -> ById:
    """The sweep with the median processor time, with the median speed of all."""
    middle = sorted(found, key=lambda one: one.cpu_us)[len(found) // 2]
    return replace(middle, rows_per_second=median(one.rows_per_second for one in found))
