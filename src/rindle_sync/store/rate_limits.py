"""The token buckets, one row each, shared by every process on this database. Decides nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Update,
    bindparam,
    case,
    insert,
    select,
    tuple_,
    update,
)
from sqlalchemy.exc import IntegrityError

from rindle_sync.store.database import Database
from rindle_sync.store.schema.tables import rate_limits

CALL: Final = 1_000_000
"""One call, in the unit of the table."""

_FORGIVEN: Final = CALL // 1000
"""A thousandth of a call: sums of fractions would otherwise ask for ever smaller waits."""

_LONGEST: Final = 1e9
"""Seconds after which every bucket counts as full."""

_KEY: Final = ("provider_name", "environment", "bucket")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """One bucket: `capacity` calls at once and `per_second` more."""

    provider: str
    environment: str
    name: str
    capacity: float
    per_second: float


@dataclass(frozen=True, slots=True)
class Grant:
    """How many calls are allowed now, and how long it takes at least until another is."""

    calls: int
    wait: timedelta


def _number(name: str) -> ColumnElement[int]:
    return bindparam(name, type_=BigInteger())


def _least(one: ColumnElement[int], other: ColumnElement[int]) -> ColumnElement[int]:
    return case((one < other, one), else_=other)


def _most(one: ColumnElement[int], other: ColumnElement[int]) -> ColumnElement[int]:
    return case((one > other, one), else_=other)


def _divided(one: ColumnElement[int], other: ColumnElement[int]) -> ColumnElement[int]:
    """Rounded down, on both databases: the operator of SQLAlchemy would make it a fraction."""
    return one.op("/", return_type=BigInteger())(other)


def _level() -> ColumnElement[int]:
    """What is in the bucket now: nothing is earned during a pause, and it never overflows."""
    elapsed = _number("now") - _most(rate_limits.c.filled_at, rate_limits.c.paused_until)
    earning = _most(_least(elapsed, _number("full_after")), _number("none"))
    whole: ColumnElement[int] = rate_limits.c.tokens + _divided(
        earning * _number("rate"), _number("second")
    )
    return _least(_least(whole, _number("capacity")), _number("most_left"))


def _granted() -> ColumnElement[int]:
    beyond = _most(_level() - _number("reserve") + _FORGIVEN, _number("none"))
    calls = _least(_divided(beyond, _number("call")), _number("most"))
    return case((rate_limits.c.paused_until > _number("now"), _number("none")), else_=calls)


def _take() -> Update:
    values: dict[str, Any] = {
        "granted": _granted(),
        "tokens": _level() - _granted() * _number("call"),
        "filled_at": _most(rate_limits.c.filled_at, _number("now")),
    }
    return _mine(update(rate_limits)).values(values).returning(*rate_limits.c)


def _mine(statement: Update) -> Update:
    return statement.where(*(rate_limits.c[name] == bindparam(f"the_{name}") for name in _KEY))


_TAKE: Final = _take()
_GIVE_BACK: Final = _mine(update(rate_limits)).values(
    tokens=_least(rate_limits.c.tokens + _number("returned"), _number("capacity"))
)
_PAUSE: Final = _mine(update(rate_limits)).values(
    tokens=0,
    paused_until=_most(rate_limits.c.paused_until, _number("until")),
    filled_at=_most(rate_limits.c.filled_at, _number("now")),
)


@dataclass(frozen=True, slots=True)
class Level:
    """How a bucket stands: the calls in it, of how many, and how long until the next is allowed."""

    calls: float
    capacity: float
    wait: timedelta
    pause: timedelta = timedelta(0)
    """How much of the wait it is that the provider wants no calls at all."""


class RateLimits(Database):
    """The buckets. Every method raises `DatabaseUnavailable` when the database does not answer."""

    table = rate_limits

    async def take(
        self, bucket: Bucket, now: datetime, *, most: int, reserve: float, most_left: float
    ) -> Grant:
        """Take up to `most` calls out of what is above `reserve`, in one statement.

        `most_left` is what the provider has told to be left. A bucket that was never used is full.
        """
        values = _key(bucket) | {
            "now": _micros(now),
            "rate": round(bucket.per_second * CALL),
            "full_after": round(min(bucket.capacity / bucket.per_second, _LONGEST) * 1_000_000) + 1,
            "capacity": round(bucket.capacity * CALL),
            "most_left": round(max(0.0, min(most_left, bucket.capacity)) * CALL),
            "reserve": round(reserve * CALL),
            "most": most,
            "none": 0,
            "call": CALL,
            "second": 1_000_000,
        }
        while True:
            async with self.writing() as connection:
                found = (await connection.execute(_TAKE, values)).one_or_none()
            if found:
                return Grant(found.granted, _wait(bucket, found, now, reserve))
            await self._fill(bucket, now)

    async def give_back(self, bucket: Bucket, calls: int, now: datetime) -> None:
        """Put back calls that were not made; in a pause they are forfeit."""
        values = {"returned": calls * CALL, "capacity": round(bucket.capacity * CALL)}
        awake = _GIVE_BACK.where(rate_limits.c.paused_until <= _micros(now))
        async with self.writing() as connection:
            await connection.execute(awake, _key(bucket) | values)

    async def pause(self, bucket: Bucket, until: datetime, now: datetime) -> None:
        """Allow no call before `until`, and then one by one."""
        values = _key(bucket) | {"until": _micros(until), "now": _micros(now)}
        async with self.writing() as connection:
            changed = await connection.execute(_PAUSE, values)
        if not changed.rowcount:
            await self._fill(bucket, now)
            await self.pause(bucket, until, now)

    async def levels(self, buckets: Sequence[Bucket], now: datetime) -> list[Level]:
        """How these buckets stand; takes nothing out of them."""
        keys = tuple_(*(rate_limits.c[name] for name in _KEY))
        wanted = select(rate_limits).where(
            keys.in_([(one.provider, one.environment, one.name) for one in buckets])
        )
        async with self.reading() as connection:
            found = {tuple(row)[:3]: row for row in await connection.execute(wanted)}
        return [
            _read_level(one, found.get((one.provider, one.environment, one.name)), now)
            for one in buckets
        ]

    async def _fill(self, bucket: Bucket, now: datetime) -> None:
        row = {
            "provider_name": bucket.provider,
            "environment": bucket.environment,
            "bucket": bucket.name,
        }
        full = {
            "tokens": round(bucket.capacity * CALL),
            "filled_at": _micros(now),
            "paused_until": 0,
            "granted": 0,
        }
        try:
            async with self.writing() as connection:
                await connection.execute(insert(rate_limits), row | full)
        except IntegrityError:
            pass  # another process has just done the same


def _read_level(bucket: Bucket, found: Any, now: datetime) -> Level:
    if found is None:
        return Level(bucket.capacity, bucket.capacity, timedelta(0))
    elapsed = max(0, _micros(now) - max(found.filled_at, found.paused_until)) / 1_000_000
    calls = min(bucket.capacity, found.tokens / CALL + elapsed * bucket.per_second)
    paused = max(0, found.paused_until - _micros(now)) / 1_000_000
    lacking = max(0.0, 1 - calls) / bucket.per_second
    wait, pause = timedelta(seconds=paused + lacking), timedelta(seconds=paused)
    return Level(max(0.0, calls), bucket.capacity, wait, pause)


def _key(bucket: Bucket) -> dict[str, Any]:
    return {
        "the_provider_name": bucket.provider,
        "the_environment": bucket.environment,
        "the_bucket": bucket.name,
    }


def _wait(bucket: Bucket, found: Any, now: datetime, reserve: float) -> timedelta:
    paused = max(0, found.paused_until - _micros(now)) / 1_000_000
    lacking = max(0.0, reserve + 1 - found.tokens / CALL) / bucket.per_second
    return timedelta(seconds=paused + lacking)


def _micros(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)
