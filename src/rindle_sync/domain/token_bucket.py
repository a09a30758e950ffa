"""A token bucket: how many calls it allows now, and when it allows the next. Pure.

Tokens are millionths of a call and times are microseconds since 1970: whole numbers, so exact.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from msgspec import Struct

from rindle_sync.domain.asset import replace
from rindle_sync.domain.clocks import TOLERANCE
from rindle_sync.domain.hourly_calls import add_calls

CALL: Final = 1_000_000
"""One call, in tokens."""

_FORGIVEN: Final = CALL // 1000
"""A thousandth of a call: without it, rounding would ask for ever smaller waits."""

LONGEST_PAUSE: Final = timedelta(hours=1)
"""The longest pause, however long the provider asks to wait."""

_LONGEST: Final = 1e9
"""Seconds after which every bucket counts as full."""


class Priority(StrEnum):
    """The priority of the provider's token; each has rate limits of its own."""

    LOW = "low"
    HIGH = "high"


class Bucket(Struct, frozen=True, kw_only=True):
    """A bucket of `capacity` calls at once, refilled with `per_second` calls a second."""

    name: str
    capacity: float
    per_second: float


class BucketState(Struct, frozen=True):
    """The tokens in a bucket at `filled_at`; none are added before `paused_until`."""

    tokens: int
    filled_at: int
    paused_until: int = 0
    hourly_calls: tuple[int, ...] = ()
    """The history of calls: see `hourly_calls`."""


class Grant(Struct, frozen=True):
    """How many calls are allowed now, and the least wait until the next one."""

    calls: int
    wait: timedelta
    is_paused: bool = False
    """Whether the wait is for the end of a pause that the provider wants."""


class BucketLevel(Struct, frozen=True):
    """The calls in a bucket, its capacity, and the wait until the next call."""

    calls: float
    capacity: float
    wait: timedelta
    pause: timedelta = timedelta(0)
    """The part of the wait in which the provider wants no calls at all."""


def full(bucket: Bucket, now: datetime) -> BucketState:
    """A bucket that was never used."""
    return BucketState(round(bucket.capacity * CALL), micros(now))


def fill(bucket: Bucket, state: BucketState, now: datetime) -> BucketState:
    """The bucket refilled up to `now`: not during a pause, and not beyond its capacity."""
    state = believed(state, now)
    since = max(state.filled_at, state.paused_until)
    longest = round(min(bucket.capacity / bucket.per_second, _LONGEST) * 1_000_000) + 1
    elapsed = max(0, min(micros(now) - since, longest))
    earned = elapsed * round(bucket.per_second * CALL) // 1_000_000
    tokens = min(state.tokens + earned, round(bucket.capacity * CALL))
    return replace(state, tokens=tokens, filled_at=max(state.filled_at, micros(now)))


def believed(state: BucketState, now: datetime) -> BucketState:
    """The bucket as a right clock would have written it.

    Where its time is further ahead than clocks may differ, the clock was wrong that wrote it: the
    time counts as `now`, and what was left of a pause then is left of it now.
    """
    ahead = state.filled_at - micros(now)
    if ahead > _micros_of(TOLERANCE):
        paused_until = max(0, state.paused_until - ahead)
        state = replace(state, filled_at=micros(now), paused_until=paused_until)
    if state.paused_until - micros(now) > _micros_of(LONGEST_PAUSE + TOLERANCE):
        return replace(state, paused_until=0)
    return state


def take(
    bucket: Bucket, filled: BucketState, now: datetime, *, most: int, reserve: float
) -> tuple[BucketState, Grant]:
    """The bucket without up to `most` calls, which leave `reserve` calls in it; and the grant."""
    calls, is_paused = 0, filled.paused_until > micros(now)
    if not is_paused:
        beyond = max(0, filled.tokens - round(reserve * CALL) + _FORGIVEN)
        calls = min(beyond // CALL, most)
    history = add_calls(filled.hourly_calls, now, calls) if calls else filled.hourly_calls
    left = replace(filled, tokens=filled.tokens - calls * CALL, hourly_calls=history)
    return left, Grant(calls, _wait(bucket, left, now, reserve), is_paused)


def give_back(bucket: Bucket, state: BucketState, calls: int, now: datetime) -> BucketState:
    """The bucket with unused calls put back; during a pause they are forfeited."""
    history = add_calls(state.hourly_calls, now, -calls)
    state = replace(believed(state, now), hourly_calls=history)
    if state.paused_until > micros(now):
        return state
    tokens = min(state.tokens + calls * CALL, round(bucket.capacity * CALL))
    return replace(state, tokens=tokens)


def pause(state: BucketState, until: datetime, now: datetime) -> BucketState:
    """The bucket emptied, and paused until `until`: after that, calls are allowed one by one."""
    state = believed(state, now)
    paused_until = max(state.paused_until, micros(until))
    filled_at = max(state.filled_at, micros(now))
    return replace(state, tokens=0, filled_at=filled_at, paused_until=paused_until)


def level_of(bucket: Bucket, state: BucketState, now: datetime) -> BucketLevel:
    """The level of a bucket at `now`."""
    filled = fill(bucket, state, now)
    paused = timedelta(microseconds=max(0, filled.paused_until - micros(now)))
    calls = max(0.0, filled.tokens / CALL)
    return BucketLevel(calls, bucket.capacity, _wait(bucket, filled, now, 0), paused)


def micros(moment: datetime) -> int:
    """Microseconds since 1970."""
    return round(moment.timestamp() * 1_000_000)


def _micros_of(span: timedelta) -> int:
    return span // timedelta(microseconds=1)


def _wait(bucket: Bucket, state: BucketState, now: datetime, reserve: float) -> timedelta:
    missing = max(0.0, reserve + 1 - state.tokens / CALL) / bucket.per_second
    # tokens are added from `filled_at` on only, which another machine's clock may have written
    begins = max(state.paused_until, state.filled_at if missing else 0)
    return timedelta(seconds=max(0, begins - micros(now)) / 1_000_000 + missing)
