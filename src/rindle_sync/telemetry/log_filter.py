"""Keeps other libraries from logging ids at DEBUG."""

import logging


class _NoDebug(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record may be logged."""
        return record.levelno > logging.DEBUG


def keep_from_debug(*names: str) -> None:
    """Drop the DEBUG records of the loggers of these names."""
    for logger in map(logging.getLogger, names):
        if not any(isinstance(known, _NoDebug) for known in logger.filters):
            logger.addFilter(_NoDebug())
