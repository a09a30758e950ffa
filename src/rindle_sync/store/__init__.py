"""Every SQL statement; decides nothing."""

from rindle_sync.store.database import Database
from rindle_sync.store.inbox import Inbox, Pending
from rindle_sync.store.rows import Change, Counts, Store, Write, Written

__all__ = ["Change", "Counts", "Database", "Inbox", "Pending", "Store", "Write", "Written"]
