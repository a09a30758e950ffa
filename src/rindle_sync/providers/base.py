"""The socket: what a video provider must do, and what it says about itself.

Nothing of how any one does it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from hashlib import sha256
from typing import Any, Literal, Protocol, Self

from msgspec import Struct

from rindle_sync.domain import (
    Bucket,
    FailureKind,
    Observation,
    Priority,
    ProviderAsset,
    ReceivedEvent,
)
from rindle_sync.providers.http import Transport
from rindle_sync.providers.playback import Playback
from rindle_sync.providers.settings import ProviderSettings

CallsLeft = Callable[[Literal["reads", "creates"], int], None]
"""Called with how many more calls the provider would take now, in one of its two buckets."""


class Buckets(Struct, frozen=True):
    """The rate limits of one token. Where `reads` and `creates` are equal, they are one bucket."""

    reads: Bucket
    creates: Bucket


class UploadBounds(Struct, frozen=True, kw_only=True):
    """How long a direct upload may wait for its file."""

    shortest: timedelta
    longest: timedelta


class Page:
    """One page of the provider's list, newest first; `cursor` leads to the next, if any."""

    def __init__(self, entries: Sequence[Observation], cursor: str | None = None) -> None:
        self._read: Callable[[], Sequence[Observation]] = lambda: entries
        self.cursor = cursor

    @classmethod
    def unread(
        cls, read: Callable[[], Sequence[Observation]], cursor: str | None, created: list[datetime]
    ) -> Self:
        """A page whose entries, `created` at these times, `read` returns once they are needed.

        The request for the next page need not wait for that.
        """
        page = cls((), cursor)
        page._read, page.created = read, created
        return page

    @cached_property
    def entries(self) -> Sequence[Observation]:
        """What the page says of each of its assets."""
        return self._read()

    @cached_property
    def created(self) -> list[datetime]:
        """When its assets were created, as far as that is known."""
        return [entry.created_at for entry in self.entries if entry.created_at]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAsset:
    """What a new asset shall be like, however its file comes to the provider."""

    playback_policy: str | Sequence[str] | None = None
    """One or several; None for what `settings` say, or else the provider's default."""
    test: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """More of the provider's own settings for the new asset."""

    @property
    def playback_policies(self) -> tuple[str, ...]:
        """The playback policies beside `settings`."""
        if isinstance(self.playback_policy, str):
            return (self.playback_policy,)
        return tuple(self.playback_policy or ())


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadRequest(NewAsset):
    """What a direct upload, and the asset made of it, shall be like."""

    cors_origin: str
    timeout: timedelta = timedelta(hours=1)
    """How long the upload waits for its file, within the provider's `UploadBounds`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetRequest(NewAsset):
    """What an asset shall be made of, and be like."""

    inputs: Sequence[Mapping[str, Any]] = field(repr=False)
    """The provider's own inputs, the first with the `url` of the file: mostly a key to it."""


@dataclass(frozen=True, slots=True)
class CreatedUpload:
    """A direct upload that was just made. `url` takes the file, once: it is a key."""

    provider_upload_id: str = field(repr=False)
    url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ReopenedUpload:
    """A direct upload as it is now; its `url`, a key, only while it waits for its file."""

    observation: Observation = field(repr=False)
    url: str | None = field(repr=False)
    timeout: timedelta
    """How long it waits in all."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One webhook request, as the provider would send it."""

    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEndpoint:
    """An address to which the provider sends the webhooks of an environment."""

    id: str = field(repr=False)
    """The provider's own."""
    address: str = field(repr=False)
    """It may hold a password."""
    enabled: bool | None
    """Whether webhooks are sent there; None where the provider did not say."""
    created_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedWebhookEndpoint:
    """An endpoint that was just made, with the secret of its signatures, which comes only here."""

    endpoint: WebhookEndpoint
    secret: str = field(repr=False)


class EndpointPage(Struct, frozen=True):
    """Some of the endpoints; `cursor` leads to the next page, if any."""

    endpoints: Sequence[WebhookEndpoint]
    cursor: str | None = None


class WebhookEndpoints(Protocol):
    """Makes, lists and deletes a provider's webhook endpoints; the errors are `Provider`'s."""

    async def page(self, cursor: str | None = None) -> EndpointPage:
        """Some of the endpoints of the environment."""

    async def create(self, address: str) -> CreatedWebhookEndpoint:
        """Make an endpoint that is enabled; never repeated.

        Raises `ConfigurationError` for an address that the provider does not take. After
        `ProviderUnavailable` it may have been made all the same, unless that says that the request
        was not sent.
        """

    async def delete(self, endpoint_id: str) -> None:
        """Delete an endpoint; `NotFound` where there is none."""


def derived_event_id(*parts: bytes) -> str:
    """The event id of a webhook that carries none: a repeated delivery has the same one."""
    return sha256(b"\0".join(parts)).hexdigest()


