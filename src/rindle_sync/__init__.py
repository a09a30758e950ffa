"""Keeps a team's own database in sync with its video provider."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
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

# imported when first asked for (https://peps.python.org/pep-0562/): `rindle-sync --help`, or an app
# that names one of these, does not wait for all the others
_PACKAGES: Final = {
    "ChangeEvent": "runtime",
    "DirectUpload": "tracking",
    "ErrorKind": "domain",
    "Event": "telemetry",
    "Installation": "installation",
    "PlaybackKind": "providers",
    "ProviderAsset": "domain",
    "RindleSync": "app",
    "RindleSyncError": "errors",
    "Settings": "config",
    "State": "domain",
    "connect": "app",
    "connect_all": "installation",
    "load_settings": "config",
    "redact_id": "domain",
    "webhook_app": "webhooks",
}


def __getattr__(name: str) -> Any:
    if name not in _PACKAGES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PACKAGES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
