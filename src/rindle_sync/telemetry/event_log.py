"""A listener that logs events at a level that fits; no sender of forgeries can fill the log."""

import logging
from typing import Any, Final

from rindle_sync.domain import NO_ROW
from rindle_sync.telemetry.events import (
    Audited,
    BreakerClosed,
    BreakerOpened,
    CallbackException,
    Event,
    Failed,
    OperatorActed,
    OutgoingEndpointDisabled,
    OutgoingWebhookFailed,
    RedactionFailed,
    StateChange,
    Stuck,
    UnknownStatus,
    WebhookException,
    WebhookIgnored,
    WebhookRejected,
)

_log: Final = logging.getLogger("rindle_sync")

QUIET_NS: Final = 60 * 10**9
"""Nanoseconds after a rejected webhook was logged in which others of its kind are counted only."""

_MISCONFIGURED: Final = {
    "signature_mismatch",
    "timestamp_out_of_window",
    "other_environment",
    "misconfigured",
    "not_stored",
}
"""Rejections that the app can fix: a secret, a clock, an endpoint, the database."""


class EventLog:
    """Logs each event on one line; the traceback of a callback's error follows its line.

    Anybody may send a webhook that is rejected: of each reason, one a minute is logged, with the
    number of those since the last; the others only at DEBUG. The record has the event's name and
    fields as `rindle_event`, for structured logs.
    """

    def __init__(self) -> None:
        self._logged_at: dict[tuple[str | None, str], int] = {}
        self._unlogged: dict[tuple[str | None, str], int] = {}

    def __call__(self, event: Event) -> None:
        """Log `event`."""
        if isinstance(event, WebhookIgnored) and event.reason == "not_acted_on":
            return  # its delivery has a line, which says so
        level = _level(event)
        more: dict[str, Any] = {}
        if isinstance(event, WebhookRejected):
            level, more = self._of_rejected(event, level)
        # asked first: most events are logged at DEBUG, and their text costs more than the question
        if _log.isEnabledFor(level):
            _write(event, level, more)

    def _of_rejected(self, event: WebhookRejected, level: int) -> tuple[int, dict[str, Any]]:
        key = event.environment, event.reason
        logged_at = self._logged_at.get(key)
        # a clock that was set back must not silence it for longer
        if logged_at is not None and 0 <= event.system_time - logged_at < QUIET_NS:
            self._unlogged[key] = self._unlogged.get(key, 0) + 1
            return logging.DEBUG, {}
        self._logged_at[key] = event.system_time
        unlogged = self._unlogged.pop(key, 0)
        return level, {"more_since_last": unlogged} if unlogged else {}


def _write(event: Event, level: int, more: dict[str, Any]) -> None:
    values: dict[str, Any] = {"environment": event.environment, "row_id": event.row_id}
    values |= {"reference": event.reference} | event.metadata() | more
    extra = {"rindle_event": {"name": event.name} | values}
    traceback = values.pop("traceback", None)
    text = " ".join(f"{key}={value}" for key, value in values.items() if value is not None)
    if traceback:
        text += f"\n{traceback}"
    _log.log(level, "%s %s", event.name, text, extra=extra)


_LEVELS: Final[dict[type[Event], int]] = {
    Stuck: logging.WARNING,
    Failed: logging.WARNING,
    UnknownStatus: logging.WARNING,
    CallbackException: logging.WARNING,
    OutgoingEndpointDisabled: logging.WARNING,
    BreakerOpened: logging.ERROR,
    RedactionFailed: logging.ERROR,
    WebhookRejected: logging.INFO,
    WebhookException: logging.INFO,
    StateChange: logging.INFO,
    BreakerClosed: logging.INFO,
    Audited: logging.INFO,
    OperatorActed: logging.INFO,
    OutgoingWebhookFailed: logging.INFO,
}
"""The levels by the kind of event; those of all others are DEBUG."""


def _level(event: Event) -> int:
    match event:
        case WebhookException(dead=True) | OutgoingWebhookFailed(dead=True):
            return logging.WARNING
        case WebhookException(reason=reason) if reason == NO_ROW:
            return logging.DEBUG  # assets of others in the same environment have events, too
        case WebhookRejected(reason=reason) if reason in _MISCONFIGURED:
            return logging.WARNING
        case Audited(outcome="alarm"):
            return logging.ERROR
        case _:
            return _LEVELS.get(type(event), logging.DEBUG)
