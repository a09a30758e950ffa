"""Settings from environment, file and arguments, validated."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from rindle_sync.config.choices import EngineName, LogFormat, LogLevel, Switch
from rindle_sync.config.frames import hides_values
from rindle_sync.config.in_tests import clock_of_tests, is_in_tests

if TYPE_CHECKING:
    from rindle_sync.config.app_settings import (
        check_is_of_test,
        settings_of_app,
        values_of_app,
        values_of_test,
    )
    from rindle_sync.config.arguments import SettingsArguments
    from rindle_sync.config.settings import (
        EnvironmentSettings,
        Settings,
        fields_of,
        load_settings,
        plain_settings,
    )

# imported when first asked for: the help of a command needs no pydantic
_MODULES: Final = {
    "SettingsArguments": "rindle_sync.config.arguments",
    "EnvironmentSettings": "rindle_sync.config.environment_settings",
    "Settings": "rindle_sync.config.settings",
    "fields_of": "rindle_sync.config.settings",
    "load_settings": "rindle_sync.config.settings",
    "plain_settings": "rindle_sync.config.settings",
    "settings_of_app": "rindle_sync.config.app_settings",
    "check_is_of_test": "rindle_sync.config.app_settings",
    "values_of_test": "rindle_sync.config.app_settings",
    "values_of_app": "rindle_sync.config.app_settings",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
