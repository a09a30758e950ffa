"""`python -m benchmarks.outputs`: how late the end of assets and outputs is found without webhooks.

The clock is one that only sleeps move, and the emulator enforces Mux's rate limit of a token of low
priority. Assets are created over an hour, each with one output that is prepared once it is ready.
`bound` is the share that was found within the longest gap of its age, and one sweep.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Final

from rindle_sync.config import plain_settings
from rindle_sync.domain import FINISHED, ProviderAsset, Schedule, State, output_statuses
from rindle_sync.emulator import Life
from rindle_sync.emulator.lifecycle import Asset
from rindle_sync.telemetry import MediaChange, StateChange
from tests.support.world import World, a_world

VIDEOS: Final = 200
CREATED_WITHIN: Final = 3600.0
SHORTEST: Final = 10.0
LONGEST: Final = 3600.0
"""Seconds that an asset, and then its output, takes: evenly spread by their logarithm."""

EVERY: Final = 5.0
"""Seconds between two sweeps, as the settings have it by default."""

KINDS: Final = ("track", "rendition", "master")


class Lateness:
    """The time from each end at the provider until a row showed it, in seconds, by kind."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.within: dict[str, int] = defaultdict(int)
        """How many were found within the bound."""
        self._found: set[tuple[str, str]] = set()

    async def note(self) -> None:
        """Note what has come to be shown since the last call."""
        events = self.world.events(StateChange, MediaChange)
        self.world.told.clear()
        changed = {event.row_id for event in events if event.row_id}
        if changed:
            for row in (await self.world.context.store.assets.get_many(changed)).values():
                self._note(row)

    def _note(self, row: ProviderAsset) -> None:
        asset = self.world.emulator.environment.assets[row.provider_asset_id or ""]
        for kind, ended_at, took in _shown(row, asset):
            if (row.id, kind) not in self._found:
                self._found.add((row.id, kind))
                late = self.world.clock.seconds() - ended_at
                self.seconds[kind].append(late)
                self.within[kind] += late <= bound(took)


def bound(took: float) -> float:
    """The most seconds until the end of what took so many seconds is found by a check."""
    schedule = Schedule()
    gap = min(max(took * schedule.growth, schedule.floor.total_seconds()), schedule.cap.seconds)
    return gap * (1 + schedule.jitter) + EVERY


def _shown(row: ProviderAsset, asset: Asset) -> Iterator[tuple[str, float, float]]:
    """What the row shows as ended, when it had ended, and how long it took."""
    if row.state is State.READY:
        yield "asset", asset.ends_at, asset.life.after
    for key, status in output_statuses(row).items():
        part = asset.parts[0]
        kind = key.partition(" ")[0]
        is_main = kind == "track" and key != f"track {part.id}"
        if status in FINISHED and not is_main:
            # one that ends soon after its asset is found together with it
            yield kind, part.ends_at, max(asset.life.after, part.life.after)


async def play(world: World, videos: int, *, by_page: bool) -> Lateness:
    """Create videos over an hour and sweep until all has been found."""
    reads = plain_settings(provider_token_priority="low").buckets.reads
    world.emulator.set_rate_limits("low")
    world.with_reads(reads.capacity, reads.per_second)
    if not by_page:
        world.without_pages()
    draw, lateness = random.Random(7), Lateness(world)
    begins = sorted(draw.uniform(0, CREATED_WITHIN) for _ in range(videos))
    began, expected = world.clock.seconds(), 2 * videos
    while sum(map(len, lateness.seconds.values())) < expected:
        while begins and began + begins[0] <= world.clock.seconds():
            begins.pop(0)
            await _create(world, draw)
        await world.sweep()
        await lateness.note()
        world.clock.move(EVERY)
    return lateness


async def _create(world: World, draw: random.Random) -> None:
    lives = [Life(after=SHORTEST * (LONGEST / SHORTEST) ** draw.random()) for _ in range(2)]
    now = world.clock.now()
    row = await world.track(life=lives[0], updated_at=now, check_at=now)
    asset_id, kind = row.provider_asset_id or "", draw.choice(KINDS)
    if kind == "track":
        world.emulator.create_track(asset_id, life=lives[1])
    elif kind == "rendition":
        world.emulator.create_static_rendition(asset_id, "1080p", life=lives[1])
    else:
        world.emulator.set_master_access(asset_id, "temporary", life=lives[1])


def line(kind: str, seconds: Sequence[float], within: int) -> str:
    """The figures of one kind."""
    number, p95 = len(seconds), quantiles(seconds, n=20)[-1]
    times = f"{median(seconds):8.1f} {p95:8.1f} {max(seconds):8.1f}"
    return f"{kind:10} {number:5} {times} {within / number:8.1%}"


async def measure(*, by_page: bool) -> None:
    """Measure, and print a table."""
    with TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'outputs.sqlite'}"
        async with a_world(url) as world:
            found = await play(world, VIDEOS, by_page=by_page)
            calls = world.calls
    road = "by list page and by id" if by_page else "by id"
    print(f"{road}: {calls} calls for {VIDEOS} videos")
    print(f"{'':10} {'n':>5} {'p50 s':>8} {'p95 s':>8} {'max s':>8} {'bound':>8}")
    for kind in ("asset", *KINDS):
        print(line(kind, found.seconds[kind], found.within[kind]))
    outputs = [seconds for kind in KINDS for seconds in found.seconds[kind]]
    print(line("outputs", outputs, sum(found.within[kind] for kind in KINDS)))


async def main() -> None:
    """Measure both ways."""
    for by_page in (True, False):
        await measure(by_page=by_page)


if __name__ == "__main__":
    asyncio.run(main())
