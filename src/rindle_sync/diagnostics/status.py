"""How the rows of environments stand, as figures."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median, quantiles
from typing import Any, Final

from rindle_sync.domain import ErrorKind, EventStatus, State, Trigger
from rindle_sync.reconcile import AUDIT, Context
from rindle_sync.runtime import last_tick
from rindle_sync.store import Figures, Level, WebhookCounts

DAY: Final = timedelta(days=1)
HOUR: Final = timedelta(hours=1)

GRACE: Final = timedelta(minutes=5)
"""How long a webhook may take after a look has found what it tells, before it counts as missed."""


MOST_CHANGES: Final = 10_000
"""How many changes of a day are read for their lateness: the newest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lateness:
    """How late the changes of a road were found, in milliseconds."""

    changes: int
    median_ms: int
    p95_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookStatus:
    """What became of the webhooks that the changes of a day should have brought."""

    expected: int
    """Changes that a webhook should have told of."""
    first: int
    """Those that a webhook told of first."""
    late: int
    """Those that a look found before their webhook came."""
    missed: int
    """Those of which no webhook has told."""
    loss: float
    """`missed` as a share of `expected`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimitStatus:
    """How a bucket of calls stands."""

    calls: float
    capacity: float
    wait_seconds: float
    """How long until a call is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """How one of many environments stands; ages in whole seconds."""

    at: datetime
    """When it stood so."""
    provider: str
    environment: str
    database: str
    """Where it is: the path of a file, or an address without its password."""
    rows: int
    by_state: dict[str, int]
    errored_by_kind: dict[str, int]
    stuck: int
    unlinked: int
    """Rows that wait for their upload and have no asset yet."""
    due: int
    oldest_due_seconds: int
    unanswered: int
    """Rows whose last look brought no answer for which it was tried again: not throttled, not refused."""
    last_checked_at: datetime | None
    pending: int
    """Kept deliveries that are still to be applied."""
    dead: int
    """Kept deliveries that could not be applied."""
    failed: int
    """Those that could not be applied in the last 24 hours, though not because no row tracks the asset."""
    oldest_pending_seconds: int
    """How long ago the delivery was to be applied that waits the longest for it."""
    takes_webhooks: bool
    """Whether a secret is set: without one none is taken, and none is expected."""
    webhooks: WebhookStatus
    """Of the last 24 hours."""
    rate_limit: RateLimitStatus
    """Calls that only read."""
    circuit: str
    """`closed`, or why the provider is left alone: refused, other_environment, unreachable."""
    circuit_open_seconds: int
    last_audit_at: datetime | None
    last_audit: dict[str, Any] | None
    """The figures of the last audit that came to an end."""
    audit_began_at: datetime | None
    """Of one that has not ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status(Overview):
    """What `rindle-sync status` reports of one environment."""

    last_tick_at: datetime | None
    """When an engine last asked what is due, in any environment."""
    webhook_events: dict[str, int]
    """Kept deliveries by status."""
    lateness: dict[str, Lateness]
    """How late the changes of the last 24 hours were found, by road."""


async def figures(
    contexts: Sequence[Context], now: datetime, *, over: timedelta
) -> dict[str, Figures]:
    """How environments on one database stand, by their names; changes count that came `over` so long a time."""
    one, names = contexts[0], [context.environment for context in contexts]
    found = await one.statistics.of(
        one.provider.name, names, AUDIT, now=now, since=now - over, final_before=now - GRACE
    )
    for context in contexts:
        if not context.webhooks.secrets:  # none is taken, so none is missed
            found[context.environment].webhooked = WebhookCounts()
    return found


async def overview(contexts: Sequence[Context]) -> list[Overview]:
    """The figures of environments on one database, in few statements."""
    now = contexts[0].now()
    return [Overview(**values) for values in await _overviews(contexts, now)]


async def elsewhere(context: Context, names: Collection[str]) -> dict[str, int]:
    """How many rows there are of environments with other names than these."""
    found = await context.statistics.rows(context.provider.name)
    return {name: rows for name, rows in found.items() if name not in names}


async def status(context: Context) -> Status:
    """The figures of one environment."""
    provider, environment, now = context.provider.name, context.environment, context.now()
    (values,) = await _overviews([context], now)
    webhook_events = await context.statistics.webhook_events(provider, environment)
    late = await context.statistics.lateness(provider, environment, now - DAY, limit=MOST_CHANGES)
    return Status(
        **values,
        last_tick_at=await last_tick(context),
        webhook_events={status.value: webhook_events.get(status, 0) for status in EventStatus},
        lateness={by.value: _lateness([ms for road, ms in late if road is by]) for by in Trigger},
    )


async def _overviews(contexts: Sequence[Context], now: datetime) -> list[dict[str, Any]]:
    found = await figures(contexts, now, over=DAY)
    levels = await contexts[0].rate_limiter.levels([context.rate_limiter for context in contexts])
    return [
        _overview(context, found[context.environment], level, now)
        for context, level in zip(contexts, levels, strict=True)
    ]


def _overview(context: Context, found: Figures, level: Level, now: datetime) -> dict[str, Any]:
    by_state = {state.value: found.by_state.get(state, 0) for state in State}
    by_kind = {kind.value: found.by_error_kind.get(kind, 0) for kind in ErrorKind}
    audit = found.audit
    return {
        "at": now,
        "provider": context.provider.name,
        "environment": context.environment,
        "database": context.store.place,
        "rows": sum(by_state.values()),
        "by_state": by_state,
        "errored_by_kind": by_kind,
        "stuck": by_kind[ErrorKind.STUCK],
        "unlinked": found.unlinked,
        "due": found.due,
        "oldest_due_seconds": _seconds_since(found.oldest_due, now),
        "unanswered": found.failing,
        "last_checked_at": found.last_checked,
        "pending": found.pending,
        "dead": found.dead,
        "failed": found.failed,
        "oldest_pending_seconds": _seconds_since(found.oldest_pending, now),
        "takes_webhooks": bool(context.webhooks.secrets),
        "webhooks": _webhooks(found.webhooked),
        "rate_limit": _rate_limit(level),
        "circuit": found.circuit_reason or "closed",
        "circuit_open_seconds": _seconds_since(found.circuit_opened_at, now),
        "last_audit_at": audit.ended_at,
        "last_audit": dict(audit.report) if audit.report else None,
        "audit_began_at": audit.began_at,
    }


def _webhooks(webhooked: WebhookCounts) -> WebhookStatus:
    first, missed = webhooked.found[Trigger.WEBHOOK], sum(webhooked.missed.values())
    return WebhookStatus(
        expected=webhooked.expected,
        first=first,
        late=webhooked.expected - first - missed,
        missed=missed,
        loss=round(webhooked.loss, 4),
    )


def _lateness(late_ms: list[int]) -> Lateness:
    if not late_ms:
        return Lateness(changes=0, median_ms=0, p95_ms=0)
    p95 = quantiles(late_ms, n=20)[-1] if len(late_ms) > 1 else late_ms[0]
    return Lateness(changes=len(late_ms), median_ms=round(median(late_ms)), p95_ms=round(p95))


def _rate_limit(level: Level) -> RateLimitStatus:
    return RateLimitStatus(
        calls=round(level.calls, 1),
        capacity=level.capacity,
        wait_seconds=round(level.wait.total_seconds(), 3),
    )


def _seconds_since(moment: datetime | None, now: datetime) -> int:
    return max(0, int((now - moment).total_seconds())) if moment else 0
