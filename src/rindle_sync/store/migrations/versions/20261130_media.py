"""What an app shows of an asset; what each callback has handled; the ids that a row had before."""

from alembic import op
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Integer,
    Text,
    UniqueConstraint,
    false,
    text,
)

from rindle_sync.store.schema.types import Json, RowId, Serial, UtcTime

revision = "rindle_2"
down_revision = "rindle_1"


def upgrade() -> None:
    """Add columns to the tables there are, and two tables."""
    rows = "media_provider_assets"
    op.add_column(rows, Column("duration", Double()))
    op.add_column(rows, Column("aspect_ratio", Text()))
    op.add_column(rows, Column("resolution", Text()))
    op.add_column(rows, Column("max_frame_rate", Double()))
    op.add_column(rows, Column("title", Text()))
    op.add_column(rows, _flag("is_live"))
    op.add_column(rows, _flag("is_test"))
    op.add_column(rows, Column("tracks", Json, nullable=False, server_default="[]"))
    op.add_column(rows, Column("renditions", Json, nullable=False, server_default="[]"))
    op.add_column(rows, Column("master", Json))
    op.add_column(rows, Column("media_updated_at", UtcTime()))
    op.add_column(rows, Column("begun_at", UtcTime()))
    _let_events_be_for_the_app()
    kind: Column[str] = Column("kind", Text(), nullable=False, server_default="state")
    op.add_column("provider_asset_changes", kind)
    op.add_column("provider_asset_changes", Column("outputs", Json))
    _watch_ready_rows(rows)
    _create_change_deliveries()
    _create_superseded_assets()


def _let_events_be_for_the_app() -> None:
    events = "provider_webhook_events"
    op.add_column(events, _flag("for_app"))
    op.add_column(events, Column("object_id", Text()))
    where = text("object_id IS NOT NULL AND next_attempt_at IS NOT NULL")
    columns = ["provider_name", "environment", "object_id"]
    op.create_index(
        f"ix_{events}_object", events, columns, sqlite_where=where, postgresql_where=where
    )


def _watch_ready_rows(rows: str) -> None:
    """Ready rows are checked after long gaps, too, as long as their outputs are being made."""
    name = f"ix_{rows}_due_unwatched"
    op.drop_index(name, rows)
    where = text(
        "check_at IS NOT NULL AND (state != 'ready' OR missing_since IS NOT NULL "
        "OR playback_absent_since IS NOT NULL) "
        "AND coalesce(error_kind, '') NOT IN ('stuck', 'not_found')"
    )
    columns = ["provider_name", "environment", "check_at"]
    op.create_index(name, rows, columns, sqlite_where=where, postgresql_where=where)


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean(), nullable=False, server_default=false())


def _create_change_deliveries() -> None:
    name = "provider_change_deliveries"
    op.create_table(
        name,
        Column("id", Serial, primary_key=True, autoincrement=True),
        Column("provider_name", Text(), nullable=False),
        Column("environment", Text(), nullable=False),
        Column("change_id", BigInteger(), nullable=False),
        Column("callback", Text(), nullable=False),
        Column("row_id", RowId(), nullable=False),
        Column("version", BigInteger(), nullable=False),
        Column("dispatch_at", UtcTime()),
        Column("dispatch_attempts", Integer(), nullable=False, server_default="0"),
        Column("lease_token", RowId()),
        Column("lease_until", UtcTime()),
        UniqueConstraint("change_id", "callback", name=f"uq_{name}_change_callback"),
    )
    op.create_index(f"ix_{name}_row", name, ["row_id"])
    _index(f"ix_{name}_dispatch", name, "dispatch_at", partial=True)


def _create_superseded_assets() -> None:
    name = "provider_superseded_assets"
    op.create_table(
        name,
        Column("id", Serial, primary_key=True, autoincrement=True),
        Column("provider_name", Text(), nullable=False),
        Column("environment", Text(), nullable=False),
        Column("provider_asset_id", Text()),
        Column("provider_upload_id", Text()),
        Column("row_id", RowId(), nullable=False),
        Column("reason", Text(), nullable=False),
        Column("at", UtcTime(), nullable=False),
    )
    _index(f"ix_{name}_asset", name, "provider_asset_id")
    _index(f"ix_{name}_upload", name, "provider_upload_id", partial=True)


def _index(name: str, table: str, column: str, *, partial: bool = False) -> None:
    where = text(f"{column} IS NOT NULL") if partial else None
    columns = ["provider_name", "environment", column]
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)
