"""A delivery comes in: check, keep, answer. Knows no framework, asks no provider, applies nothing."""

import asyncio
import logging
from collections.abc import AsyncIterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

from rindle_sync.domain import EventStatus, ReceivedEvent, WebhookEvent
from rindle_sync.errors import ConfigurationError, DatabaseUnavailable, InvalidWebhook
from rindle_sync.reconcile import Context
from rindle_sync.telemetry import (
    WebhookIgnored,
    WebhookRejected,
    WebhookVerified,
    milliseconds,
    nanoseconds,
)

LARGEST_BODY: Final = 1024 * 1024
"""The largest delivery that is read, in bytes."""

RETRY_AFTER: Final = 5
"""Seconds after which the sender may try again when a delivery could not be kept."""

_log: Final = logging.getLogger("rindle_sync")


@dataclass(frozen=True, slots=True)
class Reply:
    """What to answer; the provider keeps answers and shows them, so they hold no secret."""

    status: int
    body: Mapping[str, str]
    headers: Mapping[str, str] = field(default_factory=dict)


class _TooLarge(Exception):
    pass


class _TooSlow(Exception):
    pass


async def receive(
    context: Context, method: str, headers: Mapping[str, str], chunks: AsyncIterable[bytes]
) -> Reply:
    """The answer to one delivery; header names in any case.

    202 kept, 200 kept before or not acted on, 400 not valid, 405, 408, 413, 500 no secret set, 503 not kept.
    """
    if method != "POST":
        return Reply(405, {"error": "method_not_allowed"}, {"Allow": "POST"})
    lowered, began = {name.lower(): value for name, value in headers.items()}, context.now()
    try:
        return await _stored(
            context, await _read(lowered, chunks, context.webhooks.read_within), lowered, began
        )
    except (_TooLarge, _TooSlow, InvalidWebhook, ConfigurationError, DatabaseUnavailable) as error:
        if isinstance(error, DatabaseUnavailable):
            _log.warning("a delivery was not kept, its sender is to try again: %s", error)
        reason, reply = _refusal(error)
        when, provider, ack_ms = (
            nanoseconds(now := context.now()),
            context.provider.name,
            _since(began, now),
        )
        context.telemetry.emit(
            WebhookRejected(system_time=when, provider=provider, reason=reason, ack_ms=ack_ms)
        )
        return reply


def _refusal(error: Exception) -> tuple[str, Reply]:
    match error:
        case _TooLarge():
            return "too_large", Reply(413, {"error": "payload_too_large"})
        case _TooSlow():
            return "too_slow", Reply(408, {"error": "request_timeout"})
        case InvalidWebhook():
            return error.reason, Reply(400, {"error": "provider_webhook_invalid"})
        case ConfigurationError():
            return "misconfigured", Reply(500, {"error": "server_misconfigured"})
        case _:
            return "not_kept", Reply(503, {"error": "try_again"}, {"Retry-After": str(RETRY_AFTER)})


async def _read(
    headers: Mapping[str, str], chunks: AsyncIterable[bytes], within: timedelta
) -> bytes:
    announced = headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > LARGEST_BODY:
        raise _TooLarge
    body = bytearray()
    try:
        async with asyncio.timeout(within.total_seconds()):
            async for chunk in chunks:
                body += chunk
                if len(body) > LARGEST_BODY:
                    raise _TooLarge
    except TimeoutError:
        raise _TooSlow from None
    return bytes(body)


async def _stored(
    context: Context, body: bytes, headers: Mapping[str, str], began: datetime
) -> Reply:
    now, webhooks = context.now(), context.webhooks
    secret = context.provider.verify(
        headers, body, webhooks.secrets, now, webhooks.tolerance.total_seconds()
    )
    delivery = context.provider.read_event(body)
    if webhooks.environment and delivery.environment != webhooks.environment:
        raise InvalidWebhook("other_environment")
    # not cancelled when it takes too long: a driver may need far longer to give up than the sender waits for us
    keeping = context.inbox.keeping(_webhook_event(context, delivery, body, now))
    await asyncio.wait({keeping}, timeout=webhooks.keep_within.total_seconds())
    if not keeping.done():
        raise DatabaseUnavailable("the database took too long to keep it")
    is_new = keeping.result()
    _emit(context, delivery, secret, began, is_new=is_new)
    if not is_new:
        return Reply(200, {"status": "kept_before"})
    return (
        Reply(202, {"status": "kept"})
        if delivery.acted_on
        else Reply(200, {"status": "not_acted_on"})
    )


def _webhook_event(
    context: Context, delivery: ReceivedEvent, body: bytes, now: datetime
) -> WebhookEvent:
    return WebhookEvent(
        id=str(uuid4()),
        provider_name=context.provider.name,
        environment=context.environment,
        event_id=delivery.event_id,
        type=delivery.type,
        provider_asset_id=delivery.provider_asset_id,
        provider_upload_id=delivery.provider_upload_id,
        passthrough=delivery.passthrough,
        occurred_at=delivery.occurred_at,
        received_at=now,
        body=body,
        status=EventStatus.PENDING if delivery.acted_on else EventStatus.IGNORED,
        next_attempt_at=now if delivery.acted_on else None,
    )


def _emit(
    context: Context, delivery: ReceivedEvent, secret: int, began: datetime, *, is_new: bool
) -> None:
    now, provider = context.now(), context.provider.name
    when = nanoseconds(now)
    context.telemetry.emit(
        WebhookVerified(
            system_time=when,
            provider=provider,
            type=delivery.type,
            secret=secret,
            duplicate=not is_new,
            acted_on=delivery.acted_on,
            ack_ms=_since(began, now),
            delivery_ms=_since(delivery.occurred_at or began, began),
        )
    )
    if is_new and not delivery.acted_on:
        context.telemetry.emit(
            WebhookIgnored(system_time=when, provider=provider, type=delivery.type)
        )


def _since(moment: datetime, now: datetime) -> int:
    """Milliseconds; the sender's clock may be ahead of ours."""
    return max(0, milliseconds(now - moment))
