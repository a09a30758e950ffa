"""The tables, and what differs between the databases that hold them."""

from rindle_sync.schema.engine import (
    BUSY_SECONDS,
    READ_ONLY,
    STATEMENT_SECONDS,
    TIME_LIMITS,
    conninfo,
    engine_url,
    make_file,
    open_engine,
    place_of,
)
from rindle_sync.schema.json_rows import json_field, json_parameter, json_table, once
from rindle_sync.schema.tables import (
    assets,
    changes,
    deletion_candidates,
    environments,
    job_runs,
    metadata,
    rate_limits,
    webhook_events,
)
from rindle_sync.schema.types import Json, RowId, Serial, UtcTime

__all__ = [
    "BUSY_SECONDS",
    "READ_ONLY",
    "STATEMENT_SECONDS",
    "TIME_LIMITS",
    "Json",
    "RowId",
    "Serial",
    "UtcTime",
    "assets",
    "changes",
    "conninfo",
    "deletion_candidates",
    "engine_url",
    "environments",
    "job_runs",
    "json_field",
    "json_parameter",
    "json_table",
    "make_file",
    "metadata",
    "once",
    "open_engine",
    "place_of",
    "rate_limits",
    "webhook_events",
]
