"""How many calls were made in each hour."""

from alembic import op
from sqlalchemy import Column

from rindle_sync.store.schema.types import Json

revision = "rindle_5"
down_revision = "rindle_4"


def upgrade() -> None:
    """Add a column to the rate limits."""
    op.add_column("provider_rate_limits", Column("hourly_calls", Json))
