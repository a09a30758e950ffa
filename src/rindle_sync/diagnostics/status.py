"""How the rows of environments stand, in figures."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from statistics import median, quantiles
from typing import Any, Final

from msgspec import Struct

from rindle_sync.domain import BucketLevel, ErrorKind, EventStatus, LongestGaps, State, Trigger
from rindle_sync.reconcile import AUDIT, Context
from rindle_sync.runtime import last_heartbeat
from rindle_sync.store import EndpointFigures, Figures, WebhookCounts, WrongTimes

DAY: Final = timedelta(days=1)
HOUR: Final = timedelta(hours=1)

GRACE: Final = timedelta(minutes=5)
"""How long after a check a webhook about the same change may come before it counts as missed."""

MOST_CHANGES: Final = 10_000
"""How many changes of a day count for their lateness: the newest."""


@dataclass(frozen=True, slots=True)
class Lateness:
    """How late the changes of one trigger were found."""

    changes: int
    median_ms: int
    p95_ms: int


@dataclass(frozen=True, slots=True)
class WebhookStatus:
    """What became of the webhooks that should have come with the changes of a day."""

    expected: int
    """Changes that a webhook should have reported."""
    first: int
    """Those that a webhook reported first."""
    late: int
    """Those that a check found before their webhook came."""
    missed: int
    """Those whose webhook has not come."""
    loss: float | None
    """`missed` as a share of `expected`; None while none was expected."""


@dataclass(frozen=True, slots=True)
class RateLimitStatus:
    """How many calls the rate limit allows at once."""

    calls: float
    capacity: float
    wait_seconds: float
    """How long until the next call is allowed."""


@dataclass(frozen=True, slots=True)
class OutgoingEndpointStatus:
    """How an endpoint of outgoing webhooks stands."""

    name: str
    pending: int
    """Webhooks that are still to be sent."""
    oldest_pending_seconds: int
    """How long ago the change of the oldest of them was."""
    dead: int
    """Webhooks that could not be delivered."""
    failing_seconds: int
    """How long every attempt has failed; 0 while the last one did not."""
    disabled: str | None
    """Why nothing is sent to it; None where it is enabled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """How one environment stands; ages in whole seconds."""

    at: datetime
    provider: str
    environment: str
    database: str
    """The path of its file, or its address without the password."""
    rows: int
    by_state: dict[str, int]
    errored_by_kind: dict[str, int]
    stuck: int
    unlinked: int
    """Rows that wait for their upload and have no asset yet."""
    due: int
    """Rows that wait for a check."""
    oldest_due_seconds: int
    """How long the longest-due row has waited."""
    unanswered: int
    """Rows whose last check had no answer, not counting rate-limited and refused ones."""
    last_checked_at: datetime | None
    pending: int
    """Webhook events that are still to be applied."""
    dead: int
    """Webhook events that could not be applied."""
    failed: int
    """Those of them of the last 24 hours, without those whose asset no row tracks."""
    oldest_pending_seconds: int
    """How long ago the oldest pending webhook event about a row could have been applied."""
    oldest_for_app_seconds: int
    """How long ago the oldest one for your app could have been given to a callback."""
    takes_webhooks: bool
    """Whether a secret is set: without one no webhook is expected."""
    webhooks: WebhookStatus
    """How many webhooks of the last 24 hours were expected, came first, came late, were missed."""
    outgoing: list[OutgoingEndpointStatus]
    """The endpoints of outgoing webhooks."""
    rate_limit: RateLimitStatus
    """How many calls that only read are allowed now, and how long until the next one is."""
    circuit: str
    """`closed`, or why it is open: refused, other_environment, unreachable."""
    circuit_open_seconds: int
    last_audit_at: datetime | None
    last_audit: dict[str, Any] | None
    """The figures of the last audit that was done or raised the alarm."""
    audit_began_at: datetime | None
    """When an audit began that has not ended."""
    wrong_times: list[WrongTimes]
    """Times further ahead than a right clock can have written."""


class Scan(Struct, frozen=True):
    """What only a scan of the changes of 24 hours, and of all rows that wait, finds."""

    webhooks: WebhookStatus
    wrong_times: list[WrongTimes]

    def added_to(self, overview: Overview) -> Overview:
        """The overview with it."""
        return replace(overview, webhooks=self.webhooks, wrong_times=self.wrong_times)


