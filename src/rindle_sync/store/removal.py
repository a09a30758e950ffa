"""Forgets a row, and on request what is stored about it."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from rindle_sync.errors import WriteInsideCallback
from rindle_sync.store.driver_errors import retried
from rindle_sync.store.lent import is_lent_here
from rindle_sync.store.repository import Repository
from rindle_sync.store.schema.api_tables import row_actions
from rindle_sync.store.schema.core_engine import CoreConnection
from rindle_sync.store.schema.outgoing_tables import outgoing_webhooks
from rindle_sync.store.schema.tables import (
    assets,
    change_deliveries,
    changes,
    superseded,
    webhook_events,
)
from rindle_sync.store.superseded import FORGOTTEN, SupersededIds, supersede

_UNNAME: Final = (
    sa.update(row_actions)
    .where(row_actions.c.row_id == sa.bindparam("acted_on"))
    .values(reference=None)
)
"""Who did what stays; what the app calls the row does not."""


class Removal(Repository):
    """Deletes rows."""

    table = assets

    @retried
    async def remove(
        self,
        row_id: str,
        now: datetime,
        *,
        history: bool = False,
        webhook_bodies: bool = False,
        remember: bool = True,
    ) -> bool:
        """Delete a row in one transaction; False where it is gone.

        With `history` its changes go, too, with the outgoing webhooks about them, and its reference
        in the actions on it; with `webhook_bodies` the bodies of the webhook events about it are
        emptied. With `remember` its ids are superseded.
        """
        if history and is_lent_here(self.database, row_id):
            raise WriteInsideCallback  # its transaction holds the change that would go
        deleted = sa.delete(assets).where(*self.here, assets.c.id == row_id)
        async with self.writing() as connection:
            # the ids that it has at this moment: a webhook may just have brought one
            ids = assets.c.provider_asset_id, assets.c.provider_upload_id
            found = (await connection.execute(deleted.returning(*ids))).one_or_none()
            if found is None:
                return False
            left = SupersededIds(
                row_id=row_id,
                provider_asset_id=found.provider_asset_id if remember else None,
                provider_upload_id=found.provider_upload_id if remember else None,
                reason=FORGOTTEN,
                at=now,
            )
            await supersede(connection, self.key, [left])
            if history:
                # SQLite may give the number of a change again: nothing may be left that names it
                for table in (outgoing_webhooks, change_deliveries, changes):
                    await connection.execute(sa.delete(table).where(table.c.row_id == row_id))
                await connection.execute(_UNNAME, {"acted_on": row_id})
            if webhook_bodies:
                await self._empty_webhooks(connection, found)
        return True

    @retried
    async def remove_superseded(self, asset_ids: Collection[str], ingest_mode: str) -> int:
        """Delete the rows of this mode about those of these assets that are superseded; how many.

        Whoever made such a row had asked before its asset was superseded.
        """
        former = sa.select(superseded.c.provider_asset_id).where(*self.here_in(superseded))
        which = (
            assets.c.ingest_mode == ingest_mode,
            assets.c.provider_asset_id.in_(asset_ids),
            assets.c.provider_asset_id.in_(former),
        )
        return await self.execute(sa.delete(assets).where(*self.here, *which))

    async def _empty_webhooks(self, connection: CoreConnection, ids: sa.Row[Any, Any]) -> None:
        # the lines stay, so that an event that is delivered again is not taken for a new one
        table = webhook_events.c
        pairs = (
            (table.provider_asset_id, ids.provider_asset_id),
            (table.provider_upload_id, ids.provider_upload_id),
        )
        about = [column == provider_id for column, provider_id in pairs if provider_id]
        if about:
            emptied = sa.update(webhook_events).where(
                *self.here_in(webhook_events), sa.or_(*about), sa.func.length(table.body) > 0
            )
            await connection.execute(emptied.values(body=b"", headers=None))
