"""The tables of outgoing webhooks."""

from typing import Final

import sqlalchemy as sa

from rindle_sync.store.schema.metadata import index, metadata
from rindle_sync.store.schema.types import Json, RowId, Serial, UtcTime

# the addresses that outgoing webhooks are sent to
outgoing_endpoints: Final = sa.Table(
    "provider_outgoing_endpoints",
    metadata,
    sa.Column("id", RowId(), primary_key=True),
    sa.Column("provider_name", sa.Text(), nullable=False),
    sa.Column("environment", sa.Text(), nullable=False),
    sa.Column("name", sa.Text(), nullable=False),
    sa.Column("url", sa.Text(), nullable=False),
    sa.Column("secrets", Json, nullable=False),
    sa.Column("types", Json, nullable=False, server_default="[]"),
    sa.Column("allow_private", sa.Boolean(), nullable=False, server_default=sa.false()),
    sa.Column("created_at", UtcTime(), nullable=False),
    # it is told of the changes behind this one
    sa.Column("after_position", sa.BigInteger(), nullable=False, server_default="0"),
    sa.Column("disabled_at", UtcTime()),
    sa.Column("disabled_reason", sa.Text()),
    sa.Column("paused_until", UtcTime()),
    sa.Column("failures", sa.Integer(), nullable=False, server_default="0"),
    sa.Column("failing_since", UtcTime()),
    sa.Column("failed_at", UtcTime()),
    sa.UniqueConstraint(
        "provider_name", "environment", "name", name="uq_provider_outgoing_endpoints_name"
    ),
)

# the outgoing webhooks: one for each change and endpoint that wants it
outgoing_webhooks: Final = sa.Table(
    "provider_outgoing_webhooks",
    metadata,
    sa.Column("id", Serial, primary_key=True, autoincrement=True),
    sa.Column("provider_name", sa.Text(), nullable=False),
    sa.Column("environment", sa.Text(), nullable=False),
    sa.Column("endpoint_id", RowId(), nullable=False),
    sa.Column("change_id", sa.BigInteger(), nullable=False),
    sa.Column("row_id", RowId(), nullable=False),
    sa.Column("version", sa.BigInteger(), nullable=False),
    sa.Column("type", sa.Text(), nullable=False),
    sa.Column("status", sa.Text(), nullable=False),
    sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
    sa.Column("next_attempt_at", UtcTime()),
    sa.Column("created_at", UtcTime(), nullable=False),
    sa.Column("ended_at", UtcTime()),
    sa.Column("response_status", sa.Integer()),
    sa.Column("reason", sa.Text()),
    sa.Column("lease_token", RowId()),
    sa.Column("lease_until", UtcTime()),
    sa.UniqueConstraint(
        "endpoint_id", "change_id", name="uq_provider_outgoing_webhooks_endpoint_change"
    ),
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
