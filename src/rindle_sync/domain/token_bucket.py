"""A token bucket: how many calls it allows now, and when it allows the next. Pure.

Tokens are millionths of a call and times are microseconds since 1970: whole numbers, so exact.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

CALL: Final = 1_000_000
"""One call, in tokens."""

_FORGIVEN: Final = CALL // 1000
"""A thousandth of a call: without it, rounding would ask for ever smaller waits."""

_LONGEST: Final = 1e9
"""Seconds after which every bucket counts as full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A bucket of `capacity` calls at once, refilled with `per_second` calls a second."""

    name: str
    capacity: float
    per_second: float


@dataclass(frozen=True, slots=True)
class BucketState:
    """The tokens in a bucket at `filled_at`; none are added before `paused_until`."""

    tokens: int
    filled_at: int
    paused_until: int = 0


@dataclass(frozen=True, slots=True)
class Grant:
    """How many calls are allowed now, and the least wait until the next one."""

    calls: int
    wait: timedelta


@dataclass(frozen=True, slots=True)
class BucketLevel:
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
    since = max(state.filled_at, state.paused_until)
    longest = round(min(bucket.capacity / bucket.per_second, _LONGEST) * 1_000_000) + 1
    elapsed = max(0, min(micros(now) - since, longest))
    earned = elapsed * round(bucket.per_second * CALL) // 1_000_000
    tokens = min(state.tokens + earned, round(bucket.capacity * CALL))
    return BucketState(tokens, max(state.filled_at, micros(now)), state.paused_until)


def take(
    bucket: Bucket, filled: BucketState, now: datetime, *, most: int, reserve: float
) -> tuple[BucketState, Grant]:
    """The bucket without up to `most` calls, which leave `reserve` calls in it; and the grant."""
    calls = 0
    if filled.paused_until <= micros(now):
        beyond = max(0, filled.tokens - round(reserve * CALL) + _FORGIVEN)
        calls = min(beyond // CALL, most)
    left = replace(filled, tokens=filled.tokens - calls * CALL)
    return left, Grant(calls, _wait(bucket, left, now, reserve))


def give_back(bucket: Bucket, state: BucketState, calls: int, now: datetime) -> BucketState:
    """The bucket with unused calls put back; during a pause they are forfeited."""
    if state.paused_until > micros(now):
        return state
    tokens = min(state.tokens + calls * CALL, round(bucket.capacity * CALL))
    return replace(state, tokens=tokens)


def pause(state: BucketState, until: datetime, now: datetime) -> BucketState:
    """The bucket emptied, and paused until `until`: after that, calls are allowed one by one."""
    paused_until = max(state.paused_until, micros(until))
    return BucketState(0, max(state.filled_at, micros(now)), paused_until)


def level_of(bucket: Bucket, state: BucketState, now: datetime) -> BucketLevel:
    """The level of a bucket at `now`."""
    filled = fill(bucket, state, now)
    paused = timedelta(microseconds=max(0, state.paused_until - micros(now)))
    calls = max(0.0, filled.tokens / CALL)
    return BucketLevel(calls, bucket.capacity, _wait(bucket, filled, now, 0), paused)


def micros(moment: datetime) -> int:
    """Microseconds since 1970."""
    return round(moment.timestamp() * 1_000_000)


def _wait(bucket: Bucket, state: BucketState, now: datetime, reserve: float) -> timedelta:
    paused = max(0, state.paused_until - micros(now)) / 1_000_000
    missing = max(0.0, reserve + 1 - state.tokens / CALL) / bucket.per_second
    return timedelta(seconds=paused + missing)
