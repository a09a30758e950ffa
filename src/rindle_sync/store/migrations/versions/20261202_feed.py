"""The feed of changes, outgoing webhooks, and what the HTTP API keeps."""

from alembic import op
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Integer,
    LargeBinary,
    Text,
    UniqueConstraint,
    false,
    text,
)

from rindle_sync.store.schema.types import Json, RowId, Serial, UtcTime

revision = "rindle_4"
down_revision = "rindle_3"

ROWS = "media_provider_assets"
CHANGES = "provider_asset_changes"
EVENTS = "provider_webhook_events"
ENDPOINTS = "provider_outgoing_endpoints"
WEBHOOKS = "provider_outgoing_webhooks"
TOKENS = "provider_api_tokens"
REQUESTS = "provider_api_requests"
ACTIONS = "provider_row_actions"


def upgrade() -> None:
    """Add a column to the changes, the tables, and the order in which a person lists rows."""
    _leave_old_changes_out()
    _order_by_creation()
    _index(CHANGES, "unpublished", "id", where="position IS NULL")
    columns = ["provider_name", "environment", "position"]
    where = text("position > 0")
    op.create_index(
        f"uq_{CHANGES}_position",
        CHANGES,
        columns,
        unique=True,
        sqlite_where=where,
        postgresql_where=where,
    )
    op.create_table(
        "provider_change_feeds",
        Column("provider_name", Text(), primary_key=True),
        Column("environment", Text(), primary_key=True),
        Column("position", BigInteger(), nullable=False),
    )
    _create_outgoing_tables()
    _create_api_tables()
    op.create_table(
        ACTIONS,
        Column("id", Serial, primary_key=True, autoincrement=True),
        Column("provider_name", Text(), nullable=False),
        Column("environment", Text(), nullable=False),
        Column("row_id", RowId()),
        Column("reference", Text()),
        Column("action", Text(), nullable=False),
        Column("actor", Text(), nullable=False),
        Column("outcome", Text(), nullable=False),
        Column("at", UtcTime(), nullable=False),
    )
    op.create_index(f"ix_{ACTIONS}_row", ACTIONS, ["row_id"])
    _index(ACTIONS, "at", "at")


def _leave_old_changes_out() -> None:
    """The changes that there are get the position 0: whoever follows the feed begins behind."""
    if op.get_bind().dialect.name == "postgresql":
        # a default costs the same however many lines there are; new lines have none
        old: Column[int] = Column("position", BigInteger(), server_default="0")
        op.add_column(CHANGES, old)
        op.alter_column(CHANGES, "position", server_default=None)
        return
    op.add_column(CHANGES, Column("position", BigInteger()))
    op.execute(text(f"UPDATE {CHANGES} SET position = 0"))  # noqa: S608  a name of ours


def _order_by_creation() -> None:
    """The indexes of what is counted list it, too, without a sort."""
    for name in ("not_ready", "failing"):
        op.drop_index(f"ix_{ROWS}_{name}", ROWS)
    columns = "state", "error_kind", "provider_created_at"
    _index(ROWS, "not_ready", *columns, where="state != 'ready'")
    _index(ROWS, "failing", "provider_created_at", where="check_failures > 0")
    _index(EVENTS, "received", "received_at")


def _create_outgoing_tables() -> None:
    op.create_table(
        ENDPOINTS,
        Column("id", RowId(), primary_key=True),
        Column("provider_name", Text(), nullable=False),
        Column("environment", Text(), nullable=False),
        Column("name", Text(), nullable=False),
        Column("url", Text(), nullable=False),
        Column("secrets", Json, nullable=False),
        Column("types", Json, nullable=False, server_default="[]"),
        Column("allow_private", Boolean(), nullable=False, server_default=false()),
        Column("created_at", UtcTime(), nullable=False),
        Column("after_position", BigInteger(), nullable=False, server_default="0"),
        Column("disabled_at", UtcTime()),
        Column("disabled_reason", Text()),
        Column("paused_until", UtcTime()),
        Column("failures", Integer(), nullable=False, server_default="0"),
        Column("failing_since", UtcTime()),
        Column("failed_at", UtcTime()),
        UniqueConstraint("provider_name", "environment", "name", name=f"uq_{ENDPOINTS}_name"),
    )
    op.create_table(
        WEBHOOKS,
        Column("id", Serial, primary_key=True, autoincrement=True),
        Column("provider_name", Text(), nullable=False),
        Column("environment", Text(), nullable=False),
        Column("endpoint_id", RowId(), nullable=False),
        Column("change_id", BigInteger(), nullable=False),
        Column("row_id", RowId(), nullable=False),
        Column("version", BigInteger(), nullable=False),
        Column("type", Text(), nullable=False),
        Column("status", Text(), nullable=False),
        Column("attempts", Integer(), nullable=False, server_default="0"),
        Column("next_attempt_at", UtcTime()),
        Column("created_at", UtcTime(), nullable=False),
        Column("ended_at", UtcTime()),
        Column("response_status", Integer()),
        Column("reason", Text()),
        Column("lease_token", RowId()),
        Column("lease_until", UtcTime()),
        UniqueConstraint("endpoint_id", "change_id", name=f"uq_{WEBHOOKS}_endpoint_change"),
    )
    unsent = "next_attempt_at IS NOT NULL"
    _index(WEBHOOKS, "due", "next_attempt_at", where=unsent)
    _index(WEBHOOKS, "endpoint", "endpoint_id", "next_attempt_at", here=False, where=unsent)
    _index(WEBHOOKS, "row", "endpoint_id", "row_id", "version", here=False, where=unsent)
    _index(WEBHOOKS, "dead", "endpoint_id", here=False, where="status = 'dead'")
    _index(WEBHOOKS, "ended", "ended_at", where="ended_at IS NOT NULL")


def _create_api_tables() -> None:
    op.create_table(
        TOKENS,
        Column("id", RowId(), primary_key=True),
        Column("name", Text(), nullable=False, unique=True),
        Column("token_hash", Text(), nullable=False, unique=True),
        Column("may_write", Boolean(), nullable=False),
        Column("sees_provider_ids", Boolean(), nullable=False),
        Column("environment", Text()),
        Column("created_at", UtcTime(), nullable=False),
        Column("expires_at", UtcTime()),
        Column("last_used_at", UtcTime()),
    )
    op.create_table(
        REQUESTS,
        Column("token_name", Text(), primary_key=True),
        Column("idempotency_key", Text(), primary_key=True),
        Column("fingerprint", Text(), nullable=False),
        Column("began_at", UtcTime(), nullable=False),
        Column("status", Integer()),
        Column("headers", Json),
        Column("body", LargeBinary()),
    )
    op.create_index(f"ix_{REQUESTS}_began", REQUESTS, ["began_at"])


def _index(
    table: str, name: str, *columns: str, here: bool = True, where: str | None = None
) -> None:
    environment = ["provider_name", "environment"] if here else []
    condition = None if where is None else text(where)
    op.create_index(
        f"ix_{table}_{name}",
        table,
        [*environment, *columns],
        sqlite_where=condition,
        postgresql_where=condition,
    )
