"""What a video provider must be able to do for us, and nothing of how any one of them does it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from rindle_sync.domain import Observation, ReceivedEvent


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the provider's list, newest first. `cursor` leads to the next page, None at the end."""

    entries: Sequence[Observation] = field(repr=False)
    cursor: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadRequest:
    """What a direct upload, and the asset made of it, shall be like."""

    cors_origin: str
    playback_policy: str = "public"
    timeout: timedelta = timedelta(hours=1)
    """How long the upload waits for its file: from a minute to a week."""
    test: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    """More of the provider's own settings for the new asset."""


@dataclass(frozen=True, slots=True)
class CreatedUpload:
    """A direct upload that was just made. `url` takes the file, once: it is a key."""

    provider_upload_id: str = field(repr=False)
    url: str = field(repr=False)


class Provider(Protocol):
    """One provider account. Each method makes one call, which has a time limit, and raises what `errors` draws:

    `NotFound`, `RateLimited`, `ProviderUnavailable`, `AuthenticationFailed`. `at` is the caller's clock when the call begins.
    """

    @property
    def name(self) -> str:
        """The provider's name, as in `provider_name`."""
        ...

    @property
    def page_size(self) -> int:
        """The most assets that one list call answers."""
        ...

    @property
    def clock(self) -> datetime | None:
        """The provider's own clock as it sent its last answer, to the second; None where it has not told."""
        ...

    async def get_asset(self, provider_asset_id: str, at: datetime) -> Observation:
        """The asset as it is now."""
        ...

    async def get_upload(self, provider_upload_id: str, at: datetime) -> Observation:
        """The direct upload as it is now; with `provider_asset_id` once an asset was made of it."""
        ...

    async def list_assets(self, at: datetime, cursor: str | None = None) -> Page:
        """Up to `page_size` assets, newest first."""
        ...

    async def create_upload(self, passthrough: str, upload_request: UploadRequest) -> CreatedUpload:
        """Make a direct upload whose asset will carry `passthrough`; never repeated, since it is not idempotent."""
        ...

    async def cancel_upload(self, provider_upload_id: str, at: datetime) -> Observation:
        """Cancel a direct upload; what became of it. Raises `AuthenticationFailed` also where it is too late."""
        ...

    def verify(
        self,
        headers: Mapping[str, str],
        body: bytes,
        secrets: Sequence[str],
        now: datetime,
        tolerance: float,
    ) -> int:
        """The position of the secret that signed this delivery; raises `InvalidWebhook`, `ConfigurationError` without secrets."""
        ...

    def read_event(self, body: bytes) -> ReceivedEvent:
        """What a webhook says about itself; raises `InvalidWebhook`."""
        ...

    def read_observation(self, body: bytes, at: datetime) -> Observation:
        """What was seen in a webhook that came in `at`; raises `InvalidWebhook`."""
        ...

    async def whoami(self) -> str:
        """The id of the environment that our credentials belong to."""
        ...

    async def close(self) -> None:
        """Give the connections back."""
        ...