class Provider(Protocol):
    """One provider account. `at` is the caller's clock when a call begins.

    Each coroutine makes at most one call, within a time limit, and raises `NotFound`,
    `RateLimited`, `ProviderUnavailable` or `AuthenticationFailed`. The rate limiter counts them.
    `at` goes into the observation unchanged.
    """

    @property
    def name(self) -> str:
        """The provider's name, as in `provider_name`."""

    @property
    def page_size(self) -> int:
        """The most assets that one list call answers."""

    @property
    def upload_bounds(self) -> UploadBounds:
        """How long a direct upload may wait for its file."""

    @property
    def reports_deletion(self) -> bool:
        """Whether a webhook reports a deletion; else none is missed."""

    @property
    def webhook_headers(self) -> Sequence[str]:
        """The headers that `read_observation` needs, in lower case, stored with the body."""

    @property
    def advice(self) -> Mapping[FailureKind, str]:
        """What to do about a failure, where it is known better than by its kind alone."""

    @property
    def playback(self) -> Playback | None:
        """How playback URLs are made; None where rindle-sync makes none for the provider."""

    @property
    def webhook_endpoints(self) -> WebhookEndpoints | None:
        """How webhook endpoints are made; None where the provider has no calls for that."""

    @property
    def clock(self) -> datetime | None:
        """The provider's own clock at its last answer, to the second; None where it told none."""

    async def get_asset(self, provider_asset_id: str, at: datetime) -> Observation:
        """The asset as it is now."""

    async def get_upload(self, provider_upload_id: str, at: datetime) -> Observation:
        """The direct upload as it is now; with `provider_asset_id` once an asset was made of it.

        The two ids may be equal.
        """

    async def list_assets(self, at: datetime, cursor: str | None = None) -> Page:
        """Up to `page_size` assets, newest first by `created_at`; the page leads to the next."""

    async def reopen_upload(self, provider_upload_id: str, at: datetime) -> ReopenedUpload:
        """The direct upload as it is now, with its URL while it waits for its file.

        No other answer may keep that URL.
        """

    def playback_policies(self, request: NewAsset) -> Sequence[str]:
        """The playback policies that a new asset will have; makes no call.

        Raises `ConfigurationError` for policies that the provider does not have or that contradict
        each other.
        """

    async def create_upload(self, passthrough: str, upload_request: UploadRequest) -> CreatedUpload:
        """Make a direct upload whose asset will carry `passthrough`; never repeated."""

    async def create_asset(
        self, passthrough: str, request: AssetRequest, at: datetime
    ) -> Observation:
        """Make an asset that carries `passthrough`; never repeated. No error shows an input.

        After `ProviderUnavailable` it may have been made all the same, unless that says that the
        request was not sent; after any other error not.
        """

    async def delete_asset(self, provider_asset_id: str) -> None:
        """Delete an asset, and all that plays it; `NotFound` where there is none."""

    async def cancel_upload(self, provider_upload_id: str, at: datetime) -> Observation:
        """Cancel a direct upload; `AuthenticationFailed` also where it is too late."""

    def verify(
        self,
        headers: Mapping[str, str],
        body: bytes,
        secrets: Sequence[str],
        now: datetime,
        tolerance: float,
    ) -> int:
        """The position of the secret that signed; `tolerance` is in seconds.

        Raises `InvalidWebhook`, and `ConfigurationError` without secrets.
        """

    def read_event(self, headers: Mapping[str, str], body: bytes) -> ReceivedEvent:
        """What a webhook says about itself; where it has no event id, `derived_event_id` makes one.

        Raises `InvalidWebhook`.
        """

    def read_observation(
        self, headers: Mapping[str, str], body: bytes, at: datetime
    ) -> Observation:
        """What a webhook that arrived at `at` says, with `event_id` and `occurred_at`.

        `headers` are the `webhook_headers`.

        Raises `InvalidWebhook`.
        """

    def test_delivery(self, secret: str, environment: str | None, now: datetime) -> Delivery:
        """A signed webhook of a type that is not acted on, by which `doctor` tries an endpoint."""

    async def whoami(self) -> str | None:
        """The id of the environment of our credentials; None where the provider has no such id.

        A 404 is believed only in the environment of the rows.
        """

    def dashboard_url(self, row: ProviderAsset, environment_id: str | None) -> str | None:
        """Where a person sees the asset of a row at the provider; None where that is not known.

        `environment_id` is what `whoami` answers.
        """

    async def close(self) -> None:
        """Give the connections back."""


class Connect(Protocol):
    """Makes a `Provider`; without credentials each call of it raises `MissingCredentials`."""

    def __call__(
        self,
        settings: Any,
        *,
        timeout: float,
        connections: int,
        transport: Transport | None,
        on_calls_left: CallsLeft,
    ) -> Provider:
        """The provider; makes no call."""


class ProviderEntry(Struct, frozen=True, kw_only=True):
    """What the registry knows of a provider before there is an account."""

    settings: type[ProviderSettings]
    buckets: Mapping[Priority, Buckets]
    acted_on: Sequence[str]
    """The types of webhook events that say something about a row; `*` may stand at the end."""
    connect: Connect
