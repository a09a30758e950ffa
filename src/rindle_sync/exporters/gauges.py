"""The gauges: how environments stand, read from the tables on demand; knows no metric library."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from rindle_sync.diagnostics import HOUR, SPARING, CachedQuery, figures_of
from rindle_sync.domain import ErrorKind, Outcome, State
from rindle_sync.errors import DatabaseUnavailable
from rindle_sync.exporters import instruments as metrics
from rindle_sync.exporters.instruments import Reading, reading
from rindle_sync.gateway import Reason
from rindle_sync.reconcile import Context
from rindle_sync.runtime import last_heartbeat
from rindle_sync.store import EndpointFigures, Figures

HOLDS: Final = timedelta(seconds=10)
"""How long a reading is reused: the tables are read no more often."""


class Gauges:
    """How the environments on one database stand.

    While the database does not answer, the gauges say only that it is down. Counts take a while
    in large tables: the last ones are reused until new ones are ready.
    """

    def __init__(self, contexts: Sequence[Context]) -> None:
        self._contexts = contexts
        now = contexts[0].now
        self._vital = CachedQuery(self._read_vital, now, HOLDS)
        self._counts = CachedQuery(self._count, now, HOLDS, times=SPARING)
        self._counted: list[Reading] = []
        versions = {name: words[0] for name, words in metrics.BUILD.labels.items()}
        self._build = reading(metrics.BUILD, 1, **versions)
        self.last: list[Reading] = [self._build]
        """The gauges as last read."""

    async def readings(self) -> list[Reading]:
        """The gauges, at most ten seconds old; those that take long to count, older."""
        self.last = [self._build, *await self._read()]
        return self.last

    async def close(self) -> None:
        """Stop reading."""
        await self._vital.close()
        await self._counts.close()

    async def _read(self) -> list[Reading]:
        try:
            vital = await self._vital.get()
            if vital:
                # the last counts stay until new ones are ready
                self._counted = await self._counts.get() or self._counted
                return vital + self._counted
        except DatabaseUnavailable:
            pass
        return [reading(metrics.DATABASE_UP, 0)]

    async def _read_vital(self) -> list[Reading]:
        limiters = []
        for context in self._contexts:
            limiters += [context.gateway.reads, context.gateway.creates]
        levels = iter(await limiters[0].levels(limiters))
        ticked = await last_heartbeat(self._contexts[0].store)
        found = [reading(metrics.DATABASE_UP, 1), reading(metrics.LAST_TICK, _timestamp(ticked))]
        for context in self._contexts:
            name = context.store.environment
            # in the order in which the limiters were listed above
            for bucket in metrics.BUCKETS:
                level = next(levels)
                wait = level.wait.total_seconds()
                found.append(reading(metrics.RATE_LIMIT_CALLS, level.calls, name, bucket=bucket))
                found.append(reading(metrics.RATE_LIMIT_WAIT, wait, name, bucket=bucket))
        return found

    async def _count(self) -> list[Reading]:
        figures = await figures_of(self._contexts, self._contexts[0].now(), over=HOUR)
        found: list[Reading] = []
        for context in self._contexts:
            name = context.store.environment
            found += _of_environment(name, figures[name])
        return found


def _of_environment(name: str, figures: Figures) -> Iterator[Reading]:
    for state in State:
        yield reading(metrics.ROWS, figures.by_state.get(state, 0), name, state=state)
    for kind in ErrorKind:
        yield reading(metrics.ERRORED, figures.by_error_kind.get(kind, 0), name, error_kind=kind)
    yield reading(metrics.DUE, figures.due, name)
    yield reading(metrics.OLDEST_DUE, _timestamp(figures.oldest_due), name)
    yield reading(metrics.UNLINKED, figures.unlinked, name)
    yield reading(metrics.UNANSWERED, figures.failing, name)
    yield reading(metrics.LAST_CHECK, _timestamp(figures.last_checked), name)
    yield reading(metrics.PENDING, figures.pending, name)
    yield reading(metrics.OLDEST_PENDING, _timestamp(figures.oldest_pending), name)
    yield reading(metrics.DEAD, figures.dead, name)
    yield from _of_outgoing(name, figures.outgoing)
    yield reading(metrics.EXPECTED, figures.webhooked.expected, name)
    for trigger, number in figures.webhooked.missed.items():
        yield reading(metrics.MISSED, number, name, trigger=trigger)
    if figures.webhooked.loss is not None:  # no series says "not known yet"; 0 would be a claim
        yield reading(metrics.LOSS, figures.webhooked.loss, name)
    for reason in Reason:
        is_open = figures.circuit_reason == reason
        yield reading(metrics.CIRCUIT_OPEN, is_open, name, reason=reason)
    audit = figures.audit
    is_alarm = (audit.report or {}).get("outcome") == Outcome.ALARM
    yield reading(metrics.LAST_AUDIT, _timestamp(audit.ended_at), name)
    yield reading(metrics.AUDIT_ALARM, is_alarm, name)
    yield reading(metrics.AUDITING, audit.began_at is not None, name)
    report = (audit.progress or {}).get("report") if audit.began_at else None
    progress = 0.0
    # rows may be added during the audit, which then sees more than it counted
    if report and report["rows"]:
        progress = min(1.0, float(report["seen"] / report["rows"]))
    yield reading(metrics.AUDIT_PROGRESS, progress, name)


def _of_outgoing(name: str, endpoints: Sequence[EndpointFigures]) -> Iterator[Reading]:
    enabled = [endpoint for endpoint in endpoints if endpoint.health.disabled_at is None]
    oldest = [endpoint.oldest_pending for endpoint in enabled if endpoint.oldest_pending]
    pending = sum(endpoint.pending for endpoint in enabled)
    yield reading(metrics.OUTGOING_PENDING, pending, name)
    yield reading(metrics.OUTGOING_OLDEST, _timestamp(min(oldest, default=None)), name)
    yield reading(metrics.OUTGOING_DEAD, sum(endpoint.dead for endpoint in endpoints), name)


def _timestamp(moment: datetime | None) -> float:
    return moment.timestamp() if moment else 0.0
