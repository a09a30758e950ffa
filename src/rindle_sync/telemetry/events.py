"""One frozen class per event; knows no metric library."""

from typing import Any, ClassVar, Final

from msgspec import Struct

_ENVELOPE: Final = frozenset({"system_time", "row_id", "reference", "environment"})


class Event(Struct, frozen=True, kw_only=True):
    """The fields of every event: `system_time` in nanoseconds; `row_id`, the key to join on."""

    name: ClassVar[str] = "rindle"
    system_time: int = 0
    row_id: str | None = None
    reference: str | None = None
    """The reference of the row; a provider id in it is redacted."""
    environment: str | None = None
    """The name of the provider environment in the settings."""

    def measurements(self) -> dict[str, int]:
        """The numbers of the event."""
        return {"system_time": self.system_time}

    def metadata(self) -> dict[str, Any]:
        """The other fields of the event: plain values without provider ids."""
        return {n: getattr(self, n) for n in self.__struct_fields__ if n not in _ENVELOPE}


class ProviderEvent(Event, frozen=True, kw_only=True):
    """An event about a provider environment; `Telemetry` fills in `provider`."""

    provider: str = ""


class RowEvent(ProviderEvent, frozen=True, kw_only=True):
    """An event about a row; `Telemetry` fills in `profile` and `asset_id`, the redacted id."""

    profile: str = ""
    asset_id: str | None = None


class Resolved(RowEvent, frozen=True, kw_only=True):
    """A check was answered, whether or not that changed the row."""

    name: ClassVar[str] = "rindle.provider.sync.resolved"
    provider_state: str
    age_ms: int
    no_change: bool


class Stuck(Resolved, frozen=True, kw_only=True):
    """A row was in flight past the stuck threshold and is errored now."""

    name: ClassVar[str] = "rindle.provider.sync.stuck"


class Failed(RowEvent, frozen=True, kw_only=True):
    """A check brought no answer, or none that could be written.

    `reason` is throttled, unreachable, refused, clash or conflict.
    """

    name: ClassVar[str] = "rindle.provider.sync.failed"
    reason: str
    attempt: int


class UnknownStatus(RowEvent, frozen=True, kw_only=True):
    """The provider used an unknown status word; the row stays as it is."""

    name: ClassVar[str] = "rindle.provider.sync.unknown_status"
    status: str


class Called(ProviderEvent, frozen=True, kw_only=True):
    """A call to the provider has ended.

    `way` is asset, list, upload, whoami, create_upload, cancel_upload, create_asset or
    delete_asset; `answer` is answered, not_found, throttled, refused or unreachable.
    """

    name: ClassVar[str] = "rindle.provider.call.completed"
    way: str
    answer: str
    duration_ms: int


class Swept(ProviderEvent, frozen=True, kw_only=True):
    """A sweep has ended.

    `outcome` is done, stopped, unreachable, refused, rate_limited, already_running or failed.
    `looked` counts checks, `calls` calls to the provider, and `pages` those of them that fetched
    list pages.
    """

    name: ClassVar[str] = "rindle.provider.sweep.completed"
    outcome: str
    looked: int
    changed: int
    unanswered: int
    calls: int
    pages: int
    duration_ms: int


class StateChange(RowEvent, frozen=True, kw_only=True):
    """A row has really changed; emitted after the write."""

    name: ClassVar[str] = "rindle.provider_asset.state_change"
    from_state: str
    to_state: str
    error_kind: str | None
    by: str
    late_ms: int


class MediaChange(RowEvent, frozen=True, kw_only=True):
    """The media of a row alone has changed; emitted after the write.

    `fields` names what has, as in `tracks, duration`.
    """

    name: ClassVar[str] = "rindle.provider_asset.media_change"
    state: str
    fields: str
    by: str
    late_ms: int


class WebhookVerified(ProviderEvent, frozen=True, kw_only=True):
    """A webhook was verified and stored; `secret` is the position of the secret that matched.

    `acted_on` is False where its type says nothing about a row. `ack_ms` is the time until the
    response, `delivery_ms` the time from the event to the request.
    """

    name: ClassVar[str] = "rindle.provider.webhook.verified"
    type: str
    secret: int
    duplicate: bool
    acted_on: bool
    ack_ms: int
    delivery_ms: int


