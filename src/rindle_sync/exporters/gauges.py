"""The gauges: how all environments stand, read out of the tables when somebody asks; knows no metric library."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from rindle_sync.diagnostics import SPARING, CachedQuery
from rindle_sync.diagnostics import status as health
from rindle_sync.domain import ErrorKind, Outcome, State
from rindle_sync.errors import DatabaseUnavailable
from rindle_sync.exporters.instruments import (
    AUDIT_ALARM,
    AUDIT_PROGRESS,
    AUDITING,
    BUILD,
    CIRCUIT_OPEN,
    DATABASE_UP,
    DEAD,
    DUE,
    ERRORED,
    EXPECTED,
    LAST_AUDIT,
    LAST_CHECK,
    LAST_TICK,
    LOSS,
    MISSED,
    OLDEST_DUE,
    OLDEST_PENDING,
    PENDING,
    RATE_LIMIT_CALLS,
    RATE_LIMIT_WAIT,
    RATE_LIMITS,
    ROWS,
    UNANSWERED,
    UNLINKED,
    Reading,
    reading,
)
from rindle_sync.reconcile import Context, Reason
from rindle_sync.store import Figures, Level

HOLDS: Final = timedelta(seconds=10)
"""How long what was read is told again: the tables are asked no more often."""


class StatisticsReader:
    """How environments on one database stand; a database that does not answer is down, and no more is told of it.

    What must be counted, which takes a while in large tables, is told again until it has been counted anew.
    """

    def __init__(self, contexts: Sequence[Context]) -> None:
        self._all_tools, now = contexts, contexts[0].now
        self._pulse = CachedQuery(self._feel, now, HOLDS)
        self._counts = CachedQuery(self._count, now, HOLDS, times=SPARING)
        self._counted: list[Reading] = []
        self.last: list[Reading] = list(_build())
        """The gauges as they were read last."""

    async def readings(self) -> list[Reading]:
        """The gauges as they are now, or were at most ten seconds ago; what takes long to count, longer ago."""
        self.last = [*_build(), *await self._readings()]
        return self.last

    async def close(self) -> None:
        """Read no more."""
        await self._pulse.close()
        await self._counts.close()

    async def _readings(self) -> list[Reading]:
        try:
            if not (pulse := await self._pulse.get()):
                return _down()
            self._counted = await self._counts.get() or self._counted
        except DatabaseUnavailable:
            return _down()
        return pulse + self._counted

    async def _feel(self) -> list[Reading]:
        budgets = [
            rate_limiter
            for context in self._all_tools
            for rate_limiter in (context.rate_limiter, context.create_limiter)
        ]
        levels = await self._all_tools[0].rate_limiter.levels(budgets)
        ticked = await health.last_tick(self._all_tools[0])
        found = [reading(DATABASE_UP, 1), reading(LAST_TICK, _timestamp(ticked))]
        for place, context in enumerate(self._all_tools):
            found += _rate_limits(context.environment, levels[2 * place : 2 * place + 2])
        return found

    async def _count(self) -> list[Reading]:
        figures = await health.figures(self._all_tools, self._all_tools[0].now(), over=health.HOUR)
        return [
            one
            for context in self._all_tools
            for one in _counted(context.environment, figures[context.environment])
        ]


def _down() -> list[Reading]:
    return [reading(DATABASE_UP, 0)]


def _build() -> Iterator[Reading]:
    yield reading(BUILD, 1, **{name: words[0] for name, words in BUILD.labels.items()})


def _counted(name: str, figures: Figures) -> Iterator[Reading]:
    yield from _rows(name, figures)
    yield from _webhooks(name, figures)
    yield from _provider(name, figures)


def _rows(name: str, figures: Figures) -> Iterator[Reading]:
    for state in State:
        yield reading(ROWS, figures.by_state.get(state, 0), name, state=state)
    for kind in ErrorKind:
        yield reading(ERRORED, figures.by_error_kind.get(kind, 0), name, error_kind=kind)
    yield reading(DUE, figures.due, name)
    yield reading(OLDEST_DUE, _timestamp(figures.oldest_due), name)
    yield reading(UNLINKED, figures.unlinked, name)
    yield reading(UNANSWERED, figures.failing, name)
    yield reading(LAST_CHECK, _timestamp(figures.last_checked), name)


def _webhooks(name: str, figures: Figures) -> Iterator[Reading]:
    yield reading(PENDING, figures.pending, name)
    yield reading(OLDEST_PENDING, _timestamp(figures.oldest_pending), name)
    yield reading(DEAD, figures.dead, name)
    yield reading(EXPECTED, figures.webhooked.expected, name)
    for by, number in figures.webhooked.missed.items():
        yield reading(MISSED, number, name, by=by)
    yield reading(LOSS, figures.webhooked.loss, name)


def _rate_limits(name: str, levels: Sequence[Level]) -> Iterator[Reading]:
    for rate_limiter, level in zip(RATE_LIMITS, levels, strict=True):
        yield reading(RATE_LIMIT_CALLS, level.calls, name, rate_limiter=rate_limiter)
        yield reading(RATE_LIMIT_WAIT, level.wait.total_seconds(), name, rate_limiter=rate_limiter)


def _provider(name: str, figures: Figures) -> Iterator[Reading]:
    for reason in Reason:
        yield reading(CIRCUIT_OPEN, figures.circuit_reason == reason, name, reason=reason)
    yield reading(LAST_AUDIT, _timestamp(figures.audit.ended_at), name)
    yield reading(AUDIT_ALARM, (figures.audit.report or {}).get("outcome") == Outcome.ALARM, name)
    yield reading(AUDITING, figures.audit.began_at is not None, name)
    yield reading(AUDIT_PROGRESS, _progress(figures), name)


def _progress(figures: Figures) -> float:
    audit = figures.audit
    report = (audit.progress or {}).get("report") if audit.began_at else None
    return min(1.0, report["seen"] / report["rows"]) if report and report["rows"] else 0.0


def _timestamp(moment: datetime | None) -> float:
    return moment.timestamp() if moment else 0.0
