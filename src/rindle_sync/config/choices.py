"""What some settings are chosen from."""

from enum import StrEnum


class EngineName(StrEnum):
    """What wakes the jobs."""

    EMBEDDED = "embedded"
    PROCRASTINATE = "procrastinate"


class Switch(StrEnum):
    """Whether something is done."""

    OFF = "off"
    ON = "on"


class LogLevel(StrEnum):
    """The least severe lines that the log has."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """What a line of the log is."""

    TEXT = "text"
    JSON = "json"
