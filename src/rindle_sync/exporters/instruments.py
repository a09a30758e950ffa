"""The one table of what is measured, and what an exporter must do; knows no metric library."""

import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.metadata import version
from itertools import product
from typing import Any, Final, Protocol

from rindle_sync.domain import ErrorKind, FailureKind, Outcome, State, Trigger
from rindle_sync.gateway import CallOutcome, Operation, Reason
from rindle_sync.store import CHECK_TRIGGERS
from rindle_sync.telemetry import Event

OTHER: Final = "other"
"""The label value for a word outside the closed set: no label grows with outside input."""

ENVIRONMENT: Final = "environment"
"""The label for the name of the provider environment; its values are the names in the settings."""

SHORT: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
LONG: Final = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0)
"""Upper bounds of histogram buckets, in seconds: for waiting times, and for lateness."""

BUCKETS: Final = ("reads", "creates")
"""The buckets of the rate limit: calls that only read, and those that create uploads."""

REJECTED: Final = (
    "malformed_header",
    "misconfigured",
    "no_event",
    "no_json_object",
    "no_signature",
    "no_v1_signature",
    "not_stored",
    "other_environment",
    "packed",
    "signature_mismatch",
    "timestamp_out_of_window",
    "too_large",
    "too_slow",
    OTHER,
)
"""Why a delivery is rejected; another provider may have other reasons."""


class Exporter(Protocol):
    """Passes events on to a metric library; `handle` is a listener."""

    def handle(self, event: Event) -> None:
        """Export one event."""


class InstrumentKind(StrEnum):
    """What a value of an instrument means."""

    COUNTER = "counter"
    HISTOGRAM = "histogram"
    GAUGE = "gauge"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Instrument:
    """One metric: its name with dots, its unit in UCUM, and the closed set of values of each label.

    It also has the label `environment`, unless it `is_shared` by the whole process.
    """

    name: str
    kind: InstrumentKind
    unit: str
    description: str
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    buckets: Sequence[float] = ()
    is_shared: bool = False

    @property
    def label_names(self) -> tuple[str, ...]:
        """The names of its labels, in their order."""
        return tuple(self.labels) if self.is_shared else (ENVIRONMENT, *self.labels)

    def combinations(self, environments: Sequence[str]) -> Iterator[dict[str, str]]:
        """Every combination of its labels."""
        values = [*self.labels.values()]
        if not self.is_shared:
            values.insert(0, environments)
        for combination in product(*values):
            yield dict(zip(self.label_names, combination, strict=True))

    @property
    def prometheus_name(self) -> str:
        """Its name in Prometheus, which ends in the unit and the kind.

        https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/
        """
        name = self.name.replace(".", "_")
        if self.unit == "s":
            return name + "_seconds"
        if self.kind is InstrumentKind.COUNTER:
            return name + "_total"
        return name + "_ratio" if self.unit == "1" else name


@dataclass(frozen=True, slots=True)
class Reading:
    """A value of an instrument: an increment for a counter, a measurement for the others."""

    instrument: Instrument
    value: float
    labels: Mapping[str, str]


def reading(
    instrument: Instrument, value: float, environment: str | None = None, **words: str
) -> Reading:
    """A reading whose labels are within their sets."""
    labels = {} if instrument.is_shared else {ENVIRONMENT: environment or OTHER}
    for name, word in words.items():
        labels[name] = word if word in instrument.labels[name] else OTHER
    return Reading(instrument, value, labels)


_instruments: Final[list[Instrument]] = []


def _instrument(
    kind: InstrumentKind,
    name: str,
    unit: str,
    description: str,
    labels: Mapping[str, Iterable[str]],
    **more: Any,
) -> Instrument:
    instrument = Instrument(
        name=f"rindle_sync.{name}",
        kind=kind,
        unit=unit,
        description=description,
        labels={label: tuple(map(str, words)) for label, words in labels.items()},
        **more,
    )
    _instruments.append(instrument)
    return instrument


def _counter(name: str, unit: str, description: str, **labels: Iterable[str]) -> Instrument:
    return _instrument(InstrumentKind.COUNTER, name, f"{{{unit}}}", description, labels)


