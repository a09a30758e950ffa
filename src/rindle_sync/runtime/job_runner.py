"""What is to be done without anybody asking, for an engine to wake: all that is due stands in the tables."""

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

from rindle_sync.domain import (
    PROVIDER_JOBS,
    DueThresholds,
    JobKind,
    ProviderAsset,
    Trigger,
    Verdict,
)
from rindle_sync.reconcile import Context, audit_if_due, check_first, sweep, sync_row
from rindle_sync.runtime.dispatch import Callback, dispatch
from rindle_sync.store import JobKey
from rindle_sync.telemetry import Event, StateChange, WebhookProcessed
from rindle_sync.webhooks import process_webhook_events

PRUNE_EVERY: Final = timedelta(hours=1)

PRUNING_HELD: Final = timedelta(seconds=90)
"""How long others leave the pruning to a process that may have died in it."""


@dataclass(slots=True, kw_only=True)
class JobRunner:
    """The steps of one environment. What wakes them may be lost, doubled or late: each takes up all that is due."""

    context: Context
    callbacks: Sequence[Callback]
    keep_ended: timedelta
    """How long the bodies of applied and ignored deliveries are kept, and how long a change waits to be announced."""
    keep_dead: timedelta
    """How long the bodies of dead deliveries are kept."""
    wakeups: list[asyncio.Event] = field(default_factory=list)
    """Of the engines in this process: all are rung whenever a step is woken."""
    _woken: set[JobKind] = field(default_factory=set)
    _ambiguous: set[str] = field(default_factory=set)

    @property
    def environment(self) -> str:
        """Our name of the environment."""
        return self.context.environment

    def can_run(self, kind: JobKind) -> bool:
        """Whether this process can do `kind` at all; others may."""
        return self.context.has_token or kind not in PROVIDER_JOBS

    def wake(self, kind: JobKind) -> None:
        """Have `kind` run soon, where an engine runs in this process."""
        self._woken.add(kind)
        for wakeup in self.wakeups:
            wakeup.set()

    def is_woken(self, kind: JobKind) -> bool:
        """Whether something in this process has made `kind` due."""
        return kind in self._woken

    def clear_wakeup(self, kind: JobKind) -> None:
        """From here on, only what comes later wakes `kind`."""
        self._woken.discard(kind)

    def ambiguous(self) -> list[str]:
        """The rows that deliveries have left in doubt in this process since this was asked last."""
        ambiguous, self._ambiguous = list(self._ambiguous), set()
        return ambiguous

    def handle(self, event: Event) -> None:
        """What is told of rows is work for the callbacks, or for a look."""
        if isinstance(event, StateChange):
            self.wake(JobKind.DISPATCH)
        elif not isinstance(event, WebhookProcessed) or not self.can_run(JobKind.CHECK_AMBIGUOUS):
            return
        elif event.verdict == Verdict.AMBIGUOUS and event.row_id:
            self._ambiguous.add(event.row_id)
            self.wake(JobKind.CHECK_AMBIGUOUS)

    def due_thresholds(self, now: datetime) -> DueThresholds:
        """What the tables are to be asked about this environment."""
        return DueThresholds(
            environment=self.environment,
            touched_before=now - self.context.schedule.floor,
            audited_before=now - self.context.audit_every if self.context.audit_every else None,
            pruned_before=now - PRUNE_EVERY,
        )

    async def run(self, kind: JobKind, keep_going: Callable[[], bool] = lambda: True) -> None:
        """Do what is due of one kind; `keep_going` is asked between its parts. Raises what the step does."""
        match kind:
            case JobKind.SWEEP:
                await sweep(self.context, keep_going=keep_going)
            case JobKind.PROCESS_WEBHOOK_EVENTS:
                await self.process_webhook_events()
            case JobKind.DISPATCH:
                await self.dispatch()
            case JobKind.CHECK_AMBIGUOUS:
                await self.check_first(self.ambiguous())
            case JobKind.AUDIT:
                await audit_if_due(self.context, self.context.audit_every, keep_going=keep_going)
            case JobKind.PRUNE:
                await self._prune_in_turn()

    async def process_webhook_events(self) -> int:
        """Apply every kept delivery whose time has come; how many."""
        applied = 0
        while taken := await process_webhook_events(self.context):
            applied += taken
        return applied

    async def check_first(self, row_ids: Sequence[str]) -> None:
        """Look at those of these rows that are due, before all others; not at what somebody else looks at."""
        if row_ids:
            await check_first(self.context, row_ids)

    async def sync_row(self, row: ProviderAsset) -> None:
        """Bring one row into step; one that is due and held by somebody else is just being looked at."""
        if row.check_at and row.check_at <= self.context.now():
            await check_first(self.context, [row.id])
        else:
            await sync_row(self.context, row, trigger=Trigger.SYNC)

    async def dispatch(self) -> int:
        """Call the callbacks with every change that is due to be announced; how many."""
        announced = 0
        while taken := await dispatch(self.context, self.callbacks):
            announced += taken
        return announced

    async def prune(self) -> int:
        """Empty the bodies of deliveries past their retention, and forget changes that were never announced."""
        context, now = self.context, self.context.now()
        here = context.provider.name, context.environment
        await context.outbox.forget(*here, now - self.keep_ended)
        return await context.inbox.prune(
            *here, ended_before=now - self.keep_ended, dead_before=now - self.keep_dead
        )

    async def _prune_in_turn(self) -> None:
        """Prune, unless another process is at it or has just been."""
        context, now, token = self.context, self.context.now(), str(uuid4())
        key = JobKey(context.provider.name, context.environment, JobKind.PRUNE)
        standing = await context.job_runs.take(key, now=now, token=token, until=now + PRUNING_HELD)
        if standing is None:
            return
        try:
            if standing.ended_at is None or standing.ended_at <= now - PRUNE_EVERY:
                emptied = await self.prune()
                await context.job_runs.end(token, context.now(), {"emptied": emptied})
        finally:
            await context.job_runs.release(token)


@contextmanager
def waking(job_runners: Collection[JobRunner], wakeup: asyncio.Event) -> Iterator[None]:
    """Have `wakeup` rung whenever a step of these is woken, for as long as the block lasts."""
    for job_runner in job_runners:
        job_runner.wakeups.append(wakeup)
    try:
        yield
    finally:
        for job_runner in job_runners:
            job_runner.wakeups.remove(wakeup)
