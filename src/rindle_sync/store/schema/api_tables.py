"""The tables of the HTTP API, and of what is done to rows."""

from typing import Final

import sqlalchemy as sa

from rindle_sync.store.schema.metadata import index, metadata
from rindle_sync.store.schema.types import Json, RowId, Serial, UtcTime

# who may use the HTTP API
api_tokens: Final = sa.Table(
    "provider_api_tokens",
    metadata,
    sa.Column("id", RowId(), primary_key=True, doc="a UUID, safe to show"),
    sa.Column("name", sa.Text(), nullable=False, unique=True, doc="your name for it"),
    sa.Column(
        "token_hash",
        sa.Text(),
        nullable=False,
        unique=True,
        doc="a hash of the token, which is stored nowhere",
    ),
    sa.Column("may_write", sa.Boolean(), nullable=False, doc="whether it may change anything"),
    sa.Column(
        "sees_provider_ids",
        sa.Boolean(),
        nullable=False,
        doc="whether it is shown the provider's ids",
    ),
    sa.Column("environment", sa.Text(), doc="the only environment that it may use; empty for all"),
    sa.Column("created_at", UtcTime(), nullable=False, doc="since when"),
    sa.Column("expires_at", UtcTime(), doc="until when; empty for ever"),
    sa.Column("last_used_at", UtcTime(), doc="when it was last used, to the minute"),
    info={"doc": "Who may use the HTTP API."},
)

# the requests of the HTTP API with an idempotency key, and their answers
api_requests: Final = sa.Table(
    "provider_api_requests",
    metadata,
    sa.Column("token_name", sa.Text(), primary_key=True, doc="whose request it is"),
    sa.Column("idempotency_key", sa.Text(), primary_key=True, doc="the key"),
    sa.Column("fingerprint", sa.Text(), nullable=False, doc="a hash of the request"),
    sa.Column("began_at", UtcTime(), nullable=False, doc="when it came"),
    sa.Column("status", sa.Integer(), doc="the HTTP status of the answer; empty until it is given"),
    sa.Column("headers", Json, doc="JSON object of the headers of the answer"),
    sa.Column("body", sa.LargeBinary(), doc="the body of the answer"),
    info={"doc": "One line for each request to the HTTP API with an idempotency key, for a day."},
)
sa.Index("ix_provider_api_requests_began", api_requests.c.began_at)

# what people and programs did to rows, by command, console or HTTP API
row_actions: Final = sa.Table(
    "provider_row_actions",
    metadata,
    sa.Column("id", Serial, primary_key=True, autoincrement=True, doc="a running number"),
    sa.Column("provider_name", sa.Text(), nullable=False, doc="the provider"),
    sa.Column("environment", sa.Text(), nullable=False, doc="the environment"),
    sa.Column("row_id", RowId(), doc="the row; empty where it was done to none in particular"),
    sa.Column(
        "reference",
        sa.Text(),
        doc=(
            "your app's own id of the row, with any id of the provider in it redacted; empty once "
            "it was forgotten with its history"
        ),
    ),
    sa.Column(
        "action",
        sa.Text(),
        nullable=False,
        doc=(
            "what was done: `track`, `replace`, `untrack`, `begin_upload`, `cancel_upload`, "
            "`create_asset`, `sync`, `replay`"
        ),
    ),
    sa.Column(
        "actor",
        sa.Text(),
        nullable=False,
        doc="who did it: `token:` and the name of a token, `console`, or `command`",
    ),
    sa.Column(
        "outcome",
        sa.Text(),
        nullable=False,
        doc="what came of it: `done`, `begun`, a verdict, or the name of an error",
    ),
    sa.Column("at", UtcTime(), nullable=False, doc="when"),
    info={"doc": "What people and programs did to rows."},
)
index("ix_provider_row_actions_row", row_actions, "row_id", here=False)
index("ix_provider_row_actions_at", row_actions, "at")
