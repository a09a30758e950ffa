"""The token buckets, one line each, shared by every process on this database."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from msgspec.structs import asdict

from rindle_sync.domain import Bucket, BucketLevel, BucketState, Grant, replace, token_bucket
from rindle_sync.store.driver_errors import retried
from rindle_sync.store.repository import Repository
from rindle_sync.store.schema.core_engine import CoreConnection
from rindle_sync.store.schema.tables import rate_limits

_LEVEL: Final = (rate_limits.c.tokens, rate_limits.c.filled_at, rate_limits.c.paused_until)
_STATE: Final = (*_LEVEL, rate_limits.c.hourly_calls)


class RateLimits(Repository):
    """The token buckets of one environment."""

    table = rate_limits

    def __init__(self, *of: Any) -> None:
        super().__init__(*of)
        self._known: dict[str, BucketState] = {}

    @retried
    async def take(
        self, bucket: Bucket, now: datetime, *, most: int, reserve: float, most_left: float
    ) -> Grant:
        """Take up to `most` calls and leave `reserve` calls; a bucket without a line is full.

        `most_left` is the number of calls that the provider reported as left. One statement where
        no other process has used the bucket since this one did, else two.
        """
        limit = round(max(0.0, min(most_left, bucket.capacity)) * token_bucket.CALL)

        def taken(state: BucketState) -> tuple[BucketState, Grant]:
            filled = token_bucket.fill(bucket, state, now)
            if filled.tokens > limit:
                filled = replace(filled, tokens=limit)
            return token_bucket.take(bucket, filled, now, most=most, reserve=reserve)

        known = self._known.get(bucket.name)
        if known:
            state, grant = taken(known)
            # written only if the bucket is still as this process left it
            level = known.tokens, known.filled_at, known.paused_until
            is_unchanged = sa.tuple_(*_LEVEL) == sa.tuple_(*level)
            swap = sa.update(rate_limits).where(*self._of(bucket), is_unchanged)
            if grant.calls and await self.execute(swap.values(asdict(state))):
                self._known[bucket.name] = state
                return grant
        async with self.writing() as connection:
            before = await self._lock(connection, bucket, now)
            state, grant = taken(before)
            await self._write(connection, bucket, state)
        self._known[bucket.name] = state
        return grant

    async def give_back(self, bucket: Bucket, calls: int, now: datetime) -> None:
        """Put unused calls back; during a pause they are forfeited."""
        await self._change(
            bucket, now, lambda state: token_bucket.give_back(bucket, state, calls, now)
        )

    async def pause(self, bucket: Bucket, until: datetime, now: datetime) -> None:
        """Allow no call before `until`, and then one by one."""
        await self._change(bucket, now, lambda state: token_bucket.pause(state, until, now))

    async def levels(
        self, buckets: Sequence[tuple[str, Bucket]], now: datetime
    ) -> list[BucketLevel]:
        """The levels of buckets, each given with the name of its environment."""
        keys = [(self.provider, environment, bucket.name) for environment, bucket in buckets]
        columns = (rate_limits.c.provider_name, rate_limits.c.environment, rate_limits.c.bucket)
        wanted = sa.select(*columns, *_LEVEL).where(sa.tuple_(*columns).in_(keys))
        found = {tuple(line[:3]): BucketState(*tuple(line)[3:]) for line in await self.read(wanted)}
        levels = []
        for key, (_, bucket) in zip(keys, buckets, strict=True):
            state = found.get(key) or token_bucket.full(bucket, now)
            levels.append(token_bucket.level_of(bucket, state, now))
        return levels

    async def history(self, bucket: Bucket) -> tuple[int, ...]:
        """The calls of the last hours: see `hourly_calls`."""
        found = await self.read(sa.select(rate_limits.c.hourly_calls).where(*self._of(bucket)))
        return tuple(found[0][0] or ()) if found else ()

    @retried
    async def _change(
        self, bucket: Bucket, now: datetime, change: Callable[[BucketState], BucketState]
    ) -> None:
        async with self.writing() as connection:
            state = change(await self._lock(connection, bucket, now))
            await self._write(connection, bucket, state)
        self._known[bucket.name] = state

    async def _lock(self, connection: CoreConnection, bucket: Bucket, now: datetime) -> BucketState:
        """The bucket, locked until the transaction ends; inserted where it has no line."""
        wanted = sa.select(*_STATE).where(*self._of(bucket)).with_for_update()
        found = (await connection.execute(wanted)).one_or_none()
        if found is None:
            state = token_bucket.full(bucket, now)
            new = self.key | {"bucket": bucket.name} | asdict(state)
            # another process may be first: then its line counts
            await connection.execute(self.insert_once(), new)
            found = (await connection.execute(wanted)).one()
        tokens, filled_at, paused_until, history = found
        return BucketState(tokens, filled_at, paused_until, tuple(history or ()))

    async def _write(self, connection: CoreConnection, bucket: Bucket, state: BucketState) -> None:
        await connection.execute(
            sa.update(rate_limits).where(*self._of(bucket)).values(asdict(state))
        )

    def _of(self, bucket: Bucket) -> tuple[sa.ColumnElement[bool], ...]:
        return *self.here, rate_limits.c.bucket == bucket.name
