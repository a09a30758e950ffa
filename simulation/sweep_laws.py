"""What must be so of checks: how soon they find what is true, what they cost, what is told."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from rindle_sync.telemetry import Resolved, Stuck, Swept
from simulation.clock import BEGIN
from simulation.history import Written
from simulation.world import World

_IN_FLIGHT: Final = {"uploading", "processing"}

_SLACK: Final = 40.0
"""Seconds for what a sweep waits beside its turn: slow answers, skewed clocks, a lease."""


def checks(world: World) -> Iterator[str]:
    """All laws of this module."""
    yield from _told_once(world)
    if not (world.plan.windows or world.plan.crashes or world.plan.wrong_clock):
        yield from _known_in_time(world)
        if not world.plan.from_urls:
            yield from _no_more_calls_than_rows(world)


def _told_once(world: World) -> Iterator[str]:
    """A check that was written is told as `resolved` once, whether a page or a call was it."""
    written: Counter[tuple[str, str]] = Counter()
    for entry in world.history.entries:
        event, key = entry.what, (entry.host, str(getattr(entry.what, "row_id", "")))
        if isinstance(event, Written):
            written[key] += 1
        elif isinstance(event, Resolved) and not isinstance(event, Stuck):
            written[key] -= 1
            if written[key] < 0:
                yield f"checks: {entry.host} resolved {key[1]} more often than it has written it"


def _no_more_calls_than_rows(world: World) -> Iterator[str]:
    """A sweep of so few rows loses one call on a page at most, and as many rows wait for it."""
    for entry in world.history.of(Swept):
        swept: Swept = entry.what
        if swept.calls > swept.looked + 1:
            yield f"checks: {entry.host} made {swept.calls} calls for {swept.looked} rows"


def _known_in_time(world: World) -> Iterator[str]:
    """Where nothing goes wrong, a row is ready at most one gap and a turn after its asset."""
    settings = world.plan.settings
    floor = settings["provider_polling_floor_seconds"]
    cap, growth = settings["provider_check_cap_seconds"], settings["provider_check_growth"]
    reads = world.settings.buckets.reads.per_second * world.settings.provider_rate_limit_share
    turn = settings["sweep_interval_seconds"] + world.plan.polling + _SLACK
    turn += 4 * len(world.plan.videos) / reads
    for entry in world.history.of(Written):
        written: Written = entry.what
        if written.from_state not in _IN_FLIGHT or written.to_state != "ready":
            continue
        asset = world.emulator.environment.assets.get(written.provider_asset_id or "")
        if asset is None:
            continue
        changed_at = (written.was_updated_at - BEGIN).total_seconds()
        ready_at = asset.created_at + asset.life.after - BEGIN.timestamp()
        since = max(ready_at, changed_at)
        gap = max(floor, min(cap, growth * (since - changed_at)))
        most = gap * (1 + settings["provider_check_jitter"]) * (1 + growth) + turn
        if entry.at - since > most:
            late = f"{entry.at - since:.0f} s after its asset, and {most:.0f} are allowed"
            yield f"checks: {written.row_id} was known to be ready {late}"
