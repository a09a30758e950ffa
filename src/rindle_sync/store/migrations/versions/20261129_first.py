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
    _create_webhook_events()
    _create_changes()
    _create_environments()
    _create_job_runs()
    rows, events, changes = (
        "media_provider_assets",
        "provider_webhook_events",
        "provider_asset_changes",
    )
    for name in ("provider_asset_id", "provider_upload_id"):
        _index(f"uq_{rows}_{name}", rows, name, unique=True)
    where = "provider_asset_id IS NULL AND provider_upload_id IS NULL"
    _index(f"ix_{rows}_passthrough", rows, "passthrough", where=where)
    _index(f"ix_{rows}_due", rows, "check_at", where="check_at IS NOT NULL")
    where = "check_at IS NOT NULL AND coalesce(error_kind, '') NOT IN ('stuck', 'not_found')"
    _index(f"ix_{rows}_due_unwatched", rows, "check_at", where=where)
    _index(f"ix_{rows}_created", rows, "provider_created_at")
    where = "lease_token IS NOT NULL"
    op.create_index(f"ix_{rows}_lease", rows, ["lease_token"], **_where(where))
    _index(f"ix_{events}_pending", events, "next_attempt_at", where="next_attempt_at IS NOT NULL")
    _index(f"ix_{events}_dead", events, "received_at", where="status = 'dead'")
    _index(f"ix_{events}_asset", events, "provider_asset_id")
    where = "provider_upload_id IS NOT NULL"
    _index(f"ix_{events}_upload", events, "provider_upload_id", where=where)
    _index(f"ix_{changes}_at", changes, "at")
    _index(f"ix_{changes}_dispatch", changes, "dispatch_at", where="dispatch_at IS NOT NULL")


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
        Column("absent_playback_ids", Json, nullable=False, server_default="[]"),
        Column("playback_absent_since", UtcTime()),
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


def _create_changes() -> None:
    op.create_table(
        "provider_asset_changes",
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


def _index(
    name: str, table: str, column: str, *, unique: bool = False, where: str | None = None
) -> None:
    columns = ["provider_name", "environment", column]
    op.create_index(name, table, columns, unique=unique, **_where(where))


def _where(condition: str | None) -> dict[str, Any]:
    if condition is None:
        return {}
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}
