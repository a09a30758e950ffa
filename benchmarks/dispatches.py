"""How fast changes are dispatched to callbacks that do nothing, or write a line."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, Column, MetaData, Table, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from benchmarks.bench import Bench, Progress, Sizes, World, opened, urls
from benchmarks.measures import prepared
from benchmarks.tables import BULK
from rindle_sync.app import now
from rindle_sync.domain import ProviderAsset
from rindle_sync.runtime import ChangeEvent
from rindle_sync.store.schema import changes

MOST: Final = 2_000
"""How many changes are dispatched."""

_seen: Final = Table("app_changes", MetaData(), Column("id", BigInteger(), primary_key=True))


@dataclass(frozen=True, kw_only=True)
class DispatchRate:
    """Changes that were dispatched in batches of 50, one of each row."""

    database: str
    callbacks: str
    changes_per_second: float
    statements: float
    """For each change."""
    transactions: float


async def dispatches(database: str, sizes: Sizes, progress: Progress) -> list[DispatchRate]:
    """One callback, three, and one that writes a line in the transaction that it is given."""
    world = await World.of(min(sizes.rows, MOST))
    found: list[DispatchRate] = []
    with urls(database, 1) as (url,):
        for repeat in range(sizes.repeats):
            for name, options in _CALLBACKS.items():
                progress(f"{database}: dispatch to {name}, {repeat + 1} of {sizes.repeats}")
                async with opened(url, world) as bench:
                    found.append(await _dispatching(bench, world, name, options))
    by_name = ([rate for rate in found if rate.callbacks == name] for name in _CALLBACKS)
    return [_median(same) for same in by_name]


def _median(rates: Sequence[DispatchRate]) -> DispatchRate:
    ordered = sorted(rates, key=lambda rate: rate.changes_per_second)
    return ordered[len(ordered) // 2]


async def _hear(_: ChangeEvent) -> None: ...


async def _keep(event: ChangeEvent, connection: AsyncConnection) -> None:
    await connection.execute(insert(_seen), {"id": event.id})


_CALLBACKS: Final[Mapping[str, Sequence[Any]]] = {
    "one": (_hear,),
    "three": (_hear, _hear, _hear),
    "one, transactional": (_keep,),
}


def changes_of(rows: Sequence[ProviderAsset]) -> list[dict[str, Any]]:
    """A change of each row, to be dispatched and published."""
    moment = now()
    return [
        {
            "row_id": row.id,
            "reference": row.reference,
            "provider_name": row.provider_name,
            "environment": row.environment,
            "version": 2,
            "from_state": "processing",
            "to_state": "ready",
            "trigger": "sweep",
            "reason": "measured",
            "at": moment,
            "late_ms": 0,
            "dispatch_at": moment,
        }
        for row in rows
    ]


async def _dispatching(
    bench: Bench, world: World, name: str, callbacks: Sequence[Any]
) -> DispatchRate:
    rows = await prepared(bench, world.assets)
    lines = changes_of(rows)
    async with bench.store.database.engine.begin() as connection:
        await connection.run_sync(_seen.create, checkfirst=True)
        await connection.execute(_seen.delete())
        for start in range(0, len(lines), BULK):
            await connection.execute(insert(changes), lines[start : start + BULK])
    for callback in callbacks:
        bench.rindle.on_change(callback, transactional=callback is _keep)  # type: ignore[call-overload]  # either kind
    bench.meter.clear()
    began = time.perf_counter()
    dispatched = await bench.rindle.dispatch()
    seconds = time.perf_counter() - began
    assert dispatched == len(rows)
    return DispatchRate(
        database=bench.database,
        callbacks=name,
        changes_per_second=len(rows) / seconds,
        statements=bench.meter.counts["statements"] / len(rows),
        transactions=bench.meter.counts["transactions"] / len(rows),
    )
