"""How soon it is known that the provider finished a video, without webhooks, at default settings.

The time is that of a clock that only sleeps move, as in `plan`. The emulator enforces Mux's limit
for a token of low priority, and the rate limit is that of the same token.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from heapq import merge
from random import Random
from statistics import median
from typing import Final

from sqlalchemy import func, select

from benchmarks.bench import Progress, Road, Sizes, urls
from benchmarks.tables import a_settled_row, begin_again, fill
from rindle_sync.config import plain_settings
from rindle_sync.domain import ProviderAsset, Schedule, State, regular_check
from rindle_sync.domain import replace as replaced
from rindle_sync.emulator.lifecycle import Life
from rindle_sync.reconcile import Report, audit, is_audit_due, new_row, sweep
from rindle_sync.store.schema import assets, changes
from tests.support.world import READY, Clock, World, a_world

EVERY: Final = 5.0
"""Seconds between the beginnings of two sweeps, as the settings have it by default."""

MADE_WITHIN: Final = 3.0
READY_AFTER: Final = (20.0, 150.0)
LASTS: Final = 240.0
SETTLED: Final = 10_000
"""Beside so many settled rows a deletion is lost where all is measured, else a tenth of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Assets that are made, and what the account holds beside them; times are in seconds."""

    name: str
    rows: int
    within: float = MADE_WITHIN
    """They are made evenly in this time, each tracked as it is made."""
    foreign: int = 0
    """Assets that no row knows, made evenly in `foreign_within`."""
    foreign_within: float = LASTS
    settled: int = 0
    """Assets with a settled row, made evenly `within` the same time as the rows."""
    ready_after: tuple[float, float] = READY_AFTER
    lasts: float = LASTS

    @property
    def bound(self) -> float:
        """How late a row is known at most, as docs/how-it-works.md has it."""
        schedule, entries = Schedule(), self.rows + self.foreign + self.settled
        slowest = timedelta(seconds=self.ready_after[1])
        gap = min(max(schedule.growth * slowest, schedule.floor), schedule.cap)
        calls = 2 * min(entries / 100, self.rows)
        return gap.total_seconds() * (1 + schedule.jitter) + EVERY + calls


CASES: Final = (
    Case(name="1,000 at once", rows=1_000),
    Case(name="1,000 and 5,000 foreign", rows=1_000, foreign=5_000),
    Case(
        name="1,000 among 5,000 foreign, in 2 min",
        rows=1_000,
        within=120,
        foreign=5_000,
        foreign_within=120,
        lasts=400,
    ),
    Case(name="10,000 at once", rows=10_000, lasts=400),
    Case(name="1", rows=1),
    Case(name="5 at once", rows=5),
    Case(name="30 at once", rows=30),
    Case(name="one every 8 s", rows=400, within=3_200, lasts=3_500),
    Case(
        name="one every 8 s, 9 foreign each",
        rows=400,
        within=3_200,
        foreign=3_600,
        foreign_within=3_200,
        lasts=3_500,
    ),
    Case(
        name="30 slow ones, one a page",
        rows=30,
        settled=3_000,
        within=3_000,
        ready_after=(3_600, 6_000),
        lasts=10_800,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Seconds from when an asset was ready to when its row was; calls as the emulator counts."""

    database: str
    case: str
    road: str
    rows: int
    median: float
    p95: float
    longest: float
    bound: float
    unknown: int
    """Rows that were not known to be ready at the end."""
    calls: int
    pages: int
    gets: int
    writes: int
    """Of rows."""
    throttled: int


@dataclass(frozen=True, slots=True)
class _Coming:
    """An asset to be made, and whether a row is in flight, settled, or not there."""

    at: float
    kind: str
    ready_after: float = 0.0


class _Arrivals(Clock):
    """A clock at whose moves the assets are made that are due by then."""

    def __init__(self) -> None:
        super().__init__()
        self.coming: Iterator[_Coming] = iter(())
        self.next: _Coming | None = None
        self.world: World | None = None
        self.untracked: list[ProviderAsset] = []
        """Rows of assets that were made, and are to be written."""
        self.ready_at: dict[str, float] = {}

    def begin(self, world: World, coming: Iterator[_Coming]) -> None:
        self.world, self.coming, self.next = world, coming, next(coming)
        self.untracked.clear()
        self.ready_at.clear()

    def move(self, by: timedelta | float) -> None:
        super().move(by)
        while self.world and self.next and self.next.at <= self.seconds():
            self._make(self.world, self.next)
            self.next = next(self.coming, None)

    def _make(self, world: World, coming: _Coming) -> None:
        life = Life(ends="ready", after=coming.ready_after) if coming.ready_after else READY
        asset_id = world.emulator.create_asset(life=life, created_at=coming.at)
        if coming.kind == "foreign":
            return
        at = datetime.fromtimestamp(coming.at, UTC)
        state = State.PROCESSING if coming.ready_after else State.READY
        row = new_row(
            world.context,
            reference=f"video-{asset_id}",
            profile="default",
            provider_asset_id=asset_id,
            state=state,
        )
        row = replaced(row, provider_created_at=at, inserted_at=at, updated_at=at)
        context, check_at = world.context, None
        if state is State.PROCESSING:
            check_at = regular_check(row, at, context.policy, context.schedule)
            self.ready_at[row.id] = coming.at + coming.ready_after
        self.untracked.append(replaced(row, check_at=check_at))


