"""The feed of changes: each has a position, and none that comes later stands before another.

The ids of changes are no such order: on PostgreSQL a transaction that began earlier may be
committed later, and whoever has read as far as a greater id would miss its change. So changes are
published: those that are committed get the next positions, under a lock of the feed.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from rindle_sync.domain import JobKind
from rindle_sync.errors import UnknownChange
from rindle_sync.store.driver_errors import retried
from rindle_sync.store.lines import Change, read_known_change
from rindle_sync.store.outgoing_webhooks import add_webhooks
from rindle_sync.store.repository import Repository, in_environment
from rindle_sync.store.schema.core_engine import CoreConnection
from rindle_sync.store.schema.tables import change_feeds, changes

_LOCK: Final = (
    sa.update(change_feeds)
    .where(in_environment(change_feeds))
    .values(position=change_feeds.c.position)
    .returning(change_feeds.c.position)
)
_UNPUBLISHED: Final = (
    sa.select(changes.c.id, sa.func.row_number().over(order_by=changes.c.id).label("number"))
    .where(in_environment(changes), changes.c.position.is_(None))
    .order_by(changes.c.id)
    .limit(sa.bindparam("most"))
    .subquery("unpublished")
)
_PUBLISH: Final = (
    sa.update(changes)
    .where(changes.c.id == _UNPUBLISHED.c.id)
    .values(position=sa.bindparam("last", type_=sa.BigInteger()) + _UNPUBLISHED.c.number)
    .returning(*changes.c)
)
_ADVANCE: Final = (
    sa.update(change_feeds)
    .where(in_environment(change_feeds))
    .values(position=sa.bindparam("last", type_=sa.BigInteger()))
)
_IS_PUBLISHED: Final = in_environment(changes), changes.c.position > sa.literal_column("0")
_PAGE: Final = (
    sa.select(*changes.c)
    .where(*_IS_PUBLISHED, changes.c.position > sa.bindparam("behind", type_=sa.BigInteger()))
    .order_by(changes.c.position)
    .limit(sa.bindparam("most"))
)
_NEWEST: Final = sa.select(change_feeds.c.position).where(in_environment(change_feeds))

MOST_PUBLISHED: Final = 500
"""How many changes get their places in one transaction."""

AtEnd = Callable[[CoreConnection, int], Awaitable[None]]
"""What is done in the transaction that publishes the last changes, with the last position."""


@dataclass(frozen=True, slots=True)
class PublishedChange:
    """A change of the feed."""

    id: int
    """Its position: whoever follows the feed goes on behind it."""
    change: Change


@dataclass(frozen=True, slots=True)
class PublishedBatch:
    """Changes that were published together."""

    changes: list[PublishedChange]
    """In their order."""
    webhooks: int
    """How many outgoing webhooks were made of them."""
    has_more: bool = False
    """Whether others may be left."""


class _Feeds(Repository):
    table = change_feeds


class ChangeFeed(Repository):
    """The feed of one environment. Changes get a position only once somebody follows it."""

    table = changes

    async def turn_on(self) -> None:
        """Publish changes from now on."""
        lines = _Feeds(self.database, self.provider, self.environment)
        await lines.execute(lines.insert_once(), self.key | {"position": 0})

    async def is_on(self) -> bool:
        """Whether changes are published."""
        return bool(await self.read(_NEWEST, self.parameters))

    async def publish(self, limit: int = MOST_PUBLISHED) -> list[PublishedChange]:
        """Give up to `limit` changes the next positions; those that got one, in their order.

        None where the feed is off.
        """
        return (await self.publish_batch(limit)).changes

    @retried
    async def publish_batch(
        self, limit: int = MOST_PUBLISHED, *, at_end: AtEnd | None = None
    ) -> PublishedBatch:
        """`publish`, with the outgoing webhooks that are made in the same transaction.

        `at_end` is called in it where no change is left: none that is committed by then stands
        behind the position that it gets, and all that are committed later do.
        """
        async with self.writing() as connection:
            feed = (await connection.execute(_LOCK, self.parameters)).one_or_none()
            if feed is None:
                return PublishedBatch([], 0)
            values = self.parameters | {"last": feed.position, "most": limit}
            lines = (await connection.execute(_PUBLISH, values)).all()
            lines = sorted(lines, key=lambda line: line.position)
            last, webhooks = feed.position + len(lines), 0
            if lines:
                await connection.execute(_ADVANCE, self.parameters | {"last": last})
                webhooks = await add_webhooks(connection, self.key, self.parameters, lines)
            if webhooks:
                await self.database.notifications.send(connection, JobKind.DELIVER)
            has_more = len(lines) == limit
            if at_end and not has_more:
                await at_end(connection, last)
        return PublishedBatch(_read(lines), webhooks, has_more)

    async def publish_all(self, at_end: AtEnd) -> None:
        """Turn the feed on, publish every change, and call `at_end` as `publish_batch` does."""
        await self.turn_on()
        while (await self.publish_batch(at_end=at_end)).has_more:
            pass

    async def page(self, after: int | None, *, limit: int) -> list[PublishedChange]:
        """Up to `limit` published changes behind the one with the id `after`; None for the first.

        What this version cannot read is left out. Raises `UnknownChange` where the feed ends before
        that one.
        """
        behind = after or 0
        lines = await self._lines(behind, limit)
        if not lines and behind > (await self.newest() or 0):
            raise UnknownChange(behind)
        found = _read(lines)
        while lines and not found:
            lines = await self._lines(lines[-1].position, limit)
            found = _read(lines)
        return found

    async def _lines(self, behind: int, limit: int) -> Sequence[sa.Row[Any]]:
        return await self.read(_PAGE, self.parameters | {"behind": behind, "most": limit})

    async def forget(self, before: datetime) -> int:
        """Leave unpublished changes older than `before` out of a feed that is off; how many."""
        old = *self.here, changes.c.position.is_(None), changes.c.at < before
        is_off = ~sa.exists().where(*self.here_in(change_feeds))
        return await self.execute(sa.update(changes).where(*old, is_off).values(position=0))

    async def newest(self) -> int | None:
        """The id of the last published change; None where there is none."""
        found = await self.read(_NEWEST, self.parameters)
        return (found[0].position or None) if found else None


def _read(lines: Sequence[sa.Row[Any]]) -> list[PublishedChange]:
    """The changes that can be read: an odd one must not stop all that come behind it."""
    published = []
    for line in lines:
        change = read_known_change(line)
        if change:
            published.append(PublishedChange(line.position, change))
    return published
