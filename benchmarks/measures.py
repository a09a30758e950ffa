"""Single steps, measured: findings settled in batches, the scan over due rows, and one claim.

Variants take turns, repeat by repeat, so that a slow moment of the machine meets all of them.
"""

import gc
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Final
from uuid import uuid4

import sqlalchemy as sa

from benchmarks.bench import Bench, Progress, Sizes, groom, opened, urls
from benchmarks.providers import Assets, World
from benchmarks.tables import WAITED, a_due_row, begin_again, fill, settled_rows
from rindle_sync.app import now
from rindle_sync.domain import Due, ProviderAsset, Trigger
from rindle_sync.reconcile import SURVEY, Observed, apply
from rindle_sync.store.schema import assets as assets_table

BATCHES: Final = (1, 10, 50, 100)
MOST_BATCHES: Final = 1_000
"""Small batches are slow and many: after so many of them the rate is reported."""

CLAIM_ROUNDS: Final = 40
CLAIMED: Final = 50
DUE: Final = 500
"""How many rows are due in a table whose claim is measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyRate:
    """Findings settled in batches of one size; `statements` and `transactions` are per row."""

    database: str
    batch: int
    rows_per_second: float
    statements: float
    transactions: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The scan over 500 due rows, and one claim of 50 of them, beside this many settled.

    Ratios to the smallest.
    """

    database: str
    settled: int
    scan_ms: float
    scan_ratio: float
    claim_ms: float
    claim_ratio: float


def due_rows(assets: Assets) -> list[ProviderAsset]:
    """A due row for each of the assets."""
    moment = now()
    made = (datetime.fromtimestamp(seconds, UTC) for seconds in assets.made)
    return [a_due_row(*pair, moment) for pair in zip(assets.ids, made, strict=True)]


async def prepared(bench: Bench, assets: Assets) -> list[ProviderAsset]:
    """Every asset's row due again, in tables that hold nothing else."""
    rows = due_rows(assets)
    await begin_again(bench.store, rows)
    groom(bench.url)
    gc.collect()
    bench.meter.clear()
    return rows


async def due_again(bench: Bench) -> None:
    """Every row due that was just checked, as if some time had passed."""
    past = now() - WAITED
    async with bench.store.database.engine.begin() as connection:
        await connection.execute(sa.update(assets_table).values(check_at=past, updated_at=past))
    groom(bench.url)
    gc.collect()
    bench.meter.clear()


async def applies(database: str, sizes: Sizes, progress: Progress) -> list[ApplyRate]:
    """Findings, all of them real changes, settled in batches of each size.

    No provider, no claim.
    """
    world = await World.of(sizes.rows)
    found: list[ApplyRate] = []
    with urls(database, 1) as (url,):
        async with opened(url, world) as bench:
            for repeat in range(sizes.repeats):
                for batch in BATCHES:
                    progress(f"{database}: apply by {batch}, {repeat + 1} of {sizes.repeats}")
                    found.append(await _settling(bench, world, batch))
    by_size = ([s for s in found if s.batch == batch] for batch in BATCHES)
    return [sorted(same, key=lambda s: s.rows_per_second)[len(same) // 2] for same in by_size]


async def _settling(bench: Bench, world: World, batch: int) -> ApplyRate:
    rows = (await prepared(bench, world.assets))[: batch * MOST_BATCHES]
    findings = [Observed(row, world.told.about(row.provider_asset_id or "", now())) for row in rows]
    began = time.perf_counter()
    for start in range(0, len(findings), batch):
        await apply(bench.rindle.context, findings[start : start + batch], Trigger.SWEEP)
    seconds = time.perf_counter() - began
    return ApplyRate(
        database=bench.database,
        batch=batch,
        rows_per_second=len(rows) / seconds,
        statements=bench.meter.counts["statements"] / len(rows),
        transactions=bench.meter.counts["transactions"] / len(rows),
    )


async def claims(database: str, sizes: Sizes, progress: Progress) -> list[Claim]:
    """What the scan and a claim cost in tables that differ only in their settled rows.

    Claims are given back.
    """
    world = await World.of(DUE)
    async with AsyncExitStack() as stack:
        benches = []
        for url, settled in zip(
            stack.enter_context(urls(database, len(sizes.settled))), sizes.settled, strict=True
        ):
            progress(f"{database}: filling {settled:,} settled rows")
            bench = await stack.enter_async_context(opened(url, world))
            await fill(bench.store, settled_rows(settled))
            await fill(bench.store, due_rows(world.assets))
            groom(url)
            benches.append(bench)
        progress(f"{database}: claims")
        rounds = [[await _scan_and_claim(bench) for bench in benches] for _ in range(CLAIM_ROUNDS)]
    scans, claimed = (
        [_median(rounds, place, what) for place in range(len(benches))] for what in (0, 1)
    )
    return [
        Claim(
            database=database,
            settled=settled,
            scan_ms=scan,
            scan_ratio=scan / scans[0],
            claim_ms=claim,
            claim_ratio=claim / claimed[0],
        )
        for settled, scan, claim in zip(sizes.settled, scans, claimed, strict=True)
    ]


def _median(rounds: Sequence[Sequence[tuple[float, float]]], place: int, what: int) -> float:
    return median(figures[place][what] for figures in rounds) * 1000


async def _scan_and_claim(bench: Bench) -> tuple[float, float]:
    began = time.perf_counter()
    due = await _scan(bench)
    scanned = time.perf_counter()
    token = str(uuid4())
    claimed = await _claim(bench, [row.id for row in due[:CLAIMED]], token)
    ended = time.perf_counter()
    assert len(due) == DUE
    assert len(claimed) == CLAIMED
    await bench.store.assets.release(token)
    return scanned - began, ended - scanned


async def _scan(bench: Bench) -> list[Due]:
    context, moment = bench.rindle.context, now()
    floor = moment - context.schedule.floor
    return await context.store.queries.due(
        due=moment, touched_before=floor, now=moment, longest=context.longest_gaps, limit=SURVEY
    )


async def _claim(bench: Bench, row_ids: Sequence[str], token: str) -> list[ProviderAsset]:
    moment = now()
    until = moment + timedelta(minutes=2)
    longest = bench.rindle.context.longest_gaps
    return await bench.store.assets.claim(
        row_ids, due=moment, now=moment, longest=longest, token=token, until=until
    )
