"""Every SQL statement; decides nothing."""

from rindle_sync.store.buckets import Bucket, Buckets, Grant
from rindle_sync.store.database import Database
from rindle_sync.store.environments import Environment, Environments, Unkept
from rindle_sync.store.errands import Errands
from rindle_sync.store.inbox import Inbox, Pending
from rindle_sync.store.library import Library
from rindle_sync.store.outbox import Announcement, Outbox
from rindle_sync.store.passes import Passes, PassKey, Standing
from rindle_sync.store.rows import Change, Counts, Store, Write, Written

__all__ = [
    "Announcement",
    "Bucket",
    "Buckets",
    "Change",
    "Counts",
    "Database",
    "Environment",
    "Environments",
    "Errands",
    "Grant",
    "Inbox",
    "Library",
    "Outbox",
    "PassKey",
    "Passes",
    "Pending",
    "Standing",
    "Store",
    "Unkept",
    "Write",
    "Written",
]
