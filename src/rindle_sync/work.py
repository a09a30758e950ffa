"""What is to be done without anybody asking, for an engine to wake: all that is due stands in the tables."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from rindle_sync.announce import Callback, announce
from rindle_sync.audit import audit_if_due
from rindle_sync.decide import Verdict
from rindle_sync.ingest import ingest
from rindle_sync.round import Tally
from rindle_sync.sweep import look_first, sweep
from rindle_sync.telemetry import Event, StateChange, WebhookProcessed
from rindle_sync.tools import Tools


@dataclass(slots=True, kw_only=True)
class Work:
    """The steps of one environment. What wakes them may be lost, doubled or late: each takes up all that is due."""

    tools: Tools
    callbacks: Sequence[Callback]
    audit_every: timedelta
    keep_ended: timedelta
    """How long the bodies of applied and ignored deliveries are kept, and how long a change waits to be announced."""
    keep_dead: timedelta
    """How long the bodies of dead deliveries are kept."""
    kept: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a delivery was kept in this process."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a row was changed in this process."""
    in_doubt: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a delivery left a row in doubt in this process."""
    _doubted: set[str] = field(default_factory=set)

    def hear(self, event: Event) -> None:
        """What is told of rows is work for the callbacks, or for a look."""
        if isinstance(event, StateChange):
            self.changed.set()
        elif isinstance(event, WebhookProcessed) and event.verdict == Verdict.DOUBTED and event.row_id:
            self._doubted.add(event.row_id)
            self.in_doubt.set()

    async def sweep(self, keep_going: Callable[[], bool] = lambda: True) -> Tally:
        """Look at every row that is due."""
        return await sweep(self.tools, keep_going=keep_going)

    async def ingest(self) -> int:
        """Apply every kept delivery whose time has come; how many."""
        applied = 0
        while taken := await ingest(self.tools):
            applied += taken
        return applied

    async def look_at_doubts(self) -> None:
        """Look at the rows that deliveries have left in doubt in this process, before all others that are due."""
        doubted, self._doubted = list(self._doubted), set()
        if doubted:
            await look_first(self.tools, doubted)

    async def announce(self) -> int:
        """Call the callbacks with every change that is due to be announced; how many."""
        announced = 0
        while taken := await announce(self.tools, self.callbacks):
            announced += taken
        return announced

    async def audit(self, keep_going: Callable[[], bool] = lambda: True) -> None:
        """Make an audit if it is time for one."""
        await audit_if_due(self.tools, self.audit_every, keep_going=keep_going)

    async def prune(self) -> int:
        """Empty the bodies of deliveries past their retention, and forget changes that were never announced."""
        tools, now = self.tools, self.tools.now()
        here = tools.provider.name, tools.environment
        await tools.outbox.forget(*here, now - self.keep_ended)
        return await tools.inbox.prune(*here, ended_before=now - self.keep_ended, dead_before=now - self.keep_dead)
