"""Calls the app's callbacks with webhook events of types that rindle-sync does not act on."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, Protocol
from uuid import uuid4

from rindle_sync.domain import (
    LONGEST_WAIT,
    WAITS_FOR_APP,
    EventStatus,
    WebhookEvent,
    matches_any,
    next_wait,
    replace,
)
from rindle_sync.reconcile import Context
from rindle_sync.runtime.callbacks import CALL_LIMIT, GRACE, TimeLimit
from rindle_sync.telemetry import WebhookException, scrub_traceback

BATCH: Final = 50

DELIVERED: Final = "delivered"
"""The reason of an event that every callback has handled."""

_log: Final = logging.getLogger("rindle_sync")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookReceived:
    """A webhook event of a type that rindle-sync does not act on."""

    id: str = field(repr=False)
    """The provider's own, the same at each call."""
    type: str
    occurred_at: datetime | None
    """By the provider's clock; None where it gave no time that can be right."""
    received_at: datetime
    data: Mapping[str, Any] = field(repr=False)
    """The whole body, decoded."""


class WebhookFunction(Protocol):
    """An async callback for webhook events, called at least once for each."""

    def __call__(self, event: WebhookReceived, /) -> Awaitable[None]:
        """Handle an event."""


@dataclass(frozen=True, slots=True)
class WebhookCallback:
    """A callback for the types that a pattern matches, as it was registered."""

    name: str
    pattern: str
    function: WebhookFunction


async def dispatch_webhook_events(
    context: Context,
    callbacks: Sequence[WebhookCallback],
    *,
    call_limit: timedelta = CALL_LIMIT,
    grace: timedelta = GRACE,
) -> int:
    """Call the callbacks with a batch of due events that a pattern of theirs matches; how many.

    Of one object, by its id at the provider, an event comes after the one before it that they match
    is handled or dead. Where a callback fails, all those of that event are called again later.
    """
    if not callbacks:
        return 0
    inbox, token, now = context.store.inbox, str(uuid4()), context.now()
    patterns = [callback.pattern for callback in callbacks]
    types = [name for name in await inbox.types_for_app() if matches_any(name, patterns)]
    if not types:
        return 0
    limit = TimeLimit(call_limit, grace)
    until = now + min(context.lease + limit.longest * len(callbacks), LONGEST_WAIT)
    claimed = await inbox.claim_for_app(types, now=now, token=token, until=until, limit=BATCH)
    if not claimed:
        return 0
    tasks = [asyncio.create_task(_deliver(context, event, callbacks, limit)) for event in claimed]
    try:
        try:
            # all have ended before the first error is raised, or the cancellation
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            # also after a cancellation: what was handled must not come again
            await inbox.end([task.result() for task in tasks if _is_well(task)], token)
        for task in tasks:
            task.result()
    except BaseException:
        await inbox.release(token)
        raise
    return len(claimed)


def _is_well(task: "asyncio.Task[WebhookEvent]") -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


async def _deliver(
    context: Context, stored: WebhookEvent, callbacks: Sequence[WebhookCallback], limit: TimeLimit
) -> WebhookEvent:
    """Call every callback whose pattern matches; the event with its outcome."""
    data = _decoded(stored.body)
    if data is None:
        return _failed(context, stored, "unreadable_data", ())
    event = WebhookReceived(
        id=stored.event_id,
        type=stored.type,
        occurred_at=stored.occurred_at,
        received_at=stored.received_at,
        data=data,
    )
    wanting = [callback for callback in callbacks if matches_any(stored.type, [callback.pattern])]
    failures = []
    for number, callback in enumerate(wanting, start=1):
        call, is_last = partial(callback.function, event), number == len(wanting)
        error = await limit.error_of(call, is_last=is_last)
        if error is not None:
            failures.append(type(error).__name__)
            # its text could hold an id of the provider
            shown = scrub_traceback(error, has_messages=False)
            about = callback.name, stored.id, stored.type
            _log.warning("the callback %s failed on webhook event %s (%s):\n%s", *about, shown)
    if failures:
        return _failed(context, stored, failures[0], WAITS_FOR_APP)
    status, attempts = EventStatus.APPLIED, stored.attempts + 1
    handled = {"status": status, "attempts": attempts, "next_attempt_at": None}
    return replace(stored, **handled, reason=DELIVERED)


def _decoded(body: bytes) -> Mapping[str, Any] | None:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def _failed(
    context: Context, stored: WebhookEvent, reason: str, waits: tuple[timedelta, ...]
) -> WebhookEvent:
    """The event put off, or dead after the last attempt."""
    attempts = stored.attempts + 1
    wait = next_wait(attempts, waits)
    is_dead = wait is None
    context.telemetry.emit(
        WebhookException(type=stored.type, reason=reason, attempt=attempts, dead=is_dead)
    )
    return replace(
        stored,
        status=EventStatus.DEAD if is_dead else EventStatus.PENDING,
        attempts=attempts,
        next_attempt_at=None if wait is None else context.now() + wait,
        reason=reason,
    )
