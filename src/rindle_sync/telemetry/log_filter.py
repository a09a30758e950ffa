"""Loggers of libraries that at DEBUG would write ids, kept from it."""

import logging


class _NoDebug(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record may be logged."""
        return record.levelno > logging.DEBUG


def keep_from_debug(*names: str) -> None:
    """Drop what the loggers of these names would log at DEBUG; their other levels stay as they are."""
    for logger in map(logging.getLogger, names):
        if not any(isinstance(one, _NoDebug) for one in logger.filters):
            logger.addFilter(_NoDebug())
