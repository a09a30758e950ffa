"""The jobs of one environment, for an engine to run; what is due is in the tables."""

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from rindle_sync.domain import (
    PROVIDER_JOBS,
    DueThresholds,
    JobKind,
    OutgoingSettings,
    ProviderAsset,
    Trigger,
    Verdict,
    is_ahead,
    is_due,
)
from rindle_sync.reconcile import (
    Context,
    audit,
    audited_before,
    check_first,
    is_audit_due,
    sweep,
    sync_row,
)
from rindle_sync.runtime.app_webhooks import WebhookCallback, dispatch_webhook_events
from rindle_sync.runtime.callbacks import ChangeCallback
from rindle_sync.runtime.dispatching import dispatch
from rindle_sync.telemetry import Event, MediaChange, StateChange, WebhookProcessed
from rindle_sync.webhooks import process_pending

if TYPE_CHECKING:
    from rindle_sync.runtime.outgoing.deliver import Deliveries

PRUNE_EVERY: Final = timedelta(hours=1)

LONGEST_PRUNE_GAP: Final = timedelta(days=1)
"""After a longer gap the first turn prunes nothing; the next one does, an hour later."""

PRUNE_LEASE: Final = timedelta(seconds=90)
"""How long a process that may have died keeps others from pruning."""


