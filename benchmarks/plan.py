"""What a sweep costs in calls and time under the provider's rate limit, by list page and by id.

The time is that of a clock that only sleeps move: an hour of waiting for the limit takes seconds
here, and processor time does not count. The emulator enforces Mux's buckets, and the rate limit is
that of the same token.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from benchmarks.bench import Progress, Road, Sizes, urls
from benchmarks.mixes import Age, Mix, settled_account
from benchmarks.tables import begin_again
from rindle_sync.config import plain_settings
from rindle_sync.domain import Policy
from rindle_sync.providers import Priority
from rindle_sync.reconcile import sweep
from tests.support.world import World, a_world

DUE: Final = (100, 1_000, 10_000)
MANY: Final = 1_000
"""More rows than this are swept to the end only as long as pages answer them."""

MOST_GETS: Final = 200
"""After so many calls by id they would go on as they do.

What the others take is then calculated.
"""

EVERY: Final = 5.0
"""Seconds between two sweeps, as the settings have it by default."""

POLICY: Final = Policy(stuck_threshold=timedelta(days=30))
"""By id, 10,000 rows take longer than the default threshold: they would be declared stuck."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the cases of one database and one priority of token are played."""

    world: World
    database: str
    priority: Priority

    @property
    def reads(self) -> tuple[int, float]:
        bucket = plain_settings(provider_token_priority=self.priority).buckets.reads
        return int(bucket.capacity), bucket.per_second


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One mix of due rows brought in sync on one road; counts of calls are the emulator's own."""

    database: str
    priority: str
    due: int
    age: str
    has_foreign: bool
    road: str
    pages: int
    gets: int
    others: int
    """Calls that asked who we are."""
    throttled: int
    looked: int
    """How many rows were looked at; the others would be asked about by id."""
    seconds: float
    """Of the clock that only sleeps move, until the last row was in sync.

    By arithmetic if not all were looked at.
    """
    ratio: float = 1.0
    """How much faster than by id."""

    @property
    def calls_per_row(self) -> float:
        return (self.pages + self.gets + self.others) / max(1, self.looked)

    @property
    def is_complete(self) -> bool:
        return self.looked == self.due


async def plans(database: str, sizes: Sizes, progress: Progress) -> list[Planned]:
    """Every mix by page, and each number of rows by id, for each priority of a token."""
    found = list[Planned]()
    with urls(database, 1) as (url,):
        async with a_world(url) as world:
            await _introduce(world)
            for priority in Priority if sizes.is_full else (Priority.LOW,):
                stage = Stage(world, database, priority)
                for due in DUE:
                    found += await _compared(stage, due, progress)
    return found


async def _compared(stage: Stage, due: int, progress: Progress) -> list[Planned]:
    """So many rows by id, where all mixes cost the same, and every mix of as many by page."""
    progress(f"{stage.database}: plan, {stage.priority}, {due:,} rows by id")
    by_id = replace(await _case(stage, Mix(due, Age.FRESH, has_foreign=False), Road.ID), age="any")
    found = [by_id]
    for mix in _mixes(due):
        progress(f"{stage.database}: plan, {stage.priority}, {mix.text}")
        by_page = await _case(stage, mix, Road.PAGE)
        found.append(replace(by_page, ratio=by_id.seconds / max(by_page.seconds, 1.0)))
    return found


def _mixes(due: int) -> Iterator[Mix]:
    return (Mix(due, age, has_foreign) for age in Age for has_foreign in (False, True))


async def _introduce(world: World) -> None:
    """Let it be known whose rows these are, as after the first sweep of all."""
    await world.context.store.environments.identify(world.emulator.whoami.environment_id)


async def _case(stage: Stage, mix: Mix, road: Road) -> Planned:
    world, emulator = stage.world, stage.world.emulator
    emulator.reset()
    await begin_again(world.context.store, settled_account(emulator, mix, world.clock.now()))
    emulator.set_rate_limits(stage.priority.value)
    emulator.reset_calls()
    world.with_reads(*stage.reads)
    world.context = replace(world.context, list_index=road.list_index, policy=POLICY)
    began = world.clock.now()
    looked = await _swept(world, mix.due)
    seconds = (world.clock.now() - began).total_seconds()
    calls_per_row = emulator.calls.total() / looked
    world.told.clear()
    return Planned(
        database=stage.database,
        priority=stage.priority.value,
        due=mix.due,
        age=mix.age.value,
        has_foreign=mix.has_foreign,
        road=road.value,
        pages=emulator.calls["list_assets"],
        gets=emulator.calls["get_asset"],
        others=emulator.calls["whoami"],
        throttled=emulator.statuses[429],
        looked=looked,
        seconds=seconds + (mix.due - looked) * calls_per_row / stage.reads[1],
    )


async def _swept(world: World, due: int) -> int:
    """Sweep again and again until all are in sync, or until enough of many are; how many are."""
    looked = 0

    def keep_going() -> bool:
        return looked < due and (due <= MANY or world.emulator.calls["get_asset"] < MOST_GETS)

    while keep_going():
        result = await sweep(world.context, keep_going=keep_going)
        looked += result.checked
        if keep_going():
            await world.clock.sleep(EVERY)
    return looked
