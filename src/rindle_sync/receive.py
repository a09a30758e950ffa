"""A delivery comes in: check, keep, answer. Knows no framework, asks no provider, applies nothing."""

import asyncio
from collections.abc import AsyncIterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import uuid4

from rindle_sync.errors import BadNotice, Misconfigured, StoreUnavailable
from rindle_sync.notice import Delivery, Notice, Status
from rindle_sync.telemetry import WebhookIgnored, WebhookRejected, WebhookVerified, nanoseconds
from rindle_sync.tools import Tools

LARGEST_BODY: Final = 1024 * 1024
"""The largest delivery that is read, in bytes."""

RETRY_AFTER: Final = 5
"""Seconds after which the sender may try again when a delivery could not be kept."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What to answer; the provider keeps answers and shows them, so they hold no secret."""

    status: int
    body: Mapping[str, str]
    headers: Mapping[str, str] = field(default_factory=dict)


class _TooLarge(Exception):
    pass


async def receive(tools: Tools, method: str, headers: Mapping[str, str], chunks: AsyncIterable[bytes]) -> Reply:
    """The answer to one delivery; header names in any case.

    202 kept, 200 kept before or not acted on, 400 not valid, 405, 413, 500 no secret set, 503 not kept.
    """
    if method != "POST":
        return Reply(405, {"error": "method_not_allowed"}, {"Allow": "POST"})
    lowered = {name.lower(): value for name, value in headers.items()}
    try:
        return await _kept(tools, await _read(lowered, chunks), lowered)
    except _TooLarge:
        return _rejected(tools, "too_large", Reply(413, {"error": "payload_too_large"}))
    except BadNotice as error:
        return _rejected(tools, error.reason, Reply(400, {"error": "provider_webhook_invalid"}))
    except Misconfigured:
        return _rejected(tools, "misconfigured", Reply(500, {"error": "server_misconfigured"}))
    except (StoreUnavailable, TimeoutError):
        return _rejected(tools, "not_kept", Reply(503, {"error": "try_again"}, {"Retry-After": str(RETRY_AFTER)}))


async def _read(headers: Mapping[str, str], chunks: AsyncIterable[bytes]) -> bytes:
    announced = headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > LARGEST_BODY:
        raise _TooLarge
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > LARGEST_BODY:
            raise _TooLarge
    return bytes(body)


async def _kept(tools: Tools, body: bytes, headers: Mapping[str, str]) -> Reply:
    now, webhooks = tools.now(), tools.webhooks
    secret = tools.provider.verify(headers, body, webhooks.secrets, now, webhooks.tolerance.total_seconds())
    delivery = tools.provider.read_delivery(body)
    if webhooks.environment and delivery.environment != webhooks.environment:
        raise BadNotice("other_environment")
    async with asyncio.timeout(webhooks.keep_within.total_seconds()):
        is_new = await tools.inbox.keep(_notice(tools, delivery, body, now))
    _tell(tools, delivery, secret, now, is_new=is_new)
    if not is_new:
        return Reply(200, {"status": "kept_before"})
    return Reply(202, {"status": "kept"}) if delivery.acted_on else Reply(200, {"status": "not_acted_on"})


def _notice(tools: Tools, delivery: Delivery, body: bytes, now: datetime) -> Notice:
    return Notice(
        id=str(uuid4()),
        provider_name=tools.provider.name,
        environment=tools.environment,
        event_id=delivery.event_id,
        type=delivery.type,
        provider_asset_id=delivery.provider_asset_id,
        provider_upload_id=delivery.provider_upload_id,
        passthrough=delivery.passthrough,
        occurred_at=delivery.occurred_at,
        received_at=now,
        body=body,
        status=Status.PENDING if delivery.acted_on else Status.IGNORED,
        next_attempt_at=now if delivery.acted_on else None,
    )


def _tell(tools: Tools, delivery: Delivery, secret: int, now: datetime, *, is_new: bool) -> None:
    when, provider = nanoseconds(now), tools.provider.name
    tools.telemetry.tell(
        WebhookVerified(system_time=when, provider=provider, type=delivery.type, secret=secret, duplicate=not is_new)
    )
    if is_new and not delivery.acted_on:
        tools.telemetry.tell(WebhookIgnored(system_time=when, provider=provider, type=delivery.type))


def _rejected(tools: Tools, reason: str, reply: Reply) -> Reply:
    when = nanoseconds(tools.now())
    tools.telemetry.tell(WebhookRejected(system_time=when, provider=tools.provider.name, reason=reason))
    return reply