def _histogram(
    name: str, buckets: Sequence[float], description: str, **labels: Iterable[str]
) -> Instrument:
    return _instrument(InstrumentKind.HISTOGRAM, name, "s", description, labels, buckets=buckets)


def _gauge(name: str, unit: str, description: str, **labels: Iterable[str]) -> Instrument:
    return _instrument(InstrumentKind.GAUGE, name, unit, description, labels)


def _shared(name: str, unit: str, description: str, **labels: Iterable[str]) -> Instrument:
    return _instrument(InstrumentKind.GAUGE, name, unit, description, labels, is_shared=True)


_CHECKS: Final = ("changed", "unchanged", "stuck", "conflict", *FailureKind)
_SWEEPS: Final = [outcome for outcome in Outcome if outcome is not Outcome.ALARM]
_AUDITS: Final = [outcome for outcome in Outcome if outcome is not Outcome.ALREADY_RUNNING]

# Derived from events.

RECEIVED = _counter(
    "webhooks.received", "webhook", "Signed deliveries.", result=("stored", "duplicate", "ignored")
)
REJECTIONS = _counter("webhooks.rejected", "webhook", "Rejected deliveries.", reason=REJECTED)
ACK = _histogram("webhooks.ack.duration", SHORT, "How long senders waited for the answer.")
DELIVERY_LAG = _histogram(
    "webhooks.delivery.lag", LONG, "From an event until its first delivery arrived."
)
PROCESSED = _counter(
    "webhook_events.processed",
    "event",
    "Webhook events that were applied to a row.",
    verdict=("changed", "unchanged", "stale", "ambiguous"),
)
NOT_APPLIED = _counter(
    "webhook_events.failed",
    "attempt",
    "Failed attempts to apply a webhook event.",
    result=("postponed", "dead"),
)
EVENT_LAG = _histogram("webhook_events.lag", LONG, "From an event until it was applied to its row.")
CHECKS = _counter("checks", "check", "Checks of rows.", outcome=_CHECKS)
UNKNOWN = _counter(
    "checks.unknown_status", "check", "Checks that were answered with an unknown status word."
)
CALLS = _counter(
    "provider.calls",
    "call",
    "Completed calls to the provider.",
    operation=Operation,
    outcome=CallOutcome,
)
CALL_DURATION = _histogram(
    "provider.call.duration", SHORT, "How long calls to the provider took.", operation=Operation
)
SWEEPS = _counter("sweeps", "sweep", "Completed passes over the due rows.", outcome=_SWEEPS)
SWEEP_DURATION = _histogram("sweep.duration", LONG, "How long passes over the due rows took.")
SWEEP_ROWS = _counter("sweep.rows", "row", "Due rows that sweeps processed.")
SWEEP_CALLS = _counter("sweep.calls", "call", "Calls that sweeps made.")
SWEEP_PAGES = _counter("sweep.pages", "page", "Calls of sweeps that were for list pages.")
CHANGES = _counter(
    "changes", "change", "Real changes of rows, by their trigger.", trigger=Trigger, to_state=State
)
CHANGE_LAG = _histogram("changes.lag", LONG, "How late changes were found.", trigger=Trigger)
OUTGOING = _counter(
    "outgoing_webhooks.attempts",
    "attempt",
    "Attempts to send an outgoing webhook, by what came of them.",
    result=("delivered", "failed", "dead"),
)
OUTGOING_LAG = _histogram(
    "outgoing_webhooks.lag", LONG, "From a change until its outgoing webhook was delivered."
)
OUTGOING_DISABLED = _counter(
    "outgoing_endpoints.disabled", "endpoint", "How often an endpoint was disabled by its answers."
)
CALLBACKS_FAILED = _counter(
    "callbacks.failed", "call", "Callbacks of the app that failed on a change."
)
CIRCUIT_OPENED = _counter(
    "circuit.opened", "opening", "How often the circuit breaker opened.", reason=Reason
)
AUDITS = _counter("audits", "audit", "Audits that ended or were interrupted.", outcome=_AUDITS)
AUDIT_ORPHANS = _counter(
    "audit.orphans", "asset", "Assets without a row that complete audits found."
)
CONSOLE_ACTIONS = _counter(
    "console.actions",
    "action",
    "Actions in the console.",
    action=("sync", "untrack", "replay", "replay_dead", "sign_in"),
)
REDACTION_FAILED = _counter(
    "redaction.failures", "event", "Events that were about to show an id of the provider."
)

