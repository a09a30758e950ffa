"""The first revision: every table."""

from typing import Any

from alembic import op
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Integer,
    LargeBinary,
    Text,
    UniqueConstraint,
    text,
)

from rindle_sync.store.schema.types import Json, RowId, Serial, UtcTime

revision = "rindle_1"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    _create_rows()
    _index_rows()
    _create_webhook_events()
    _create_changes()
    _create_environments()
    _create_job_runs()
    _index("ix_provider_asset_changes_at", "provider_asset_changes", "at")
    _index("ix_provider_webhook_events_asset", "provider_webhook_events", "provider_asset_id")
    _index(
        "ix_provider_webhook_events_upload",
        "provider_webhook_events",
        "provider_upload_id",
        **_where("provider_upload_id IS NOT NULL"),
    )
    _index(
        "ix_provider_webhook_events_dead",
        "provider_webhook_events",
        "received_at",
        **_where("status = 'dead'"),
    )


def _create_rows() -> None:
    op.create_table(
        "media_provider_assets",
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


def _index_rows() -> None:
    op.create_index(
        "uq_media_provider_assets_provider_asset_id",
        "media_provider_assets",
        ["provider_name", "environment", "provider_asset_id"],
        unique=True,
    )
    op.create_index(
        "uq_media_provider_assets_provider_upload_id",
        "media_provider_assets",
        ["provider_name", "environment", "provider_upload_id"],
        unique=True,
    )
    op.create_index(
        "uq_media_provider_assets_passthrough",
        "media_provider_assets",
        ["provider_name", "environment", "passthrough"],
        unique=True,
    )
    op.create_index(
        "ix_media_provider_assets_due",
        "media_provider_assets",
        ["provider_name", "environment", "check_at"],
        **_where("check_at IS NOT NULL"),
    )
    op.create_index(
        "ix_media_provider_assets_created",
        "media_provider_assets",
        ["provider_name", "environment", "provider_created_at"],
    )
    op.create_index(
        "ix_media_provider_assets_lease",
        "media_provider_assets",
        ["lease_token"],
        **_where("lease_token IS NOT NULL"),
    )


def _create_webhook_events() -> None:
    op.create_table(
        "provider_webhook_events",
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
    op.create_index(
        "ix_provider_webhook_events_pending",
        "provider_webhook_events",
        ["provider_name", "environment", "next_attempt_at"],
        **_where("next_attempt_at IS NOT NULL"),
    )


def _create_changes() -> None:
    op.create_table(
        "provider_asset_changes",
        Column("id", Serial, primary_key=True, autoincrement=True),
        Column("row_id", RowId(), nullable=False),
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
    op.create_index(
        "ix_provider_asset_changes_dispatch",
        "provider_asset_changes",
        ["provider_name", "environment", "dispatch_at"],
        **_where("dispatch_at IS NOT NULL"),
    )


def _create_environments() -> None:
    op.create_table(
        "provider_environments",
        Column("provider_name", Text(), primary_key=True),
        Column("environment", Text(), primary_key=True),
        Column("provider_environment_id", Text()),
        Column("circuit_reason", Text()),
        Column("circuit_opened_at", UtcTime()),
    )
    op.create_table(
        "provider_rate_limits",
        Column("provider_name", Text(), primary_key=True),
        Column("environment", Text(), primary_key=True),
        Column("bucket", Text(), primary_key=True),
        Column("tokens", BigInteger(), nullable=False),
        Column("filled_at", BigInteger(), nullable=False),
        Column("paused_until", BigInteger(), nullable=False),
        Column("granted", BigInteger(), nullable=False),
    )


def _create_job_runs() -> None:
    op.create_table(
        "provider_job_runs",
        Column("provider_name", Text(), primary_key=True),
        Column("environment", Text(), primary_key=True),
        Column("kind", Text(), primary_key=True),
        Column("began_at", UtcTime()),
        Column("ended_at", UtcTime()),
        Column("progress", Json),
        Column("lease_token", RowId()),
        Column("lease_until", UtcTime()),
    )
    op.create_table(
        "provider_deletion_candidates",
        Column("row_id", RowId(), primary_key=True),
        Column("provider_name", Text(), nullable=False),
        Column("environment", Text(), nullable=False),
        Column("observed_at", UtcTime(), nullable=False),
        Column("is_missing", Boolean(), nullable=False),
    )


def _index(name: str, table: str, column: str, **where: Any) -> None:
    op.create_index(name, table, ["provider_name", "environment", column], **where)


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}
