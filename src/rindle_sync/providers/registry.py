"""The providers by their names in the setting `provider`.

The one place, but for its package, that names a vendor.
"""

from collections.abc import Callable
from typing import Final

from rindle_sync.providers.base import ProviderEntry


def _mux() -> ProviderEntry:
    from rindle_sync.providers.mux.account import MUX

    return MUX


PROVIDERS: Final[dict[str, Callable[[], ProviderEntry]]] = {"mux": _mux}
"""Each is imported when it is first used."""

DEFAULT_PROVIDER: Final = "mux"


def provider_entry(name: str) -> ProviderEntry:
    """The provider of this name; raises `KeyError`."""
    return PROVIDERS[name]()
