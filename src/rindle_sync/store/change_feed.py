"""The feed of changes: each has a position, and none that comes later stands before another.

The ids of changes are no such order: on PostgreSQL a transaction that began earlier may be
committed later, and whoever has read as far as a greater id would miss its change. So changes are
published: those that are committed get the next positions, under a lock of the feed.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from rindle_sync.domain import JobKind
from rindle_sync.errors import UnknownChange
from rindle_sync.store.driver_errors import retried
from rindle_sync.store.lines import Change, read_change
from rindle_sync.store.outgoing_webhooks import add_webhooks
from rindle_sync.store.repository import Repository, in_environment
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
_POSITION: Final = sa.select(changes.c.position).where(
    *_IS_PUBLISHED, changes.c.id == sa.bindparam("change_id")
)
_PAGE: Final = (
    sa.select(*changes.c)
    .where(*_IS_PUBLISHED, changes.c.position > sa.bindparam("behind", type_=sa.BigInteger()))
    .order_by(changes.c.position)
    .limit(sa.bindparam("most"))
)
_NEWEST: Final = (
    sa.select(changes.c.id).where(*_IS_PUBLISHED).order_by(changes.c.position.desc()).limit(1)
)


@dataclass(frozen=True, slots=True)
class PublishedChange:
    """A change of the feed."""

    id: int
    """What whoever follows the feed goes on behind."""
    change: Change


@dataclass(frozen=True, slots=True)
class PublishedBatch:
    """Changes that were published together."""

    changes: list[PublishedChange]
    """In their order."""
    webhooks: int
    """How many outgoing webhooks were made of them."""


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
        found = await self.read(
            sa.select(change_feeds.c.position).where(*self.here_in(change_feeds))
        )
        return bool(found)

    async def publish(self, limit: int = 500) -> list[PublishedChange]:
        """Give up to `limit` changes the next positions; those that got one, in their order.

        None where the feed is off.
        """
        return (await self.publish_batch(limit)).changes

    @retried
    async def publish_batch(self, limit: int = 500) -> PublishedBatch:
        """`publish`, with the number of outgoing webhooks that were made in the transaction."""
        async with self.writing() as connection:
            feed = (await connection.execute(_LOCK, self.parameters)).one_or_none()
            if feed is None:
                return PublishedBatch([], 0)
            values = self.parameters | {"last": feed.position, "most": limit}
            lines = (await connection.execute(_PUBLISH, values)).all()
            if not lines:
                return PublishedBatch([], 0)
            last = feed.position + len(lines)
            await connection.execute(_ADVANCE, self.parameters | {"last": last})
            lines = sorted(lines, key=lambda line: line.position)
            published = [PublishedChange(line.id, read_change(line)) for line in lines]
            about = [(change.id, change.change) for change in published]
            webhooks = await add_webhooks(connection, self.key, self.parameters, about)
            if webhooks:
                await self.database.notifications.send(connection, JobKind.DELIVER)
        return PublishedBatch(published, webhooks)

    async def page(self, after: int | None, *, limit: int) -> list[PublishedChange]:
        """Up to `limit` published changes behind the one with the id `after`; None for the first.

        Raises `UnknownChange` where that one is not in the feed.
        """
        behind = 0
        if after is not None:
            found = await self.read(_POSITION, self.parameters | {"change_id": after})
            if not found:
                raise UnknownChange(after)
            behind = found[0].position
        lines = await self.read(_PAGE, self.parameters | {"behind": behind, "most": limit})
        return [PublishedChange(line.id, read_change(line)) for line in lines]

    async def forget(self, before: datetime) -> int:
        """Leave unpublished changes older than `before` out of a feed that is off; how many."""
        old = *self.here, changes.c.position.is_(None), changes.c.at < before
        is_off = ~sa.exists().where(*self.here_in(change_feeds))
        return await self.execute(sa.update(changes).where(*old, is_off).values(position=0))

    async def newest(self) -> int | None:
        """The id of the last published change."""
        found = await self.read(_NEWEST, self.parameters)
        return found[0].id if found else None