@dataclass(slots=True, kw_only=True)
class JobRunner:
    """The jobs of one environment.

    Each job processes everything due, so a lost, duplicate or late wake-up is harmless.
    """

    context: Context
    callbacks: Sequence[ChangeCallback]
    webhook_callbacks: Sequence[WebhookCallback] = ()
    keep_ended: timedelta
    """How long applied and ignored events keep their bodies, and changes wait to be dispatched."""
    keep_dead: timedelta
    """How long dead events keep their bodies."""
    wakeups: list[asyncio.Event] = field(default_factory=list)
    """Of the engines in this process: all are set whenever a job is woken."""
    woken: set[JobKind] = field(default_factory=set)
    """The jobs that this process has made due, until an engine takes them out."""
    has_backlog: bool = False
    """Whether webhook events were left when they were last processed, for those that come."""
    outgoing: OutgoingSettings | None = None
    """The endpoint of outgoing webhooks in the settings."""
    is_followed: bool = False
    """Whether somebody follows the changes, as far as this process knows."""
    _ambiguous: set[str] = field(default_factory=set)
    _deliveries: "Deliveries | None" = None

    @property
    def has_callbacks(self) -> bool:
        """Whether the app in this process has any."""
        return bool(self.callbacks or self.webhook_callbacks)

    @property
    def environment(self) -> str:
        """Its name in the settings."""
        return self.context.store.environment

    def can_run(self, kind: JobKind) -> bool:
        """Whether this process can run `kind` now.

        Jobs that call the provider need a token, and wait until the rate limit allows calls again.
        """
        gateway, trigger = self.context.gateway, PROVIDER_JOBS.get(kind)
        return trigger is None or (gateway.has_token and not gateway.reads.is_refused(trigger))

    def is_cut_off(self, kind: JobKind) -> bool:
        """Whether `kind` calls the provider, and the circuit is open."""
        return kind in PROVIDER_JOBS and self.context.gateway.circuit.opened is not None

    def wake(self, kind: JobKind) -> None:
        """Have `kind` run soon, if an engine runs in this process."""
        if kind in self.woken:
            return  # the engines know
        self.woken.add(kind)
        for wakeup in self.wakeups:
            wakeup.set()

    def ambiguous(self) -> list[str]:
        """The ids of the rows that webhook events left ambiguous since the last call."""
        # a new set: what comes while these rows are checked is for the next call
        ambiguous, self._ambiguous = list(self._ambiguous), set()
        return ambiguous

    def handle(self, event: Event) -> None:
        """Wake the job that an event about a row makes due."""
        if isinstance(event, (StateChange, MediaChange)):
            self.wake(JobKind.DISPATCH)
            if self.is_followed:
                self.wake(JobKind.PUBLISH)
        elif not isinstance(event, WebhookProcessed) or not self.context.gateway.has_token:
            return
        elif event.verdict == Verdict.AMBIGUOUS and event.row_id:
            self._ambiguous.add(event.row_id)
            self.wake(JobKind.CHECK_AMBIGUOUS)

    def due_thresholds(self, now: datetime) -> DueThresholds:
        """When the jobs of this environment are due."""
        return DueThresholds(
            environment=self.environment,
            touched_before=now - self.context.schedule.floor,
            audited_before=audited_before(self.context),
            pruned_before=now - PRUNE_EVERY,
            **self.context.longest_gaps.latest(now),
        )

    async def run(self, kind: JobKind, keep_going: Callable[[], bool] = lambda: True) -> None:
        """Run one job; `keep_going` is called between its parts. Raises what the job raises."""
        match kind:
            case JobKind.SWEEP:
                await sweep(self.context, keep_going=keep_going)
            case JobKind.PROCESS_WEBHOOK_EVENTS:
                self.has_backlog = await self._process_in_turn()
            case JobKind.DISPATCH:
                await self.dispatch()
            case JobKind.PUBLISH | JobKind.DELIVER:
                await self._tell_followers(kind, keep_going)
            case JobKind.CHECK_AMBIGUOUS:
                row_ids = self.ambiguous()
                if row_ids:
                    await check_first(self.context, row_ids)
            case JobKind.AUDIT:
                # another process may have audited since this one found the audit due
                if await is_audit_due(self.context):
                    await audit(self.context, keep_going=keep_going)
            case JobKind.PRUNE:
                await self._prune_in_turn()

    async def process_webhook_events(self) -> int:
        """Apply every stored webhook event whose time has come; how many."""
        return (await process_pending(self.context, lambda: True)).number

    async def _process_in_turn(self) -> bool:
        """`process_webhook_events`, but stop where more is left while others come; whether it did.

        The engine then rests: those that come are answered first.
        """

        def none_come() -> bool:
            return JobKind.PROCESS_WEBHOOK_EVENTS not in self.woken

        return (await process_pending(self.context, none_come)).has_more

    async def sync_row(self, row: ProviderAsset) -> None:
        """Bring one row in sync; a row that is due and leased is being checked already."""
        if is_due(row, self.context.now(), self.context.longest_gaps):
            await check_first(self.context, [row.id])
        else:
            await sync_row(self.context, row, trigger=Trigger.SYNC)

    async def dispatch(self) -> int:
        """Call the callbacks with every change and webhook event that is due; how many."""
        dispatched = 0
        while taken := await dispatch(self.context, self.callbacks):
            dispatched += taken
        while taken := await dispatch_webhook_events(self.context, self.webhook_callbacks):
            dispatched += taken
        return dispatched

    async def _tell_followers(self, kind: JobKind, keep_going: Callable[[], bool]) -> None:
        if kind is JobKind.PUBLISH:
            await self.publish()
        else:
            await self.deliveries.run_alone(keep_going)

    async def publish(self) -> int:
        """Give every change its place in the feed; how many. The feed may be off.

        Outgoing webhooks are made of them, and sent by another job.
        """
        published, has_more = 0, True
        while has_more:
            batch = await self.context.store.change_feed.publish_batch()
            published, has_more = published + len(batch.changes), batch.has_more
            if batch.webhooks:
                self.wake(JobKind.DELIVER)
                self.deliveries.wake()
        return published

    @property
    def deliveries(self) -> "Deliveries":
        """What sends outgoing webhooks."""
        if self._deliveries is None:
            from rindle_sync.runtime.outgoing.deliver import Deliveries

            self._deliveries = Deliveries(self.context)
        return self._deliveries

    def send_with(self, deliveries: "Deliveries") -> None:
        """Send outgoing webhooks with these: tests have other time limits."""
        self._deliveries = deliveries

    async def apply_settings(self, now: datetime) -> None:
        """Bring the endpoint of outgoing webhooks up to date that the settings name, or do not."""
        from rindle_sync.runtime.outgoing.endpoints import apply_settings

        await apply_settings(self.context.store, self.outgoing, now)

    async def deliver(self) -> int:
        """Send every outgoing webhook that is due; how many attempts were made."""
        return await self.deliveries.run()

    async def close(self) -> None:
        """Close the connections to the endpoints of outgoing webhooks."""
        if self._deliveries:
            await self._deliveries.close()

    async def prune(self) -> int:
        """Empty the bodies of events past their retention, and forget changes never dispatched.

        Idempotency keys that are a day old go, too, and actions on rows that are a year old.
        """
        store, now = self.context.store, self.context.now()
        ended_before = now - self.keep_ended
        await store.outbox.forget(ended_before)
        await store.change_feed.forget(ended_before)
        keep = {"delivered_before": ended_before, "dead_before": now - self.keep_dead}
        await store.outgoing_webhooks.prune(**keep)
        await store.statistics.merge_counts()
        await store.api_requests.prune(now)
        await store.row_actions.prune(now)
        return await store.inbox.prune(ended_before=ended_before, dead_before=now - self.keep_dead)

    async def _prune_in_turn(self) -> None:
        """Prune, unless another process is pruning or has just done so."""
        job_runs, now, token = self.context.store.job_runs, self.context.now(), str(uuid4())
        job_run = await job_runs.take(JobKind.PRUNE, now=now, token=token, until=now + PRUNE_LEASE)
        if job_run is None:
            return
        try:
            # known only under the lease: another process may have pruned a moment ago
            last = None if is_ahead(job_run.ended_at, now) else job_run.ended_at
            if last is None or last <= now - PRUNE_EVERY:
                # after a gap the clock is not trusted yet: one that is a year ahead for a moment
                # would empty what is to be kept
                is_regular = last is not None and last > now - LONGEST_PRUNE_GAP
                emptied = await self.prune() if is_regular else 0
                await job_runs.end(token, self.context.now(), {"emptied": emptied})
        finally:
            await job_runs.release(token)


@contextmanager
def waking(job_runners: Collection[JobRunner], wakeup: asyncio.Event) -> Iterator[None]:
    """Have `wakeup` set whenever a job of these is woken, for as long as the block lasts."""
    for job_runner in job_runners:
        job_runner.wakeups.append(wakeup)
    try:
        yield
    finally:
        for job_runner in job_runners:
            job_runner.wakeups.remove(wakeup)
