"""The tables of the HTTP API, and of what is done to rows."""

from typing import Final

import sqlalchemy as sa

from rindle_sync.store.schema.metadata import index, metadata
from rindle_sync.store.schema.types import Json, RowId, Serial, UtcTime

# who may use the HTTP API
api_tokens: Final = sa.Table(
    "provider_api_tokens",
    metadata,
    sa.Column("id", RowId(), primary_key=True),
    sa.Column("name", sa.Text(), nullable=False, unique=True),
    sa.Column("token_hash", sa.Text(), nullable=False, unique=True),
    sa.Column("may_write", sa.Boolean(), nullable=False),
    sa.Column("sees_provider_ids", sa.Boolean(), nullable=False),
    sa.Column("environment", sa.Text()),
    sa.Column("created_at", UtcTime(), nullable=False),
    sa.Column("expires_at", UtcTime()),
    sa.Column("last_used_at", UtcTime()),
)

# the requests of the HTTP API with an idempotency key, and their answers
api_requests: Final = sa.Table(
    "provider_api_requests",
    metadata,
    sa.Column("token_name", sa.Text(), primary_key=True),
    sa.Column("idempotency_key", sa.Text(), primary_key=True),
    sa.Column("fingerprint", sa.Text(), nullable=False),
    sa.Column("began_at", UtcTime(), nullable=False),
    sa.Column("status", sa.Integer()),
    sa.Column("headers", Json),
    sa.Column("body", sa.LargeBinary()),
)
sa.Index("ix_provider_api_requests_began", api_requests.c.began_at)

# what people and programs did to rows, by command, console or HTTP API
row_actions: Final = sa.Table(
    "provider_row_actions",
    metadata,
    sa.Column("id", Serial, primary_key=True, autoincrement=True),
    sa.Column("provider_name", sa.Text(), nullable=False),
    sa.Column("environment", sa.Text(), nullable=False),
    sa.Column("row_id", RowId()),
    sa.Column("reference", sa.Text()),
    sa.Column("action", sa.Text(), nullable=False),
    sa.Column("actor", sa.Text(), nullable=False),
    sa.Column("outcome", sa.Text(), nullable=False),
    sa.Column("at", UtcTime(), nullable=False),
)
index("ix_provider_row_actions_row", row_actions, "row_id", here=False)
index("ix_provider_row_actions_at", row_actions, "at")