@dataclass(frozen=True, slots=True, kw_only=True)
class Status(Overview):
    """What `rindle-sync status` reports of one environment."""

    last_heartbeat_at: datetime | None
    """The last heartbeat of an engine, in any environment."""
    webhook_events: dict[str, int]
    """Webhook events by status."""
    lateness: dict[str, Lateness]
    """How late the changes of the last 24 hours were found, by trigger."""


async def figures_of(
    contexts: Sequence[Context], now: datetime, *, over: timedelta
) -> dict[str, Figures]:
    """The figures of environments on one database, by name; changes count for the time `over`."""
    found = await _figures(contexts, now, over=over)
    for name, counts in (await _webhook_counts(contexts, now, over=over)).items():
        found[name].webhooked = counts
    return found


async def _figures(
    contexts: Sequence[Context], now: datetime, *, over: timedelta
) -> dict[str, Figures]:
    """What costs the same beside any number of changes."""
    found: dict[str, Figures] = {}
    for same in _by_provider(contexts):
        names, store = [context.store.environment for context in same], same[0].store
        found |= await store.statistics.of(names, AUDIT, now=now, since=now - over)
        for name, endpoints in (await store.outgoing_webhooks.figures(names)).items():
            found[name].outgoing = endpoints
    return found


async def _webhook_counts(
    contexts: Sequence[Context], now: datetime, *, over: timedelta
) -> dict[str, WebhookCounts]:
    """What became of the webhooks of each change."""
    found: dict[str, WebhookCounts] = {}
    for same in _by_provider(contexts):
        reports_deletion = same[0].gateway.provider.reports_deletion
        found |= await same[0].store.statistics.webhooked(
            [context.store.environment for context in same],
            now=now,
            since=now - over,
            # the webhook of a newer change may still come
            final_before=now - GRACE,
            never_reported=None if reports_deletion else State.DELETED,
        )
    for context in contexts:
        if not context.webhooks.secrets:  # none is received, so none is missed
            found[context.store.environment] = WebhookCounts()
    return found


async def overview(contexts: Sequence[Context]) -> list[Overview]:
    """The figures of environments on one database, in few statements."""
    overviews = await fast_overview(contexts)
    scans = await scan(contexts)
    return [scans[found.environment].added_to(found) for found in overviews]


async def scan(contexts: Sequence[Context]) -> dict[str, Scan]:
    """What only a scan finds, by environment."""
    now = contexts[0].now()
    counts = await _webhook_counts(contexts, now, over=DAY)
    wrong = await wrong_times_of(contexts, now)
    return {name: Scan(_webhooks(counts[name]), wrong[name]) for name in counts}


async def fast_overview(contexts: Sequence[Context]) -> list[Overview]:
    """The same as `overview` without a scan: as fast beside a million changes as beside ten."""
    now, reads = contexts[0].now(), [context.gateway.reads for context in contexts]
    figures = await _figures(contexts, now, over=DAY)
    levels = await reads[0].levels(reads)
    overviews = []
    for context, level in zip(contexts, levels, strict=True):
        name = context.store.environment
        overviews.append(_overview(context, figures[name], level, now))
    return overviews


async def wrong_times_of(contexts: Sequence[Context], now: datetime) -> dict[str, list[WrongTimes]]:
    """The stored times that no right clock can have written, by the name of the environment."""
    found: dict[str, list[WrongTimes]] = {}
    for same in _by_provider(contexts):
        gaps = [context.longest_gaps for context in same]
        longest = LongestGaps(max(gap.others for gap in gaps), max(gap.watched for gap in gaps))
        names = [context.store.environment for context in same]
        found |= await same[0].store.wrong_times.of(names, now=now, longest=longest)
    return found


def _by_provider(contexts: Sequence[Context]) -> list[list[Context]]:
    found: dict[str, list[Context]] = {}
    for context in contexts:
        found.setdefault(context.store.provider, []).append(context)
    return list(found.values())


