"""The log of a process that keeps running, as lines of text or of JSON on standard error."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from rindle_sync.config import LogFormat, LogLevel

if TYPE_CHECKING:
    import asyncio

LOG: Final = logging.getLogger("rindle_sync")

_SILENCED: Final = ("procrastinate", "psycopg.pool")
"""Loggers of libraries; rindle-sync logs itself what matters of them."""


class JsonLines(logging.Formatter):
    """One JSON object a line; of an event, its name is the message and its fields are keys."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of one record."""
        event = dict(getattr(record, "rindle_event", {}))
        line: dict[str, Any] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": event.pop("name", None) or record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line | event, default=str)


class LoopErrors:
    """An exception handler for asyncio: logs what nobody awaited, at most once a second."""

    def __init__(self) -> None:
        self._quiet_until = 0.0

    def __call__(self, loop: "asyncio.AbstractEventLoop", context: dict[str, Any]) -> None:
        """Log one error by its type: its text, and the arguments of a callback, could hold ids."""
        if loop.time() < self._quiet_until:
            return
        self._quiet_until = loop.time() + 1
        error = type(context.get("exception")).__name__
        what = "a callback" if "handle" in context else context["message"]
        LOG.error(
            "something in the background ended in an unexpected %s (%s); going on", error, what
        )


@contextmanager
def silent_until_started() -> Iterator[None]:
    """A command that keeps no log reports failures in its own words, and writes no warning."""
    handler = logging.NullHandler()
    LOG.addHandler(handler)
    try:
        yield
    finally:
        # a framework may call a command within a process of its own, which goes on
        LOG.removeHandler(handler)


def start(log_format: LogFormat, log_level: LogLevel) -> None:
    """Write the log from now on."""
    handler = logging.StreamHandler()
    if log_format is LogFormat.JSON:
        handler.setFormatter(JsonLines())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level = logging.getLevelNamesMapping()[log_level.name]
    # the libraries are not debugged with us: their lines may hold ids and tokens
    logging.basicConfig(level=max(level, logging.INFO), handlers=[handler])
    LOG.setLevel(level)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    for name in _SILENCED:
        # with no handler at all, Python would print its warnings to standard error
        logging.getLogger(name).propagate = False
        logging.getLogger(name).addHandler(logging.NullHandler())


def is_json() -> bool:
    """Whether standard error carries lines of JSON only."""
    handlers = logging.getLogger().handlers
    return any(isinstance(handler.formatter, JsonLines) for handler in handlers)
