"""Outgoing webhooks: one for each change and endpoint, in the order of each row, at least once.

Over real HTTP, to servers that fail, hang, or ask for less.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from aiohttp import web
from standardwebhooks import Webhook

from rindle_sync.domain import (
    ANSWERED_GONE,
    FAILED_FOR_LONG,
    RETRY_WAITS,
    JobKind,
    OutgoingEndpoint,
    OutgoingSecret,
    OutgoingStatus,
    OutgoingWebhook,
    State,
)
from rindle_sync.errors import ConfigurationError
from rindle_sync.runtime import JobRunner
from rindle_sync.runtime.outgoing.client import OutgoingClient
from rindle_sync.runtime.outgoing.deliver import AT_ONCE, NO_CHANGE, Deliveries
from rindle_sync.runtime.outgoing.endpoints import OutgoingWebhooksOfApp
from rindle_sync.runtime.outgoing.signature import new_secret
from rindle_sync.store import DueJobs
from rindle_sync.store.schema.tables import changes
from rindle_sync.telemetry import (
    OutgoingEndpointDisabled,
    OutgoingWebhookDelivered,
    OutgoingWebhookFailed,
)
from tests.runtime.test_dispatch import a_row_that_went_through, moved
from tests.support.app_endpoint import AppEndpoint, an_endpoint
from tests.support.world import World, a_job_runner

QUICK = timedelta(seconds=0.5)


class Outgoing:
    """The jobs of a process that has endpoints, and what an operator does."""

    def __init__(self, world: World, limit: timedelta = QUICK) -> None:
        self.world = world
        self.runner: JobRunner = a_job_runner(world)
        self.deliveries = Deliveries(world.context, OutgoingClient(limit))
        self.runner.send_with(self.deliveries)
        self.api = OutgoingWebhooksOfApp(
            world.context.store, self.deliveries.client, world.clock.now
        )

    async def to(
        self, endpoint: AppEndpoint, name: str = "app", **options: Any
    ) -> OutgoingEndpoint:
        return await self.api.create(name, endpoint.url, allow_private=True, **options)

    async def deliver(self) -> int:
        await self.runner.publish()
        return await self.runner.deliver()

    async def webhooks(self, name: str = "app") -> list[OutgoingWebhook]:
        found = await self.api.webhooks(name)
        assert found is not None
        return sorted(found, key=lambda webhook: webhook.id)

    async def statuses(self, name: str = "app") -> list[OutgoingStatus]:
        return [webhook.status for webhook in await self.webhooks(name)]

    async def due(self) -> set[JobKind]:
        world = self.world
        jobs = DueJobs(world.context.store.database, "mux")
        now = world.clock.now()
        found = await jobs.due([self.runner.due_thresholds(now)], now=now)
        return {job.kind for job in found.jobs}


@pytest.fixture
async def outgoing(world: World) -> AsyncIterator[Outgoing]:
    outgoing = Outgoing(world)
    yield outgoing
    await outgoing.runner.close()


async def test_each_change_is_told_once_in_the_order_of_its_row(outgoing: Outgoing) -> None:
    async with an_endpoint() as app:
        endpoint = await outgoing.to(app)
        rows = [
            await a_row_that_went_through(outgoing.world, State.PROCESSING, State.READY)
            for _ in range(3)
        ]

        assert await outgoing.deliver() == 6
        assert await outgoing.deliver() == 0

    for row in rows:
        told = [request for request in app.received if request.place[0] == row.id]
        assert [request.type for request in told] == ["asset.processing", "asset.ready"]
        assert told[1].headers["webhook-id"] == f"msg_{row.id.replace('-', '')}_3"
        assert told[1].json["data"]["reference"] == row.reference
    [secret] = endpoint.signing_secrets(outgoing.world.clock.now())
    for request in app.received:
        signed = Webhook(secret).sign(
            request.headers["webhook-id"], outgoing.world.clock.now(), request.body.decode()
        )
        assert request.headers["webhook-signature"] == signed
        assert request.headers["content-type"] == "application/json"
        assert request.path == "/hooks/secretpath0001"
    assert await outgoing.statuses() == [OutgoingStatus.DELIVERED] * 6


async def test_changes_from_before_an_endpoint_are_not_told(outgoing: Outgoing) -> None:
    async with an_endpoint() as app:
        row = await a_row_that_went_through(outgoing.world, State.PROCESSING)
        await outgoing.to(app)
        await moved(outgoing.world, row, State.READY)
        await outgoing.deliver()

    assert app.types == ["asset.ready"]


async def test_endpoints_get_the_types_that_they_want(outgoing: Outgoing) -> None:
    async with an_endpoint() as every, an_endpoint() as some:
        await outgoing.to(every, "every")
        await outgoing.to(some, "some", types=["asset.r*", "asset.errored"])
        await a_row_that_went_through(outgoing.world, State.PROCESSING, State.READY)
        await outgoing.deliver()

    assert every.types == ["asset.processing", "asset.ready"]
    assert some.types == ["asset.ready"]


async def test_a_failed_one_is_sent_again_by_the_schedule_and_then_dead(outgoing: Outgoing) -> None:
    world = outgoing.world
    async with an_endpoint(*[500] * 10) as app:
        await outgoing.to(app)
        await a_row_that_went_through(world, State.READY)
        waits = []
        assert await outgoing.deliver() == 1
        while (found := (await outgoing.webhooks())[0]).status is OutgoingStatus.PENDING:
            assert found.next_attempt_at
            waits.append(found.next_attempt_at - world.clock.now())
            assert await outgoing.due() & {JobKind.DELIVER} == set()
            world.clock.time = found.next_attempt_at
            assert JobKind.DELIVER in await outgoing.due()
            assert await outgoing.deliver() == 1

    assert len(app.received) == 10
    assert len(set(app.ids)) == 1
    for wait, planned in zip(waits, RETRY_WAITS, strict=True):
        assert planned <= wait <= planned * 1.1
    [dead] = await outgoing.webhooks()
    assert (dead.status, dead.attempts) == (OutgoingStatus.DEAD, 10)
    assert (dead.response_status, dead.reason) == (500, "answered 500")
    failures = [e for e in world.events() if isinstance(e, OutgoingWebhookFailed)]
    assert [e.attempt for e in failures] == list(range(1, 11))
    assert [e.dead for e in failures] == [False] * 9 + [True]
    assert {e.row_id for e in failures} == {dead.row_id}


async def test_a_dead_one_is_replayed(outgoing: Outgoing) -> None:
    world = outgoing.world
    async with an_endpoint(*[500] * 10) as app:
        endpoint = await outgoing.to(app)
        await a_row_that_went_through(world, State.READY)
        await outgoing.deliver()
        for _ in range(9):
            world.clock.move(timedelta(hours=27))
            await outgoing.deliver()
            await outgoing.api.enable("app")
        assert await outgoing.statuses() == [OutgoingStatus.DEAD]
        later = world.clock.now() + timedelta(seconds=1)
        assert await outgoing.api.replay("app", since=later) == 0

        assert await outgoing.api.replay("app") == 1
        assert await outgoing.deliver() == 1

        [webhook] = await outgoing.webhooks()
        assert await outgoing.api.replay("app") == 0
        assert await outgoing.api.replay("app", webhook_id=webhook.id) == 1
        assert await outgoing.deliver() == 1

    assert len(app.received) == 12
    assert endpoint.is_enabled
    assert (await outgoing.webhooks())[0].attempts == 1


async def test_a_later_change_waits_for_the_one_before_and_others_do_not(
    outgoing: Outgoing,
) -> None:
    world = outgoing.world
    async with an_endpoint(500) as app:
        await outgoing.to(app)
        slow = await a_row_that_went_through(world, State.PROCESSING)
        await outgoing.deliver()
        await moved(world, slow, State.READY)
        other = await a_row_that_went_through(world, State.READY)
        await outgoing.deliver()
        places = [request.place for request in app.received]
        is_at_rest = JobKind.DELIVER not in await outgoing.due() or await outgoing.deliver() == 0
        assert JobKind.DELIVER not in await outgoing.due()

        world.clock.move(6)
        await outgoing.deliver()

    assert places == [(slow.id, 2), (other.id, 2)]
    assert is_at_rest
    assert [request.place for request in app.received[2:]] == [(slow.id, 2), (slow.id, 3)]


async def test_a_dead_one_lets_the_next_of_its_row_go(outgoing: Outgoing) -> None:
    world = outgoing.world
    async with an_endpoint(*[404] * 10) as app:
        await outgoing.to(app)
        await a_row_that_went_through(world, State.PROCESSING, State.READY)
        # ten failures in a row pause the endpoint for a moment
        for wait in (timedelta(0), *RETRY_WAITS, timedelta(seconds=5)):
            world.clock.move(wait * 1.1)
            await outgoing.deliver()

    assert app.types == ["asset.processing"] * 10 + ["asset.ready"]
    assert await outgoing.statuses() == [OutgoingStatus.DEAD, OutgoingStatus.DELIVERED]


async def test_who_answers_410_gets_nothing_more_until_it_is_enabled(outgoing: Outgoing) -> None:
    world = outgoing.world
    async with an_endpoint(410) as app:
        await outgoing.to(app)
        row = await a_row_that_went_through(world, State.PROCESSING)
        await outgoing.deliver()
        await moved(world, row, State.READY)
        world.clock.move(timedelta(hours=1))
        assert await outgoing.deliver() == 0
        assert JobKind.DELIVER not in await outgoing.due()
        found = await outgoing.api.get("app")
        assert found
        assert found.health.disabled_reason == ANSWERED_GONE
        [waiting] = await outgoing.webhooks()
        assert (waiting.status, waiting.attempts) == (OutgoingStatus.PENDING, 0)

        assert await outgoing.api.enable("app")
        assert await outgoing.deliver() == 1

    assert app.types == ["asset.processing"] * 2
    [disabled] = [e for e in world.events() if isinstance(e, OutgoingEndpointDisabled)]
    assert (disabled.endpoint, disabled.reason) == ("app", ANSWERED_GONE)


async def test_what_waits_for_a_later_attempt_is_sent_once_its_endpoint_is_enabled(
    outgoing: Outgoing,
) -> None:
    world = outgoing.world
    async with an_endpoint(500, 500) as app:
        await outgoing.to(app)
        await a_row_that_went_through(world, State.PROCESSING)
        for _ in range(2):
            await outgoing.deliver()
            world.clock.move(timedelta(seconds=10))
        assert await outgoing.deliver() == 0
        assert await outgoing.api.enable("app")
        assert JobKind.DELIVER in await outgoing.due()
        assert await outgoing.deliver() == 1

    assert await outgoing.statuses() == [OutgoingStatus.DELIVERED]


@pytest.mark.parametrize("status", [429, 503])
async def test_who_asks_for_a_pause_gets_one_that_costs_no_attempt(
    outgoing: Outgoing, status: int
) -> None:
    world = outgoing.world
    async with an_endpoint(status, headers={"retry-after": "120"}) as app:
        await outgoing.to(app)
        await a_row_that_went_through(world, State.READY)
        other = await a_row_that_went_through(world, State.PENDING)
        await outgoing.deliver()
        came = len(app.received)
        await moved(world, other, State.READY)
        world.clock.move(119)
        assert await outgoing.deliver() == 0
        assert JobKind.DELIVER not in await outgoing.due()

        world.clock.move(2)
        assert JobKind.DELIVER in await outgoing.due()
        await outgoing.deliver()

    assert came <= 2
    assert set(await outgoing.statuses()) == {OutgoingStatus.DELIVERED}
    assert {webhook.attempts for webhook in await outgoing.webhooks()} == {1}


async def test_a_pause_is_kept_to_within_bounds(outgoing: Outgoing) -> None:
    world = outgoing.world
    async with an_endpoint(429, headers={"retry-after": "999999"}) as app:
        await outgoing.to(app)
        await a_row_that_went_through(world, State.READY)
        await outgoing.deliver()
        [webhook] = await outgoing.webhooks()
        assert webhook.attempts == 1  # it asked for more than it may

        world.clock.move(timedelta(hours=1, seconds=1))
        assert await outgoing.deliver() == 1


async def test_an_endpoint_that_fails_again_and_again_is_tried_with_growing_gaps(
    outgoing: Outgoing,
) -> None:
    world = outgoing.world
    async with an_endpoint(*[500] * 14) as app:
        await outgoing.to(app)
        for _ in range(40):
            await a_row_that_went_through(world, State.READY)
        await outgoing.deliver()
        first = len(app.received)
        came = []
        for pause in (5, 10, 20, 40):
            world.clock.move(pause - 1)
            assert await outgoing.deliver() == 0
            world.clock.move(1)
            await outgoing.deliver()
            came.append(len(app.received))

        world.clock.move(80)
        await outgoing.deliver()

        assert AT_ONCE <= first < 2 * AT_ONCE
        assert came[:-1] == list(range(first + 1, first + len(came)))
        world.clock.move(timedelta(minutes=6))
        await outgoing.deliver()

    assert set(await outgoing.statuses()) == {OutgoingStatus.DELIVERED}
    assert len(await outgoing.webhooks()) == 40


async def test_an_endpoint_that_fails_for_days_is_disabled(outgoing: Outgoing) -> None:
    world = outgoing.world
    async with an_endpoint(*[500] * 20) as app:
        await outgoing.to(app)
        await a_row_that_went_through(world, State.READY)
        await outgoing.deliver()
        for _ in range(5):
            world.clock.move(timedelta(days=1, seconds=1))
            await outgoing.deliver()

    endpoint = await outgoing.api.get("app")
    assert endpoint
    assert endpoint.health.disabled_reason == FAILED_FOR_LONG
    assert await outgoing.statuses() == [OutgoingStatus.PENDING]


async def test_one_that_hangs_holds_back_no_other(world: World) -> None:
    outgoing = Outgoing(world, timedelta(seconds=30))
    async with an_endpoint(hangs=True) as stuck, an_endpoint() as well:
        await outgoing.to(stuck, "stuck")
        await outgoing.to(well, "well")
        for _ in range(30):
            await a_row_that_went_through(world, State.READY)
        await outgoing.runner.publish()
        delivering = asyncio.create_task(outgoing.runner.deliver())
        async with asyncio.timeout(20):
            await well.has_received(30)
            await stuck.has_received(AT_ONCE)
            # and what comes now, while the other one still hangs
            await a_row_that_went_through(world, State.READY)
            await outgoing.runner.publish()
            await well.has_received(31)
        assert stuck.most_at_once == AT_ONCE
        delivering.cancel()
        await asyncio.wait({delivering})

    # what was under way is left for the next process, at once
    world.clock.move(1)
    assert JobKind.DELIVER in await outgoing.due()
    # the last one may have come in and not be noted yet
    assert (await outgoing.statuses("well")).count(OutgoingStatus.DELIVERED) >= 30
    assert set(await outgoing.statuses("stuck")) == {OutgoingStatus.PENDING}
    await outgoing.runner.close()


async def test_no_answer_in_time_is_a_failure(outgoing: Outgoing) -> None:
    async with an_endpoint(hangs=True) as app:
        await outgoing.to(app)
        await a_row_that_went_through(outgoing.world, State.READY)
        await outgoing.deliver()

    [webhook] = await outgoing.webhooks()
    assert (webhook.attempts, webhook.response_status) == (1, None)
    assert webhook.reason == "no answer within 0.5 s"


async def test_a_redirect_is_a_failure_and_is_not_followed(outgoing: Outgoing) -> None:
    async with an_endpoint() as other, an_endpoint(307, headers={"location": "/x"}) as app:
        app.headers["location"] = other.url
        await outgoing.to(app)
        await a_row_that_went_through(outgoing.world, State.READY)
        await outgoing.deliver()

    [webhook] = await outgoing.webhooks()
    assert webhook.reason == "answered 307"
    assert other.received == []


async def test_a_body_that_has_no_end_does_not_count(outgoing: Outgoing) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=200)
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65_536)

    async with an_endpoint(answer=endless) as app:
        await outgoing.to(app)
        await a_row_that_went_through(outgoing.world, State.READY)
        await outgoing.deliver()

    assert await outgoing.statuses() == [OutgoingStatus.DELIVERED]


async def test_a_body_that_does_not_come_does_not_count(world: World) -> None:
    outgoing = Outgoing(world, timedelta(seconds=10))

    async def slow(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=200, headers={"content-length": "5"})
        await response.prepare(request)
        await response.write(b"ab")
        await asyncio.Event().wait()
        return response

    async with an_endpoint(answer=slow) as app:
        await outgoing.to(app)
        await a_row_that_went_through(world, State.READY)
        await outgoing.deliver()
        assert await outgoing.statuses() == [OutgoingStatus.DELIVERED]
    await outgoing.runner.close()


async def test_a_connection_that_is_refused_is_a_failure(outgoing: Outgoing) -> None:
    async with an_endpoint() as app:
        pass
    await outgoing.to(app)
    await a_row_that_went_through(outgoing.world, State.READY)
    await outgoing.deliver()

    [webhook] = await outgoing.webhooks()
    assert webhook.reason == "could not connect (ECONNREFUSED)"


async def test_private_addresses_are_refused_unless_allowed(outgoing: Outgoing) -> None:
    world = outgoing.world
    async with an_endpoint() as app:
        port = app.url.split(":")[2].split("/")[0]
        names = {
            "number": f"https://127.0.0.1:{port}/",
            "name": f"https://localhost:{port}/",
            "six": f"https://[::1]:{port}/",
            "mapped": f"https://[::ffff:127.0.0.1]:{port}/",
        }
        for name, url in names.items():
            await outgoing.api.create(name, url)
        await a_row_that_went_through(world, State.READY)
        await outgoing.deliver()

    for name in names:
        [webhook] = await outgoing.webhooks(name)
        assert webhook.reason, name
        assert "allow_private" in webhook.reason, (name, webhook.reason)
    assert app.received == []


async def test_a_change_that_was_deleted_is_not_sent(outgoing: Outgoing) -> None:
    world = outgoing.world
    async with an_endpoint() as app:
        await outgoing.to(app)
        row = await a_row_that_went_through(world, State.READY)
        await outgoing.runner.publish()
        async with world.context.store.database.writing() as connection:
            await connection.execute(sa.delete(changes).where(changes.c.row_id == row.id))
        await outgoing.deliver()

    [webhook] = await outgoing.webhooks()
    assert (webhook.status, webhook.reason) == (OutgoingStatus.DEAD, NO_CHANGE)
    assert app.received == []


async def test_a_row_is_forgotten_with_its_webhooks_and_later_rows_are_told_of(
    outgoing: Outgoing,
) -> None:
    # SQLite gives the number of the deleted change again
    world = outgoing.world
    async with an_endpoint() as app:
        await outgoing.to(app)
        row = await a_row_that_went_through(world, State.READY)
        await outgoing.deliver()
        await world.context.store.removal.remove(row.id, world.clock.now(), history=True)
        assert await outgoing.webhooks() == []
        later = await a_row_that_went_through(world, State.READY)
        await outgoing.deliver()

    assert [request.place[0] for request in app.received] == [row.id, later.id]


async def test_a_row_that_is_gone_is_told_of_without_it(outgoing: Outgoing) -> None:
    world = outgoing.world
    async with an_endpoint() as app:
        await outgoing.to(app)
        row = await a_row_that_went_through(world, State.READY)
        await world.context.store.removal.remove(row.id, world.clock.now())
        await outgoing.deliver()

    assert app.received[0].json["data"]["asset"] is None
    assert app.received[0].json["data"]["reference"] == row.reference


async def test_secrets_are_rotated_without_a_gap(outgoing: Outgoing) -> None:
    world, first = outgoing.world, new_secret()
    async with an_endpoint() as app:
        await outgoing.to(app, secret=first)
        rotated = await outgoing.api.rotate_secret("app", keep_old=timedelta(hours=1))
        assert rotated
        for pause in (timedelta(0), timedelta(hours=1)):
            world.clock.move(pause)
            await a_row_that_went_through(world, State.READY)
            await outgoing.deliver()

    new = rotated.secrets[0].secret
    signatures = [request.headers["webhook-signature"].split(" ") for request in app.received]
    expected = []
    for request, moment in zip(app.received, (1, 0), strict=True):
        now = world.clock.now() - timedelta(hours=moment)
        about = request.headers["webhook-id"], now, request.body.decode()
        secrets = [new, first] if moment else [new]
        expected.append([Webhook(secret).sign(*about) for secret in secrets])
    assert signatures == expected


async def test_two_processes_send_each_once(outgoing: Outgoing) -> None:
    world = outgoing.world
    async with an_endpoint() as app:
        await outgoing.to(app)
        for _ in range(40):
            await a_row_that_went_through(world, State.PROCESSING, State.READY)
        others = [Outgoing(world) for _ in range(3)]
        published = await asyncio.gather(*(other.runner.publish() for other in others))
        sent = await asyncio.gather(*(other.runner.deliver() for other in others))
        # one that found all leased by the others has ended before them
        assert sum(sent) + await outgoing.deliver() == 80
        for other in others:
            await other.runner.close()

    assert sum(published) == 80
    assert len(set(app.ids)) == len(app.ids) == 80
    versions: dict[str, list[int]] = {}
    for request in app.received:
        versions.setdefault(request.place[0], []).append(request.place[1])
    assert all(seen == [2, 3] for seen in versions.values())


async def test_a_killed_process_has_its_webhooks_sent_by_another(outgoing: Outgoing) -> None:
    world = outgoing.world
    async with an_endpoint() as app:
        endpoint = await outgoing.to(app)
        await a_row_that_went_through(world, State.PROCESSING, State.READY)
        await outgoing.runner.publish()
        now, lease = world.clock.now(), timedelta(minutes=3)
        _, claimed = await world.context.store.outgoing_webhooks.claim(
            endpoint.id, now=now, token=row_token(), until=now + lease, limit=10
        )
        assert len(claimed) == 1
        assert await outgoing.deliver() == 0

        world.clock.move(lease + timedelta(seconds=1))
        assert await outgoing.deliver() == 2

    assert app.types == ["asset.processing", "asset.ready"]


def row_token() -> str:
    return "00000000-0000-4000-8000-000000000001"


async def test_what_a_test_sends_is_signed_and_kept_nowhere(outgoing: Outgoing) -> None:
    async with an_endpoint(500) as app:
        endpoint = await outgoing.to(app, types=["asset.ready"])
        await outgoing.api.disable("app")
        answer = await outgoing.api.test("app")

    assert answer
    assert answer.attempt.status == 500
    assert app.types == ["test.ping"]
    signed = Webhook(endpoint.secrets[0].secret).sign(
        app.ids[0], outgoing.world.clock.now(), app.received[0].body.decode()
    )
    assert app.received[0].headers["webhook-signature"] == signed
    assert await outgoing.webhooks() == []


async def test_deleting_an_endpoint_deletes_its_webhooks(outgoing: Outgoing) -> None:
    async with an_endpoint() as app:
        await outgoing.to(app)
        await a_row_that_went_through(outgoing.world, State.READY)
        await outgoing.runner.publish()

        assert await outgoing.api.delete("app")
        assert not await outgoing.api.delete("app")
        assert await outgoing.deliver() == 0
        await outgoing.to(app)

    assert await outgoing.webhooks() == []
    assert app.received == []


async def test_what_no_endpoint_can_be_is_refused(outgoing: Outgoing) -> None:
    refused: list[tuple[str, dict[str, Any]]] = [
        ("name", {"name": "settings"}),
        ("name", {"name": "My App"}),
        ("name", {"name": "x" * 64}),
        ("url", {"url": "http://app.example.com/"}),
        ("url", {"url": "https://user:word@app.example.com/"}),
        ("secret", {"secret": "whsec_short"}),
        ("types", {"types": ["asset"]}),
    ]
    good: dict[str, Any] = {"name": "app", "url": "https://app.example.com/secretpath0001"}
    for setting, values in refused:
        with pytest.raises(ConfigurationError) as error:
            await outgoing.api.create(**good | values)
        assert error.value.setting == setting
        assert "secretpath" not in str(error.value)
    created = await outgoing.api.create(**good)
    with pytest.raises(ConfigurationError, match="another endpoint has this name"):
        await outgoing.api.create(**good)
    assert created.shown_url == "https://app.example.com"
    assert "secretpath" not in repr(created)
    assert created.secrets[0].secret not in repr(created)


async def test_old_webhooks_are_deleted_and_dead_ones_later(outgoing: Outgoing) -> None:
    world = outgoing.world
    async with an_endpoint() as app:
        await outgoing.to(app)
        await a_row_that_went_through(world, State.READY)
        await outgoing.deliver()
    world.clock.move(timedelta(days=7, seconds=1))
    webhooks = world.context.store.outgoing_webhooks
    at = world.clock.now() - timedelta(days=7)

    assert await webhooks.prune(delivered_before=at - timedelta(days=1), dead_before=at) == 0
    assert await webhooks.prune(delivered_before=at, dead_before=at) == 1


async def test_what_was_delivered_is_told_to_listeners(outgoing: Outgoing) -> None:
    world = outgoing.world
    async with an_endpoint() as app:
        await outgoing.to(app)
        row = await a_row_that_went_through(world, State.READY)
        world.clock.move(2)
        await outgoing.deliver()

    [event] = [e for e in world.events() if isinstance(e, OutgoingWebhookDelivered)]
    assert (event.row_id, event.reference, event.endpoint) == (row.id, row.reference, "app")
    assert (event.status, event.attempt, event.lag_ms) == (204, 1, 2000)


async def test_a_secret_that_somebody_broke_holds_back_no_other_endpoint(
    outgoing: Outgoing,
) -> None:
    world = outgoing.world
    async with an_endpoint() as broken, an_endpoint() as well:
        endpoint = await outgoing.to(broken, "broken")
        await outgoing.to(well, "well")
        damaged = replace(endpoint, secrets=(OutgoingSecret("whsec_broken"),))
        await world.context.store.outgoing_endpoints.change("broken", lambda _: damaged)
        await a_row_that_went_through(world, State.READY)
        await outgoing.deliver()

    assert await outgoing.statuses("well") == [OutgoingStatus.DELIVERED]
    [webhook] = await outgoing.webhooks("broken")
    assert webhook.reason == "it could not be made (ValueError)"
