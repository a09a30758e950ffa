"""What is to be done without anybody asking, for an engine to wake: all that is due stands in the tables."""

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

from rindle_sync.announce import Callback, announce
from rindle_sync.asset import By, ProviderAsset
from rindle_sync.audit import audit_if_due
from rindle_sync.decide import Verdict
from rindle_sync.errand import LOOKS, Step, Watch
from rindle_sync.ingest import ingest
from rindle_sync.store import PassKey
from rindle_sync.sweep import look_first, sweep
from rindle_sync.sync import sync_row
from rindle_sync.telemetry import Event, StateChange, WebhookProcessed
from rindle_sync.tools import Tools

PRUNE_EVERY: Final = timedelta(hours=1)

PRUNING_HELD: Final = timedelta(seconds=90)
"""How long others leave the pruning to a process that may have died in it."""


@dataclass(slots=True, kw_only=True)
class Work:
    """The steps of one environment. What wakes them may be lost, doubled or late: each takes up all that is due."""

    tools: Tools
    callbacks: Sequence[Callback]
    keep_ended: timedelta
    """How long the bodies of applied and ignored deliveries are kept, and how long a change waits to be announced."""
    keep_dead: timedelta
    """How long the bodies of dead deliveries are kept."""
    bells: list[asyncio.Event] = field(default_factory=list)
    """Of the engines in this process: all are rung whenever a step is woken."""
    _woken: set[Step] = field(default_factory=set)
    _doubted: set[str] = field(default_factory=set)

    @property
    def environment(self) -> str:
        """Our name of the environment."""
        return self.tools.environment

    def does(self, step: Step) -> bool:
        """Whether this process can do `step` at all; others may."""
        return self.tools.has_token or step not in LOOKS

    def wake(self, step: Step) -> None:
        """Have `step` run soon, where an engine runs in this process."""
        self._woken.add(step)
        for bell in self.bells:
            bell.set()

    def is_woken(self, step: Step) -> bool:
        """Whether something in this process has made `step` due."""
        return step in self._woken

    def take_up(self, step: Step) -> None:
        """From here on, only what comes later wakes `step`."""
        self._woken.discard(step)

    def doubted(self) -> list[str]:
        """The rows that deliveries have left in doubt in this process since this was asked last."""
        doubted, self._doubted = list(self._doubted), set()
        return doubted

    def hear(self, event: Event) -> None:
        """What is told of rows is work for the callbacks, or for a look."""
        if isinstance(event, StateChange):
            self.wake(Step.ANNOUNCE)
        elif not isinstance(event, WebhookProcessed) or not self.does(Step.DOUBTS):
            return
        elif event.verdict == Verdict.DOUBTED and event.row_id:
            self._doubted.add(event.row_id)
            self.wake(Step.DOUBTS)

    def watch(self, now: datetime) -> Watch:
        """What the tables are to be asked about this environment."""
        return Watch(
            environment=self.environment,
            touched_before=now - self.tools.schedule.floor,
            audited_before=now - self.tools.audit_every if self.tools.audit_every else None,
            pruned_before=now - PRUNE_EVERY,
        )

    async def run(self, step: Step, keep_going: Callable[[], bool] = lambda: True) -> None:
        """Do what is due of one kind; `keep_going` is asked between its parts. Raises what the step does."""
        match step:
            case Step.SWEEP:
                await sweep(self.tools, keep_going=keep_going)
            case Step.INGEST:
                await self.ingest()
            case Step.ANNOUNCE:
                await self.announce()
            case Step.DOUBTS:
                await self.look_first(self.doubted())
            case Step.AUDIT:
                await audit_if_due(self.tools, self.tools.audit_every, keep_going=keep_going)
            case Step.PRUNE:
                await self._prune_in_turn()

    async def ingest(self) -> int:
        """Apply every kept delivery whose time has come; how many."""
        applied = 0
        while taken := await ingest(self.tools):
            applied += taken
        return applied

    async def look_first(self, row_ids: Sequence[str]) -> None:
        """Look at those of these rows that are due, before all others; not at what somebody else looks at."""
        if row_ids:
            await look_first(self.tools, row_ids)

    async def sync_row(self, row: ProviderAsset) -> None:
        """Bring one row into step; one that is due and held by somebody else is just being looked at."""
        if row.check_at and row.check_at <= self.tools.now():
            await look_first(self.tools, [row.id])
        else:
            await sync_row(self.tools, row, by=By.SYNC)

    async def announce(self) -> int:
        """Call the callbacks with every change that is due to be announced; how many."""
        announced = 0
        while taken := await announce(self.tools, self.callbacks):
            announced += taken
        return announced

    async def prune(self) -> int:
        """Empty the bodies of deliveries past their retention, and forget changes that were never announced."""
        tools, now = self.tools, self.tools.now()
        here = tools.provider.name, tools.environment
        await tools.outbox.forget(*here, now - self.keep_ended)
        return await tools.inbox.prune(*here, ended_before=now - self.keep_ended, dead_before=now - self.keep_dead)

    async def _prune_in_turn(self) -> None:
        """Prune, unless another process is at it or has just been."""
        tools, now, token = self.tools, self.tools.now(), str(uuid4())
        key = PassKey(tools.provider.name, tools.environment, Step.PRUNE)
        standing = await tools.passes.take(key, now=now, token=token, until=now + PRUNING_HELD)
        if standing is None:
            return
        try:
            if standing.ended_at is None or standing.ended_at <= now - PRUNE_EVERY:
                emptied = await self.prune()
                await tools.passes.end(token, tools.now(), {"emptied": emptied})
        finally:
            await tools.passes.release(token)


@contextmanager
def ringing(works: Collection[Work], bell: asyncio.Event) -> Iterator[None]:
    """Have `bell` rung whenever a step of these is woken, for as long as the block lasts."""
    for work in works:
        work.bells.append(bell)
    try:
        yield
    finally:
        for work in works:
            work.bells.remove(bell)
