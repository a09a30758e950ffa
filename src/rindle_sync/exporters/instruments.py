"""What an exporter must do, and the one table of what is measured; knows no metric library."""

import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.metadata import version
from itertools import product
from typing import Final, Protocol

from rindle_sync.domain import ErrorKind, FailureKind, Outcome, State, Trigger
from rindle_sync.reconcile import CallOutcome, Operation, Reason
from rindle_sync.store import CHECK_TRIGGERS
from rindle_sync.telemetry import Event

OTHER: Final = "other"
"""What a label says for a word that its set does not hold: no label grows with what comes from outside."""

ENVIRONMENT: Final = "environment"
"""The label that is our name of the provider environment; its set are the names in the settings."""

QUICK: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
PATIENT: Final = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0)
"""The upper bounds of the buckets of histograms, in seconds: for what is waited for, and for what comes late."""

RATE_LIMITS: Final = ("reads", "creates")
"""Calls that only ask, and those that make uploads."""

REJECTED: Final = (
    "malformed_header",
    "misconfigured",
    "no_event",
    "no_json_object",
    "no_signature",
    "no_v1_signature",
    "not_kept",
    "other_environment",
    "signature_mismatch",
    "timestamp_out_of_window",
    "too_large",
    "too_slow",
    OTHER,
)
"""Why a delivery is not accepted; another provider may have other reasons."""


class Exporter(Protocol):
    """What tells events to a library of metrics; `hear` is a listener."""

    def handle(self, event: Event) -> None:
        """Tell of one event."""


class InstrumentKind(StrEnum):
    """What a figure is."""

    COUNTER = "counter"
    HISTOGRAM = "histogram"
    GAUGE = "gauge"


