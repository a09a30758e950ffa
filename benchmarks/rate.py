"""How fast a sweep is without a rate limit, by list page and by id, against each provider."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from benchmarks.bench import Bench, Progress, Road, Sizes, opened, urls
from benchmarks.measures import due_again, prepared
from benchmarks.providers import PROVIDERS, World
from rindle_sync.domain import State
from rindle_sync.reconcile import sweep

FEWER: Final = 5
"""By id a fifth of the rows is swept: it is slower, and its figures are per row, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One sweep; all but `rows_per_second` and `ratio` is per row, times in microseconds."""

    database: str
    provider: str
    road: str
    finds: str
    """Whether every check is a real `change`, or `nothing` new."""
    rows_per_second: float
    ratio: float = 1.0
    """How much faster than by id."""
    total_us: float
    cpu_us: float
    """Processor time of this process, threads included; a busy machine moves it least."""
    statements: float
    """BEGIN, COMMIT and ROLLBACK counted."""
    calls: float


@dataclass(frozen=True, slots=True)
class _Case:
    provider: str
    road: Road
    state: State


CASES: Final = [
    *(
        _Case(name, Road.PAGE, state)
        for name in PROVIDERS
        for state in (State.READY, State.PROCESSING)
    ),
    *(_Case(name, Road.ID, State.READY) for name in PROVIDERS),
]


async def passes(database: str, sizes: Sizes, progress: Progress) -> list[Pass]:
    """One sweep over due rows, on each road against each provider."""
    worlds = {state: await World.of(sizes.rows, state) for state in (State.READY, State.PROCESSING)}
    found: list[list[Pass]] = [[] for _ in CASES]
    with urls(database, 1) as (url,):
        async with opened(url, worlds[State.READY]) as bench:
            for repeat in range(sizes.repeats):
                for case, passed in zip(CASES, found, strict=True):
                    progress(f"{database}: rate, {case}, {repeat + 1} of {sizes.repeats}")
                    passed.append(await _pass(bench, worlds[case.state], case))
    return _compared([_median(passed) for passed in found])


async def _pass(bench: Bench, world: World, case: _Case) -> Pass:
    count = len(world.assets.ids)
    assets = world.assets
    if case.road is Road.ID:
        assets = assets.newest(max(1, count // FEWER))
    rows = len(await prepared(bench, assets))
    async with world.provider(case.provider) as provider:
        context = bench.context(provider, case.road)
        if case.state is State.PROCESSING:
            await sweep(context)
            await due_again(bench)
        worked, began = time.process_time(), time.perf_counter()
        result = await sweep(context)
        seconds, cpu = time.perf_counter() - began, time.process_time() - worked
    changed = rows if case.state is State.READY else 0
    assert (result.checked, result.changed) == (rows, changed), result
    return Pass(
        database=bench.database,
        provider=case.provider,
        road=case.road,
        finds="change" if changed else "nothing",
        rows_per_second=rows / seconds,
        total_us=seconds / rows * 1e6,
        cpu_us=cpu / rows * 1e6,
        statements=bench.meter.counts["statements"] / rows,
        calls=result.calls / rows,
    )


def _compared(found: Sequence[Pass]) -> list[Pass]:
    by_id = {each.provider: each.rows_per_second for each in found if each.road == Road.ID}
    return [replace(each, ratio=each.rows_per_second / by_id[each.provider]) for each in found]


def _median(found: Sequence[Pass]) -> Pass:
    """The pass in the middle, whole: its parts belong together."""
    return sorted(found, key=lambda p: p.total_us)[len(found) // 2]
