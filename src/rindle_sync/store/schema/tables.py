"""The tables of rows, webhook events and changes, and what goes with them."""

from typing import Final

import sqlalchemy as sa

from rindle_sync.store.schema.metadata import index, metadata
from rindle_sync.store.schema.types import Json, RowId, Serial, UtcTime

assets: Final = sa.Table(
    "media_provider_assets",
    metadata,
    sa.Column("id", RowId(), primary_key=True),
    sa.Column("reference", sa.Text(), nullable=False),
    sa.Column("profile", sa.Text(), nullable=False),
    sa.Column("provider_name", sa.Text(), nullable=False),
    sa.Column("environment", sa.Text(), nullable=False),
    sa.Column("provider_asset_id", sa.Text()),
    sa.Column("provider_upload_id", sa.Text()),
    sa.Column("passthrough", sa.Text()),
    sa.Column("playback_ids", Json, nullable=False),
    sa.Column("playback_policy", sa.Text()),
    sa.Column("ingest_mode", sa.Text()),
    sa.Column("state", sa.Text(), nullable=False),
    sa.Column("error_kind", sa.Text()),
    sa.Column("last_sync_error", sa.Text()),
    sa.Column("last_event_id", sa.Text()),
    sa.Column("last_event_at", UtcTime()),
    sa.Column("raw_provider_metadata", Json),
    sa.Column("duration", sa.Double()),
    sa.Column("aspect_ratio", sa.Text()),
    sa.Column("resolution", sa.Text()),
    sa.Column("max_frame_rate", sa.Double()),
    sa.Column("title", sa.Text()),
    sa.Column("is_live", sa.Boolean(), nullable=False, server_default=sa.false()),
    sa.Column("is_test", sa.Boolean(), nullable=False, server_default=sa.false()),
    sa.Column("tracks", Json, nullable=False, server_default="[]"),
    sa.Column("renditions", Json, nullable=False, server_default="[]"),
    sa.Column("master", Json),
    sa.Column("media_updated_at", UtcTime()),
    sa.Column("provider_created_at", UtcTime(), nullable=False),
    sa.Column("inserted_at", UtcTime(), nullable=False),
    sa.Column("begun_at", UtcTime()),
    sa.Column("updated_at", UtcTime(), nullable=False),
    sa.Column("observed_at", UtcTime()),
    sa.Column("checked_at", UtcTime()),
    sa.Column("check_at", UtcTime()),
    sa.Column("check_failures", sa.Integer(), nullable=False),
    sa.Column("missing_since", UtcTime()),
    sa.Column("absent_playback_ids", Json, nullable=False, server_default="[]"),
    sa.Column("playback_absent_since", UtcTime()),
    sa.Column("decision_log", Json, nullable=False, server_default="[]"),
    sa.Column("lease_token", RowId()),
    sa.Column("lease_until", UtcTime()),
    sa.Column("version", sa.BigInteger(), nullable=False),
    sa.UniqueConstraint(
        "reference",
        "profile",
        "provider_name",
        name="uq_media_provider_assets_reference_profile_provider",
    ),
)
index("uq_media_provider_assets_provider_asset_id", assets, "provider_asset_id", unique=True)
index("uq_media_provider_assets_provider_upload_id", assets, "provider_upload_id", unique=True)
# many assets may carry one passthrough: it names only a row that has no id of the provider yet
PASSTHROUGH_INDEX: Final = "ix_media_provider_assets_passthrough"
index(
    PASSTHROUGH_INDEX,
    assets,
    "passthrough",
    where=assets.c.provider_asset_id.is_(None) & assets.c.provider_upload_id.is_(None),
)
# settled rows have no check_at: the scan of due rows costs nothing for them
index("ix_media_provider_assets_due", assets, "check_at", where=assets.c.check_at.is_not(None))
_HAS_NO_OUTPUTS: Final = sa.or_(
    assets.c.state != sa.literal_column("'ready'"),
    assets.c.missing_since.is_not(None),
    assets.c.playback_absent_since.is_not(None),
)
IS_UNWATCHED: Final = _HAS_NO_OUTPUTS & sa.func.coalesce(
    assets.c.error_kind, sa.literal_column("''")
).not_in([sa.literal_column("'stuck'"), sa.literal_column("'not_found'")])
"""Whether a row is not checked after far longer gaps than others.

Those errored as stuck or not found are, and those that are ready, for outputs of theirs.
"""

