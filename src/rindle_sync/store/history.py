"""The webhook events about a row, and which changes a webhook reported after a check found them."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from rindle_sync.domain import ChangeKind, ProviderAsset, State, WebhookEventSummary
from rindle_sync.store.driver_errors import retried
from rindle_sync.store.inbox import SUMMARY_COLUMNS, read_summary
from rindle_sync.store.lines import CHECK_TRIGGERS
from rindle_sync.store.repository import Repository
from rindle_sync.store.schema.json_rows import json_field, json_parameter, json_table, once
from rindle_sync.store.schema.tables import changes, webhook_events
from rindle_sync.store.schema.types import UtcTime

_SENT: Final = once(sa.select(json_table("rows", "sent").c.value), "r")
_NOTE_WEBHOOKS: Final = (
    sa.update(changes)
    .where(
        changes.c.row_id == json_field(_SENT, changes.c.row_id),
        changes.c.kind == ChangeKind.STATE.value,
        changes.c.to_state == json_field(_SENT, changes.c.to_state),
        changes.c.trigger.in_([trigger.value for trigger in CHECK_TRIGGERS]),
        changes.c.webhook_at.is_(None),
    )
    .values(webhook_at=sa.bindparam("came_at", type_=UtcTime()))
)

_UNREPORTED: Final = (
    sa.select(changes.c.id, changes.c.row_id, changes.c.outputs)
    .where(
        changes.c.row_id.in_(sa.bindparam("row_ids", expanding=True)),
        changes.c.outputs.is_not(None),
        changes.c.webhook_at.is_(None),
        changes.c.trigger.in_([trigger.value for trigger in CHECK_TRIGGERS]),
    )
    .order_by(changes.c.id)
    .with_for_update()
)
_REPORT: Final = (
    sa.update(changes)
    .where(changes.c.id == sa.bindparam("change_id"))
    .values(outputs=sa.bindparam("reported"), webhook_at=sa.bindparam("came_at", type_=UtcTime()))
)


class History(Repository):
    """The history of rows."""

    table = changes

    async def note_webhooks(self, reported: Collection[tuple[str, State]], now: datetime) -> None:
        """Store with changes that a check found first, by row id and state, that a webhook came."""
        rows = [{"row_id": row_id, "to_state": state.value} for row_id, state in reported]
        await self.execute(_NOTE_WEBHOOKS, {"rows": json_parameter(rows, changes), "came_at": now})

    @retried
    async def note_outputs(self, reported: Mapping[str, Collection[str]], now: datetime) -> None:
        """Store with changes that a check found first which outputs a webhook has reported.

        `reported` are their keys by row id. Once all are, the webhook has come.
        """
        async with self.writing() as connection:
            found = await connection.execute(_UNREPORTED, {"row_ids": list(reported)})
            for line in found.all():
                outputs = dict(line.outputs)
                outputs |= dict.fromkeys(outputs.keys() & set(reported[line.row_id]), True)
                if outputs != line.outputs:
                    values = {"change_id": line.id, "reported": outputs}
                    came_at = now if all(outputs.values()) else None
                    await connection.execute(_REPORT, values | {"came_at": came_at})

    async def webhook_events_about(
        self, row: ProviderAsset, *, limit: int
    ) -> list[WebhookEventSummary]:
        """The newest `limit` webhook events about a row's asset and upload, oldest first."""
        about = []
        if row.provider_asset_id:
            about.append(webhook_events.c.provider_asset_id == row.provider_asset_id)
        if row.provider_upload_id:
            of_upload = webhook_events.c.provider_upload_id == row.provider_upload_id
            if row.provider_asset_id:  # an event of another asset is not about this row
                of_upload &= webhook_events.c.provider_asset_id.is_(None)
            about.append(of_upload)
        received_at, found = webhook_events.c.received_at, list[WebhookEventSummary]()
        # one after the other: of several conditions in one SQLite uses no index
        for condition in about:
            wanted = (
                sa.select(*SUMMARY_COLUMNS)
                .where(
                    webhook_events.c.provider_name == row.provider_name,
                    webhook_events.c.environment == row.environment,
                    condition,
                )
                # as an expression: SQLite would read all events in the order of their index
                .order_by(sa.func.coalesce(received_at, received_at).desc())
                .limit(limit)
            )
            found += [read_summary(line) for line in await self.read(wanted)]
        return sorted(found, key=lambda event: event.received_at)[-limit:]
