"""Warns a host that receives webhook events while nothing applies them."""

import asyncio
import logging
from datetime import datetime, timedelta
from typing import Final

from rindle_sync.diagnostics.checks import waiting_text
from rindle_sync.errors import RindleSyncError
from rindle_sync.reconcile import Context
from rindle_sync.runtime import last_heartbeat

_log: Final = logging.getLogger("rindle_sync")

LOOK_EVERY: Final = timedelta(minutes=1)
WARN_EVERY: Final = timedelta(minutes=10)
CLOSE_WITHIN: Final = 1.0


class WaitingEvents:
    """Logs, once in a while, that stored webhook events wait and nothing applies them."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._looked_at: datetime | None = None
        self._warned_at: datetime | None = None
        self._looking: asyncio.Task[None] | None = None

    def note_stored(self, *, has_engine: bool) -> None:
        """Look in the background: the sender does not wait for it."""
        now = self._context.now()
        if _is_over(self._looked_at, now, LOOK_EVERY):
            self._looked_at = now
            self._looking = asyncio.create_task(self.look(has_engine=has_engine))

    async def look(self, *, has_engine: bool = False) -> None:
        """Log a warning if there is reason for one, and none was logged lately.

        An engine of this process may have had no time yet for its first heartbeat.
        """
        store, now = self._context.store, self._context.now()
        try:
            waiting, since, was_applied = await store.inbox.waiting(now)
            has_begun = has_engine or was_applied or await last_heartbeat(store) is not None
        except RindleSyncError:
            return  # a database in trouble is reported by who needs it
        seconds = int((now - since).total_seconds()) if since else 0
        text = waiting_text(waiting, seconds, has_begun=has_begun)
        # read again: another look may have warned while this one waited for the database
        now = self._context.now()
        if text and _is_over(self._warned_at, now, WARN_EVERY):
            self._warned_at = now
            _log.warning("%s: %s", store.environment, text)

    async def close(self) -> None:
        """Stop looking, after a moment: a host that connects for each request ends at once."""
        if self._looking:
            await asyncio.wait({self._looking}, timeout=CLOSE_WITHIN)
            self._looking.cancel()
            await asyncio.wait({self._looking})


def _is_over(since: datetime | None, now: datetime, span: timedelta) -> bool:
    """Whether `span` has passed since; also where the clock was set back."""
    return since is None or not timedelta(0) <= now - since < span
