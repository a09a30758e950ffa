"""Outgoing webhooks where an endpoint answers oddly, or a stored value is odd."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from rindle_sync.domain import JobKind, OutgoingStatus, State
from rindle_sync.runtime.outgoing.deliver import LEASED_AT_ONCE
from rindle_sync.store.outgoing_webhooks import OutgoingWebhooks
from rindle_sync.store.schema.outgoing_tables import outgoing_endpoints, outgoing_webhooks
from rindle_sync.store.schema.tables import changes
from tests.runtime.test_dispatch import a_row_that_went_through
from tests.runtime.test_outgoing import Outgoing
from tests.support.app_endpoint import an_endpoint
from tests.support.world import World


@pytest.fixture
async def outgoing(world: World) -> AsyncIterator[Outgoing]:
    outgoing = Outgoing(world)
    yield outgoing
    await outgoing.runner.close()


async def stored_as(world: World, name: str, **values: Any) -> None:
    """Have somebody write these values into the row of an endpoint."""
    database = world.context.store.database
    async with database.writing() as connection:
        named = outgoing_endpoints.c.name == name
        await connection.execute(sa.update(outgoing_endpoints).where(named).values(**values))


ODD_WAITS = [
    "Wed, 21 Oct 2015 07:28:00 +99999999999999",
    "Wed, 21 Oct 99999999999999 07:28:00 GMT",
    "Wed, 99999999999999999999999 Oct 2015 07:28:00 GMT",
    "Fri, 31 Dec 9999 23:59:59 -2359",
    "100000000000000000000",
    "-5",
]


@pytest.mark.parametrize("wait", ODD_WAITS)
async def test_a_wait_that_cannot_be_read_is_none(outgoing: Outgoing, wait: str) -> None:
    async with an_endpoint(503, headers={"retry-after": wait}) as app, an_endpoint() as well:
        await outgoing.to(app)
        await outgoing.to(well, "well")
        await a_row_that_went_through(outgoing.world, State.READY)
        await outgoing.deliver()

    assert await outgoing.statuses("well") == [OutgoingStatus.DELIVERED]
    [webhook] = await outgoing.webhooks()
    assert (webhook.status, webhook.attempts) == (OutgoingStatus.PENDING, 1)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("wait", ["0", "Wed, 21 Oct 2015 07:28:00 GMT"])
async def test_who_asks_for_no_wait_again_and_again_is_left_in_peace(
    outgoing: Outgoing, status: int, wait: str
) -> None:
    world = outgoing.world
    async with an_endpoint(*[status] * 1000, headers={"retry-after": wait}) as app:
        await outgoing.to(app)
        await a_row_that_went_through(world, State.READY)
        async with asyncio.timeout(5):
            await outgoing.deliver()
        assert len(app.received) == 1
        assert JobKind.DELIVER not in await outgoing.due()

        for _ in range(60):
            world.clock.move(10)
            await outgoing.deliver()

    assert len(app.received) < 12  # in ten minutes


ODD_VALUES: list[dict[str, Any]] = [
    {"types": sa.text("'null'")},
    {"types": [None, 3, {}]},
    {"types": {"asset.ready": 1}},
    {"types": "asset.*"},
    {"types": 7},
    {"secrets": sa.text("'null'")},
    {"secrets": []},
    {"secrets": [None]},
    {"secrets": [{"secret": 5, "until": None}]},
    {"secrets": [{"until": None}]},
    {"secrets": [{"secret": "whsec_x", "until": "soon"}]},
    {"secrets": [{"secret": "whsec_x", "until": "2026-01-01T00:00:00"}]},
    {"secrets": {"secret": "whsec_x"}},
    {"url": "http://[::1"},
    {"url": "no url"},
    {"url": ""},
    {"url": "http://\x01:99999/"},
    {"url": "ftp://x/"},
    {"failures": -5},
    {"failures": 2_000_000_000},
]


@pytest.mark.parametrize("values", ODD_VALUES, ids=range(len(ODD_VALUES)))
async def test_an_endpoint_that_is_stored_oddly_holds_back_no_other(
    outgoing: Outgoing, values: dict[str, Any]
) -> None:
    world = outgoing.world
    async with an_endpoint() as odd, an_endpoint() as well:
        await outgoing.to(odd, "odd")
        await outgoing.to(well, "well")
        await a_row_that_went_through(world, State.PENDING)
        await outgoing.runner.publish()
        await stored_as(world, "odd", **values)
        await a_row_that_went_through(world, State.READY)
        await outgoing.deliver()
        assert len(await world.context.store.change_feed.page(None, limit=10)) == 2

        assert await outgoing.statuses("well") == [OutgoingStatus.DELIVERED] * 2
        assert {endpoint.name for endpoint in await outgoing.api.list()} == {"odd", "well"}
        await outgoing.api.counts()

        # whoever sees it can put it right, or delete it
        await outgoing.api.change("odd", url=odd.url, types=["asset.*"])
        await outgoing.api.rotate_secret("odd", keep_old=timedelta(0))
        world.clock.move(timedelta(hours=1))
        await outgoing.deliver()
        assert len(odd.received) >= 1
        assert await outgoing.api.delete("odd")


@pytest.mark.parametrize("column", ["to_state", "from_state", "kind", "trigger", "error_kind"])
async def test_a_change_that_cannot_be_read_stops_no_other(outgoing: Outgoing, column: str) -> None:
    world, database = outgoing.world, outgoing.world.context.store.database
    async with an_endpoint() as app:
        await outgoing.to(app)
        await a_row_that_went_through(world, State.PENDING)
        await outgoing.runner.publish()
        await a_row_that_went_through(world, State.READY)
        async with database.writing() as connection:
            await connection.execute(sa.update(changes).values({column: "of a later version"}))
        well = await a_row_that_went_through(world, State.READY)
        await outgoing.deliver()

    feed = world.context.store.change_feed
    assert [received.json["data"]["row_id"] for received in app.received] == [well.id]
    for limit in (1, 10):
        [change] = await feed.page(None, limit=limit)
        assert change.change.row_id == well.id
    assert await feed.page(await feed.newest(), limit=1) == []


async def test_a_status_that_cannot_be_read_holds_back_no_other(outgoing: Outgoing) -> None:
    database = outgoing.world.context.store.database
    async with an_endpoint() as app:
        await outgoing.to(app)
        await a_row_that_went_through(outgoing.world, State.READY)
        await outgoing.runner.publish()
        async with database.writing() as connection:
            await connection.execute(sa.update(outgoing_webhooks).values(status="odd"))
        assert await outgoing.statuses() == [OutgoingStatus.PENDING]
        assert (await outgoing.api.counts())["app"][OutgoingStatus.PENDING] == 0
        await a_row_that_went_through(outgoing.world, State.READY)
        await outgoing.deliver()

    assert await outgoing.statuses() == [OutgoingStatus.DELIVERED] * 2


async def test_changes_of_an_endpoint_at_once_lose_none(outgoing: Outgoing) -> None:
    async with an_endpoint() as app:
        await outgoing.to(app)
        other = Outgoing(outgoing.world)
        rotated, _, _ = await asyncio.gather(
            outgoing.api.rotate_secret("app"),
            other.api.change("app", types=["asset.ready"]),
            outgoing.api.change("app", url=f"{app.url}/new"),
        )
        found = await outgoing.api.get("app")
        await other.runner.close()

    assert found
    assert rotated
    assert found.secrets[0].secret == rotated.secrets[0].secret
    assert (found.types, found.url) == (("asset.ready",), f"{app.url}/new")


async def test_secrets_that_are_rotated_at_once_all_sign(outgoing: Outgoing) -> None:
    async with an_endpoint() as app:
        first = await outgoing.to(app)
        made = await asyncio.gather(*(outgoing.api.rotate_secret("app") for _ in range(3)))
        found = await outgoing.api.get("app")

    assert found
    secrets = {kept.secret for kept in found.secrets}
    assert secrets == {first.secrets[0].secret, *(one.secrets[0].secret for one in made if one)}


async def test_a_long_run_has_few_leases_left_at_its_end(
    outgoing: Outgoing, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = list[str]()
    release = OutgoingWebhooks.release

    async def counted(webhooks: OutgoingWebhooks, token: str) -> None:
        released.append(token)
        await release(webhooks, token)

    monkeypatch.setattr(OutgoingWebhooks, "release", counted)
    async with an_endpoint() as app:
        await outgoing.to(app)
        for _ in range(3 * LEASED_AT_ONCE):
            await a_row_that_went_through(outgoing.world, State.READY)
        delivered, runs = 0, 0
        # on a busy machine a run may end before all is sent
        while sent := await outgoing.deliver():
            delivered, runs = delivered + sent, runs + 1

    assert delivered == 3 * LEASED_AT_ONCE
    assert len(released) <= runs + 1
