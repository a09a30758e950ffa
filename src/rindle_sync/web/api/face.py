"""What the API needs of the service of an environment: the public object has it all."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Protocol, Self, Unpack

from rindle_sync.diagnostics import Explanation, Status
from rindle_sync.domain import Actor, ProviderAsset, RowFilters, RowPage, State
from rindle_sync.providers import PlaybackBundle, PlaybackKind, PlaybackOptions, PlaybackUrl
from rindle_sync.reconcile import Applied, Context
from rindle_sync.runtime import JobRunner
from rindle_sync.store import Store
from rindle_sync.tracking import DirectUpload
from rindle_sync.webhooks import WebhookEvents


class Rindle(Protocol):
    """The service of one environment. Each method raises what that of `RindleSync` does."""

    store: Store

    @property
    def context(self) -> Context:
        """What reconciling needs."""

    @property
    def job_runner(self) -> JobRunner:
        """The jobs of the environment."""

    @property
    def webhook_events(self) -> WebhookEvents:
        """The stored webhook events."""

    def as_actor(self, actor: Actor) -> Self:
        """The same service, which records what is done to rows through it."""

    async def list(
        self,
        *,
        limit: int = 100,
        after: str | None = None,
        newest_first: bool = True,
        **filters: Unpack[RowFilters],
    ) -> RowPage:
        """One page of rows."""

    async def get(self, row_id: str) -> ProviderAsset | None:
        """The row with this id of ours."""

    async def find_by_reference(self, reference: str) -> Sequence[ProviderAsset]:
        """The rows with the app's own reference."""

    async def find_by_provider_id(self, provider_id: str) -> Sequence[ProviderAsset]:
        """The rows whose asset or upload has this id at the provider."""

    async def track(
        self,
        *,
        reference: str,
        profile: str = "default",
        provider_asset_id: str | None = None,
        provider_upload_id: str | None = None,
        passthrough: str | None = None,
        state: State | None = None,
        playback_policy: str | None = None,
        ingest_mode: str | None = None,
    ) -> ProviderAsset:
        """Register a row."""

    async def replace(
        self,
        row_id: str,
        *,
        provider_asset_id: str | None = None,
        provider_upload_id: str | None = None,
        playback_policy: str | None = None,
    ) -> ProviderAsset | None:
        """Give a row another asset, or upload."""

    async def untrack(
        self,
        row_id: str,
        *,
        history: bool = False,
        webhook_bodies: bool = False,
        delete_asset: bool = False,
    ) -> ProviderAsset | None:
        """Forget a row."""

    async def begin_upload(
        self,
        *,
        reference: str,
        cors_origin: str,
        profile: str = "default",
        playback_policy: str | Sequence[str] | None = None,
        expires_in: timedelta = timedelta(hours=1),
        test: bool = False,
        new_asset_settings: Mapping[str, Any] | None = None,
        resume: bool = False,
        replace: bool = False,
    ) -> DirectUpload:
        """Create a direct upload."""

    async def cancel_upload(self, row_id: str) -> ProviderAsset | None:
        """Cancel the upload of a row."""

    async def create_asset(
        self,
        *,
        reference: str,
        input: str | Sequence[Mapping[str, Any]],  # noqa: A002  the provider's word
        profile: str = "default",
        playback_policy: str | Sequence[str] | None = None,
        test: bool = False,
        new_asset_settings: Mapping[str, Any] | None = None,
        replace: bool = False,
    ) -> ProviderAsset:
        """Have the provider make an asset of the file at a URL."""

    async def sync(
        self, provider_asset_id: str | ProviderAsset, *, ask_first: bool = False
    ) -> Applied | None:
        """Bring one row in sync now."""

    async def explain(self, row: ProviderAsset) -> Explanation:
        """Why a row stands as it does."""

    async def playback_url(
        self,
        row: ProviderAsset,
        kind: PlaybackKind,
        *,
        of: str | None = None,
        **options: Unpack[PlaybackOptions],
    ) -> PlaybackUrl:
        """A URL to play a row."""

    async def playback_bundle(
        self, row: ProviderAsset, **options: Unpack[PlaybackOptions]
    ) -> PlaybackBundle:
        """All that a player needs to play a row."""

    async def status(self) -> Status:
        """How the rows stand."""
