"""Deliveries for tests, signed as the provider signs them."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from msgspec import structs
from sqlalchemy import TextClause, select, text

from rindle_sync.domain import UNTRACKED, EventStatus, ProviderAsset, WebhookEvent, WebhookSettings
from rindle_sync.providers.mux import sign
from rindle_sync.store.schema import webhook_events
from rindle_sync.webhooks import Receiver, WebhookResponse, process_webhook_events, receiver_of
from tests.support.rows import NOW, a_row
from tests.support.world import World

SECRET = "whsec-of-the-tests"


def with_secrets(world: World, *secrets: str, **values: Any) -> World:
    """The same world, taking deliveries that are signed with one of `secrets`."""
    world.context = replace(
        world.context, webhooks=WebhookSettings(secrets=secrets or (SECRET,), **values)
    )
    return world


def an_event(
    row: ProviderAsset | str, type_: str = "video.asset.ready", **values: Any
) -> dict[str, Any]:
    """The body of a webhook about the asset of `row`."""
    asset_id = row if isinstance(row, str) else row.provider_asset_id or ""
    status = {"ready": "ready", "errored": "errored"}.get(type_.rpartition(".")[2], "preparing")
    return {
        "type": type_,
        "id": values.pop("id", str(uuid4())),
        "created_at": values.pop("at", "2026-11-23T12:00:00.000000Z"),
        "object": {"type": "asset", "id": asset_id},
        "environment": {"name": "Tests", "id": values.pop("environment", "env-of-tests")},
        "data": {"id": asset_id, "status": status, "created_at": 1_700_000_000, **values},
        "attempts": [],
    }


def an_upload_event(upload_id: str, type_: str, **values: Any) -> dict[str, Any]:
    """The body of a webhook about an upload."""
    event = an_event(upload_id, type_)
    status = {"created": "waiting"}.get(type_.rpartition(".")[2], type_.rpartition(".")[2])
    return event | {
        "object": {"type": "upload", "id": upload_id},
        "data": {"id": upload_id, "status": status, **values},
    }


def a_kept_notice(row: ProviderAsset, now: datetime) -> WebhookEvent:
    """A delivery which says that the asset of `row` is ready, as the endpoint keeps it."""
    event = an_event(
        row,
        playback_ids=[{"id": "playback-1", "policy": "public"}],
        at=f"{now:%Y-%m-%dT%H:%M:%S.%fZ}",
    )
    return WebhookEvent(
        id=str(uuid4()),
        provider_name=row.provider_name,
        environment=row.environment,
        event_id=event["id"],
        type=event["type"],
        provider_asset_id=row.provider_asset_id,
        provider_upload_id=None,
        passthrough=None,
        occurred_at=now,
        received_at=now,
        body=json.dumps(event).encode(),
        status=EventStatus.PENDING,
        next_attempt_at=now,
    )


def an_untracked_event(asset_id: str) -> WebhookEvent:
    """A stored event about an asset that no row tracked in time."""
    kept = a_kept_notice(a_row(provider_asset_id=asset_id), NOW)
    return structs.replace(kept, status=EventStatus.IGNORED, reason=UNTRACKED, next_attempt_at=None)


async def kept_bodies(world: World) -> dict[str, bytes]:
    """The bodies that are kept, by the ids of their events."""
    wanted = select(webhook_events.c.event_id, webhook_events.c.body)
    async with world.context.store.inbox.reading() as connection:
        return {line.event_id: line.body for line in await connection.execute(wanted)}


def signed(asset_id: str = "asset-1") -> tuple[dict[str, str], bytes]:
    """The headers and the body of a delivery that says that the asset is ready."""
    body = json.dumps(an_event(asset_id)).encode()
    return {"mux-signature": sign(body, SECRET, datetime.now(UTC))}, body


async def deliver(
    world: World, event: dict[str, Any] | bytes, *, secret: str = SECRET, **headers: str
) -> WebhookResponse:
    """Send one delivery, signed with `secret` at this moment, in chunks of ten bytes."""
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    signed = {"Mux-Signature": sign(body, secret, world.clock.now())} | headers
    return await a_receiver(world).receive("POST", signed, chunks(body))


def a_receiver(world: World) -> Receiver:
    """The endpoint of this world, as it is set up now."""
    return receiver_of(world.context)


async def tell_ready(world: World, row: ProviderAsset) -> None:
    """The webhook that the asset of `row` is ready comes now, with what is true, and is applied."""
    event = an_event(row, at=world.clock.now().isoformat())
    event["data"] = world.body_of(row.provider_asset_id or "")
    await deliver(world, event)
    await process_webhook_events(world.context)


async def chunks(body: bytes, size: int = 10_000) -> AsyncIterator[bytes]:
    for start in range(0, max(len(body), 1), size):
        yield body[start : start + size]


def moment(iso: str) -> datetime:
    return datetime.fromisoformat(iso)


def lock(world: World) -> TextClause:
    """What locks the webhook events inside a transaction; the one of SQLite is a lock itself."""
    return text(
        "LOCK TABLE provider_webhook_events"
        if "postgresql" in str(world.context.store.database.engine.url)
        else "SELECT 1"
    )