# Read from the tables; moments are in seconds since 1970, 0 for never.

ROWS = _gauge("rows", "{row}", "Rows.", state=State)
ERRORED = _gauge("rows.errored", "{row}", "Errored rows.", error_kind=ErrorKind)
DUE = _gauge("rows.due", "{row}", "Rows that are due for a check.")
OLDEST_DUE = _gauge("rows.oldest_due.timestamp", "s", "Since when the longest-due row is due.")
UNLINKED = _gauge(
    "rows.unlinked", "{row}", "Rows that wait for their upload and have no asset yet."
)
UNANSWERED = _gauge("rows.unanswered", "{row}", "Rows whose last check brought no answer.")
LAST_CHECK = _gauge(
    "checks.last_answered.timestamp", "s", "When a check of any row was last answered."
)
PENDING = _gauge("inbox.pending", "{event}", "Webhook events to apply, or for the app.")
OLDEST_PENDING = _gauge(
    "inbox.oldest_pending.timestamp", "s", "Since when the oldest of them about a row is due."
)
OUTGOING_PENDING = _gauge(
    "outgoing_webhooks.pending", "{webhook}", "Outgoing webhooks to send to enabled endpoints."
)
OUTGOING_OLDEST = _gauge(
    "outgoing_webhooks.oldest_pending.timestamp", "s", "When the change of the oldest of them was."
)
OUTGOING_DEAD = _gauge(
    "outgoing_webhooks.dead", "{webhook}", "Outgoing webhooks that could not be delivered."
)
DEAD = _gauge("inbox.dead", "{event}", "Webhook events that could not be applied.")
EXPECTED = _gauge(
    "webhooks.expected", "{change}", "Changes of the last hour that a webhook should have reported."
)
MISSED = _gauge(
    "webhooks.missed",
    "{change}",
    "Expected changes that no webhook reported, by what found them.",
    trigger=CHECK_TRIGGERS,
)
LOSS = _gauge(
    "webhooks.loss",
    "1",
    "Missed of expected webhooks of the last hour; absent while none was expected.",
)
RATE_LIMIT_CALLS = _gauge(
    "rate_limit.calls_left", "{call}", "Calls that are allowed at once.", bucket=BUCKETS
)
RATE_LIMIT_WAIT = _gauge(
    "rate_limit.wait", "s", "How long until a call is allowed.", bucket=BUCKETS
)
CIRCUIT_OPEN = _gauge(
    "circuit.open", "{circuit}", "1 where the circuit is open for this reason.", reason=Reason
)
LAST_AUDIT = _gauge("audit.ended.timestamp", "s", "When an audit was last completed.")
AUDIT_ALARM = _gauge("audit.alarm", "{audit}", "1 where the last audit raised the alarm.")
AUDITING = _gauge("audit.under_way", "{audit}", "1 where an audit has begun and not ended.")
AUDIT_PROGRESS = _gauge(
    "audit.progress", "1", "The share of settled rows that the audit has compared; 0 without one."
)
LAST_TICK = _shared("engine.tick.timestamp", "s", "When an engine last polled for due jobs.")
DATABASE_UP = _shared("database.up", "{database}", "1 where the database has answered.")
BUILD = _shared(
    "build.info",
    "{build}",
    "Always 1; the versions are its labels.",
    version=[version("rindle-sync")],
    python=[platform.python_version()],
)

INSTRUMENTS: Final = tuple(_instruments)
"""Everything that is measured."""

GAUGES: Final = tuple(i for i in INSTRUMENTS if i.kind is InstrumentKind.GAUGE)
"""What is read from the tables on demand."""

COUNTED: Final = tuple(i for i in INSTRUMENTS if i.kind is not InstrumentKind.GAUGE)
"""Counters and histograms: what events move."""