# its end shows whether a wrong clock has planned a check, however many watched rows lie there
index(
    "ix_media_provider_assets_due_unwatched",
    assets,
    "check_at",
    where=assets.c.check_at.is_not(None) & IS_UNWATCHED,
)
# a list page is a range of creation times: this finds the rows that should be on it
index("ix_media_provider_assets_created", assets, "provider_created_at")
index(
    "ix_media_provider_assets_lease",
    assets,
    "lease_token",
    here=False,
    where=assets.c.lease_token.is_not(None),
)

# what is counted: all rows by the table below, those that are not ready by an index of theirs;
# what a figure counts is listed by the same index, in the order of creation
IS_NOT_READY: Final = assets.c.state != sa.literal_column("'ready'")
index(
    "ix_media_provider_assets_not_ready",
    assets,
    *("state", "error_kind", "provider_created_at"),
    where=IS_NOT_READY,
)
IS_FAILING: Final = assets.c.check_failures > sa.literal_column("0")
index("ix_media_provider_assets_failing", assets, "provider_created_at", where=IS_FAILING)
index(
    "ix_media_provider_assets_checked", assets, "checked_at", where=assets.c.checked_at.is_not(None)
)

# the number of rows, kept by triggers as rows come and go: the sum of its lines
row_counts: Final = sa.Table(
    "provider_row_counts",
    metadata,
    sa.Column("id", Serial, primary_key=True, autoincrement=True),
    sa.Column("provider_name", sa.Text(), nullable=False),
    sa.Column("environment", sa.Text(), nullable=False),
    sa.Column("number", sa.BigInteger(), nullable=False),
)
index("ix_provider_row_counts_environment", row_counts)

