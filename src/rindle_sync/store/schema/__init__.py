"""The tables, and what differs between the databases that hold them."""

from rindle_sync.store.schema.api_tables import api_requests, api_tokens, row_actions
from rindle_sync.store.schema.engine import conninfo, open_engine
from rindle_sync.store.schema.json_rows import json_field, json_parameter, to_json
from rindle_sync.store.schema.metadata import metadata
from rindle_sync.store.schema.outgoing_tables import outgoing_endpoints, outgoing_webhooks
from rindle_sync.store.schema.sessions import BUSY_SECONDS, STATEMENT_SECONDS
from rindle_sync.store.schema.tables import (
    assets,
    change_deliveries,
    change_feeds,
    changes,
    job_runs,
    superseded,
    webhook_events,
)
from rindle_sync.store.schema.urls import engine_url, libpq_options
