"""The tables. Their columns are described where they stand, for docs/reference/tables.md."""

from rindle_sync.store.schema.change_tables import change_deliveries, change_feeds, changes
from rindle_sync.store.schema.event_tables import DEAD_INDEX, webhook_events
from rindle_sync.store.schema.job_tables import environments, job_runs, rate_limits
from rindle_sync.store.schema.row_tables import (
    IS_FAILING,
    IS_NOT_READY,
    IS_UNWATCHED,
    PASSTHROUGH_INDEX,
    assets,
    deletion_candidates,
    row_counts,
    superseded,
)

__all__ = [
    "DEAD_INDEX",
    "IS_FAILING",
    "IS_NOT_READY",
    "IS_UNWATCHED",
    "PASSTHROUGH_INDEX",
    "assets",
    "change_deliveries",
    "change_feeds",
    "changes",
    "deletion_candidates",
    "environments",
    "job_runs",
    "rate_limits",
    "row_counts",
    "superseded",
    "webhook_events",
]
