"""Every table, migration and SQL statement; decides nothing."""

from rindle_sync.store.asset_queries import AssetQueries
from rindle_sync.store.assets import AssetStore, Written
from rindle_sync.store.callers_thread import called_from
from rindle_sync.store.connection_kinds import AnyConnection, AsyncConnection
from rindle_sync.store.database import ENCODING_REMEDY, Database
from rindle_sync.store.driver_errors import ALL_WAIT, complaint, state_of
from rindle_sync.store.due_jobs import DueJobs
from rindle_sync.store.environments import Environment, Environments, UnsavedEnvironments
from rindle_sync.store.history import CHECK_TRIGGERS
from rindle_sync.store.inbox import Inbox
from rindle_sync.store.job_runs import JobRun, JobRuns
from rindle_sync.store.lines import ROW, Change, read_row
from rindle_sync.store.new_rows import Tracking
from rindle_sync.store.new_work import NewWork, Unheard, new_work
from rindle_sync.store.outbox import (
    Claimed,
    NewCall,
    NotRecorded,
    Outbox,
    Outcomes,
    PendingCall,
    PendingChange,
)
from rindle_sync.store.rate_limits import RateLimits
from rindle_sync.store.row_writes import Write
from rindle_sync.store.statistics import Figures, WebhookCounts
from rindle_sync.store.store import Store
from rindle_sync.store.superseded import FORGOTTEN, REPLACED, SupersededIds
from rindle_sync.store.wrong_times import WrongTimes
