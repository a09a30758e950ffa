"""The tables."""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    literal_column,
)

from rindle_sync.store.schema.types import Json, RowId, Serial, UtcTime

metadata: Final = MetaData()


def _index(
    name: str,
    table: Table,
    column: str,
    *,
    here: bool = True,
    unique: bool = False,
    where: ColumnElement[bool] | None = None,
) -> None:
    """Index a column, with `here` inside each environment; `where` makes it a partial index."""
    environment = (table.c.provider_name, table.c.environment) if here else ()
    columns = (*environment, table.c[column])
    Index(name, *columns, unique=unique, sqlite_where=where, postgresql_where=where)


assets: Final = Table(
    "media_provider_assets",
    metadata,
    Column("id", RowId(), primary_key=True),
    Column("reference", Text(), nullable=False),
    Column("profile", Text(), nullable=False),
    Column("provider_name", Text(), nullable=False),
    Column("environment", Text(), nullable=False),
    Column("provider_asset_id", Text()),
    Column("provider_upload_id", Text()),
    Column("passthrough", Text()),
    Column("playback_ids", Json, nullable=False),
    Column("playback_policy", Text()),
    Column("ingest_mode", Text()),
    Column("state", Text(), nullable=False),
    Column("error_kind", Text()),
    Column("last_sync_error", Text()),
    Column("last_event_id", Text()),
    Column("last_event_at", UtcTime()),
    Column("raw_provider_metadata", Json),
    Column("provider_created_at", UtcTime(), nullable=False),
    Column("inserted_at", UtcTime(), nullable=False),
    Column("updated_at", UtcTime(), nullable=False),
    Column("observed_at", UtcTime()),
    Column("checked_at", UtcTime()),
    Column("check_at", UtcTime()),
    Column("check_failures", Integer(), nullable=False),
    Column("missing_since", UtcTime()),
    Column("decision_log", Json, nullable=False, server_default="[]"),
    Column("lease_token", RowId()),
    Column("lease_until", UtcTime()),
    Column("version", BigInteger(), nullable=False),
    UniqueConstraint(
        "reference",
        "profile",
        "provider_name",
        name="uq_media_provider_assets_reference_profile_provider",
    ),
)
_index("uq_media_provider_assets_provider_asset_id", assets, "provider_asset_id", unique=True)
_index("uq_media_provider_assets_provider_upload_id", assets, "provider_upload_id", unique=True)
_index("uq_media_provider_assets_passthrough", assets, "passthrough", unique=True)
# settled rows have no check_at: the scan of due rows costs nothing for them
_index("ix_media_provider_assets_due", assets, "check_at", where=assets.c.check_at.is_not(None))
# a list page is a range of creation times: this finds the rows that should be on it
_index("ix_media_provider_assets_created", assets, "provider_created_at")
_index(
    "ix_media_provider_assets_lease",
    assets,
    "lease_token",
    here=False,
    where=assets.c.lease_token.is_not(None),
)

webhook_events: Final = Table(
    "provider_webhook_events",
    metadata,
    Column("id", RowId(), primary_key=True),
    Column("provider_name", Text(), nullable=False),
    Column("environment", Text(), nullable=False),
    Column("event_id", Text(), nullable=False),
    Column("type", Text(), nullable=False),
    Column("provider_asset_id", Text()),
    Column("provider_upload_id", Text()),
    Column("passthrough", Text()),
    Column("occurred_at", UtcTime()),
    Column("received_at", UtcTime(), nullable=False),
    Column("headers", Json),
    Column("body", LargeBinary(), nullable=False),
    Column("status", Text(), nullable=False),
    Column("attempts", Integer(), nullable=False),
    Column("next_attempt_at", UtcTime()),
    Column("reason", Text()),
    Column("lease_token", RowId()),
    Column("lease_until", UtcTime()),
    UniqueConstraint(
        "provider_name", "environment", "event_id", name="uq_provider_webhook_events_event"
    ),
)
_index(
    "ix_provider_webhook_events_pending",
    webhook_events,
    "next_attempt_at",
    where=webhook_events.c.next_attempt_at.is_not(None),
)
_index(
    "ix_provider_webhook_events_dead",
    webhook_events,
    "received_at",
    where=webhook_events.c.status == literal_column("'dead'"),
)
# the webhook events about a row, for its history
_index("ix_provider_webhook_events_asset", webhook_events, "provider_asset_id")
_index(
    "ix_provider_webhook_events_upload",
    webhook_events,
    "provider_upload_id",
    where=webhook_events.c.provider_upload_id.is_not(None),
)

changes: Final = Table(
    "provider_asset_changes",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("row_id", RowId(), nullable=False),
    Column("reference", Text(), nullable=False),
    Column("provider_name", Text(), nullable=False),
    Column("environment", Text(), nullable=False),
    Column("version", BigInteger(), nullable=False),
    Column("from_state", Text(), nullable=False),
    Column("to_state", Text(), nullable=False),
    Column("error_kind", Text()),
    Column("trigger", Text(), nullable=False),
    Column("reason", Text(), nullable=False),
    Column("at", UtcTime(), nullable=False),
    Column("late_ms", BigInteger(), nullable=False),
    Column("webhook_at", UtcTime()),
    Column("dispatch_at", UtcTime()),
    Column("dispatch_attempts", Integer(), nullable=False, server_default="0"),
    Column("lease_token", RowId()),
    Column("lease_until", UtcTime()),
    UniqueConstraint("row_id", "version", name="uq_provider_asset_changes_row_version"),
)
_index("ix_provider_asset_changes_at", changes, "at")
_index(
    "ix_provider_asset_changes_dispatch",
    changes,
    "dispatch_at",
    where=changes.c.dispatch_at.is_not(None),
)

environments: Final = Table(
    "provider_environments",
    metadata,
    Column("provider_name", Text(), primary_key=True),
    Column("environment", Text(), primary_key=True),
    Column("provider_environment_id", Text()),
    Column("circuit_reason", Text()),
    Column("circuit_opened_at", UtcTime()),
)

# millionths of a call and microseconds since 1970: whole numbers, exact on both databases
rate_limits: Final = Table(
    "provider_rate_limits",
    metadata,
    Column("provider_name", Text(), primary_key=True),
    Column("environment", Text(), primary_key=True),
    Column("bucket", Text(), primary_key=True),
    Column("tokens", BigInteger(), nullable=False),
    Column("filled_at", BigInteger(), nullable=False),
    Column("paused_until", BigInteger(), nullable=False),
)

job_runs: Final = Table(
    "provider_job_runs",
    metadata,
    Column("provider_name", Text(), primary_key=True),
    Column("environment", Text(), primary_key=True),
    Column("kind", Text(), primary_key=True),
    Column("began_at", UtcTime()),
    Column("ended_at", UtcTime()),
    Column("progress", Json),
    Column("lease_token", RowId()),
    Column("lease_until", UtcTime()),
)

deletion_candidates: Final = Table(
    "provider_deletion_candidates",
    metadata,
    Column("row_id", RowId(), primary_key=True),
    Column("provider_name", Text(), nullable=False),
    Column("environment", Text(), nullable=False),
    Column("observed_at", UtcTime(), nullable=False),
    Column("is_missing", Boolean(), nullable=False),
)
