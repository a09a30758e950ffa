"""What a row remembers of its last looks, and which changes a webhook told of after all."""

from typing import Any

from alembic import op
from sqlalchemy import Column, text

from rindle_sync.schema import Json, UtcTime

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns, and the indexes that a row's history and the figures are read by."""
    op.add_column("media_provider_assets", Column("trail", Json, nullable=False, server_default="[]"))
    op.add_column("provider_asset_changes", Column("webhook_at", UtcTime()))
    _index("ix_provider_asset_changes_at", "provider_asset_changes", "at")
    _index("ix_provider_notices_asset", "provider_notices", "provider_asset_id")
    _index("ix_provider_notices_upload", "provider_notices", "provider_upload_id", "provider_upload_id IS NOT NULL")
    _index("ix_provider_notices_dead", "provider_notices", "received_at", "status = 'dead'")


def _index(name: str, table: str, column: str, condition: str | None = None) -> None:
    where: dict[str, Any] = {}
    if condition:
        where = {"sqlite_where": text(condition), "postgresql_where": text(condition)}
    op.create_index(name, table, ["provider_name", "environment", column], **where)
