"""The log of what keeps running, as lines of text or of JSON on standard error."""

import asyncio
import json
import logging
from datetime import UTC, datetime
from typing import Any, Final

from rindle_sync.config import LogFormat

LOG: Final = logging.getLogger("rindle_sync")

_OURS_TO_TELL: Final = ("procrastinate", "psycopg.pool")
"""Loggers of which we tell ourselves what matters."""


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


class Background:
    """Tells of what failed where nobody waits for it, once a second at most; the loop that it is given has the time."""

    def __init__(self) -> None:
        self._quiet_until = 0.0

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """One failure, as asyncio tells it; the texts of errors, and the arguments of callbacks, could hold ids."""
        if loop.time() < self._quiet_until:
            return
        self._quiet_until = loop.time() + 1
        error, what = (
            type(context.get("exception")).__name__,
            "a callback" if "handle" in context else context["message"],
        )
        LOG.error(
            "something in the background ended in an unexpected %s (%s); going on", error, what
        )


def start(log_format: LogFormat) -> None:
    """Write the log from now on."""
    lines = logging.StreamHandler()
    is_json = log_format is LogFormat.JSON
    lines.setFormatter(
        JsonLines() if is_json else logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    )
    logging.basicConfig(level=logging.INFO, handlers=[lines])
    logging.getLogger("alembic").setLevel(logging.WARNING)
    for name in _OURS_TO_TELL:
        logging.getLogger(name).propagate = False
        logging.getLogger(name).addHandler(logging.NullHandler())


def is_json() -> bool:
    """Whether standard error is for lines of JSON alone."""
    return any(isinstance(one.formatter, JsonLines) for one in logging.getLogger().handlers)
