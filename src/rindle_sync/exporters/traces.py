"""Which events are spans, and what a trace says of them: never an id of the provider."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from opentelemetry.trace import SpanKind

from rindle_sync.domain import Outcome
from rindle_sync.gateway import CallOutcome
from rindle_sync.telemetry import (
    Audited,
    Called,
    Event,
    Swept,
    WebhookException,
    WebhookProcessed,
    WebhookRejected,
    WebhookVerified,
)

_MILLISECOND: Final = 1_000_000
_SUCCESS: Final = frozenset({Outcome.DONE, Outcome.ALREADY_RUNNING, Outcome.STOPPED})
_LEFT_OUT: Final = frozenset({"type", "secret"})


@dataclass(frozen=True, slots=True)
class FinishedSpan:
    """A span that has ended; times are in nanoseconds since 1970."""

    name: str
    kind: SpanKind
    began: int
    ended: int
    attributes: Mapping[str, str | int | bool]
    error: str | None = None


def finished_span(event: Event) -> FinishedSpan | None:
    """The span that ended with `event`; None if the event is no span."""
    match event:
        case Swept() | Audited():
            name = "sweep" if isinstance(event, Swept) else "audit"
            error = None if event.outcome in _SUCCESS else event.outcome
            return _span(event, name, SpanKind.INTERNAL, event.duration_ms, error)
        case Called():
            error = None if event.answer == CallOutcome.ANSWERED else event.answer
            name = f"provider {event.way}"
            return _span(event, name, SpanKind.CLIENT, event.duration_ms, error)
        case WebhookVerified() | WebhookRejected():
            operation, took_ms = "receive", event.ack_ms
        case WebhookProcessed() | WebhookException():
            # no event says when applying began: the span is a moment
            operation, took_ms = "process", 0
        case _:
            return None
    # https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
    words = {"messaging.operation.type": operation, "messaging.operation.name": operation}
    error = getattr(event, "reason", None)
    return _span(event, f"{operation} webhook", SpanKind.CONSUMER, took_ms, error, **words)


def _span(
    event: Event, name: str, kind: SpanKind, took_ms: int, error: str | None, **words: str
) -> FinishedSpan:
    fields = {"environment": event.environment} | event.metadata()
    attributes: dict[str, str | int | bool] = {**words}
    for key, value in fields.items():
        if value is not None and key not in _LEFT_OUT:
            attributes[f"rindle_sync.{key}"] = value
    if error:
        attributes["error.type"] = error
    began = event.system_time - max(0, took_ms) * _MILLISECOND
    return FinishedSpan(name, kind, began, event.system_time, attributes, error)
