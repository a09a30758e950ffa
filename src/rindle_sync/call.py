"""One call to the provider, and the telling of how it was answered and how long that took; decides nothing."""

import asyncio
from collections.abc import Awaitable
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

from rindle_sync.errors import Gone, NoCredentials, Refused, Throttled
from rindle_sync.telemetry import Called, milliseconds, nanoseconds
from rindle_sync.tools import Tools

Answered = TypeVar("Answered")


class Way(StrEnum):
    """What is asked of the provider."""

    ASSET = "asset"
    LIST = "list"
    UPLOAD = "upload"
    WHOAMI = "whoami"
    CREATE_UPLOAD = "create_upload"
    CANCEL_UPLOAD = "cancel_upload"


class Answer(StrEnum):
    """How a call was answered."""

    ANSWERED = "answered"
    NOT_FOUND = "not_found"
    THROTTLED = "throttled"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    """5xx, no answer in time, no connection, or a body that is no answer."""


async def call(tools: Tools, way: Way, calling: Awaitable[Answered]) -> Answered:
    """What `calling` comes to; raises what it does."""
    began = tools.now()
    answer: Answer | None = Answer.UNREACHABLE
    try:
        answered = await calling
        answer = Answer.ANSWERED
    except Gone:
        answer = Answer.NOT_FOUND
        raise
    except Throttled:
        answer = Answer.THROTTLED
        raise
    except (NoCredentials, asyncio.CancelledError):
        answer = None
        raise
    except Refused:
        answer = Answer.REFUSED
        raise
    finally:
        if answer:
            _tell(tools, way, answer, began)
    return answered


def _tell(tools: Tools, way: Way, answer: Answer, began: datetime) -> None:
    now = tools.now()
    tools.telemetry.tell(
        Called(
            system_time=nanoseconds(now),
            provider=tools.provider.name,
            way=way.value,
            answer=answer.value,
            duration_ms=milliseconds(now - began),
        )
    )
