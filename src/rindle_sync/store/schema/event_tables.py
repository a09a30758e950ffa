"""The table of webhook events, which is the inbox."""

from typing import Final

import sqlalchemy as sa

from rindle_sync.store.schema.metadata import index, metadata
from rindle_sync.store.schema.types import Json, RowId, UtcTime

webhook_events: Final = sa.Table(
    "provider_webhook_events",
    metadata,
    sa.Column("id", RowId(), primary_key=True, doc="a UUID, safe to show"),
    sa.Column("provider_name", sa.Text(), nullable=False, doc="the provider"),
    sa.Column("environment", sa.Text(), nullable=False, doc="its environment"),
    sa.Column(
        "event_id",
        sa.Text(),
        nullable=False,
        doc="the provider's id of the event, unique within the two",
    ),
    sa.Column("type", sa.Text(), nullable=False, doc="its type"),
    sa.Column("provider_asset_id", sa.Text(), doc="the asset that it is about"),
    sa.Column("provider_upload_id", sa.Text(), doc="the upload that it is about"),
    sa.Column("passthrough", sa.Text(), doc="the passthrough text in it"),
    sa.Column("occurred_at", UtcTime(), doc="the provider's clock; empty where it cannot be right"),
    sa.Column("received_at", UtcTime(), nullable=False, doc="the local clock"),
    sa.Column(
        "headers",
        Json,
        doc="the request's headers that the provider reads the body with; most have none",
    ),
    sa.Column(
        "body",
        sa.LargeBinary(),
        nullable=False,
        doc="the raw body; emptied after its retention, as the headers are",
    ),
    sa.Column(
        "status",
        sa.Text(),
        nullable=False,
        doc=(
            "`pending` (to be applied), `applied` (or handled by your app), `ignored` (a type "
            "that nobody wants, `untracked`, or `not_wanted` in time), `dead` (failed for good, "
            "may be replayed)"
        ),
    ),
    sa.Column("attempts", sa.Integer(), nullable=False, doc="how often it was tried"),
    sa.Column("next_attempt_at", UtcTime(), doc="when to apply it; empty unless it is pending"),
    sa.Column("reason", sa.Text(), doc="why it has its status, in a few words"),
    sa.Column(
        "for_app",
        sa.Boolean(),
        nullable=False,
        server_default=sa.false(),
        doc="whether it is for a callback of your app, and says nothing about a row",
    ),
    sa.Column(
        "object_id",
        sa.Text(),
        doc="the provider's id of the object that an event for your app is about",
    ),
    sa.Column("lease_token", RowId(), doc="who holds it"),
    sa.Column("lease_until", UtcTime(), doc="when that lease ends by itself"),
    sa.UniqueConstraint(
        "provider_name", "environment", "event_id", name="uq_provider_webhook_events_event"
    ),
    info={
        "doc": (
            "The inbox: one line for each webhook event, stored before the response, and never "
            "deleted by rindle-sync."
        )
    },
)
index(
    "ix_provider_webhook_events_pending",
    webhook_events,
    "next_attempt_at",
    where=webhook_events.c.next_attempt_at.is_not(None),
)
DEAD_INDEX: Final = "ix_provider_webhook_events_dead"
index(
    DEAD_INDEX,
    webhook_events,
    "received_at",
    where=webhook_events.c.status == sa.literal_column("'dead'"),
)
index("ix_provider_webhook_events_received", webhook_events, "received_at")
# the webhook events about a row, for its history
index("ix_provider_webhook_events_asset", webhook_events, "provider_asset_id")
index(
    "ix_provider_webhook_events_upload",
    webhook_events,
    "provider_upload_id",
    where=webhook_events.c.provider_upload_id.is_not(None),
)

# the events for the app about one object, which it gets in their order
index(
    "ix_provider_webhook_events_object",
    webhook_events,
    "object_id",
    where=webhook_events.c.object_id.is_not(None) & webhook_events.c.next_attempt_at.is_not(None),
)