async def knowings(database: str, sizes: Sizes, progress: Progress) -> list[Known]:
    """Every case by page."""
    found = list[Known]()
    with urls(database, 1) as (url,):
        async with a_world(url, _Arrivals()) as world:
            await world.context.store.environments.identify(world.emulator.whoami.environment_id)
            for case in CASES:
                progress(f"{database}: knowing, {case.name}")
                found.append(await _case(world, case, database, Road.PAGE))
            progress(f"{database}: knowing, a lost deletion")
            settled = SETTLED if sizes.is_full else SETTLED // 10
            found.append(await _lost_deletion(world, database, settled))
    return found


async def _case(world: World, case: Case, database: str, road: Road) -> Known:
    emulator, clock = world.emulator, world.clock
    assert isinstance(clock, _Arrivals)
    emulator.reset()
    await begin_again(world.context.store, ())
    _limit(world)
    emulator.reset_calls()
    world.context = replace(world.context, list_index=road.list_index)
    began = clock.seconds()
    clock.begin(world, _coming(case, began))
    # the first sweep may begin at any time after the first asset is made
    clock.move(1.7)
    while clock.seconds() < began + case.lasts:
        await fill(world.context.store, clock.untracked)
        clock.untracked.clear()
        swept_at = clock.seconds()
        await sweep(world.context)
        await clock.sleep(max(0.0, swept_at + EVERY - clock.seconds()))
    late = await _lateness(world, clock)
    world.told.clear()
    ordered = sorted(late) or [0.0]
    return Known(
        database=database,
        case=case.name,
        road=road.value,
        rows=case.rows,
        median=median(ordered),
        p95=ordered[int(0.95 * (len(ordered) - 1))],
        longest=ordered[-1],
        bound=case.bound,
        unknown=case.rows - len(late),
        calls=emulator.calls["list_assets"] + emulator.calls["get_asset"],
        pages=emulator.calls["list_assets"],
        gets=emulator.calls["get_asset"],
        writes=await _writes(world),
        throttled=emulator.statuses[429],
    )


def _limit(world: World) -> None:
    world.emulator.set_rate_limits("low")
    bucket = plain_settings().buckets.reads
    world.with_reads(bucket.capacity, bucket.per_second)


def _coming(case: Case, began: float) -> Iterator[_Coming]:
    chance = Random(case.name)
    low, high = case.ready_after
    afters = [low + (high - low) * place / max(1, case.rows - 1) for place in range(case.rows)]
    chance.shuffle(afters)
    rows = (
        _Coming(began + case.within * place / case.rows, "row", after)
        for place, after in enumerate(afters)
    )
    foreign = (
        _Coming(began + case.foreign_within * place / case.foreign, "foreign")
        for place in range(case.foreign)
    )
    settled = (
        _Coming(began + case.within * place / case.settled, "settled")
        for place in range(case.settled)
    )
    return merge(rows, foreign, settled, key=lambda coming: coming.at)


async def _lost_deletion(world: World, database: str, settled: int) -> Known:
    """An asset that is deleted just behind an audit, of which no webhook tells."""
    emulator, clock, context = world.emulator, world.clock, world.context
    emulator.reset()
    _limit(world)
    first = int(clock.seconds() - 7 * settled)
    ids = emulator.create_assets(settled, created_at=first, every=6.0, life=READY)
    made = (datetime.fromtimestamp(first + 6 * place, UTC) for place in range(settled))
    rows = [a_settled_row(*pair) for pair in zip(ids, made, strict=True)]
    await begin_again(context.store, rows)
    await audit(context)

    def lose_it(report: Report) -> None:
        if report.pages == 1:
            emulator.delete_asset(ids[-1])

    await audit(context, on_progress=lose_it)
    emulator.reset_calls()
    began = clock.seconds()
    while (await world.now_is(rows[-1])).state is not State.DELETED:
        await clock.sleep(300)
        if await is_audit_due(context):
            await audit(context)
        await sweep(context)
    late = clock.seconds() - began
    calls = emulator.calls
    return Known(
        database=database,
        case=f"a lost deletion among {settled:,}",
        road=Road.PAGE.value,
        rows=1,
        median=late,
        p95=late,
        longest=late,
        bound=86_400,
        unknown=0,
        calls=calls["list_assets"] + calls["get_asset"],
        pages=calls["list_assets"],
        gets=calls["get_asset"],
        writes=0,
        throttled=emulator.statuses[429],
    )


async def _lateness(world: World, clock: _Arrivals) -> Sequence[float]:
    """How late each row was known to be ready."""
    became = select(changes.c.row_id, changes.c.at).where(changes.c.to_state == State.READY.value)
    async with world.context.store.database.reading() as connection:
        found = list(await connection.execute(became))
    return [line.at.timestamp() - clock.ready_at[line.row_id] for line in found]


async def _writes(world: World) -> int:
    """How often rows were written: each write counts their version up."""
    counted = select(func.sum(assets.c.version - 1))
    async with world.context.store.database.reading() as connection:
        return int((await connection.execute(counted)).scalar_one())
