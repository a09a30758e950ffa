"""Every SQL statement; decides nothing."""

from rindle_sync.store.database import Database
from rindle_sync.store.inbox import Inbox, Pending
from rindle_sync.store.outbox import Announcement, Outbox
from rindle_sync.store.rows import Change, Counts, Store, Write, Written

__all__ = ["Announcement", "Change", "Counts", "Database", "Inbox", "Outbox", "Pending", "Store", "Write", "Written"]
