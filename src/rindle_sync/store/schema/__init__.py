"""The tables, and what differs between the databases that hold them."""

from rindle_sync.store.schema.engine import conninfo, open_engine
from rindle_sync.store.schema.json_rows import json_field, json_parameter, to_json
from rindle_sync.store.schema.sessions import BUSY_SECONDS, STATEMENT_SECONDS
from rindle_sync.store.schema.tables import (
    assets,
    change_deliveries,
    changes,
    job_runs,
    metadata,
    superseded,
    webhook_events,
)
from rindle_sync.store.schema.urls import engine_url, libpq_options
