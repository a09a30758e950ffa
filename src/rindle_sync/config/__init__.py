"""Settings from the environment (`RINDLE_…`) or a TOML file, validated."""

from rindle_sync.config.reading import load_settings
from rindle_sync.config.settings import PREFIX, EngineName, LogFormat, Priority, Settings, Switch, plain_settings

__all__ = [
    "PREFIX",
    "EngineName",
    "LogFormat",
    "Priority",
    "Settings",
    "Switch",
    "load_settings",
    "plain_settings",
]
