"""Which counters and histograms each event moves. Pure."""

from collections.abc import Iterator, Mapping
from functools import singledispatch
from typing import Final

from rindle_sync.domain import Outcome
from rindle_sync.exporters import instruments as metrics
from rindle_sync.exporters.instruments import Instrument, Reading, reading
from rindle_sync.telemetry import (
    Audited,
    BreakerOpened,
    CallbackException,
    Called,
    Event,
    Failed,
    OperatorActed,
    RedactionFailed,
    Resolved,
    StateChange,
    Stuck,
    Swept,
    UnknownStatus,
    WebhookException,
    WebhookProcessed,
    WebhookRejected,
    WebhookVerified,
)

_COMPLETE: Final = frozenset({Outcome.DONE, Outcome.ALARM})

_Moves = Iterator[tuple[Instrument, float, Mapping[str, str]]]


def readings(event: Event) -> list[Reading]:
    """What `event` moves, and how far."""
    return [
        reading(instrument, value, event.environment, **labels)
        for instrument, value, labels in _moves(event)
    ]


@singledispatch
def _moves(_event: Event) -> _Moves:
    """Any other event moves nothing: the tables have it, or another event says it too."""
    yield from ()


@_moves.register
def _(event: Resolved) -> _Moves:
    yield metrics.CHECKS, 1, {"outcome": "unchanged" if event.no_change else "changed"}


@_moves.register
def _(_event: Stuck) -> _Moves:
    yield metrics.CHECKS, 1, {"outcome": "stuck"}


@_moves.register
def _(event: Failed) -> _Moves:
    yield metrics.CHECKS, 1, {"outcome": event.reason}


@_moves.register
def _(_event: UnknownStatus) -> _Moves:
    yield metrics.UNKNOWN, 1, {}


@_moves.register
def _(event: Called) -> _Moves:
    yield metrics.CALLS, 1, {"operation": event.way, "outcome": event.answer}
    yield metrics.CALL_DURATION, _seconds(event.duration_ms), {"operation": event.way}


@_moves.register
def _(event: Swept) -> _Moves:
    yield metrics.SWEEPS, 1, {"outcome": event.outcome}
    yield metrics.SWEEP_DURATION, _seconds(event.duration_ms), {}
    yield metrics.SWEEP_ROWS, event.looked, {}
    yield metrics.SWEEP_CALLS, event.calls, {}
    yield metrics.SWEEP_PAGES, event.pages, {}


@_moves.register
def _(event: StateChange) -> _Moves:
    yield metrics.CHANGES, 1, {"trigger": event.by, "to_state": event.to_state}
    yield metrics.CHANGE_LAG, _seconds(event.late_ms), {"trigger": event.by}


@_moves.register
def _(event: WebhookVerified) -> _Moves:
    result = "kept" if event.acted_on else "ignored"
    if event.duplicate:
        result = "duplicate"
    yield metrics.RECEIVED, 1, {"result": result}
    yield metrics.ACK, _seconds(event.ack_ms), {}
    if not event.duplicate:
        yield metrics.DELIVERY_LAG, _seconds(event.delivery_ms), {}


@_moves.register
def _(event: WebhookRejected) -> _Moves:
    yield metrics.REJECTIONS, 1, {"reason": event.reason}
    yield metrics.ACK, _seconds(event.ack_ms), {}


@_moves.register
def _(event: WebhookProcessed) -> _Moves:
    yield metrics.PROCESSED, 1, {"verdict": event.verdict}
    yield metrics.EVENT_LAG, _seconds(event.lag_ms), {}


@_moves.register
def _(event: WebhookException) -> _Moves:
    yield metrics.NOT_APPLIED, 1, {"result": "dead" if event.dead else "put_off"}


@_moves.register
def _(_event: CallbackException) -> _Moves:
    yield metrics.CALLBACKS_FAILED, 1, {}


@_moves.register
def _(event: BreakerOpened) -> _Moves:
    yield metrics.CIRCUIT_OPENED, 1, {"reason": event.reason}


@_moves.register
def _(event: Audited) -> _Moves:
    yield metrics.AUDITS, 1, {"outcome": event.outcome}
    # an audit that resumes later reports its figures again
    if event.outcome in _COMPLETE:
        yield metrics.AUDIT_ORPHANS, event.orphans, {}


@_moves.register
def _(event: OperatorActed) -> _Moves:
    yield metrics.CONSOLE_ACTIONS, 1, {"action": event.action}


@_moves.register
def _(_event: RedactionFailed) -> _Moves:
    yield metrics.REDACTION_FAILED, 1, {}


def _seconds(milliseconds: int) -> float:
    return max(0, milliseconds) / 1000
