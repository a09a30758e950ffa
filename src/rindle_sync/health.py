"""How the rows of an environment stand, as figures."""

from dataclasses import dataclass
from datetime import datetime

from rindle_sync.asset import ErrorKind, State
from rindle_sync.store import Store


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


async def status(store: Store, provider: str, environment: str, now: datetime) -> Status:
    """The figures of one environment."""
    counts = await store.counts(provider, environment, now)
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
        oldest_due_seconds=int((now - counts.oldest_due).total_seconds()) if counts.oldest_due else 0,
        unanswered=counts.failing,
        last_checked_at=counts.last_checked.isoformat() if counts.last_checked else None,
    )
