"""What an app tests with: a fake Mux, a clock to move, a migrated database, a connected service.

The fixtures of pytest are in `rindle_sync.testing.plugin`; all else here needs no pytest.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rindle_sync.emulator.serving import serving
    from rindle_sync.testing.clock import Clock
    from rindle_sync.testing.connecting import connected, connected_blocking
    from rindle_sync.testing.databases import PostgresSchema, postgres_schema, sqlite_database
    from rindle_sync.testing.jobs import run_jobs, run_jobs_blocking
    from rindle_sync.testing.mux import Disturbance, FakeMux, WebhookRefused
    from rindle_sync.testing.settings import only_these_settings, settings_for

__all__ = [
    "Clock",
    "Disturbance",
    "FakeMux",
    "PostgresSchema",
    "WebhookRefused",
    "connected",
    "connected_blocking",
    "only_these_settings",
    "postgres_schema",
    "run_jobs",
    "run_jobs_blocking",
    "serving",
    "settings_for",
    "sqlite_database",
]

# imported when first asked for: pytest loads the plugin for projects that do not use it, too
_MODULES: Final = {
    "Clock": "testing.clock",
    "Disturbance": "testing.mux",
    "FakeMux": "testing.mux",
    "PostgresSchema": "testing.databases",
    "WebhookRefused": "testing.mux",
    "connected_blocking": "testing.connecting",
    "only_these_settings": "testing.settings",
    "postgres_schema": "testing.databases",
    "run_jobs": "testing.jobs",
    "run_jobs_blocking": "testing.jobs",
    "connected": "testing.connecting",
    "serving": "emulator.serving",
    "settings_for": "testing.settings",
    "sqlite_database": "testing.databases",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = import_module(f"rindle_sync.{_MODULES[name]}")
    except ModuleNotFoundError as error:
        text = f"rindle_sync.testing needs {error.name}; pip install 'rindle-sync[testing]'"
        raise ModuleNotFoundError(text, name=error.name) from None
    return getattr(module, name)
