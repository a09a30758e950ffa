"""Typed events and how listeners get them; keeps ids out of other libraries' debug logs."""

from rindle_sync.telemetry.emitting import Listener, Telemetry, milliseconds, nanoseconds
from rindle_sync.telemetry.event_log import EventLog
from rindle_sync.telemetry.events import (
    EVENTS,
    Audited,
    BreakerClosed,
    BreakerOpened,
    CallbackException,
    Called,
    Event,
    Failed,
    MediaChange,
    OperatorActed,
    OutgoingEndpointDisabled,
    OutgoingWebhookDelivered,
    OutgoingWebhookFailed,
    RateLimitWaiting,
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
from rindle_sync.telemetry.held import HeldTelemetry
from rindle_sync.telemetry.log_filter import keep_from_debug
from rindle_sync.telemetry.tracebacks import scrub_traceback
