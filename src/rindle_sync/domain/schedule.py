"""When a row is checked next. Pure.

| row                            | next check                                                      |
|--------------------------------|-----------------------------------------------------------------|
| in flight                      | after a share of its age, from the floor to the cap; and at the |
|                                | stuck threshold                                                 |
| errored as stuck or not found  | after a share of its age, from the watch floor to the watch cap |
| ready, outputs unfinished      | like one in flight, by the age of its media; past the stuck     |
|                                | threshold like one errored as stuck                             |
| missing once                   | when the second 404 counts                                      |
| playback ids absent            | when the second answer without them counts                      |
| a fetch failure                | soon, twice; then like an answered row                          |
| rate limited                   | when the provider allows it, or after the floor                 |
| refused                        | as planned before: it stays due                                 |
| ambiguous, doubtful            | now                                                             |
| made due during the check      | now: the answer may be older than what made it due              |
| a webhook that changed nothing | as planned before                                               |
| pending, without an id         | when its upload should have been created                        |
| asset asked for, no answer     | after a share of its age, from the floor to the cap; and at the |
|                                | end of the grace                                                |
| settled, deleted               | never                                                           |

A list page that shows a row when half of the time to its next check is over counts as that check.
"""

from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final
from zlib import crc32

from msgspec import Struct

from rindle_sync.domain.asset import (
    FETCH_SOURCES,
    IN_FLIGHT,
    WATCHED,
    ChangeKind,
    Due,
    FailureKind,
    FetchFailure,
    Observation,
    ObservationSource,
    ProviderAsset,
    State,
)
from rindle_sync.domain.attempt import attempt_age
from rindle_sync.domain.clocks import TOLERANCE, has_come, is_ahead
from rindle_sync.domain.decision import Decision, Policy, Verdict
from rindle_sync.domain.outputs import has_unfinished_outputs
from rindle_sync.domain.token_bucket import LONGEST_PAUSE

_NEIGHBOURS: Final = 3600
"""Assets made within the same so many seconds share their jitter."""

ATTEMPTS: Final = 3
"""Attempts to fetch a row before a fetch failure makes it wait like an answered row."""


class Schedule(Struct, frozen=True, kw_only=True):
    """The settings that the next check depends on."""

    floor: timedelta = timedelta(seconds=30)
    cap: timedelta = timedelta(minutes=10)
    growth: float = 0.25
    """The time to the next check, as a share of the time since the last real change."""
    jitter: float = 0.1
    """The most that is added to this time, as a share of it."""
    watch_floor: timedelta = timedelta(minutes=5)
    watch_cap: timedelta = timedelta(hours=6)
    recovery: timedelta = timedelta(days=7)
    retry: timedelta = timedelta(seconds=5)

    @property
    def soon(self) -> timedelta:
        """What comes due within this time is checked with what is due, where a page shows both."""
        return self.floor / 2


class LongestGaps(Struct, frozen=True):
    """The longest time to the next check that `next_check` can give."""

    others: timedelta
    watched: timedelta
    """Of rows that are errored as stuck or not found, or are ready and have outputs."""

    def latest(self, now: datetime) -> dict[str, datetime]:
        """The latest times that a right clock can have planned checks for."""
        others, watched = now + self.others + TOLERANCE, now + self.watched + TOLERANCE
        return {"latest_check": others, "latest_watched_check": watched}


def longest_gaps(policy: Policy, schedule: Schedule) -> LongestGaps:
    """The longest gaps by these settings: what lies further ahead, a wrong clock has written."""
    most = 1 + schedule.jitter
    waits = (schedule.cap * most, schedule.floor, policy.confirm, policy.begin_grace, LONGEST_PAUSE)
    others = max(waits)
    watched = (schedule.watch_cap * most, schedule.watch_floor * most)
    return LongestGaps(others, max(others, *watched))


def is_due(row: ProviderAsset | Due, now: datetime, longest: LongestGaps) -> bool:
    """Whether the row is to be checked: its time has come, or is not to be believed."""
    is_to_be_confirmed = row.missing_since or row.playback_absent_since
    has_outputs = row.state is State.READY and not is_to_be_confirmed
    is_watched = row.error_kind in WATCHED or has_outputs
    return has_come(row.check_at, now, longest.watched if is_watched else longest.others)


def is_nearly_due(row: ProviderAsset, now: datetime) -> bool:
    """Whether half of the time to its next check is over: to see it now counts as that check."""
    if row.check_at is None:
        return False
    return row.check_at - now <= now - max(row.checked_at or row.updated_at, row.updated_at)


def retry_gap(failures: int, schedule: Schedule) -> timedelta:
    """The wait after the `failures`th fetch failure in a row: `retry`, doubled each time."""
    # doubled ten times at most: a row may fail for weeks, and the number would grow without end
    return schedule.retry * (1 << min(max(failures, 1) - 1, 10))


def next_check(
    decision: Decision,
    observation: Observation | FetchFailure | None,
    now: datetime,
    policy: Policy,
    schedule: Schedule,
) -> datetime | None:
    """When to check the decided row next; None for never."""
    row, source = decision.row, None
    if isinstance(observation, Observation):
        source = observation.source
    if row.state is State.DELETED or not (row.is_fetchable or row.is_unclear):
        return regular_check(row, now, policy, schedule)
    if decision.verdict is Verdict.AMBIGUOUS or decision.is_doubtful:
        return now
    if source is ObservationSource.WEBHOOK and decision.kind is None:
        return row.check_at
    if decision.verdict is Verdict.STALE:
        return row.check_at and now + schedule.floor
    if isinstance(observation, FetchFailure):
        return _after_failure(row, observation, now, policy, schedule)
    regular = regular_check(row, now, policy, schedule)
    return row.check_at if _stays_due(decision, observation, now) else regular


