"""How the rows of an environment stand, as figures."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rindle_sync.asset import ErrorKind, State
from rindle_sync.audit import AUDIT
from rindle_sync.notice import Status as NoticeStatus
from rindle_sync.store import PassKey
from rindle_sync.tools import Tools


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What `rindle-sync status` reports; ages in whole seconds."""

    provider: str
    environment: str
    rows: int
    by_state: dict[str, int]
    errored_by_kind: dict[str, int]
    stuck: int
    due: int
    oldest_due_seconds: int
    unanswered: int
    """Rows whose last look brought no answer for which it was tried again: not throttled, not refused."""
    last_checked_at: str | None
    notices: dict[str, int]
    """Kept deliveries by status."""
    oldest_pending_seconds: int
    breaker: str
    """`closed`, or why the provider is left alone: refused, other_environment, unreachable."""
    breaker_open_seconds: int
    last_audit_at: str | None
    last_audit: dict[str, Any] | None
    """The figures of the last audit that came to an end."""
    audit_began_at: str | None
    """Of one that has not ended."""


async def status(tools: Tools) -> Status:
    """The figures of one environment."""
    provider, environment, now = tools.provider.name, tools.environment, tools.now()
    counts = await tools.store.counts(provider, environment, now)
    pending = await tools.inbox.pending(provider, environment)
    known = await tools.environments.get(provider, environment)
    audit = await tools.passes.get(PassKey(provider, environment, AUDIT))
    by_state = {state.value: counts.by_state.get(state, 0) for state in State}
    by_kind = {kind.value: counts.by_error_kind.get(kind, 0) for kind in ErrorKind}
    return Status(
        provider=provider,
        environment=environment,
        rows=sum(by_state.values()),
        by_state=by_state,
        errored_by_kind=by_kind,
        stuck=by_kind[ErrorKind.STUCK],
        due=counts.due,
        oldest_due_seconds=_seconds_since(counts.oldest_due, now),
        unanswered=counts.failing,
        last_checked_at=counts.last_checked.isoformat() if counts.last_checked else None,
        notices={status.value: pending.by_status.get(status, 0) for status in NoticeStatus},
        oldest_pending_seconds=_seconds_since(pending.oldest_pending, now),
        breaker=known.breaker_reason or "closed",
        breaker_open_seconds=_seconds_since(known.breaker_opened_at, now),
        last_audit_at=audit.ended_at.isoformat() if audit.ended_at else None,
        last_audit=dict(audit.progress) if audit.progress and not audit.began_at else None,
        audit_began_at=audit.began_at.isoformat() if audit.began_at else None,
    )


def _seconds_since(moment: datetime | None, now: datetime) -> int:
    return int((now - moment).total_seconds()) if moment else 0
