"""What of an event is a span of time, and what a trace says of it: never an id, and no word of the provider's."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry.trace import SpanKind

from rindle_sync.domain import Outcome
from rindle_sync.reconcile import CallOutcome
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
_WELL: Final = frozenset({Outcome.DONE.value, Outcome.ALREADY_RUNNING.value, Outcome.STOPPED.value})
_LEFT_OUT: Final = frozenset({"type", "secret"})


@dataclass(frozen=True, slots=True)
class Passage:
    """A span of time: when it began and ended, in nanoseconds since 1970, and what to say of it."""

    name: str
    kind: SpanKind
    began: int
    ended: int
    attributes: Mapping[str, str | int | bool]
    error: str | None = None


def passage(event: Event) -> Passage | None:
    """The span of time that `event` has ended; None where it tells of a moment.

    https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/ for webhooks. When the applying of one began
    is not told: its span is a moment.
    """
    match event:
        case Swept():
            return _of(
                event, "sweep", SpanKind.INTERNAL, event.duration_ms, _unless(event.outcome, _WELL)
            )
        case Audited():
            return _of(
                event, "audit", SpanKind.INTERNAL, event.duration_ms, _unless(event.outcome, _WELL)
            )
        case Called():
            error = _unless(event.answer, frozenset({CallOutcome.ANSWERED.value}))
            return _of(event, f"provider {event.way}", SpanKind.CLIENT, event.duration_ms, error)
        case _:
            return _delivery(event)


def _delivery(event: Event) -> Passage | None:
    match event:
        case WebhookVerified():
            return _message(event, "receive", event.ack_ms)
        case WebhookRejected():
            return _message(event, "receive", event.ack_ms, event.reason)
        case WebhookProcessed():
            return _message(event, "process", 0)
        case WebhookException():
            return _message(event, "process", 0, event.reason)
        case _:
            return None


def _message(event: Event, operation: str, took_ms: int, error: str | None = None) -> Passage:
    words = {"messaging.operation.type": operation, "messaging.operation.name": operation}
    return _of(event, f"{operation} webhook", SpanKind.CONSUMER, took_ms, error, **words)


def _of(
    event: Event, name: str, kind: SpanKind, took_ms: int, error: str | None, **words: str
) -> Passage:
    attributes = {f"rindle_sync.{key}": value for key, value in _told(event).items()} | words
    if error:
        attributes["error.type"] = error
    began = event.system_time - max(0, took_ms) * _MILLISECOND
    return Passage(name, kind, began, event.system_time, attributes, error)


def _told(event: Event) -> dict[str, Any]:
    told = {"environment": event.environment} | event.metadata()
    return {key: value for key, value in told.items() if value is not None and key not in _LEFT_OUT}


def _unless(word: str, well: frozenset[str]) -> str | None:
    return None if word in well else word
