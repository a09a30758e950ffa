"""One frozen class per event, and how events are told to whoever listens; knows no metric library."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final

from rindle_sync.domain import redact_id

_log: Final = logging.getLogger("rindle_sync")
_log.addHandler(logging.NullHandler())  # what is logged, and where, is for the app to say
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_MILLISECOND: Final = timedelta(milliseconds=1)
_ENVELOPE: Final = frozenset({"system_time", "row_id", "reference", "environment"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What every event has: `system_time` in nanoseconds, and `row_id`, our row's UUID, the key to join on."""

    name: ClassVar[str] = "rindle"
    system_time: int
    row_id: str | None = None
    reference: str | None = None
    """The app's own reference of that row; a provider's id in it is redacted."""
    environment: str | None = None
    """Our name of the provider environment."""

    def measurements(self) -> dict[str, int]:
        """The figures of the event."""
        return {"system_time": self.system_time}

    def metadata(self) -> dict[str, Any]:
        """What the event tells beside its figures; plain values, never an id of the provider's."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _ENVELOPE}


@dataclass(frozen=True, slots=True, kw_only=True)
class RowEvent(Event):
    """An event about a row; `asset_id` is the redacted tag of the provider's id, no key to join on."""

    profile: str
    provider: str
    asset_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved(RowEvent):
    """The provider answered about a row, whether or not that changed it."""

    name: ClassVar[str] = "rindle.provider.sync.resolved"
    provider_state: str
    age_ms: int
    no_change: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Stuck(Resolved):
    """A row was in flight past the threshold and is errored now."""

    name: ClassVar[str] = "rindle.provider.sync.stuck"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(RowEvent):
    """A look at a row brought no answer, or none that could be written.

    `reason` is throttled, unreachable, refused, clash or conflict.
    """

    name: ClassVar[str] = "rindle.provider.sync.failed"
    reason: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownStatus(RowEvent):
    """The provider used a status word that we do not know; the row stays as it is."""

    name: ClassVar[str] = "rindle.provider.sync.unknown_status"
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Called(Event):
    """A call to the provider has ended.

    `way` is asset, list, upload, whoami, create_upload or cancel_upload; `answer` is answered, not_found, throttled,
    refused or unreachable.
    """

    name: ClassVar[str] = "rindle.provider.call.completed"
    provider: str
    way: str
    answer: str
    duration_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept(Event):
    """A pass over the due rows has ended; `outcome` is done, stopped, unreachable, refused, elsewhere or failed.

    `calls` counts looks at the provider, `pages` those of them that were for list pages.
    """

    name: ClassVar[str] = "rindle.provider.sweep.completed"
    provider: str
    outcome: str
    looked: int
    changed: int
    unanswered: int
    calls: int
    pages: int
    duration_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChange(RowEvent):
    """A row was really changed, by whichever road; told after its write."""

    name: ClassVar[str] = "rindle.provider_asset.state_change"
    from_state: str
    to_state: str
    error_kind: str | None
    by: str
    late_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookVerified(Event):
    """A delivery was signed by the provider and is kept; `secret` is the position of the secret that matched.

    `acted_on` is false where its type says nothing about a row, `ack_ms` how long the sender waited for our answer,
    `delivery_ms` how long after the event it came in.
    """

    name: ClassVar[str] = "rindle.provider.webhook.verified"
    provider: str
    type: str
    secret: int
    duplicate: bool
    acted_on: bool
    ack_ms: int
    delivery_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookRejected(Event):
    """A delivery was not accepted, and nothing of it was kept."""

    name: ClassVar[str] = "rindle.provider.webhook.rejected"
    provider: str
    reason: str
    ack_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookProcessed(Event):
    """A notice was applied to its row; `verdict` says what that came to, `lag_ms` how long after the event."""

    name: ClassVar[str] = "rindle.provider.webhook.processed"
    provider: str
    type: str
    verdict: str
    lag_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookIgnored(Event):
    """A notice is of a type that says nothing about a row; it is kept and left alone."""

    name: ClassVar[str] = "rindle.provider.webhook.ignored"
    provider: str
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookException(Event):
    """A notice could not be applied yet, or, when `dead`, ever; it can be replayed."""

    name: ClassVar[str] = "rindle.provider.webhook.exception"
    provider: str
    type: str
    reason: str
    attempt: int
    dead: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackException(Event):
    """A callback of the app failed on a change; it is called again. `error` is the name of what it raised."""

    name: ClassVar[str] = "rindle.provider_asset.callback_exception"
    error: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerOpened(Event):
    """The provider is left alone for `retry_ms`; `reason` is refused, other_environment or unreachable."""

    name: ClassVar[str] = "rindle.provider.breaker.opened"
    provider: str
    reason: str
    retry_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerClosed(Event):
    """The provider answers again; `reason` is why it was left alone, `open_ms` how long."""

    name: ClassVar[str] = "rindle.provider.breaker.closed"
    provider: str
    reason: str
    open_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited(Event):
    """An audit has ended; `outcome` is done, alarm, stopped, unreachable, refused or failed.

    `ended` counts rows that the provider did not find; with the outcome alarm they were too many to be believed.
    """

    name: ClassVar[str] = "rindle.provider.audit.completed"
    provider: str
    outcome: str
    seen: int
    changed: int
    ended: int
    orphans: int
    adopted: int
    duration_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorActed(Event):
    """Somebody did something on the operator's page: `action` is sync, replay, replay_dead or sign_in."""

    name: ClassVar[str] = "rindle.operator.acted"
    action: str
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RedactionFailed(Event):
    """An event was about to tell an id of the provider's, and was mended: a fault of ours, to be reported."""

    name: ClassVar[str] = "rindle.telemetry.redaction_failed"
    event: str


