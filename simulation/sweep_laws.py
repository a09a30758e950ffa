"""What must be so of checks: how soon they find what is true, what they cost, what is told."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from rindle_sync.telemetry import Resolved, Stuck, Swept
from simulation.clock import BEGIN
from simulation.history import Written
from simulation.host import Call
from simulation.world import World

_IN_FLIGHT: Final = {"uploading", "processing"}

_ROUNDING: Final = 0.001
"""Seconds by which a stored time may be off."""

_SLACK: Final = 40.0
"""Seconds for what a sweep waits beside its turn: slow answers, skewed clocks, a lease."""


def checks(world: World) -> Iterator[str]:
    """All laws of this module."""
    yield from _told_once(world)
    yield from _dated_by_the_call(world)
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


def _dated_by_the_call(world: World) -> Iterator[str]:
    """What an answer shows was observed when its call left, at the latest.

    The asset may have changed while the answer was under way: a later date would hide that.
    """
    if world.plan.wrong_clock:
        return
    skews = {host.name: host.skew for host in world.hosts}
    left: dict[tuple[str, str], float] = {}
    last: dict[tuple[str, str], Written] = {}
    for entry in world.history.entries:
        what = entry.what
        if isinstance(what, Call):
            key = entry.host, what.path
            left[key] = max(what.left_at, left.get(key, what.left_at))
        elif isinstance(what, Written):
            last[entry.host, what.row_id] = what
        elif isinstance(what, Resolved) and not isinstance(what, Stuck):
            written = last.get((entry.host, str(what.row_id)))
            if written is None or written.observed_at is None:
                continue
            observed = (written.observed_at - skews[entry.host]).timestamp()
            calls = [
                left[entry.host, path] for path in _paths(written) if (entry.host, path) in left
            ]
            if calls and observed > max(calls) + _ROUNDING:
                late = f"{observed - max(calls):.3f} s after the call about it had left"
                yield f"checks: {entry.host} observed {written.row_id} {late}"


def _paths(written: Written) -> Sequence[str]:
    """Of all calls that say something of a row."""
    uploads = f"/video/v1/uploads/{written.provider_upload_id}"
    assets = "/video/v1/assets"
    return assets, f"{assets}/{written.provider_asset_id}", uploads, f"{uploads}/cancel"


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
