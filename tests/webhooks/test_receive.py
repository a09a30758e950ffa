"""The webhook endpoint: what is stored, what is refused, and how each request is answered."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.pool import QueuePool

from rindle_sync.domain import EventStatus
from rindle_sync.errors import ConfigurationError, InvalidWebhook
from rindle_sync.providers.mux import sign
from rindle_sync.providers.mux.webhooks import read_event, read_observation, verify
from rindle_sync.store.schema import webhook_events
from rindle_sync.telemetry import WebhookIgnored, WebhookRejected, WebhookVerified
from rindle_sync.webhooks import LARGEST_BODY, WebhookApp, at_paths
from tests.support.rows import NOW
from tests.support.webhooks import (
    SECRET,
    a_receiver,
    an_event,
    chunks,
    deliver,
    kept_bodies,
    lock,
    with_secrets,
)
from tests.support.world import World

VECTORS = Path(__file__).parents[3] / "shared" / "mux" / "vectors.json"
OURS = {
    "timestamp_too_old": "timestamp_out_of_window",
    "ok_in_both_sdks": "timestamp_out_of_window",
}


def vectors() -> dict[str, Any]:
    if not VECTORS.is_file():
        pytest.skip(f"the signature vectors are not there: {VECTORS}")
    return dict(json.loads(VECTORS.read_text()))


async def stored(world: World) -> list[Any]:
    return await world.context.store.inbox.list()


# whose it is


def test_every_signature_vector_holds() -> None:
    for vector in vectors()["webhook_signature"]["vectors"]:
        now = datetime.fromtimestamp(vector["now"], UTC)
        headers, body = {"mux-signature": vector["header"]}, vector["body"].encode()
        tolerance, expect = (
            vector["tolerance_seconds"],
            OURS.get(vector["expect"], vector["expect"]),
        )
        if expect == "ok":
            assert verify(headers, body, [vector["secret"]], now, tolerance) == 0, vector["name"]
        elif expect == "configuration_error":
            with pytest.raises(ConfigurationError):
                verify(headers, body, [vector["secret"]], now, tolerance)
        else:
            with pytest.raises(InvalidWebhook) as refused:
                verify(headers, body, [vector["secret"]], now, tolerance)
            assert refused.value.reason in {expect, "malformed_header", "no_v1_signature"}, vector[
                "name"
            ]


def test_every_payload_that_was_really_delivered_can_be_read() -> None:
    for vector in vectors()["webhook_payloads"]:
        payload = vector["payload"]
        body = json.dumps(payload).encode()
        event = read_event(body)
        assert event.event_id == payload["id"]
        assert event.occurred_at == datetime.fromisoformat(payload["created_at"])
        if event.acted_on:
            assert read_observation(body, NOW).event_id == event.event_id


def test_every_event_type_is_acted_on_or_left_alone_as_documented() -> None:
    acted_on = {
        type_
        for type_ in vectors()["webhook_event_types"]
        if read_event(json.dumps({"type": type_, "id": "e"}).encode()).acted_on
    }
    assert acted_on == {
        *(name for name in vectors()["webhook_event_types"] if name.startswith("video.asset.")),
        *(f"video.upload.{word}" for word in ("created", "asset_created", "cancelled", "errored")),
    }


async def test_any_of_several_secrets_will_do_and_its_position_is_told(world: World) -> None:
    with_secrets(world, "old-secret", "new-secret")

    reply = await deliver(world, an_event("asset-1"), secret="new-secret")

    assert reply.status == 202
    assert [e.secret for e in world.events(WebhookVerified) if isinstance(e, WebhookVerified)] == [
        1
    ]


@pytest.mark.parametrize("seconds", [-301, 301])
async def test_a_delivery_signed_outside_the_window_is_refused_in_both_directions(
    world: World, seconds: int
) -> None:
    with_secrets(world)
    body = json.dumps(an_event("asset-1")).encode()
    signature = sign(body, SECRET, world.clock.now() + timedelta(seconds=seconds))

    reply = await a_receiver(world).receive("POST", {"mux-signature": signature}, chunks(body))

    assert (reply.status, json.loads(reply.body)) == (400, {"error": "provider_webhook_invalid"})
    assert await stored(world) == []


@pytest.mark.parametrize("name", ["Mux-Signature", "mux-signature", "MUX-SIGNATURE"])
async def test_the_header_may_be_written_in_any_case(world: World, name: str) -> None:
    with_secrets(world)
    body = json.dumps(an_event("asset-1")).encode()

    assert (
        await a_receiver(world).receive("POST", {name: sign(body, SECRET, NOW)}, chunks(body))
    ).status == 202


async def test_without_any_secret_everything_is_refused(world: World) -> None:
    reply = await deliver(world, an_event("asset-1"), secret="")

    assert (reply.status, json.loads(reply.body)) == (500, {"error": "server_misconfigured"})
    assert await stored(world) == []


async def test_a_forged_delivery_is_refused_and_nothing_of_it_is_stored(world: World) -> None:
    with_secrets(world)

    reply = await deliver(world, an_event("asset-1"), secret="guessed")

    assert reply.status == 400
    assert await stored(world) == []
    assert [e.reason for e in world.events(WebhookRejected) if isinstance(e, WebhookRejected)] == [
        "signature_mismatch"
    ]


async def test_an_event_of_another_environment_is_refused_and_counted(world: World) -> None:
    with_secrets(world, environment="env-of-tests")

    assert (await deliver(world, an_event("asset-1"))).status == 202
    assert (await deliver(world, an_event("asset-1", environment="another"))).status == 400
    assert [e.reason for e in world.events(WebhookRejected) if isinstance(e, WebhookRejected)] == [
        "other_environment"
    ]


# what is answered


async def test_a_delivery_is_stored_before_it_is_answered(world: World) -> None:
    with_secrets(world)
    event = an_event("asset-1")

    reply = await deliver(world, event)

    [webhook_event] = await stored(world)
    assert (reply.status, webhook_event.status, webhook_event.event_id) == (
        202,
        EventStatus.PENDING,
        event["id"],
    )
    assert json.loads((await kept_bodies(world))[webhook_event.event_id]) == event
    assert world.calls == 0


async def test_a_second_delivery_is_answered_200_and_changes_nothing_even_with_another_body(
    world: World,
) -> None:
    with_secrets(world)
    first = an_event("asset-1", id="event-1")
    await deliver(world, first)

    reply = await deliver(world, an_event("asset-2", "video.asset.deleted", id="event-1"))

    [webhook_event] = await stored(world)
    assert reply.status == 200
    assert json.loads((await kept_bodies(world))[webhook_event.event_id]) == first


async def test_a_delivery_is_still_known_after_its_body_was_pruned(world: World) -> None:
    with_secrets(world)
    event = an_event("asset-1", "video.delivery.high_traffic")
    await deliver(world, event)
    world.clock.move(timedelta(days=365))
    later = world.clock.now()
    assert await world.context.store.inbox.prune(ended_before=later, dead_before=later) == 1

    assert (await deliver(world, event)).status == 200
    assert len(await stored(world)) == 1


async def test_a_type_that_says_nothing_of_a_row_is_stored_and_ignored(world: World) -> None:
    with_secrets(world)

    reply = await deliver(world, an_event("asset-1", "video.delivery.high_traffic"))

    [webhook_event] = await stored(world)
    assert (reply.status, webhook_event.status, webhook_event.next_attempt_at) == (
        200,
        EventStatus.IGNORED,
        None,
    )
    assert len(world.events(WebhookIgnored)) == 1


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS"])
async def test_only_post_is_allowed(world: World, method: str) -> None:
    reply = await a_receiver(with_secrets(world)).receive(method, {}, chunks(b""))

    assert (reply.status, reply.headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"nonsense", b'{"type": "x"}', b'{"id": "x"}', b'{"id":1,"type":""}'],
)
async def test_a_signed_body_that_is_no_event_is_a_400(world: World, body: bytes) -> None:
    assert (await deliver(with_secrets(world), body)).status == 400
    assert await stored(world) == []


async def test_a_body_over_the_cap_is_refused_while_it_is_read(world: World) -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 65_536
            yield b"x" * 65_536

    reply = await a_receiver(with_secrets(world)).receive("POST", {}, endless())

    assert reply.status == 413
    assert read <= LARGEST_BODY + 2 * 65_536


async def test_a_body_that_says_it_is_over_the_cap_is_not_read_at_all(world: World) -> None:
    async def unread() -> AsyncIterator[bytes]:
        pytest.fail("the body was read")
        yield b""  # type: ignore[unreachable]

    reply = await a_receiver(with_secrets(world)).receive(
        "POST", {"Content-Length": str(LARGEST_BODY + 1)}, unread()
    )

    assert reply.status == 413


async def test_a_body_that_never_ends_is_not_waited_for(world: World) -> None:
    with_secrets(world, read_within=timedelta(milliseconds=50))

    async def stalls() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    assert (await a_receiver(world).receive("POST", {}, stalls())).status == 408


async def test_a_body_of_exactly_the_cap_is_read(world: World) -> None:
    event = an_event("asset-1")
    padding = LARGEST_BODY - len(json.dumps(event | {"pad": ""}).encode())

    assert (await deliver(with_secrets(world), event | {"pad": "x" * padding})).status == 202


async def test_what_cannot_be_stored_is_to_be_sent_again(world: World) -> None:
    with_secrets(world)
    async with world.context.store.database.engine.begin() as connection:
        await connection.run_sync(webhook_events.drop)

    reply = await deliver(world, an_event("asset-1"))

    assert (reply.status, reply.headers["Retry-After"]) == (503, "5")


BROKEN = {
    "a constraint of somebody else's": (
        "CREATE TRIGGER odd BEFORE INSERT ON provider_webhook_events "
        "BEGIN SELECT RAISE(ABORT, 'no'); END",
        "ALTER TABLE provider_webhook_events ADD CHECK (type = 'none')",
    ),
    "a column that is gone": (
        "ALTER TABLE provider_webhook_events DROP COLUMN headers",
        "ALTER TABLE provider_webhook_events DROP COLUMN headers",
    ),
}


@pytest.mark.parametrize(("on_sqlite", "on_postgresql"), BROKEN.values(), ids=BROKEN)
async def test_whatever_the_store_raises_the_sender_is_asked_to_try_again(
    world: World, on_sqlite: str, on_postgresql: str
) -> None:
    with_secrets(world)
    async with world.context.store.database.engine.begin() as connection:
        is_sqlite = connection.dialect.name == "sqlite"
        await connection.execute(text(on_sqlite if is_sqlite else on_postgresql))

    reply = await deliver(world, an_event("asset-1"))

    assert (reply.status, reply.headers["Retry-After"]) == (503, "5")
    assert [e.reason for e in world.told if isinstance(e, WebhookRejected)] == ["not_stored"]


async def test_a_database_that_is_locked_is_not_waited_for_longer_than_the_sender_waits(
    world: World,
) -> None:
    with_secrets(world, store_within=timedelta(milliseconds=200))

    async with world.context.store.database.engine.begin() as connection:
        await connection.execute(lock(world))
        reply = await deliver(world, an_event("asset-1"))

    with_secrets(world, store_within=timedelta(minutes=1))
    assert reply.status == 503
    assert (await deliver(world, an_event("asset-2"))).status == 202


async def test_what_nobody_waits_for_any_more_is_still_stored_before_we_close(world: World) -> None:
    with_secrets(world, store_within=timedelta(milliseconds=20))
    event = an_event("asset-1")
    async with world.context.store.database.engine.begin() as connection:
        await connection.execute(lock(world))
        reply = await deliver(world, event)

    await world.context.store.inbox.database.intake.finish(timedelta(minutes=1))

    [webhook_event] = await stored(world)
    assert (reply.status, webhook_event.event_id) == (503, event["id"])


async def test_what_cannot_be_stored_before_we_close_gives_its_connection_back(
    world: World,
) -> None:
    with_secrets(world, store_within=timedelta(milliseconds=20))
    pool = world.context.store.database.engine.pool
    assert isinstance(pool, QueuePool)
    async with world.context.store.database.writing() as connection:
        await connection.execute(lock(world))
        reply = await deliver(world, an_event("asset-1"))

        await world.context.store.inbox.database.intake.finish(timedelta(milliseconds=20))

        in_use = pool.checkedout()
    assert (reply.status, in_use) == (503, 1)
    assert await stored(world) == []


async def test_two_deliveries_of_one_event_at_once_are_stored_once(world: World) -> None:
    with_secrets(world)
    event = an_event("asset-1")

    replies = await asyncio.gather(*(deliver(world, event) for _ in range(6)))

    assert sorted(reply.status for reply in replies) == [200] * 5 + [202]
    assert len(await stored(world)) == 1


# as an ASGI app


async def test_the_endpoint_speaks_asgi_and_wakes_whoever_applies(world: World) -> None:
    with_secrets(world)
    woken: list[bool] = []
    app = at_paths({"/webhooks/mux": WebhookApp(a_receiver(world), lambda: woken.append(True))})
    body = json.dumps(an_event("asset-1")).encode()
    headers = {"mux-signature": sign(body, SECRET, world.clock.now())}

    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url="http://us"
    ) as client:
        first = await client.post("/webhooks/mux", content=body, headers=headers)
        second = await client.post("/webhooks/mux", content=body, headers=headers)
        wrong = await client.get("/webhooks/mux")
        elsewhere = await client.post("/webhooks", content=body, headers=headers)

    assert [r.status_code for r in (first, second, wrong, elsewhere)] == [202, 200, 405, 404]
    assert wrong.headers["allow"] == "POST"
    assert woken == [True]


async def test_a_sender_that_hangs_up_leaves_nothing(world: World) -> None:
    sent: list[Any] = []
    scope = {"type": "http", "method": "POST", "path": "/", "headers": []}

    async def hangs_up() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await WebhookApp(a_receiver(with_secrets(world)))(scope, hangs_up, send)

    assert sent == []
    assert await stored(world) == []


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "identity, gzip", "GZIP"])
async def test_a_packed_delivery_is_refused_unread(world: World, encoding: str) -> None:
    with_secrets(world)
    row = await world.track()

    reply = await deliver(world, an_event(row), **{"Content-Encoding": encoding})

    assert (reply.status, json.loads(reply.body)) == (415, {"error": "unsupported_encoding"})
    assert await world.context.store.inbox.list() == []


async def test_a_delivery_that_says_that_it_is_not_packed_is_stored(world: World) -> None:
    with_secrets(world)
    row = await world.track()

    reply = await deliver(world, an_event(row), **{"Content-Encoding": "identity"})

    assert reply.status == 202
