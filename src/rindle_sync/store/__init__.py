"""Every table, migration and SQL statement; decides nothing."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from rindle_sync.store.new_work import NewWork, Unheard, new_work

if TYPE_CHECKING:
    from rindle_sync.store.activity import HourFigures
    from rindle_sync.store.any_connection import AnyConnection, AsyncConnection
    from rindle_sync.store.asset_queries import AssetQueries
    from rindle_sync.store.assets import AssetStore, Written
    from rindle_sync.store.callers_thread import (
        called_from,
        is_called_from_elsewhere,
        on_callers_thread,
    )
    from rindle_sync.store.change_feed import PublishedChange
    from rindle_sync.store.change_listing import ChangeQuery, ListedChanges, WebhookOutcome
    from rindle_sync.store.database import ENCODING_REMEDY, Database
    from rindle_sync.store.driver_errors import ALL_WAIT, complaint, state_of
    from rindle_sync.store.due_jobs import DueJobs
    from rindle_sync.store.environments import Environment, Environments, UnsavedEnvironments
    from rindle_sync.store.event_listing import EventQuery, ListedEvents
    from rindle_sync.store.inbox import Inbox
    from rindle_sync.store.job_runs import JobRun, JobRuns
    from rindle_sync.store.lines import CHECK_TRIGGERS, ROW, Change, read_row
    from rindle_sync.store.new_rows import Tracking
    from rindle_sync.store.outbox import Outbox
    from rindle_sync.store.outgoing_results import ClaimedWebhook, EndpointFigures, SentWebhook
    from rindle_sync.store.pending import (
        Claimed,
        NewCall,
        NotRecorded,
        Outcomes,
        PendingCall,
        PendingChange,
    )
    from rindle_sync.store.rate_limits import RateLimits
    from rindle_sync.store.row_listing import ListedRows, RowCondition, RowOrder, RowQuery
    from rindle_sync.store.row_writes import Write
    from rindle_sync.store.statistics import Figures, WebhookCounts
    from rindle_sync.store.store import Store
    from rindle_sync.store.superseded import FORGOTTEN, REPLACED, SupersededIds
    from rindle_sync.store.wrong_times import WrongTimes

# imported when first asked for: a command uses few repositories, and each makes its statements
_MODULES: Final = {
    "ALL_WAIT": "driver_errors",
    "AnyConnection": "any_connection",
    "AssetQueries": "asset_queries",
    "AssetStore": "assets",
    "AsyncConnection": "any_connection",
    "CHECK_TRIGGERS": "lines",
    "Change": "lines",
    "ChangeQuery": "change_listing",
    "Claimed": "pending",
    "ClaimedWebhook": "outgoing_results",
    "Database": "database",
    "DueJobs": "due_jobs",
    "ENCODING_REMEDY": "database",
    "EndpointFigures": "outgoing_results",
    "Environment": "environments",
    "Environments": "environments",
    "EventQuery": "event_listing",
    "FORGOTTEN": "superseded",
    "Figures": "statistics",
    "HourFigures": "activity",
    "Inbox": "inbox",
    "JobRun": "job_runs",
    "JobRuns": "job_runs",
    "ListedChanges": "change_listing",
    "ListedEvents": "event_listing",
    "ListedRows": "row_listing",
    "NewCall": "pending",
    "NotRecorded": "pending",
    "Outbox": "outbox",
    "Outcomes": "pending",
    "PendingCall": "pending",
    "PendingChange": "pending",
    "PublishedChange": "change_feed",
    "REPLACED": "superseded",
    "ROW": "lines",
    "RateLimits": "rate_limits",
    "SentWebhook": "outgoing_results",
    "RowCondition": "row_listing",
    "RowOrder": "row_listing",
    "RowQuery": "row_listing",
    "Store": "store",
    "SupersededIds": "superseded",
    "Tracking": "new_rows",
    "UnsavedEnvironments": "environments",
    "WebhookCounts": "statistics",
    "WebhookOutcome": "change_listing",
    "Write": "row_writes",
    "Written": "assets",
    "WrongTimes": "wrong_times",
    "called_from": "callers_thread",
    "complaint": "driver_errors",
    "is_called_from_elsewhere": "callers_thread",
    "on_callers_thread": "callers_thread",
    "read_row": "lines",
    "state_of": "driver_errors",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
