"""Which counters and histograms each event moves. Pure."""

from collections.abc import Iterator, Mapping

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
    OutgoingEndpointDisabled,
    OutgoingWebhookDelivered,
    OutgoingWebhookFailed,
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

_Moves = Iterator[tuple[Instrument, float, Mapping[str, str]]]


def readings(event: Event) -> list[Reading]:
    """What `event` moves, and how far; nothing where the tables or another event say it too."""
    moves = [*_of_rows(event), *_of_webhooks(event), *_of_the_rest(event)]
    return [
        reading(instrument, value, event.environment, **labels)
        for instrument, value, labels in moves
    ]


def _of_rows(event: Event) -> _Moves:
    match event:
        case Stuck():  # also a `Resolved`
            yield metrics.CHECKS, 1, {"outcome": "stuck"}
        case Resolved():
            yield metrics.CHECKS, 1, {"outcome": "unchanged" if event.no_change else "changed"}
        case Failed():
            yield metrics.CHECKS, 1, {"outcome": event.reason}
        case UnknownStatus():
            yield metrics.UNKNOWN, 1, {}
        case StateChange():
            yield metrics.CHANGES, 1, {"trigger": event.by, "to_state": event.to_state}
            yield metrics.CHANGE_LAG, _seconds(event.late_ms), {"trigger": event.by}
        case CallbackException():
            yield metrics.CALLBACKS_FAILED, 1, {}


def _of_webhooks(event: Event) -> _Moves:
    match event:
        case WebhookVerified():
            result = "stored" if event.acted_on else "ignored"
            if event.duplicate:
                result = "duplicate"
            yield metrics.RECEIVED, 1, {"result": result}
            yield metrics.ACK, _seconds(event.ack_ms), {}
            if not event.duplicate:
                yield metrics.DELIVERY_LAG, _seconds(event.delivery_ms), {}
        case WebhookRejected():
            yield metrics.REJECTIONS, 1, {"reason": event.reason}
            yield metrics.ACK, _seconds(event.ack_ms), {}
        case WebhookProcessed():
            yield metrics.PROCESSED, 1, {"verdict": event.verdict}
            yield metrics.EVENT_LAG, _seconds(event.lag_ms), {}
        case OutgoingWebhookDelivered():
            yield metrics.OUTGOING, 1, {"result": "delivered"}
            yield metrics.OUTGOING_LAG, _seconds(event.lag_ms), {}
        case OutgoingWebhookFailed():
            yield metrics.OUTGOING, 1, {"result": "dead" if event.dead else "failed"}
        case OutgoingEndpointDisabled():
            yield metrics.OUTGOING_DISABLED, 1, {}
        case WebhookException():
            yield metrics.NOT_APPLIED, 1, {"result": "dead" if event.dead else "postponed"}


def _of_the_rest(event: Event) -> _Moves:
    match event:
        case Called():
            yield metrics.CALLS, 1, {"operation": event.way, "outcome": event.answer}
            yield metrics.CALL_DURATION, _seconds(event.duration_ms), {"operation": event.way}
        case Swept():
            yield metrics.SWEEPS, 1, {"outcome": event.outcome}
            yield metrics.SWEEP_DURATION, _seconds(event.duration_ms), {}
            yield metrics.SWEEP_ROWS, event.looked, {}
            yield metrics.SWEEP_CALLS, event.calls, {}
            yield metrics.SWEEP_PAGES, event.pages, {}
        case Audited():
            yield metrics.AUDITS, 1, {"outcome": event.outcome}
            # an audit that resumes later reports its figures again
            if event.outcome in {Outcome.DONE, Outcome.ALARM}:
                yield metrics.AUDIT_ORPHANS, event.orphans, {}
        case BreakerOpened():
            yield metrics.CIRCUIT_OPENED, 1, {"reason": event.reason}
        case OperatorActed():
            yield metrics.CONSOLE_ACTIONS, 1, {"action": event.action}
        case RedactionFailed():
            yield metrics.REDACTION_FAILED, 1, {}


def _seconds(milliseconds: int) -> float:
    # clocks of two machines may differ: an event can come before it occurred
    return max(0, milliseconds) / 1000