webhook_events: Final = sa.Table(
    "provider_webhook_events",
    metadata,
    sa.Column("id", RowId(), primary_key=True),
    sa.Column("provider_name", sa.Text(), nullable=False),
    sa.Column("environment", sa.Text(), nullable=False),
    sa.Column("event_id", sa.Text(), nullable=False),
    sa.Column("type", sa.Text(), nullable=False),
    sa.Column("provider_asset_id", sa.Text()),
    sa.Column("provider_upload_id", sa.Text()),
    sa.Column("passthrough", sa.Text()),
    sa.Column("occurred_at", UtcTime()),
    sa.Column("received_at", UtcTime(), nullable=False),
    sa.Column("headers", Json),
    sa.Column("body", sa.LargeBinary(), nullable=False),
    sa.Column("status", sa.Text(), nullable=False),
    sa.Column("attempts", sa.Integer(), nullable=False),
    sa.Column("next_attempt_at", UtcTime()),
    sa.Column("reason", sa.Text()),
    sa.Column("for_app", sa.Boolean(), nullable=False, server_default=sa.false()),
    sa.Column("object_id", sa.Text()),
    sa.Column("lease_token", RowId()),
    sa.Column("lease_until", UtcTime()),
    sa.UniqueConstraint(
        "provider_name", "environment", "event_id", name="uq_provider_webhook_events_event"
    ),
)
index(
    "ix_provider_webhook_events_pending",
    webhook_events,
    "next_attempt_at",
    where=webhook_events.c.next_attempt_at.is_not(None),
)
index(
    "ix_provider_webhook_events_dead",
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

changes: Final = sa.Table(
    "provider_asset_changes",
    metadata,
    sa.Column("id", Serial, primary_key=True, autoincrement=True),
    sa.Column("row_id", RowId(), nullable=False),
    sa.Column("reference", sa.Text(), nullable=False),
    sa.Column("provider_name", sa.Text(), nullable=False),
    sa.Column("environment", sa.Text(), nullable=False),
    sa.Column("version", sa.BigInteger(), nullable=False),
    sa.Column("kind", sa.Text(), nullable=False, server_default="state"),
    sa.Column("from_state", sa.Text(), nullable=False),
    sa.Column("to_state", sa.Text(), nullable=False),
    sa.Column("error_kind", sa.Text()),
    sa.Column("trigger", sa.Text(), nullable=False),
    sa.Column("reason", sa.Text(), nullable=False),
    sa.Column("at", UtcTime(), nullable=False),
    sa.Column("late_ms", sa.BigInteger(), nullable=False),
    sa.Column("webhook_at", UtcTime()),
    sa.Column("outputs", Json),
    # its place in the feed of changes: none before it is published, 0 for one that never will be
    sa.Column("position", sa.BigInteger()),
    sa.Column("dispatch_at", UtcTime()),
    sa.Column("dispatch_attempts", sa.Integer(), nullable=False, server_default="0"),
    sa.Column("lease_token", RowId()),
    sa.Column("lease_until", UtcTime()),
    sa.UniqueConstraint("row_id", "version", name="uq_provider_asset_changes_row_version"),
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
    sa.Column("provider_name", sa.Text(), primary_key=True),
    sa.Column("environment", sa.Text(), primary_key=True),
    sa.Column("position", sa.BigInteger(), nullable=False),
)

# the changes that not every callback of the app has handled, by callback
change_deliveries: Final = sa.Table(
    "provider_change_deliveries",
    metadata,
    sa.Column("id", Serial, primary_key=True, autoincrement=True),
    sa.Column("provider_name", sa.Text(), nullable=False),
    sa.Column("environment", sa.Text(), nullable=False),
    sa.Column("change_id", sa.BigInteger(), nullable=False),
    sa.Column("callback", sa.Text(), nullable=False),
    sa.Column("row_id", RowId(), nullable=False),
    sa.Column("version", sa.BigInteger(), nullable=False),
    sa.Column("dispatch_at", UtcTime()),
    sa.Column("dispatch_attempts", sa.Integer(), nullable=False, server_default="0"),
    sa.Column("lease_token", RowId()),
    sa.Column("lease_until", UtcTime()),
    sa.UniqueConstraint(
        "change_id", "callback", name="uq_provider_change_deliveries_change_callback"
    ),
)
index("ix_provider_change_deliveries_row", change_deliveries, "row_id", here=False)
index(
    "ix_provider_change_deliveries_dispatch",
    change_deliveries,
    "dispatch_at",
    where=change_deliveries.c.dispatch_at.is_not(None),
)

# the ids that a row had before: late events about them match nothing, and no scan adopts them
superseded: Final = sa.Table(
    "provider_superseded_assets",
    metadata,
    sa.Column("id", Serial, primary_key=True, autoincrement=True),
    sa.Column("provider_name", sa.Text(), nullable=False),
    sa.Column("environment", sa.Text(), nullable=False),
    sa.Column("provider_asset_id", sa.Text()),
    sa.Column("provider_upload_id", sa.Text()),
    sa.Column("row_id", RowId(), nullable=False),
    sa.Column("reason", sa.Text(), nullable=False),
    sa.Column("at", UtcTime(), nullable=False),
)
index("ix_provider_superseded_assets_asset", superseded, "provider_asset_id")
index(
    "ix_provider_superseded_assets_upload",
    superseded,
    "provider_upload_id",
    where=superseded.c.provider_upload_id.is_not(None),
)

environments: Final = sa.Table(
    "provider_environments",
    metadata,
    sa.Column("provider_name", sa.Text(), primary_key=True),
    sa.Column("environment", sa.Text(), primary_key=True),
    sa.Column("provider_environment_id", sa.Text()),
    sa.Column("circuit_reason", sa.Text()),
    sa.Column("circuit_opened_at", UtcTime()),
)

# millionths of a call and microseconds since 1970: whole numbers, exact on both databases
rate_limits: Final = sa.Table(
    "provider_rate_limits",
    metadata,
    sa.Column("provider_name", sa.Text(), primary_key=True),
    sa.Column("environment", sa.Text(), primary_key=True),
    sa.Column("bucket", sa.Text(), primary_key=True),
    sa.Column("tokens", sa.BigInteger(), nullable=False),
    sa.Column("filled_at", sa.BigInteger(), nullable=False),
    sa.Column("paused_until", sa.BigInteger(), nullable=False),
)

job_runs: Final = sa.Table(
    "provider_job_runs",
    metadata,
    sa.Column("provider_name", sa.Text(), primary_key=True),
    sa.Column("environment", sa.Text(), primary_key=True),
    sa.Column("kind", sa.Text(), primary_key=True),
    sa.Column("began_at", UtcTime()),
    sa.Column("ended_at", UtcTime()),
    sa.Column("progress", Json),
    sa.Column("lease_token", RowId()),
    sa.Column("lease_until", UtcTime()),
)

deletion_candidates: Final = sa.Table(
    "provider_deletion_candidates",
    metadata,
    sa.Column("row_id", RowId(), primary_key=True),
    sa.Column("provider_name", sa.Text(), nullable=False),
    sa.Column("environment", sa.Text(), nullable=False),
    sa.Column("observed_at", UtcTime(), nullable=False),
    sa.Column("is_missing", sa.Boolean(), nullable=False),
)
