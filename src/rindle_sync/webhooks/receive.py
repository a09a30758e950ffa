"""Verifies, stores and answers a delivery. Knows no framework, calls no provider."""

import asyncio
import json
from collections.abc import AsyncIterable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final
from uuid import uuid4

from rindle_sync.domain import (
    EventStatus,
    ReceivedEvent,
    WebhookEvent,
    WebhookSettings,
    credible,
    matches_any,
)
from rindle_sync.errors import (
    AlreadyClosed,
    ConfigurationError,
    DatabaseUnavailable,
    InvalidValue,
    InvalidWebhook,
)
from rindle_sync.providers import Provider
from rindle_sync.reconcile import Context
from rindle_sync.store import Inbox
from rindle_sync.telemetry import (
    Telemetry,
    WebhookIgnored,
    WebhookRejected,
    WebhookVerified,
    milliseconds,
    scrub_traceback,
)
from rindle_sync.webhooks.shared_timer import SharedTimer

LARGEST_BODY: Final = 1024 * 1024
"""The largest delivery that is accepted, in bytes."""

RETRY_AFTER: Final = 5
"""Seconds after which the sender may try again if a delivery could not be stored."""


@dataclass(frozen=True, slots=True)
class WebhookResponse:
    """An answer, as any HTTP host can send it."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def response(
    status: int, body: Mapping[str, str], headers: Mapping[str, str] | None = None
) -> WebhookResponse:
    """An answer with `body` as JSON: the provider stores and shows it, so it holds no secret."""
    content = json.dumps(dict(body)).encode()
    described = {"Content-Type": "application/json", "Content-Length": str(len(content))}
    return WebhookResponse(status, described | dict(headers or {}), content)


STORED: Final = response(202, {"status": "stored"})
DUPLICATE: Final = response(200, {"status": "duplicate"})
IGNORED: Final = response(200, {"status": "ignored"})
NOT_FOUND: Final = response(404, {"error": "not_found"})
TOO_LARGE: Final = response(413, {"error": "payload_too_large"})
TRY_AGAIN: Final = response(503, {"error": "try_again"}, {"Retry-After": str(RETRY_AFTER)})


class _Refused(Exception):
    def __init__(self, reason: str, reply: WebhookResponse, detail: str | None = None) -> None:
        self.reason = reason
        self.reply = reply
        self.detail = detail


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """Checks webhook requests of one provider environment, and stores what is genuine."""

    provider: Provider
    inbox: Inbox
    telemetry: Telemetry
    settings: WebhookSettings
    now: Callable[[], datetime]
    is_for_app: Callable[[str], bool]
    """Whether a type that is not acted on is to be stored for the app."""
    reading: SharedTimer
    storing: SharedTimer

    async def receive(
        self, method: str, headers: Mapping[str, str], chunks: AsyncIterable[bytes]
    ) -> WebhookResponse:
        """The answer to one request; header names in any case.

        202 stored or revived, 200 stored before or wanted by nobody, 400 not valid, 405, 408, 413,
        415, 500 no secret set, 503 not stored.
        """
        if method != "POST":
            return response(405, {"error": "method_not_allowed"}, {"Allow": "POST"})
        try:
            self.inbox.database.check_usable()
        except AlreadyClosed:
            return TRY_AGAIN
        lowered, began = {name.lower(): value for name, value in headers.items()}, self.now()
        try:
            body = await _read(lowered, chunks, self.reading)
            return await self._store_or_refuse(body, lowered, began)
        except _Refused as refused:
            ack_ms = milliseconds(self.now() - began)
            self.telemetry.emit(
                WebhookRejected(reason=refused.reason, ack_ms=ack_ms, detail=refused.detail)
            )
            return refused.reply

    async def _store_or_refuse(
        self, body: bytes, headers: Mapping[str, str], began: datetime
    ) -> WebhookResponse:
        try:
            return await self._store(body, headers, began)
        except InvalidWebhook as error:
            reply = response(400, {"error": "provider_webhook_invalid"})
            raise _Refused(error.reason, reply) from None
        except ConfigurationError:
            reply = response(500, {"error": "server_misconfigured"})
            raise _Refused("misconfigured", reply) from None
        except (DatabaseUnavailable, InvalidValue, AlreadyClosed) as error:
            raise _Refused("not_stored", TRY_AGAIN, str(error)) from None
        except Exception as error:  # noqa: BLE001  the sender keeps what is not answered with 2xx
            shown = scrub_traceback(error, has_messages=False)
            raise _Refused("not_stored", TRY_AGAIN, shown) from None

    async def _store(
        self, body: bytes, headers: Mapping[str, str], began: datetime
    ) -> WebhookResponse:
        now, settings = self.now(), self.settings
        tolerance = settings.tolerance.total_seconds()
        # the signature first: what nobody has signed is not read
        secret = self.provider.verify(headers, body, settings.secrets, now, tolerance)
        received = self.provider.read_event(headers, body)
        if settings.environment and received.environment != settings.environment:
            raise InvalidWebhook("other_environment")
        webhook_event = self._webhook_event(received, headers, body, now)
        is_wanted = webhook_event.status is EventStatus.PENDING
        storing = self.inbox.storing(webhook_event)
        give_up = partial(_give_up, storing)
        self.storing.begin(give_up)
        try:
            is_new = await storing
        finally:
            self.storing.stop(give_up)
        ended = self.now()
        self.telemetry.emit(
            WebhookVerified(
                type=received.type,
                secret=secret,
                duplicate=not is_new,
                acted_on=is_wanted,
                ack_ms=milliseconds(ended - began),
                delivery_ms=milliseconds(began - (received.occurred_at or began)),
            ),
            at=ended,
        )
        if not is_new:
            return DUPLICATE
        if not is_wanted:
            ignored = WebhookIgnored(type=received.type, reason="not_acted_on")
            self.telemetry.emit(ignored, at=ended)
            return IGNORED
        return STORED

    def _webhook_event(
        self, received: ReceivedEvent, headers: Mapping[str, str], body: bytes, now: datetime
    ) -> WebhookEvent:
        names = self.provider.webhook_headers
        for_app = not received.acted_on and self.is_for_app(received.type)
        is_wanted = received.acted_on or for_app
        return WebhookEvent(
            id=str(uuid4()),
            provider_name=self.inbox.provider,
            environment=self.inbox.environment,
            event_id=received.event_id,
            type=received.type,
            provider_asset_id=received.provider_asset_id,
            provider_upload_id=received.provider_upload_id,
            passthrough=received.passthrough,
            occurred_at=credible(received.occurred_at, now),
            received_at=now,
            headers={name: headers[name] for name in names if name in headers},
            body=body,
            status=EventStatus.PENDING if is_wanted else EventStatus.IGNORED,
            next_attempt_at=now if is_wanted else None,
            for_app=for_app,
            object_id=received.object_id if for_app else None,
        )


def receiver_of(context: Context, is_for_app: Callable[[str], bool] | None = None) -> Receiver:
    """The receiver of one environment; `is_for_app` by default as the settings say."""
    types = context.webhooks.types
    return Receiver(
        provider=context.gateway.provider,
        inbox=context.store.inbox,
        telemetry=context.telemetry,
        settings=context.webhooks,
        now=context.now,
        is_for_app=is_for_app or (lambda event_type: matches_any(event_type, types)),
        reading=SharedTimer(context.webhooks.read_within),
        storing=SharedTimer(context.webhooks.store_within),
    )


def _give_up(storing: "asyncio.Future[bool]") -> None:
    """End the wait, and not what is waited for: a driver may need far longer to give up."""
    if not storing.done():
        storing.set_exception(DatabaseUnavailable("the database took too long to store it"))


async def _read(
    headers: Mapping[str, str], chunks: AsyncIterable[bytes], reading: SharedTimer
) -> bytes:
    # nothing is unpacked before its signature is verified, and no provider packs its webhooks
    if headers.get("content-encoding", "").strip().lower() not in {"", "identity"}:
        raise _Refused("packed", response(415, {"error": "unsupported_encoding"}))
    # too much is refused unread; 20 digits are plenty, and int() is slow with many
    announced = headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > LARGEST_BODY:
        raise _Refused("too_large", TOO_LARGE)
    body = bytearray()
    try:
        with reading.timeout():
            async for chunk in chunks:
                body += chunk
                if len(body) > LARGEST_BODY:
                    raise _Refused("too_large", TOO_LARGE)
    except TimeoutError:
        raise _Refused("too_slow", response(408, {"error": "request_timeout"})) from None
    return bytes(body)
