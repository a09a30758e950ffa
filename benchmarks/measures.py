"""The measurements. Variants take turns, repeat by repeat, so that a slow moment of the machine meets all of them."""

import gc
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from statistics import median
from typing import Final
from uuid import uuid4

from benchmarks.bench import Bench, groom, opened, urls
from benchmarks.far_ends import FAR_ENDS, World
from benchmarks.tables import begin_again, due_rows, fill, rows_at_rest
from rindle_sync.app import now
from rindle_sync.asset import By, ProviderAsset
from rindle_sync.settle import Finding, settle
from rindle_sync.sweep import sweep

BATCHES: Final = (1, 10, 50, 100)
MOST_BATCHES: Final = 1_000
"""Small batches are slow and many: after so many of them the rate is told."""

CLAIM_ROUNDS: Final = 40
CLAIM_LIMIT: Final = 50
DUE: Final = 500
"""How many rows are due in a table whose claim is measured."""

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One sweep; all but `rows_per_second` is per row, times in microseconds."""

    database: str
    far_end: str
    rows_per_second: float
    total_us: float
    cpu_us: float
    """Processor time of this process, threads included; a busy machine moves it least."""
    claim_us: float
    write_us: float
    rest_us: float
    """Neither claim nor write: asking, reading the answer, deciding, telling."""
    statements: float
    transactions: float
    calls: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Settling:
    """Findings settled in batches of one size; `statements` and `transactions` are per row."""

    database: str
    batch: int
    rows_per_second: float
    statements: float
    transactions: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One claim of 50 rows beside this many at rest."""

    database: str
    at_rest: int
    milliseconds: float
    ratio: float
    """To the smallest table of the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much is measured."""

    rows: int
    repeats: int
    at_rest: Sequence[int]


async def passes(database: str, sizes: Sizes, progress: Progress) -> list[Pass]:
    """One sweep over due rows whose assets are ready, against each far end."""
    world = await World.of(sizes.rows)
    found: list[Pass] = []
    with urls(database, 1) as (url,):
        async with opened(url, world) as bench:
            for repeat in range(sizes.repeats):
                for far_end in FAR_ENDS:
                    progress(f"{database}: sweep, {far_end}, {repeat + 1} of {sizes.repeats}")
                    found.append(await _pass(bench, world, far_end))
    return [_median_pass([p for p in found if p.far_end == far_end]) for far_end in FAR_ENDS]


async def _pass(bench: Bench, world: World, far_end: str) -> Pass:
    await prepared(bench, world)
    tools = replace(bench.rindle.tools, provider=world.provider(far_end))
    called, worked, began = world.calls(far_end), time.process_time(), time.perf_counter()
    tally = await sweep(tools)
    seconds, cpu, rows = time.perf_counter() - began, time.process_time() - worked, len(world.ids)
    assert tally.changed == rows, tally
    claim, write = (bench.meter.seconds[name] for name in ("claim", "write"))
    return Pass(
        database=bench.database,
        far_end=far_end,
        rows_per_second=rows / seconds,
        total_us=seconds / rows * 1e6,
        cpu_us=cpu / rows * 1e6,
        claim_us=claim / rows * 1e6,
        write_us=write / rows * 1e6,
        rest_us=(seconds - claim - write) / rows * 1e6,
        statements=bench.meter.counts["statements"] / rows,
        transactions=bench.meter.counts["transactions"] / rows,
        calls=(world.calls(far_end) - called) / rows,
    )


def _median_pass(found: Sequence[Pass]) -> Pass:
    """The pass in the middle, whole: its parts belong together."""
    return sorted(found, key=lambda p: p.total_us)[len(found) // 2]


async def settlings(database: str, sizes: Sizes, progress: Progress) -> list[Settling]:
    """Findings, all of them real changes, settled in batches of each size; no provider, no claim."""
    world = await World.of(sizes.rows)
    found: list[Settling] = []
    with urls(database, 1) as (url,):
        async with opened(url, world) as bench:
            for repeat in range(sizes.repeats):
                for batch in BATCHES:
                    progress(f"{database}: settle by {batch}, {repeat + 1} of {sizes.repeats}")
                    found.append(await _settling(bench, world, batch))
    by_size = ([s for s in found if s.batch == batch] for batch in BATCHES)
    return [sorted(same, key=lambda s: s.rows_per_second)[len(same) // 2] for same in by_size]


async def _settling(bench: Bench, world: World, batch: int) -> Settling:
    rows = (await prepared(bench, world))[: batch * MOST_BATCHES]
    findings = [Finding(row, world.told.about(row.provider_asset_id or "", now())) for row in rows]
    began = time.perf_counter()
    for start in range(0, len(findings), batch):
        await settle(bench.rindle.tools, findings[start : start + batch], By.SWEEP)
    seconds = time.perf_counter() - began
    return Settling(
        database=bench.database,
        batch=batch,
        rows_per_second=len(rows) / seconds,
        statements=bench.meter.counts["statements"] / len(rows),
        transactions=bench.meter.counts["transactions"] / len(rows),
    )


async def prepared(bench: Bench, world: World) -> Sequence[ProviderAsset]:
    """Every asset's row due again, in tables that hold nothing else."""
    rows = await begin_again(bench.store, world.ids)
    groom(bench.url)
    gc.collect()
    bench.meter.clear()
    return rows


async def claims(database: str, sizes: Sizes, progress: Progress) -> list[Claim]:
    """What one claim costs, given back at once, in tables that differ only in their rows at rest."""
    world = await World.of(DUE)
    async with AsyncExitStack() as stack:
        benches = []
        for url, at_rest in zip(stack.enter_context(urls(database, len(sizes.at_rest))), sizes.at_rest, strict=True):
            progress(f"{database}: filling {at_rest:,} rows at rest")
            bench = await stack.enter_async_context(opened(url, world))
            await fill(bench.store, rows_at_rest(at_rest))
            await fill(bench.store, due_rows(world.ids))
            groom(url)
            benches.append(bench)
        progress(f"{database}: claims")
        times = [[await _claim(bench) for bench in benches] for _ in range(CLAIM_ROUNDS)]
    medians = [median(column) * 1000 for column in zip(*times, strict=True)]
    return [
        Claim(database=database, at_rest=at_rest, milliseconds=one, ratio=one / medians[0])
        for at_rest, one in zip(sizes.at_rest, medians, strict=True)
    ]


async def _claim(bench: Bench) -> float:
    tools, moment, token = bench.rindle.tools, now(), str(uuid4())
    began = time.perf_counter()
    rows = await bench.store.claim(
        tools.provider.name,
        tools.environment,
        due=moment,
        touched_before=moment - tools.schedule.floor,
        now=moment,
        token=token,
        until=moment + timedelta(minutes=2),
        limit=CLAIM_LIMIT,
    )
    seconds = time.perf_counter() - began
    assert len(rows) == CLAIM_LIMIT
    await bench.store.release(token)
    return seconds
