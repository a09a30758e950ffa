"""Alembic for our migrations: its INFO lines stay out of the app's log.

The app may use Alembic itself, and wants to read of its own migrations only.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_LOGGERS: Final = ("alembic.runtime.migration", "alembic.runtime.plugins", "alembic.ddl.postgresql")

_is_quiet: ContextVar[bool] = ContextVar("is_quiet", default=False)


class _Quiet(logging.Filter):
    """Drops what is no warning, of the task or thread alone that asked for it."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING or not _is_quiet.get()


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing below a warning of Alembic is logged inside; nothing is left behind."""
    dropping, before = _Quiet(), _is_quiet.set(True)
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    for logger in loggers:
        logger.addFilter(dropping)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(dropping)
        _is_quiet.reset(before)
