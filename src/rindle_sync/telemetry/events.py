"""Every event that rindle-sync emits."""

from typing import Final

from rindle_sync.telemetry.event import Event
from rindle_sync.telemetry.row_events import (
    CallbackException,
    Failed,
    MediaChange,
    Resolved,
    StateChange,
    Stuck,
    UnknownStatus,
)
from rindle_sync.telemetry.webhook_events import (
    OutgoingEndpointDisabled,
    OutgoingWebhookDelivered,
    OutgoingWebhookFailed,
    WebhookException,
    WebhookIgnored,
    WebhookProcessed,
    WebhookRejected,
    WebhookVerified,
)
from rindle_sync.telemetry.work_events import (
    Audited,
    BreakerClosed,
    BreakerOpened,
    Called,
    OperatorActed,
    RateLimitWaiting,
    RedactionFailed,
    Swept,
)

EVENTS: Final[tuple[type[Event], ...]] = (
    Resolved,
    Stuck,
    Failed,
    UnknownStatus,
    Called,
    Swept,
    StateChange,
    MediaChange,
    WebhookVerified,
    WebhookRejected,
    WebhookProcessed,
    WebhookIgnored,
    WebhookException,
    CallbackException,
    OutgoingWebhookDelivered,
    OutgoingWebhookFailed,
    OutgoingEndpointDisabled,
    RateLimitWaiting,
    BreakerOpened,
    BreakerClosed,
    Audited,
    OperatorActed,
    RedactionFailed,
)
"""Every event that rindle-sync emits."""
