"""Every SQL statement; decides nothing."""

from rindle_sync.store.buckets import Bucket, Grant, Level, RateLimits
from rindle_sync.store.database import Database
from rindle_sync.store.environments import Environment, Environments, UnsavedEnvironments
from rindle_sync.store.errands import DueJobs
from rindle_sync.store.gauges import Figures, Statistics, WebhookCounts
from rindle_sync.store.history import CHECK_TRIGGERS, History
from rindle_sync.store.inbox import Inbox
from rindle_sync.store.library import AssetQueries
from rindle_sync.store.outbox import Outbox, PendingChange
from rindle_sync.store.passes import JobKey, JobRun, JobRuns
from rindle_sync.store.rows import AssetStore, Change, Write, Written

__all__ = [
    "CHECK_TRIGGERS",
    "AssetQueries",
    "AssetStore",
    "Bucket",
    "Change",
    "Database",
    "DueJobs",
    "Environment",
    "Environments",
    "Figures",
    "Grant",
    "History",
    "Inbox",
    "JobKey",
    "JobRun",
    "JobRuns",
    "Level",
    "Outbox",
    "PendingChange",
    "RateLimits",
    "Statistics",
    "UnsavedEnvironments",
    "WebhookCounts",
    "Write",
    "Written",
]