EVENTS: Final[tuple[type[Event], ...]] = (
    Resolved,
    Stuck,
    Failed,
    UnknownStatus,
    Called,
    Swept,
    StateChange,
    WebhookVerified,
    WebhookRejected,
    WebhookProcessed,
    WebhookIgnored,
    WebhookException,
    CallbackException,
    BreakerOpened,
    BreakerClosed,
    Audited,
    OperatorActed,
    RedactionFailed,
)
"""Every event that is told."""

Listener = Callable[[Event], None]


class Telemetry:
    """Tells events to listeners, in order; a listener that fails is logged and harms nobody."""

    def __init__(self, *listeners: Listener, environment: str | None = None) -> None:
        self._listeners = list(listeners)
        self._environment = environment

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with every event from now on; what comes back ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def emit(self, event: Event) -> None:
        """Tell one event."""
        if not self._listeners:
            return
        if isinstance(event, RowEvent) and event.asset_id and not event.asset_id.startswith("..."):
            self.emit(
                RedactionFailed(
                    system_time=event.system_time,
                    row_id=event.row_id,
                    reference=event.reference,
                    event=event.name,
                )
            )
            event = replace(event, asset_id=redact_id(event.asset_id))
        if self._environment:
            event = replace(event, environment=self._environment)
        for listener in tuple(self._listeners):
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001  a listener is the user's code: it may raise anything
                _log.warning("a listener failed on %s: %s", event.name, type(error).__name__)


def log_event(event: Event) -> None:
    """A listener that writes one log line an event: what went wrong as a warning, what changed as information.

    The record has the event's name and fields as `rindle_event`, for logs that are no text.
    """
    level = _level(event)
    if _log.isEnabledFor(level):
        envelope = {
            "environment": event.environment,
            "row_id": event.row_id,
            "reference": event.reference,
        }
        told = envelope | event.metadata()
        fields = " ".join(f"{key}={value}" for key, value in told.items() if value is not None)
        extra = {"rindle_event": {"name": event.name} | told}
        _log.log(level, "%s %s", event.name, fields, extra=extra)


_OURS: Final = {
    "signature_mismatch",
    "timestamp_out_of_window",
    "other_environment",
    "misconfigured",
    "not_kept",
}
"""Why deliveries are rejected whose cause is mostly on our side: a secret, a clock, an endpoint, the database."""


def _level(event: Event) -> int:
    match event:
        case (
            Stuck() | Failed() | UnknownStatus() | CallbackException() | WebhookException(dead=True)
        ):
            return logging.WARNING
        case BreakerOpened() | Audited(outcome="alarm") | RedactionFailed():
            return logging.ERROR
        case WebhookRejected(reason=reason) if reason in _OURS:
            return logging.WARNING
        case (
            WebhookRejected()
            | WebhookException()
            | StateChange()
            | BreakerClosed()
            | Audited()
            | OperatorActed()
        ):
            return logging.INFO
        case _:
            return logging.DEBUG


def nanoseconds(moment: datetime) -> int:
    """`moment` as nanoseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND * 1000


def milliseconds(span: timedelta) -> int:
    """`span` in whole milliseconds."""
    return span // _MILLISECOND