class WebhookRejected(ProviderEvent, frozen=True, kw_only=True):
    """A webhook was not accepted, and nothing of it was stored.

    `detail` says what the database said of one that could not be stored.
    """

    name: ClassVar[str] = "rindle.provider.webhook.rejected"
    reason: str
    ack_ms: int
    detail: str | None = None


class WebhookProcessed(ProviderEvent, frozen=True, kw_only=True):
    """A webhook event was applied to its row, `lag_ms` after it occurred."""

    name: ClassVar[str] = "rindle.provider.webhook.processed"
    type: str
    verdict: str
    lag_ms: int


class WebhookIgnored(ProviderEvent, frozen=True, kw_only=True):
    """A webhook event was stored and not applied.

    `reason` is not_acted_on for a type that says nothing about a row, or untracked.
    """

    name: ClassVar[str] = "rindle.provider.webhook.ignored"
    type: str
    reason: str


class WebhookException(ProviderEvent, frozen=True, kw_only=True):
    """A webhook event could not be applied; it is tried again, or can be replayed if `dead`."""

    name: ClassVar[str] = "rindle.provider.webhook.exception"
    type: str
    reason: str
    attempt: int
    dead: bool


class CallbackException(Event, frozen=True, kw_only=True):
    """A callback of the app raised `error`, by its class name; it is called again.

    `callback` is its name in the app's code, and `traceback` has several lines, without ids.
    """

    name: ClassVar[str] = "rindle.provider_asset.callback_exception"
    callback: str
    error: str
    attempt: int
    traceback: str


class OutgoingWebhookDelivered(Event, frozen=True, kw_only=True):
    """An outgoing webhook was delivered, `lag_ms` after its change; `endpoint` is a name."""

    name: ClassVar[str] = "rindle.outgoing_webhook.delivered"
    endpoint: str
    type: str
    status: int
    attempt: int
    duration_ms: int
    lag_ms: int


class OutgoingWebhookFailed(Event, frozen=True, kw_only=True):
    """An outgoing webhook was not delivered; it is sent again, or can be replayed if `dead`."""

    name: ClassVar[str] = "rindle.outgoing_webhook.failed"
    endpoint: str
    type: str
    status: int | None
    reason: str
    attempt: int
    duration_ms: int
    dead: bool


class OutgoingEndpointDisabled(Event, frozen=True, kw_only=True):
    """Nothing more is sent to an endpoint, until somebody enables it."""

    name: ClassVar[str] = "rindle.outgoing_webhook.endpoint_disabled"
    endpoint: str
    reason: str


class RateLimitWaiting(ProviderEvent, frozen=True, kw_only=True):
    """Work waits for the rate limit of `bucket`, five seconds or more, as far as is known."""

    name: ClassVar[str] = "rindle.provider.rate_limit.waiting"
    bucket: str
    wait_ms: int


class BreakerOpened(ProviderEvent, frozen=True, kw_only=True):
    """The circuit opened for `retry_ms`.

    `reason` is refused, other_environment or unreachable.
    """

    name: ClassVar[str] = "rindle.provider.breaker.opened"
    reason: str
    retry_ms: int


class BreakerClosed(ProviderEvent, frozen=True, kw_only=True):
    """The provider answers again, after the circuit was open for `reason`, `open_ms` long."""

    name: ClassVar[str] = "rindle.provider.breaker.closed"
    reason: str
    open_ms: int


class Audited(ProviderEvent, frozen=True, kw_only=True):
    """An audit has ended.

    `outcome` is done, alarm, stopped, unreachable, refused, rate_limited or failed.

    `ended` counts rows that the provider did not find; with the outcome alarm they were too many.
    """

    name: ClassVar[str] = "rindle.provider.audit.completed"
    outcome: str
    seen: int
    changed: int
    ended: int
    orphans: int
    adopted: int
    duration_ms: int


class OperatorActed(Event, frozen=True, kw_only=True):
    """An operator used the console: `action` is sync, untrack, replay, replay_dead or sign_in.

    `actor` is `console`, or `token:<name>` where the token of the session is one of the HTTP API.
    """

    name: ClassVar[str] = "rindle.operator.acted"
    action: str
    actor: str
    outcome: str


class RedactionFailed(Event, frozen=True, kw_only=True):
    """An event contained a provider id, which was redacted: a bug in rindle-sync to report."""

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
