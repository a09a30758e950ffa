"""The tables of changes, which are the outbox."""

from typing import Final

import sqlalchemy as sa

from rindle_sync.store.schema.metadata import index, metadata
from rindle_sync.store.schema.types import Json, RowId, Serial, UtcTime

changes: Final = sa.Table(
    "provider_asset_changes",
    metadata,
    sa.Column("id", Serial, primary_key=True, autoincrement=True, doc="a running number"),
    sa.Column("row_id", RowId(), nullable=False, doc="the row"),
    sa.Column("reference", sa.Text(), nullable=False, doc="your app's own id of the row"),
    sa.Column("provider_name", sa.Text(), nullable=False, doc="the provider of the row"),
    sa.Column("environment", sa.Text(), nullable=False, doc="the environment of the row"),
    sa.Column(
        "version",
        sa.BigInteger(),
        nullable=False,
        doc="the row's version after the change: the order of one row's changes",
    ),
    sa.Column(
        "kind",
        sa.Text(),
        nullable=False,
        server_default="state",
        doc="`state`, or `media` where only the columns from `duration` to `master` have changed",
    ),
    sa.Column("from_state", sa.Text(), nullable=False, doc="the state before"),
    sa.Column("to_state", sa.Text(), nullable=False, doc="the state after"),
    sa.Column("error_kind", sa.Text(), doc="the error kind after"),
    sa.Column(
        "trigger",
        sa.Text(),
        nullable=False,
        doc=(
            "what led to it: `webhook`, `sweep`, `sync` (your app's `sync`, and checks of rows "
            "that a webhook left ambiguous), `audit`, `cli` (a command), `console`, `api` (the "
            "HTTP API), `app` (uploads, and what your app's own code began again or replaced)"
        ),
    ),
    sa.Column("reason", sa.Text(), nullable=False, doc="why, in a few words"),
    sa.Column("at", UtcTime(), nullable=False, doc="when it was written"),
    sa.Column(
        "late_ms",
        sa.BigInteger(),
        nullable=False,
        doc=(
            "how late it was found, in milliseconds: since the event for a webhook; else at most, "
            "since the row was last known to be right"
        ),
    ),
    sa.Column(
        "webhook_at",
        UtcTime(),
        doc=(
            "when a webhook reported it, too, though a check had found it first; empty where none "
            "has"
        ),
    ),
    sa.Column(
        "outputs",
        Json,
        doc=(
            "JSON object of the outputs that a change of media found ended: by each, whether a "
            "webhook has reported it; empty where there are none"
        ),
    ),
    # its place in the feed of changes: none before it is published, 0 for one that never will be
    sa.Column(
        "position",
        sa.BigInteger(),
        doc="its place in the feed of changes; empty until it is published, 0 where it never is",
    ),
    sa.Column(
        "dispatch_at",
        UtcTime(),
        doc="dispatch it at; empty once every callback was called, or it was given up",
    ),
    sa.Column(
        "dispatch_attempts",
        sa.Integer(),
        nullable=False,
        server_default="0",
        doc="0: failures count for each callback, in `provider_change_deliveries`",
    ),
    sa.Column("lease_token", RowId(), doc="who dispatches it"),
    sa.Column("lease_until", UtcTime(), doc="when that lease ends by itself"),
    sa.UniqueConstraint("row_id", "version", name="uq_provider_asset_changes_row_version"),
    info={"doc": "The outbox: one line for each real change of a row, written with it."},
)
index("ix_provider_asset_changes_at", changes, "at")
index(
    "ix_provider_asset_changes_dispatch",
    changes,
    "dispatch_at",
    where=changes.c.dispatch_at.is_not(None),
)
index("ix_provider_asset_changes_unpublished", changes, "id", where=changes.c.position.is_(None))
index(
    "uq_provider_asset_changes_position",
    changes,
    "position",
    unique=True,
    where=changes.c.position > sa.literal_column("0"),
)

# the feeds of changes that somebody follows: a line for each environment, with its last position
change_feeds: Final = sa.Table(
    "provider_change_feeds",
    metadata,
    sa.Column("provider_name", sa.Text(), primary_key=True, doc="the provider"),
    sa.Column("environment", sa.Text(), primary_key=True, doc="the environment"),
    sa.Column("position", sa.BigInteger(), nullable=False, doc="the last one that was given"),
    info={
        "doc": (
            "One line for each environment whose changes somebody follows: there each change gets "
            "a `position` once it is committed. The ids of changes are no order to follow them "
            "by, since on PostgreSQL a transaction that began earlier may be committed later."
        )
    },
)

# the changes that not every callback of the app has handled, by callback
change_deliveries: Final = sa.Table(
    "provider_change_deliveries",
    metadata,
    sa.Column("id", Serial, primary_key=True, autoincrement=True, doc="a running number"),
    sa.Column("provider_name", sa.Text(), nullable=False, doc="the provider"),
    sa.Column("environment", sa.Text(), nullable=False, doc="the environment"),
    sa.Column("change_id", sa.BigInteger(), nullable=False, doc="the change"),
    sa.Column("callback", sa.Text(), nullable=False, doc="the name of the callback"),
    sa.Column("row_id", RowId(), nullable=False, doc="the row of the change"),
    sa.Column("version", sa.BigInteger(), nullable=False, doc="the row's version after the change"),
    sa.Column("dispatch_at", UtcTime(), doc="call it at; empty where it has handled the change"),
    sa.Column(
        "dispatch_attempts",
        sa.Integer(),
        nullable=False,
        server_default="0",
        doc="how often it failed",
    ),
    sa.Column("lease_token", RowId(), doc="who calls it"),
    sa.Column("lease_until", UtcTime(), doc="when that lease ends by itself"),
    sa.UniqueConstraint(
        "change_id", "callback", name="uq_provider_change_deliveries_change_callback"
    ),
    info={
        "doc": (
            "One line for each call of a callback that failed or waits behind one that did, and "
            "for each transactional callback that has handled a change before the others were "
            "called."
        )
    },
)
index("ix_provider_change_deliveries_row", change_deliveries, "row_id", here=False)
index(
    "ix_provider_change_deliveries_dispatch",
    change_deliveries,
    "dispatch_at",
    where=change_deliveries.c.dispatch_at.is_not(None),
)
