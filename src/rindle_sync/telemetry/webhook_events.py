"""Events about webhooks that come in, and those that go out."""

from typing import ClassVar

from rindle_sync.telemetry.event import Event, ProviderEvent


class WebhookVerified(ProviderEvent, frozen=True, kw_only=True):
    """A delivery was signed by the provider, and its event is stored.

    `row_id` is None: no row was looked up yet.
    """

    name: ClassVar[str] = "rindle.provider.webhook.verified"
    type: str
    """The provider's word for the event."""
    secret: int
    """The position of the secret that signed it, from 0."""
    duplicate: bool
    """True where this event was stored before."""
    acted_on: bool
    """False where its type says nothing about a row, and your app does not want it."""
    ack_ms: int
    """How long the sender waited for the answer, in milliseconds."""
    delivery_ms: int
    """Milliseconds from the event until the delivery arrived, by the provider's clock and the local
    one.
    """


class WebhookRejected(ProviderEvent, frozen=True, kw_only=True):
    """A delivery was rejected, and nothing of it was stored.

    `row_id` is None.

    Anybody can send a bad delivery, so alert on a rate, and on `misconfigured` and `not_stored` at
    once.
    """

    name: ClassVar[str] = "rindle.provider.webhook.rejected"
    reason: str
    """One of a few words."""
    ack_ms: int
    """How long the sender waited for the answer, in milliseconds."""
    detail: str | None = None
    """What the database said, where the reason is `not_stored`; else None."""


class WebhookProcessed(ProviderEvent, frozen=True, kw_only=True):
    """A webhook event was applied to its row."""

    name: ClassVar[str] = "rindle.provider.webhook.processed"
    type: str
    """The provider's word for the event."""
    verdict: str
    """The decision: `changed`, `unchanged`, `stale`, `ambiguous`."""
    lag_ms: int
    """Milliseconds from the event to now, by the provider's clock and the local one."""


class WebhookIgnored(ProviderEvent, frozen=True, kw_only=True):
    """A webhook event was stored and is not applied.

    `row_id` is None.
    """

    name: ClassVar[str] = "rindle.provider.webhook.ignored"
    type: str
    """The provider's word for the event."""
    reason: str
    """`not_acted_on`: its type says nothing about a row; `untracked`: no row tracked its asset in
    time.
    """


class WebhookException(ProviderEvent, frozen=True, kw_only=True):
    """A webhook event could not be applied, or a callback of your app failed on it.

    It is tried again, unless it is `dead`.
    `row_id` is None where no row has its ids.
    """

    name: ClassVar[str] = "rindle.provider.webhook.exception"
    type: str
    """The provider's word for the event."""
    reason: str
    """Why: `no_row` (yet), `clash`, `unreadable_data`, or the name of a Python error."""
    attempt: int
    """Which attempt this was."""
    dead: bool
    """Whether it was the last one."""


class OutgoingWebhookDelivered(Event, frozen=True, kw_only=True):
    """An outgoing webhook was answered with `2xx`."""

    name: ClassVar[str] = "rindle.outgoing_webhook.delivered"
    endpoint: str
    """The name of the endpoint."""
    type: str
    """The type of the webhook, as in `asset.ready`."""
    status: int
    """The status of the answer."""
    attempt: int
    """Which attempt this was."""
    duration_ms: int
    """How long the request took."""
    lag_ms: int
    """The time since the change."""


class OutgoingWebhookFailed(Event, frozen=True, kw_only=True):
    """An outgoing webhook was not delivered.

    It is sent again, or can be replayed where it is dead.
    """

    name: ClassVar[str] = "rindle.outgoing_webhook.failed"
    endpoint: str
    """The name of the endpoint."""
    type: str
    """The type of the webhook."""
    status: int | None
    """The status of the answer, nothing where there was none."""
    reason: str
    """Why it failed, without a word of the answer."""
    attempt: int
    """Which attempt this was; the same again where the endpoint asked for a pause."""
    duration_ms: int
    """How long the request took."""
    dead: bool
    """Whether it was the last one."""


class OutgoingEndpointDisabled(Event, frozen=True, kw_only=True):
    """An endpoint has answered 410, or every attempt has failed for five days.

    Nothing more is sent to it until somebody enables it.
    """

    name: ClassVar[str] = "rindle.outgoing_webhook.endpoint_disabled"
    endpoint: str
    """The name of the endpoint."""
    reason: str
    """Why."""
