"""What each event moves. Pure."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from rindle_sync.domain import Outcome
from rindle_sync.exporters.instruments import (
    ACK,
    AUDIT_ORPHANS,
    AUDITS,
    CALL_DURATION,
    CALLBACKS_FAILED,
    CALLS,
    CHANGE_LAG,
    CHANGES,
    CHECKS,
    CIRCUIT_OPENED,
    CONSOLE_ACTIONS,
    DELIVERY_LAG,
    NOT_APPLIED,
    PROCESSED,
    RECEIVED,
    REDACTION_FAILED,
    REJECTIONS,
    SWEEP_CALLS,
    SWEEP_DURATION,
    SWEEP_PAGES,
    SWEEP_ROWS,
    SWEEPS,
    UNKNOWN,
    WEBHOOK_LAG,
    Instrument,
    Reading,
    reading,
)
from rindle_sync.telemetry import (
    Audited,
    BreakerClosed,
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
    WebhookIgnored,
    WebhookProcessed,
    WebhookRejected,
    WebhookVerified,
)

_COMPLETE: Final = frozenset({Outcome.DONE.value, Outcome.ALARM.value})

_Told = Iterator[tuple[Instrument, float, Mapping[str, str]]]


def readings(event: Event) -> list[Reading]:
    """What `event` moves, and how far."""
    told = _TELLS[type(event)](event)
    return [
        reading(instrument, value, event.environment, **labels)
        for instrument, value, labels in told
    ]


def _resolved(event: Resolved) -> _Told:
    yield CHECKS, 1, {"outcome": "unchanged" if event.no_change else "changed"}


def _stuck(_: Stuck) -> _Told:
    yield CHECKS, 1, {"outcome": "stuck"}


def _failed(event: Failed) -> _Told:
    yield CHECKS, 1, {"outcome": event.reason}


def _unknown_status(_: UnknownStatus) -> _Told:
    yield UNKNOWN, 1, {}


def _called(event: Called) -> _Told:
    yield CALLS, 1, {"way": event.way, "answer": event.answer}
    yield CALL_DURATION, _seconds(event.duration_ms), {"way": event.way}


def _swept(event: Swept) -> _Told:
    yield SWEEPS, 1, {"outcome": event.outcome}
    yield SWEEP_DURATION, _seconds(event.duration_ms), {}
    yield SWEEP_ROWS, event.looked, {}
    yield SWEEP_CALLS, event.calls, {}
    yield SWEEP_PAGES, event.pages, {}


def _changed(event: StateChange) -> _Told:
    yield CHANGES, 1, {"by": event.by, "to_state": event.to_state}
    yield CHANGE_LAG, _seconds(event.late_ms), {"by": event.by}


def _verified(event: WebhookVerified) -> _Told:
    result = "duplicate" if event.duplicate else "kept" if event.acted_on else "ignored"
    yield RECEIVED, 1, {"result": result}
    yield ACK, _seconds(event.ack_ms), {}
    if not event.duplicate:
        yield DELIVERY_LAG, _seconds(event.delivery_ms), {}


def _rejected(event: WebhookRejected) -> _Told:
    yield REJECTIONS, 1, {"reason": event.reason}
    yield ACK, _seconds(event.ack_ms), {}


def _processed(event: WebhookProcessed) -> _Told:
    yield PROCESSED, 1, {"verdict": event.verdict}
    yield WEBHOOK_LAG, _seconds(event.lag_ms), {}


def _exception(event: WebhookException) -> _Told:
    yield NOT_APPLIED, 1, {"result": "dead" if event.dead else "put_off"}


def _callback_exception(_: CallbackException) -> _Told:
    yield CALLBACKS_FAILED, 1, {}


def _breaker_opened(event: BreakerOpened) -> _Told:
    yield CIRCUIT_OPENED, 1, {"reason": event.reason}


def _audited(event: Audited) -> _Told:
    yield AUDITS, 1, {"outcome": event.outcome}
    if event.outcome in _COMPLETE:  # one that goes on later tells its figures again
        yield AUDIT_ORPHANS, event.orphans, {}


def _operator_acted(event: OperatorActed) -> _Told:
    yield CONSOLE_ACTIONS, 1, {"action": event.action}


def _redaction_failed(_: RedactionFailed) -> _Told:
    yield REDACTION_FAILED, 1, {}


def _nothing(_: Event) -> _Told:
    """The tables tell of it, or another event does."""
    yield from ()


_TELLS: Final[Mapping[type[Event], Callable[[Any], _Told]]] = {
    Resolved: _resolved,
    Stuck: _stuck,
    Failed: _failed,
    UnknownStatus: _unknown_status,
    Called: _called,
    Swept: _swept,
    StateChange: _changed,
    WebhookVerified: _verified,
    WebhookRejected: _rejected,
    WebhookProcessed: _processed,
    WebhookIgnored: _nothing,
    WebhookException: _exception,
    CallbackException: _callback_exception,
    BreakerOpened: _breaker_opened,
    BreakerClosed: _nothing,
    Audited: _audited,
    OperatorActed: _operator_acted,
    RedactionFailed: _redaction_failed,
}


def _seconds(milliseconds: int) -> float:
    return max(0, milliseconds) / 1000
