"""Every SQL statement; decides nothing."""

from rindle_sync.store.buckets import Bucket, Buckets, Grant, Level
from rindle_sync.store.database import Database
from rindle_sync.store.environments import Environment, Environments, Unkept
from rindle_sync.store.errands import Errands
from rindle_sync.store.gauges import Figures, Gauges, Webhooked
from rindle_sync.store.history import LOOKED, History
from rindle_sync.store.inbox import Inbox
from rindle_sync.store.library import Library
from rindle_sync.store.outbox import Announcement, Outbox
from rindle_sync.store.passes import Passes, PassKey, Standing
from rindle_sync.store.rows import Change, Store, Write, Written

__all__ = [
    "LOOKED",
    "Announcement",
    "Bucket",
    "Buckets",
    "Change",
    "Database",
    "Environment",
    "Environments",
    "Errands",
    "Figures",
    "Gauges",
    "Grant",
    "History",
    "Inbox",
    "Level",
    "Library",
    "Outbox",
    "PassKey",
    "Passes",
    "Standing",
    "Store",
    "Unkept",
    "Webhooked",
    "Write",
    "Written",
]
