"""Faults about apps that hear of changes, each as one would make it by mistake."""

import dataclasses
from collections.abc import Sequence
from importlib import import_module
from typing import Any
from unittest.mock import patch

import sqlalchemy as sa

from rindle_sync.domain import OutgoingStatus
from rindle_sync.store.change_feed import ChangeFeed, PublishedBatch
from rindle_sync.store.outgoing_due import HAS_COME
from rindle_sync.store.outgoing_webhooks import OutgoingWebhooks, SentWebhook

# by name: the face of a package may give a class the name of its module
deliver: Any = import_module("rindle_sync.runtime.outgoing.deliver")
change_feed: Any = import_module("rindle_sync.store.change_feed")
outgoing_webhooks: Any = import_module("rindle_sync.store.outgoing_webhooks")
repository: Any = import_module("rindle_sync.store.repository")

Patches = Sequence[Any]


def webhooks_apart() -> Patches:
    """Webhooks are made in a transaction of their own, after the changes are published."""
    original = ChangeFeed.publish_batch

    lines: list[Any] = []

    async def nothing(*arguments: Any) -> int:
        lines.extend(arguments[-1])
        return 0

    async def publish_batch(self: ChangeFeed, *limit: int, **values: Any) -> PublishedBatch:
        lines.clear()
        batch = await original(self, *limit, **values)
        async with self.writing() as connection:
            made = await made_apart(connection, self.key, self.parameters, lines)
        return dataclasses.replace(batch, webhooks=made)

    made_apart = outgoing_webhooks.add_webhooks
    return [
        patch.object(change_feed, "add_webhooks", nothing),
        patch.object(ChangeFeed, "publish_batch", publish_batch),
    ]


def webhooks_at_most_once() -> Patches:
    """Webhooks count as delivered before they are sent."""
    original = OutgoingWebhooks.claim

    async def claim(self: OutgoingWebhooks, endpoint_id: str, **values: Any) -> Any:
        endpoint, claimed = await original(self, endpoint_id, **values)
        now, sent = values["now"], []
        for each in claimed:
            done = {"status": OutgoingStatus.DELIVERED, "next_attempt_at": None, "ended_at": now}
            ended = dataclasses.replace(each.webhook, **done)
            sent.append(SentWebhook(ended, each.token, None))
        if sent:
            await self.end(endpoint_id, sent, now)
        return endpoint, claimed

    return [patch.object(OutgoingWebhooks, "claim", claim)]


def webhooks_in_any_order() -> Patches:
    """A webhook is sent whether or not the one before it was delivered."""
    statement = repository.claim_statement(
        outgoing_webhooks.outgoing_webhooks,
        HAS_COME,
        outgoing_webhooks._OF_ENDPOINT,
        first=[outgoing_webhooks.outgoing_webhooks.c.next_attempt_at],
        returning=outgoing_webhooks._COLUMNS,
    )
    return [patch.object(outgoing_webhooks, "_CLAIM", statement)]


def webhooks_given_up() -> Patches:
    """A webhook that failed is dead."""

    def after_attempt(webhook: Any, attempt: Any, now: Any, **_: Any) -> Any:
        is_well = attempt.status == 204
        status = OutgoingStatus.DELIVERED if is_well else OutgoingStatus.DEAD
        return dataclasses.replace(webhook, status=status, next_attempt_at=None, ended_at=now)

    return [patch.object(deliver, "after_attempt", after_attempt)]


def webhooks_by_the_first_secret() -> Patches:
    """Every endpoint is signed for by the secret of the first one."""
    known: list[str] = []
    original = deliver.signed_headers

    def signed_headers(message_id: str, body: bytes, secrets: Any, now: Any) -> Any:
        known.extend(secrets)
        return original(message_id, body, known[:1], now)

    return [patch.object(deliver, "signed_headers", signed_headers)]


def webhooks_with_ids() -> Patches:
    """A webhook says which asset of the provider's it is about."""
    original = deliver.change_payload

    def change_payload(published: Any, row: Any) -> Any:
        payload = original(published, row)
        return payload | {"asset_id": row.provider_asset_id} if row else payload

    return [patch.object(deliver, "change_payload", change_payload)]


def feed_behind_the_newest() -> Patches:
    """A page of the feed begins at its end."""
    newest_first = change_feed._PAGE.order_by(None).order_by(sa.desc("position"))
    return [patch.object(change_feed, "_PAGE", newest_first)]


FAULTS = (
    webhooks_apart,
    webhooks_at_most_once,
    webhooks_in_any_order,
    webhooks_given_up,
    webhooks_by_the_first_secret,
    webhooks_with_ids,
    feed_behind_the_newest,
)
