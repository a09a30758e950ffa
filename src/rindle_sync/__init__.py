"""Keeps a team's own database in sync with its video provider."""

from rindle_sync.app import RindleSync, connect
from rindle_sync.config import Settings, load_settings
from rindle_sync.domain import ErrorKind, ProviderAsset, State, redact_id
from rindle_sync.errors import RindleSyncError
from rindle_sync.installation import Installation, connect_all
from rindle_sync.providers import PlaybackKind
from rindle_sync.runtime import ChangeEvent
from rindle_sync.telemetry import Event
from rindle_sync.tracking import DirectUpload
from rindle_sync.webhooks import webhook_app

__all__ = [
    "ChangeEvent",
    "DirectUpload",
    "ErrorKind",
    "Event",
    "Installation",
    "PlaybackKind",
    "ProviderAsset",
    "RindleSync",
    "RindleSyncError",
    "Settings",
    "State",
    "connect",
    "connect_all",
    "load_settings",
    "redact_id",
    "webhook_app",
]