async def elsewhere(
    contexts: Sequence[Context], overviews: Sequence[Overview], names: Collection[str]
) -> dict[str, int]:
    """How many rows there are of environments without a name here, where one of these has none."""
    # the usual case, in which a count over all rows would be wasted
    if all(environment.rows for environment in overviews):
        return {}
    known = {*names, *(context.store.environment for context in contexts)}
    rows: dict[str, int] = {}
    for same in _by_provider(contexts):
        for name, number in (await same[0].store.statistics.rows()).items():
            rows[name] = rows.get(name, 0) + number
    return {name: number for name, number in rows.items() if name not in known}


async def environment_status(context: Context) -> Status:
    """The figures of one environment."""
    (figures,) = await overview([context])
    webhook_events = await context.store.statistics.webhook_events()
    late = await context.store.statistics.lateness(
        figures.at - DAY, now=figures.at, limit=MOST_CHANGES
    )
    by_trigger: dict[str, list[int]] = {trigger.value: [] for trigger in Trigger}
    for trigger, late_ms in late:
        by_trigger[trigger].append(late_ms)
    return Status(
        **{field.name: getattr(figures, field.name) for field in fields(Overview)},
        last_heartbeat_at=await last_heartbeat(context.store),
        webhook_events={status.value: webhook_events.get(status, 0) for status in EventStatus},
        lateness={trigger: _lateness(late_ms) for trigger, late_ms in by_trigger.items()},
    )


def _overview(context: Context, found: Figures, level: BucketLevel, now: datetime) -> Overview:
    by_state = {state.value: found.by_state.get(state, 0) for state in State}
    by_kind = {kind.value: found.by_error_kind.get(kind, 0) for kind in ErrorKind}
    report = found.audit.report
    wait_seconds = round(level.wait.total_seconds(), 3)
    return Overview(
        at=now,
        provider=context.store.provider,
        environment=context.store.environment,
        database=context.store.database.place,
        rows=sum(by_state.values()),
        by_state=by_state,
        errored_by_kind=by_kind,
        stuck=by_kind[ErrorKind.STUCK],
        unlinked=found.unlinked,
        due=found.due,
        oldest_due_seconds=_seconds_since(found.oldest_due, now),
        unanswered=found.failing,
        last_checked_at=found.last_checked,
        pending=found.pending,
        dead=found.dead,
        failed=found.failed,
        oldest_pending_seconds=_seconds_since(found.oldest_pending, now),
        oldest_for_app_seconds=_seconds_since(found.oldest_for_app, now),
        takes_webhooks=bool(context.webhooks.secrets),
        webhooks=_webhooks(found.webhooked),
        outgoing=[_outgoing(endpoint, now) for endpoint in found.outgoing],
        rate_limit=RateLimitStatus(round(level.calls, 1), level.capacity, wait_seconds),
        circuit=found.circuit_reason or "closed",
        circuit_open_seconds=_seconds_since(found.circuit_opened_at, now),
        last_audit_at=found.audit.ended_at,
        last_audit=dict(report) if report else None,
        audit_began_at=found.audit.began_at,
        wrong_times=[],
    )


def _webhooks(counts: WebhookCounts) -> WebhookStatus:
    first, missed = counts.found[Trigger.WEBHOOK], sum(counts.missed.values())
    late, loss = counts.expected - first - missed, counts.loss
    loss = None if loss is None else round(loss, 4)
    return WebhookStatus(counts.expected, first, late, missed, loss)


def _outgoing(found: EndpointFigures, now: datetime) -> OutgoingEndpointStatus:
    return OutgoingEndpointStatus(
        name=found.name,
        pending=found.pending,
        oldest_pending_seconds=_seconds_since(found.oldest_pending, now),
        dead=found.dead,
        failing_seconds=_seconds_since(found.health.failing_since, now),
        disabled=found.health.disabled_reason,
    )


def _lateness(late_ms: list[int]) -> Lateness:
    if not late_ms:
        return Lateness(0, 0, 0)
    # `quantiles` raises for a single value
    p95 = quantiles(late_ms, n=20)[-1] if len(late_ms) > 1 else late_ms[0]
    return Lateness(len(late_ms), round(median(late_ms)), round(p95))


def _seconds_since(moment: datetime | None, now: datetime) -> int:
    return max(0, int((now - moment).total_seconds())) if moment else 0
