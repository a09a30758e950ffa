"""Settings from environment, file and arguments, validated."""

from rindle_sync.config.arguments import SettingsArguments
from rindle_sync.config.settings import (
    EngineName,
    EnvironmentSettings,
    LogFormat,
    Settings,
    Switch,
    fields_of,
    load_settings,
    plain_settings,
)
