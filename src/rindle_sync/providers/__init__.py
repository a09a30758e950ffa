"""What a video provider must do, and how each one does it."""

from rindle_sync.providers.base import (
    AssetRequest,
    Buckets,
    CreatedUpload,
    CreatedWebhookEndpoint,
    Delivery,
    EndpointPage,
    NewAsset,
    Page,
    Priority,
    Provider,
    ProviderEntry,
    ReopenedUpload,
    Transport,
    UploadBounds,
    UploadRequest,
    WebhookEndpoint,
    WebhookEndpoints,
    derived_event_id,
)
from rindle_sync.providers.endpoint_probe import knock
from rindle_sync.providers.playback import (
    Modifiers,
    Playback,
    PlaybackBundle,
    PlaybackKind,
    PlaybackOptions,
    PlaybackRequest,
    PlaybackUrl,
)
from rindle_sync.providers.registry import DEFAULT_PROVIDER, PROVIDERS, provider_entry
from rindle_sync.providers.settings import (
    PREFIX,
    ProviderSettings,
    SettingsModel,
    split_list,
    split_secrets,
    trimmed,
    variable_of,
)