def _stays_due(decision: Decision, observation: Observation | None, now: datetime) -> bool:
    """Whether the row was made due for more than what was just observed."""
    row = decision.row
    is_event = observation is not None and observation.source is ObservationSource.WEBHOOK
    if decision.kind is ChangeKind.MEDIA and is_event:
        return row.check_failures > 0 or (row.check_at is not None and row.check_at <= now)
    return _came_due_meanwhile(row, observation, now)


def _came_due_meanwhile(row: ProviderAsset, observation: Observation | None, now: datetime) -> bool:
    """Whether the row came due after this check began, as by a webhook that left it ambiguous."""
    if observation is None or observation.source not in FETCH_SOURCES:
        return False
    return row.check_at is not None and observation.at < row.check_at <= now


def _after_failure(
    row: ProviderAsset, failure: FetchFailure, now: datetime, policy: Policy, schedule: Schedule
) -> datetime:
    if failure.kind is FailureKind.REFUSED:
        return row.check_at or now
    if failure.kind is FailureKind.THROTTLED:
        return now + (failure.wait or schedule.floor)
    regular = regular_check(row, now, policy, schedule)
    if regular and row.check_failures % ATTEMPTS == 0:
        return regular
    # a value that the database refuses is seldom another one soon
    cap = schedule.watch_cap if failure.kind is FailureKind.CLASH else schedule.cap
    soon = now + min(retry_gap(row.check_failures, schedule), cap)
    return min(soon, regular or soon)


def regular_check(
    row: ProviderAsset, now: datetime, policy: Policy, schedule: Schedule
) -> datetime | None:
    """When to check a row that is new or was answered; None for never."""
    if row.state is State.DELETED or not row.is_fetchable:
        return _without_id(row, now, policy, schedule) if row.state is State.PENDING else None
    absent_since = row.playback_absent_since if row.state is State.READY else None
    if since := row.missing_since or absent_since:
        return max(since + policy.confirm, now + schedule.floor)
    if row.state is not State.PENDING and row.state not in IN_FLIGHT:
        return _check_after_end(row, now, policy, schedule)
    gap = _gap(row, row.age(now), schedule.floor, schedule.cap, schedule)
    # at the threshold itself a row is not stuck yet
    overdue = row.updated_at + policy.stuck_threshold + timedelta.resolution
    return max(min(now + gap, overdue), now + schedule.floor)


def _without_id(row: ProviderAsset, now: datetime, policy: Policy, schedule: Schedule) -> datetime:
    begun_at = None if is_ahead(row.begun_at, now) else row.begun_at
    end = (begun_at or row.updated_at) + policy.begin_grace
    if not row.is_unclear:
        return end
    # until then a look can only find it; after that, a whole one ends the row
    gap = min(max(attempt_age(row, now) * schedule.growth, schedule.floor), schedule.cap)
    return min(now + gap, end) if end > now else now + gap


def _check_after_end(
    row: ProviderAsset, now: datetime, policy: Policy, schedule: Schedule
) -> datetime | None:
    """When to check a row that is `ready` or `errored`; None for one that is settled for good."""
    if row.error_kind in WATCHED:
        return _watched_check(row, row.age(now), now, schedule)
    if row.state is not State.READY or not has_unfinished_outputs(row):
        return None
    age = _age_of_media(row, now)
    if age > policy.stuck_threshold:
        return _watched_check(row, age, now, schedule)
    return now + _gap(row, age, schedule.floor, schedule.cap, schedule)


def _gap(
    row: ProviderAsset, age: timedelta, floor: timedelta, cap: timedelta, schedule: Schedule
) -> timedelta:
    hour = row.provider_created_at.timestamp() // _NEIGHBOURS
    share = _share(row.provider_name, row.environment, hour)
    return min(max(age * schedule.growth, floor), cap) * (1 + schedule.jitter * share)


@lru_cache(maxsize=256)
def _share(provider: str, environment: str, hour: float) -> float:
    """From 0 to 1, the same for neighbours in the list: they come due together, for one page."""
    return crc32(f"{provider}:{environment}:{hour:.0f}".encode()) / 0xFFFFFFFF


def _watched_check(
    row: ProviderAsset, age: timedelta, now: datetime, schedule: Schedule
) -> datetime | None:
    # a clock that jumped ahead, now or when it ended, must not end the watch: once more
    is_doubtful = is_ahead(row.updated_at, now) or _is_very_late(row, now, schedule)
    if age > schedule.recovery and not is_doubtful:
        return None
    return now + _gap(row, age, schedule.watch_floor, schedule.watch_cap, schedule)


def _age_of_media(row: ProviderAsset, now: datetime) -> timedelta:
    """The time since the last change of what the row shows of its outputs, never negative."""
    changed_at = row.media_updated_at
    if changed_at is None or is_ahead(changed_at, now):
        return row.age(now)
    return max(now - changed_at, timedelta(0))


def _is_very_late(row: ProviderAsset, now: datetime, schedule: Schedule) -> bool:
    """Whether the check before this one was planned for a time that is long past."""
    return row.check_at is not None and now - row.check_at > schedule.watch_cap
