"""The tables of outgoing webhooks."""

from typing import Final

import sqlalchemy as sa

from rindle_sync.store.schema.metadata import index, metadata
from rindle_sync.store.schema.types import Json, RowId, Serial, UtcTime

# the addresses that outgoing webhooks are sent to
outgoing_endpoints: Final = sa.Table(
    "provider_outgoing_endpoints",
    metadata,
    sa.Column("id", RowId(), primary_key=True, doc="a UUID, safe to show"),
    sa.Column("provider_name", sa.Text(), nullable=False, doc="the provider"),
    sa.Column("environment", sa.Text(), nullable=False, doc="the environment"),
    sa.Column("name", sa.Text(), nullable=False, doc="your name for it, unique in the environment"),
    sa.Column("url", sa.Text(), nullable=False, doc="the address"),
    sa.Column(
        "secrets",
        Json,
        nullable=False,
        doc=(
            "JSON array of the signing secrets, the newest first: `secret`, and `until` when it "
            "signs"
        ),
    ),
    sa.Column(
        "types",
        Json,
        nullable=False,
        server_default="[]",
        doc="JSON array of the types of events that it wants; empty for all",
    ),
    sa.Column(
        "allow_private",
        sa.Boolean(),
        nullable=False,
        server_default=sa.false(),
        doc="whether its host may have a private address",
    ),
    sa.Column("created_at", UtcTime(), nullable=False, doc="since when"),
    # it is told of the changes behind this one
    sa.Column(
        "after_position",
        sa.BigInteger(),
        nullable=False,
        server_default="0",
        doc="the end of the feed when it was created: it is told of the changes behind it",
    ),
    sa.Column(
        "disabled_at", UtcTime(), doc="since when nothing is sent to it; empty where it is enabled"
    ),
    sa.Column("disabled_reason", sa.Text(), doc="why"),
    sa.Column("paused_until", UtcTime(), doc="nothing is sent to it before that"),
    sa.Column(
        "failures",
        sa.Integer(),
        nullable=False,
        server_default="0",
        doc="how many requests in a row have failed",
    ),
    sa.Column(
        "failing_since",
        UtcTime(),
        doc="since when every request has failed; empty where the last one did not",
    ),
    sa.Column("failed_at", UtcTime(), doc="when the last of them failed"),
    sa.UniqueConstraint(
        "provider_name", "environment", "name", name="uq_provider_outgoing_endpoints_name"
    ),
    info={"doc": "The addresses that outgoing webhooks are sent to."},
)

# the outgoing webhooks: one for each change and endpoint that wants it
outgoing_webhooks: Final = sa.Table(
    "provider_outgoing_webhooks",
    metadata,
    sa.Column("id", Serial, primary_key=True, autoincrement=True, doc="a running number"),
    sa.Column("provider_name", sa.Text(), nullable=False, doc="the provider"),
    sa.Column("environment", sa.Text(), nullable=False, doc="the environment"),
    sa.Column("endpoint_id", RowId(), nullable=False, doc="the endpoint"),
    sa.Column("change_id", sa.BigInteger(), nullable=False, doc="the change"),
    sa.Column("row_id", RowId(), nullable=False, doc="the row of the change"),
    sa.Column("version", sa.BigInteger(), nullable=False, doc="the row's version after the change"),
    sa.Column("type", sa.Text(), nullable=False, doc="the type of the event"),
    sa.Column(
        "status",
        sa.Text(),
        nullable=False,
        doc="`pending`, `delivered`, or `dead` (failed for good, may be replayed)",
    ),
    sa.Column(
        "attempts", sa.Integer(), nullable=False, server_default="0", doc="how often it was tried"
    ),
    sa.Column("next_attempt_at", UtcTime(), doc="when to try again; empty unless it is pending"),
    sa.Column("created_at", UtcTime(), nullable=False, doc="when the change was"),
    sa.Column("ended_at", UtcTime(), doc="when it was delivered, or died"),
    sa.Column(
        "response_status",
        sa.Integer(),
        doc="the HTTP status of the last answer; empty where none came",
    ),
    sa.Column("reason", sa.Text(), doc="why the last attempt failed"),
    sa.Column("lease_token", RowId(), doc="who sends it"),
    sa.Column("lease_until", UtcTime(), doc="when that lease ends by itself"),
    sa.UniqueConstraint(
        "endpoint_id", "change_id", name="uq_provider_outgoing_webhooks_endpoint_change"
    ),
    info={"doc": "One line for each change and endpoint that wants it."},
)
_IS_UNSENT: Final = outgoing_webhooks.c.next_attempt_at.is_not(None)
index("ix_provider_outgoing_webhooks_due", outgoing_webhooks, "next_attempt_at", where=_IS_UNSENT)
index(
    "ix_provider_outgoing_webhooks_endpoint",
    outgoing_webhooks,
    "endpoint_id",
    "next_attempt_at",
    here=False,
    where=_IS_UNSENT,
)
# of one endpoint the changes of a row wait for the one before
index(
    "ix_provider_outgoing_webhooks_row",
    outgoing_webhooks,
    "endpoint_id",
    "row_id",
    "version",
    here=False,
    where=_IS_UNSENT,
)
index(
    "ix_provider_outgoing_webhooks_dead",
    outgoing_webhooks,
    "endpoint_id",
    here=False,
    where=outgoing_webhooks.c.status == sa.literal_column("'dead'"),
)
index(
    "ix_provider_outgoing_webhooks_ended",
    outgoing_webhooks,
    "ended_at",
    where=outgoing_webhooks.c.ended_at.is_not(None),
)