@dataclass(frozen=True, slots=True, eq=False)
class Instrument:
    """One metric: its name with dots, its unit in UCUM, and the closed set of values of each label.

    All but those of the whole process have the label `environment` besides.
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
        return (*(() if self.is_shared else (ENVIRONMENT,)), *self.labels)

    def combinations(self, environments: Sequence[str]) -> Iterator[dict[str, str]]:
        """Every combination of its labels."""
        sets = [*([] if self.is_shared else [environments]), *self.labels.values()]
        for values in product(*sets):
            yield dict(zip(self.label_names, values, strict=True))

    @property
    def prometheus_name(self) -> str:
        """Its name as Prometheus wants it: the unit and the kind at its end.

        https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/
        """
        name = self.name.replace(".", "_")
        if self.unit == "s":
            name += "_seconds"
        elif self.unit == "1" and self.kind is InstrumentKind.GAUGE:
            name += "_ratio"
        return name + "_total" * (self.kind is InstrumentKind.COUNTER)


@dataclass(frozen=True, slots=True)
class Reading:
    """A figure of an instrument: how much more, for a counter; what was measured, for the others."""

    instrument: Instrument
    value: float
    labels: Mapping[str, str]


def reading(
    instrument: Instrument, value: float, environment: str | None = None, **labels: str
) -> Reading:
    """A reading whose labels are within their sets."""
    here = {} if instrument.is_shared else {ENVIRONMENT: environment or OTHER}
    known = {
        name: word if word in instrument.labels[name] else OTHER for name, word in labels.items()
    }
    return Reading(instrument, value, here | known)


def _counter(name: str, unit: str, description: str, **labels: Iterable[str]) -> Instrument:
    return Instrument(
        f"rindle_sync.{name}", InstrumentKind.COUNTER, f"{{{unit}}}", description, _sets(labels)
    )


def _histogram(
    name: str, buckets: Sequence[float], description: str, **labels: Iterable[str]
) -> Instrument:
    return Instrument(
        f"rindle_sync.{name}", InstrumentKind.HISTOGRAM, "s", description, _sets(labels), buckets
    )


def _gauge(name: str, unit: str, description: str, **labels: Iterable[str]) -> Instrument:
    return Instrument(f"rindle_sync.{name}", InstrumentKind.GAUGE, unit, description, _sets(labels))


def _shared(name: str, unit: str, description: str, **labels: Iterable[str]) -> Instrument:
    return Instrument(
        f"rindle_sync.{name}",
        InstrumentKind.GAUGE,
        unit,
        description,
        _sets(labels),
        is_shared=True,
    )


def _sets(labels: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(map(str, words)) for name, words in labels.items()}


_PASSES: Final = [outcome for outcome in Outcome if outcome is not Outcome.ALARM]
_AUDITS: Final = [outcome for outcome in Outcome if outcome is not Outcome.ALREADY_RUNNING]
_CHECKS: Final = ("changed", "unchanged", "stuck", "conflict", *FailureKind)

# what events tell

RECEIVED = _counter(
    "webhooks.received",
    "webhook",
    "Deliveries that were signed.",
    result=("kept", "duplicate", "ignored"),
)
REJECTIONS = _counter(
    "webhooks.rejected", "webhook", "Deliveries that were not accepted.", reason=REJECTED
)
ACK = _histogram("webhooks.ack.duration", QUICK, "How long senders waited for our answer.")
DELIVERY_LAG = _histogram(
    "webhooks.delivery.lag", PATIENT, "From an event until its first delivery came in."
)
PROCESSED = _counter(
    "notices.processed",
    "notice",
    "Kept deliveries that were applied to a row.",
    verdict=("changed", "unchanged", "stale", "doubted"),
)
NOT_APPLIED = _counter(
    "notices.failed",
    "attempt",
    "Tries to apply a kept delivery that failed.",
    result=("put_off", "dead"),
)
WEBHOOK_LAG = _histogram("notices.lag", PATIENT, "From an event until it was applied to its row.")
CHECKS = _counter("looks", "look", "Looks at rows that were settled.", outcome=_CHECKS)
UNKNOWN = _counter(
    "looks.unknown_status",
    "look",
    "Looks that were answered with a status word that we do not know.",
)
CALLS = _counter(
    "provider.calls",
    "call",
    "Calls to the provider that have ended.",
    way=Operation,
    answer=CallOutcome,
)
CALL_DURATION = _histogram(
    "provider.call.duration", QUICK, "How long calls to the provider took.", way=Operation
)
SWEEPS = _counter("sweeps", "sweep", "Passes over the due rows that have ended.", outcome=_PASSES)
SWEEP_DURATION = _histogram("sweep.duration", PATIENT, "How long such passes took.")
SWEEP_ROWS = _counter("sweep.rows", "row", "Due rows that they settled.")
SWEEP_CALLS = _counter("sweep.calls", "call", "Calls that they made.")
SWEEP_PAGES = _counter("sweep.pages", "page", "How many of these calls were for list pages.")
CHANGES = _counter(
    "changes",
    "change",
    "Real changes of rows, by the road that found them.",
    by=Trigger,
    to_state=State,
)
CHANGE_LAG = _histogram("changes.lag", PATIENT, "How late changes were found.", by=Trigger)
CALLBACKS_FAILED = _counter(
    "callbacks.failed", "call", "Callbacks of the app that failed on a change."
)
CIRCUIT_OPENED = _counter(
    "breaker.opened", "opening", "How often the provider was left alone.", reason=Reason
)
AUDITS = _counter("audits", "audit", "Audits that have ended or were broken off.", outcome=_AUDITS)
AUDIT_ORPHANS = _counter(
    "audit.orphans", "asset", "Assets that complete audits found and no row knew."
)
CONSOLE_ACTIONS = _counter(
    "operator.actions",
    "action",
    "What operators did on the page.",
    action=("sync", "replay", "replay_dead", "sign_in"),
)
REDACTION_FAILED = _counter(
    "redaction.failures", "event", "Events that were about to tell an id of the provider's."
)

COUNTED: Final = (
    RECEIVED,
    REJECTIONS,
    ACK,
    DELIVERY_LAG,
    PROCESSED,
    NOT_APPLIED,
    WEBHOOK_LAG,
    CHECKS,
    UNKNOWN,
    CALLS,
    CALL_DURATION,
    SWEEPS,
    SWEEP_DURATION,
    SWEEP_ROWS,
    SWEEP_CALLS,
    SWEEP_PAGES,
    CHANGES,
    CHANGE_LAG,
    CALLBACKS_FAILED,
    CIRCUIT_OPENED,
    AUDITS,
    AUDIT_ORPHANS,
    CONSOLE_ACTIONS,
    REDACTION_FAILED,
)
"""Counters and histograms: what events move."""

# what the tables tell; times are in seconds since 1970, 0 for never

ROWS = _gauge("rows", "{row}", "Rows.", state=State)
ERRORED = _gauge("rows.errored", "{row}", "Errored rows.", error_kind=ErrorKind)
DUE = _gauge("rows.due", "{row}", "Rows that are due to be looked at.")
OLDEST_DUE = _gauge(
    "rows.oldest_due.timestamp", "s", "Since when the row is due that has been so the longest."
)
UNLINKED = _gauge(
    "rows.unlinked", "{row}", "Rows that wait for their upload and have no asset yet."
)
UNANSWERED = _gauge("rows.unanswered", "{row}", "Rows whose last look brought no answer.")
LAST_CHECK = _gauge(
    "looks.last_answered.timestamp", "s", "When a look at any row was last answered."
)
PENDING = _gauge("inbox.pending", "{notice}", "Kept deliveries that are to be applied.")
OLDEST_PENDING = _gauge(
    "inbox.oldest_pending.timestamp", "s", "Since when the oldest of them could be applied."
)
DEAD = _gauge("inbox.dead", "{notice}", "Kept deliveries that could not be applied.")
EXPECTED = _gauge(
    "webhooks.expected", "{change}", "Changes of the last hour that a webhook should have told of."
)
MISSED = _gauge(
    "webhooks.missed",
    "{change}",
    "Those of which none has told, by who found them.",
    by=CHECK_TRIGGERS,
)
LOSS = _gauge("webhooks.loss", "1", "Missed of expected webhooks of the last hour.")
RATE_LIMIT_CALLS = _gauge(
    "budget.calls_left", "{call}", "Calls that are allowed at once.", rate_limiter=RATE_LIMITS
)
RATE_LIMIT_WAIT = _gauge(
    "budget.wait", "s", "How long until a call is allowed.", rate_limiter=RATE_LIMITS
)
CIRCUIT_OPEN = _gauge(
    "breaker.open", "{breaker}", "1 where the provider is left alone for this.", reason=Reason
)
LAST_AUDIT = _gauge("audit.ended.timestamp", "s", "When an audit last came to its end.")
AUDIT_ALARM = _gauge(
    "audit.alarm", "{audit}", "1 where the last one missed too many rows to be believed."
)
AUDITING = _gauge("audit.under_way", "{audit}", "1 where one has begun and not ended.")
AUDIT_PROGRESS = _gauge(
    "audit.progress", "1", "How much of the rows at rest it has compared; 0 without one."
)
LAST_TICK = _shared("engine.tick.timestamp", "s", "When an engine last asked what is due.")
DATABASE_UP = _shared("database.up", "{database}", "1 where the database has answered.")
BUILD = _shared(
    "build.info",
    "{build}",
    "Always 1; the versions are its labels.",
    version=[version("rindle-sync")],
    python=[platform.python_version()],
)

GAUGES: Final = (
    ROWS,
    ERRORED,
    DUE,
    OLDEST_DUE,
    UNLINKED,
    UNANSWERED,
    LAST_CHECK,
    PENDING,
    OLDEST_PENDING,
    DEAD,
    EXPECTED,
    MISSED,
    LOSS,
    RATE_LIMIT_CALLS,
    RATE_LIMIT_WAIT,
    CIRCUIT_OPEN,
    LAST_AUDIT,
    AUDIT_ALARM,
    AUDITING,
    AUDIT_PROGRESS,
    LAST_TICK,
    DATABASE_UP,
    BUILD,
)
"""What is read where somebody asks for it."""

INSTRUMENTS: Final = (*COUNTED, *GAUGES)
"""All that is measured."""
