"""What a video provider must do, and how each one does it."""

from rindle_sync.providers.base import (
    AssetRequest,
    Buckets,
    CreatedUpload,
    Delivery,
    Modifiers,
    NewAsset,
    Page,
    PlaybackKind,
    Priority,
    Provider,
    ProviderEntry,
    ReopenedUpload,
    SignedUrl,
    Transport,
    UploadBounds,
    UploadRequest,
    derived_event_id,
)
from rindle_sync.providers.endpoint_probe import knock
from rindle_sync.providers.registry import DEFAULT_PROVIDER, PROVIDERS, provider_entry
from rindle_sync.providers.settings import (
    PREFIX,
    ProviderSettings,
    SettingsModel,
    trimmed,
    variable_of,
)
