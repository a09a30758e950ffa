"""Which due rows are looked at by list page and which by id, and when a row is looked at again. Pure.

A list page answers up to a hundred rows for one call, but only from the newest asset downwards, and nobody can say
beforehand how many of its entries are ours. So a page is asked for only where, by all that is known, it answers more
rows than it costs calls; what is spent on pages in vain never exceeds what pages have saved before, but for one call
at the beginning, for which one row then waits for the next pass.

| row                              | next look                                                                |
|----------------------------------|--------------------------------------------------------------------------|
| in flight                        | a share of its age from now, between the floor and the cap, and at once  |
|                                  | when it passes the stuck threshold                                       |
| errored as stuck or not found    | a share of its age, between the watch floor and cap, for `recovery`      |
| suspected to be deleted          | when the second 404 counts                                               |
| the look brought no answer       | soon, twice; then like a row that was answered                           |
| throttled                        | when the provider wants, or after the floor                              |
| refused                          | as planned before: it stays due                                          |
| in doubt                         | now                                                                      |
| a webhook that changed nothing   | as planned before                                                        |
| pending, without any id          | when its upload should have been begun                                   |
| at rest, deleted                 | never                                                                    |
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from zlib import crc32

from rindle_sync.domain.asset import (
    WATCHED,
    FailureKind,
    FetchFailure,
    Observation,
    ObservationSource,
    ProviderAsset,
    State,
)
from rindle_sync.domain.decide import CHANGES, Decision, Policy, Verdict

ATTEMPTS: Final = 3
"""How often a row is asked about in all before a lack of answers makes it wait like any other row."""


_ONE: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The settings that the next look depends on."""

    floor: timedelta = timedelta(seconds=30)
    cap: timedelta = timedelta(minutes=10)
    growth: float = 0.25
    """The gap to the next look, as a share of the time since the last real change."""
    jitter: float = 0.1
    """How far a gap is drawn apart, as a share of it."""
    watch_floor: timedelta = timedelta(minutes=5)
    watch_cap: timedelta = timedelta(hours=6)
    recovery: timedelta = timedelta(days=7)
    retry: timedelta = timedelta(seconds=5)


def retry_gap(failures: int, schedule: Schedule) -> timedelta:
    """How long to wait after the `failures`th look in a row that brought no answer: doubling from `retry`."""
    return schedule.retry * (1 << min(max(failures, 1) - 1, 10))


def next_check(
    decision: Decision,
    observation: Observation | FetchFailure | None,
    now: datetime,
    policy: Policy,
    schedule: Schedule,
) -> datetime | None:
    """When to look at the decided row again, None for never."""
    row = decision.row
    if row.state is State.DELETED or not row.is_fetchable:
        return _begin_deadline(row, policy)
    if decision.verdict is Verdict.AMBIGUOUS:
        return now
    if (
        isinstance(observation, Observation)
        and observation.source is ObservationSource.WEBHOOK
        and decision.verdict not in CHANGES
    ):
        return row.check_at
    if decision.verdict is Verdict.STALE:
        return row.check_at and now + schedule.floor
    if isinstance(observation, FetchFailure):
        return _after_failure(row, observation, now, policy, schedule)
    return _regular(row, now, policy, schedule)


def first_check(
    row: ProviderAsset, now: datetime, policy: Policy, schedule: Schedule
) -> datetime | None:
    """When to look at a new row for the first time."""
    return (
        _regular(row, now, policy, schedule) if row.is_fetchable else _begin_deadline(row, policy)
    )


def _begin_deadline(row: ProviderAsset, policy: Policy) -> datetime | None:
    return row.updated_at + policy.begin_grace if row.state is State.PENDING else None


def _after_failure(
    row: ProviderAsset, failure: FetchFailure, now: datetime, policy: Policy, schedule: Schedule
) -> datetime:
    if failure.kind is FailureKind.REFUSED:
        return row.check_at or now
    if failure.kind is FailureKind.THROTTLED:
        return now + (failure.wait or schedule.floor)
    regular = _regular(row, now, policy, schedule)
    if row.check_failures % ATTEMPTS or regular is None:
        soon = now + min(retry_gap(row.check_failures, schedule), schedule.cap)
        return min(soon, regular) if regular else soon
    return regular


def _regular(
    row: ProviderAsset, now: datetime, policy: Policy, schedule: Schedule
) -> datetime | None:
    if row.missing_since:
        return max(row.missing_since + policy.confirm, now + schedule.floor)
    if row.error_kind in WATCHED:
        gap = _gap(row, now, schedule.watch_floor, schedule.watch_cap, schedule)
        return now + gap if row.age(now) <= schedule.recovery else None
    if row.state not in {State.PENDING, State.UPLOADING, State.PROCESSING}:
        return None
    regular = now + _gap(row, now, schedule.floor, schedule.cap, schedule)
    overdue = row.updated_at + policy.stuck_threshold + _ONE
    return max(min(regular, overdue), now + schedule.floor)


def _gap(
    row: ProviderAsset, now: datetime, floor: timedelta, cap: timedelta, schedule: Schedule
) -> timedelta:
    grown = min(max(row.age(now) * schedule.growth, floor), cap)
    return grown * (1 + schedule.jitter * _draw(row))


def _draw(row: ProviderAsset) -> float:
    """A number from 0 to 1 that is the same for the same row and version, and spread evenly over rows."""
    return crc32(f"{row.id}:{row.version}".encode()) / 0xFFFFFFFF
