"""One call to the provider, and the event that reports its outcome and duration."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

from rindle_sync.errors import AuthenticationFailed, MissingCredentials, NotFound, RateLimited
from rindle_sync.telemetry import Called, Telemetry, milliseconds

Result = TypeVar("Result")


class Operation(StrEnum):
    """The operations of the provider API."""

    ASSET = "asset"
    LIST = "list"
    UPLOAD = "upload"
    WHOAMI = "whoami"
    CREATE_UPLOAD = "create_upload"
    CANCEL_UPLOAD = "cancel_upload"


class CallOutcome(StrEnum):
    """How a call ended."""

    ANSWERED = "answered"
    NOT_FOUND = "not_found"
    THROTTLED = "throttled"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    """5xx, timeout, no connection, or an unreadable body."""


async def call(
    telemetry: Telemetry,
    now: Callable[[], datetime],
    operation: Operation,
    request: Awaitable[Result],
) -> Result:
    """The result of `request`; a call that was never sent emits nothing. Raises what it raises."""
    began = now()
    outcome: CallOutcome | None = CallOutcome.UNREACHABLE
    try:
        result = await request
        outcome = CallOutcome.ANSWERED
    except NotFound:
        outcome = CallOutcome.NOT_FOUND
        raise
    except RateLimited:
        outcome = CallOutcome.THROTTLED
        raise
    except (MissingCredentials, asyncio.CancelledError):
        outcome = None
        raise
    except AuthenticationFailed:
        outcome = CallOutcome.REFUSED
        raise
    finally:
        if outcome:
            duration_ms = milliseconds(now() - began)
            telemetry.emit(
                Called(way=operation.value, answer=outcome.value, duration_ms=duration_ms)
            )
    return result
