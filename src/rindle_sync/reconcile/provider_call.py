"""One call to the provider, and the telling of how it was answered and how long that took; decides nothing."""

import asyncio
from collections.abc import Awaitable
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

from rindle_sync.errors import AuthenticationFailed, MissingCredentials, NotFound, RateLimited
from rindle_sync.reconcile.context import Context
from rindle_sync.telemetry import Called, milliseconds, nanoseconds

Result = TypeVar("Result")


class Operation(StrEnum):
    """What is asked of the provider."""

    ASSET = "asset"
    LIST = "list"
    UPLOAD = "upload"
    WHOAMI = "whoami"
    CREATE_UPLOAD = "create_upload"
    CANCEL_UPLOAD = "cancel_upload"


class CallOutcome(StrEnum):
    """How a call was answered."""

    ANSWERED = "answered"
    NOT_FOUND = "not_found"
    THROTTLED = "throttled"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    """5xx, no answer in time, no connection, or a body that is no answer."""


async def call(context: Context, operation: Operation, calling: Awaitable[Result]) -> Result:
    """What `calling` comes to; raises what it does."""
    began = context.now()
    answer: CallOutcome | None = CallOutcome.UNREACHABLE
    try:
        answered = await calling
        answer = CallOutcome.ANSWERED
    except NotFound:
        answer = CallOutcome.NOT_FOUND
        raise
    except RateLimited:
        answer = CallOutcome.THROTTLED
        raise
    except (MissingCredentials, asyncio.CancelledError):
        answer = None
        raise
    except AuthenticationFailed:
        answer = CallOutcome.REFUSED
        raise
    finally:
        if answer:
            _emit(context, operation, answer, began)
    return answered


def _emit(context: Context, operation: Operation, outcome: CallOutcome, began: datetime) -> None:
    now = context.now()
    context.telemetry.emit(
        Called(
            system_time=nanoseconds(now),
            provider=context.provider.name,
            way=operation.value,
            answer=outcome.value,
            duration_ms=milliseconds(now - began),
        )
    )
