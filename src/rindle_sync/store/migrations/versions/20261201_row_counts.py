"""How many rows there are, kept as they come and go; what is counted has an index."""

from alembic import op
from sqlalchemy import BigInteger, Column, Text, text

from rindle_sync.store.schema.types import Serial

revision = "rindle_3"
down_revision = "rindle_2"

ROWS = "media_provider_assets"
COUNTS = "provider_row_counts"

# each writer adds a line, so that none waits for another
_COUNT_IN_POSTGRESQL = """
CREATE FUNCTION rindle_sync_count_rows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  -- whatever the search path of the session, and wherever the tables were moved
  EXECUTE format(
    'INSERT INTO %I.provider_row_counts (provider_name, environment, number) '
    'SELECT provider_name, environment, $1 * count(*) FROM moved GROUP BY 1, 2',
    TG_TABLE_SCHEMA
  ) USING CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END;
  RETURN NULL;
END
$$
"""
_TRIGGER_IN_POSTGRESQL = """
CREATE TRIGGER rindle_sync_count_{name} AFTER {event} ON media_provider_assets
REFERENCING {line} TABLE AS moved FOR EACH STATEMENT EXECUTE FUNCTION rindle_sync_count_rows()
"""
_TRIGGER_IN_SQLITE = """
CREATE TRIGGER rindle_sync_count_{name} AFTER {event} ON media_provider_assets FOR EACH ROW
BEGIN
  INSERT INTO provider_row_counts (provider_name, environment, number)
  SELECT {line}.provider_name, {line}.environment, 0 WHERE NOT EXISTS (
    SELECT 1 FROM provider_row_counts
    WHERE provider_name = {line}.provider_name AND environment = {line}.environment
  );
  UPDATE provider_row_counts SET number = number + {by}
  WHERE provider_name = {line}.provider_name AND environment = {line}.environment;
END
"""
_FILL = """
INSERT INTO provider_row_counts (provider_name, environment, number)
SELECT provider_name, environment, count(*) FROM media_provider_assets
GROUP BY provider_name, environment
"""


def upgrade() -> None:
    """Add the table, what keeps it, and indexes of all that is counted."""
    op.create_table(
        COUNTS,
        Column("id", Serial, primary_key=True, autoincrement=True),
        Column("provider_name", Text(), nullable=False),
        Column("environment", Text(), nullable=False),
        Column("number", BigInteger(), nullable=False),
    )
    op.create_index(f"ix_{COUNTS}_environment", COUNTS, ["provider_name", "environment"])
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    if is_postgresql:
        op.execute(text(_COUNT_IN_POSTGRESQL))
    trigger = _TRIGGER_IN_POSTGRESQL if is_postgresql else _TRIGGER_IN_SQLITE
    for name, event, line, by in (("new", "INSERT", "NEW", 1), ("gone", "DELETE", "OLD", -1)):
        op.execute(text(trigger.format(name=name, event=event, line=line, by=by)))
    # on PostgreSQL the triggers keep other writers out until the end of the transaction
    op.execute(text(_FILL))
    _index("not_ready", "state", "error_kind", where="state != 'ready'")
    _index("failing", "check_failures", where="check_failures > 0")
    _index("checked", "checked_at", where="checked_at IS NOT NULL")


def _index(name: str, *columns: str, where: str) -> None:
    op.create_index(
        f"ix_{ROWS}_{name}",
        ROWS,
        ["provider_name", "environment", *columns],
        sqlite_where=text(where),
        postgresql_where=text(where),
    )
