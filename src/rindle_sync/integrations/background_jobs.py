"""The jobs of a service beside an app, which waits for them at its end only."""

import asyncio
import logging
from collections.abc import Coroutine
from contextvars import Context
from typing import Any, Final

_log: Final = logging.getLogger("rindle_sync")


def start_jobs(run: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
    """Begin `run` in the background; if it fails, that is logged at once."""
    # a context of its own: the jobs are no part of the request or the call that has begun them
    jobs = asyncio.create_task(run, name="rindle-sync", context=Context())
    jobs.add_done_callback(_log_failure)
    return jobs


def _log_failure(jobs: "asyncio.Task[None]") -> None:
    error = None if jobs.cancelled() else jobs.exception()
    if error:
        _log.error("the jobs of this process have ended: %s", error)
