"""Settings from environment, file and arguments, validated."""

from rindle_sync.config.reading import load_settings
from rindle_sync.config.settings import (
    PREFIX,
    EngineName,
    LogFormat,
    Priority,
    Settings,
    Switch,
    plain_settings,
)
