"""What came about a row, and which changes a webhook told of after all. Decides nothing."""

from collections.abc import Collection
from datetime import datetime
from typing import Final

from sqlalchemy import Update, bindparam, or_, select, update

from rindle_sync.domain import ProviderAsset, State, Trigger, WebhookEventSummary
from rindle_sync.store.database import Database
from rindle_sync.store.inbox import SUMMARY_COLUMNS, read_summary
from rindle_sync.store.schema.json_rows import json_field, json_parameter, json_table, once
from rindle_sync.store.schema.tables import changes, webhook_events
from rindle_sync.store.schema.types import UtcTime

CHECK_TRIGGERS: Final = (Trigger.SWEEP, Trigger.SYNC, Trigger.AUDIT, Trigger.CLI, Trigger.CONSOLE)
"""The roads that find a change by asking the provider."""


def _webhook_statement() -> Update:
    sent = json_table("rows", "sent")
    rows = once(select(sent.c.value), "r")
    return (
        update(changes)
        .where(
            changes.c.row_id == json_field(rows, changes.c.row_id),
            changes.c.to_state == json_field(rows, changes.c.to_state),
            changes.c.trigger.in_([by.value for by in CHECK_TRIGGERS]),
            changes.c.webhook_at.is_(None),
        )
        .values(webhook_at=bindparam("came_at", type_=UtcTime()))
    )


_NOTE_WEBHOOKS: Final = _webhook_statement()


class History(Database):
    """The history of rows. Every method raises `DatabaseUnavailable` when the database does not answer."""

    table = changes

    async def note_webhooks(self, told: Collection[tuple[str, State]], now: datetime) -> None:
        """Note at the changes that a look had found first that a webhook has told of them, too: by row and state."""
        rows = [{"row_id": row_id, "to_state": state.value} for row_id, state in told]
        async with self.writing() as connection:
            await connection.execute(
                _NOTE_WEBHOOKS, {"rows": json_parameter(rows, changes), "came_at": now}
            )

    async def webhook_events_about(
        self, row: ProviderAsset, *, limit: int
    ) -> list[WebhookEventSummary]:
        """The newest deliveries about the asset and the upload of a row, the oldest of them first."""
        names = [
            column == value
            for column, value in (
                (webhook_events.c.provider_asset_id, row.provider_asset_id),
                (webhook_events.c.provider_upload_id, row.provider_upload_id),
            )
            if value is not None
        ]
        if not names:
            return []
        here = (
            webhook_events.c.provider_name == row.provider_name,
            webhook_events.c.environment == row.environment,
        )
        wanted = (
            select(*SUMMARY_COLUMNS)
            .where(*here, or_(*names))
            .order_by(webhook_events.c.received_at.desc())
            .limit(limit)
        )
        async with self.reading() as connection:
            return [read_summary(found) for found in await connection.execute(wanted)][::-1]
