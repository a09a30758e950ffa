"""The feed of changes, for clients that ask and for clients that wait."""

import asyncio
import time

import httpx
import pytest

from rindle_sync.app import connect
from rindle_sync.web.api import following
from tests.support.api import ApiWorld
from tests.support.processes import eventually
from tests.web.api.test_operations import problem


async def test_changes_are_followed_from_one_to_the_next(api: ApiWorld) -> None:
    for number in range(5):
        await api.ready(f"film-{number}")
    await api.publish()

    seen, after = list[str](), ""
    for _ in range(3):
        page = (await api.client.get(f"/changes?limit=2{after}")).json()
        seen += [change["data"]["reference"] for change in page["data"]]
        after = f"&after={page['next']}"
    end = (await api.client.get(f"/changes?limit=2{after}")).json()

    assert seen == [f"film-{number}" for number in range(5)]
    assert (end["data"], after) == ([], f"&after={end['next']}")


async def test_a_change_says_what_an_outgoing_webhook_says(api: ApiWorld) -> None:
    row = await api.ready("film-1")
    await api.publish()

    (change,) = (await api.client.get("/changes")).json()["data"]

    data = change["data"]
    assert (change["type"], data["row_id"], data["state"]) == ("asset.ready", row["id"], "ready")
    assert data["asset"]["playback_ids"] == row["playback_ids"]
    assert change["timestamp"] == row["updated_at"]


async def test_a_change_that_is_not_in_the_feed_is_gone(api: ApiWorld) -> None:
    assert problem(await api.client.get("/changes?after=12345"), 410)["type"].endswith(
        ":unknown-change"
    )
    problem(await api.client.get("/changes?after=9223372036854775808"), 422)
    problem(await api.client.get("/changes?after=-1"), 422)
    problem(await api.client.get("/changes?wait=nan"), 422)
    problem(await api.client.get("/changes?wait=31"), 422)


async def test_who_begins_at_the_newest_gets_only_what_comes(api: ApiWorld) -> None:
    nothing = (await api.client.get("/changes?after=newest")).json()
    await api.ready("before")
    await api.publish()
    begins = (await api.client.get("/changes?after=newest")).json()
    await api.ready("after")
    await api.publish()

    found = (await api.client.get(f"/changes?after={begins['next']}")).json()

    assert nothing == {"data": [], "next": None}
    assert begins["data"] == []
    assert [change["data"]["reference"] for change in found["data"]] == ["after"]


async def waiting(api: ApiWorld, number: int = 1, wait: float = 30) -> "list[Waiting]":
    """So many clients that wait."""
    path = f"/changes?after=newest&wait={wait:g}"
    clients = [asyncio.create_task(api.client.get(path)) for _ in range(number)]

    async def wait_all() -> None:
        assert api.rindle.api.following.waiting == number

    await eventually(wait_all)
    return clients


Waiting = asyncio.Task[httpx.Response]


async def test_who_waits_gets_a_change_of_this_process_at_once(api: ApiWorld) -> None:
    clients = await waiting(api, 3)
    await api.ready("film-1")
    await api.publish()
    began = time.monotonic()

    answers = await asyncio.gather(*clients)

    assert time.monotonic() - began < 5
    for answer in answers:
        (change,) = answer.json()["data"]
        assert change["data"]["reference"] == "film-1"


async def test_who_waits_gets_a_change_that_another_process_publishes(api: ApiWorld) -> None:
    (client,) = await waiting(api)

    async with connect(api.rindle.settings) as other:
        await other.track(reference="film-1", provider_asset_id=(asset_id := api.asset()))
        await other.sync(asset_id, ask_first=True)
        await other.job_runner.publish()

    (change,) = (await client).json()["data"]
    assert change["data"]["reference"] == "film-1"


async def test_who_waits_in_vain_is_answered_in_time(api: ApiWorld) -> None:
    began = time.monotonic()

    answer = await api.client.get("/changes?wait=0.3")

    assert answer.json() == {"data": [], "next": None}
    assert time.monotonic() - began >= 0.3


async def test_who_waits_holds_no_connection_and_no_place_of_others(api: ApiWorld) -> None:
    clients = await waiting(api, 20)

    async def is_free() -> None:
        status = api.rindle.store.database.engine.pool.status()
        assert (
            "Checked out connections: 0" in status or "NullPool" in status or "Static" in status
        ), status

    await eventually(is_free)
    answer = await api.client.get("/assets")
    api.rindle.api.following.end()
    await asyncio.gather(*clients)

    assert answer.status_code == 200


async def test_all_who_wait_are_answered_at_the_end(api: ApiWorld) -> None:
    clients = await waiting(api, 5)
    began = time.monotonic()

    api.rindle.api.following.end()
    answers = await asyncio.gather(*clients)

    assert time.monotonic() - began < 2
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["next"] for answer in answers} == {None}
    problem(await api.client.get("/assets"), 503)


async def test_no_more_wait_than_there_are_places(
    api: ApiWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "MOST_WAITING", 3)
    clients = await waiting(api, 3)

    refused = await api.client.get("/changes?wait=30")
    asked = await api.client.get("/changes")
    api.rindle.api.following.end()
    await asyncio.gather(*clients)

    problem(refused, 503)
    assert int(refused.headers["retry-after"]) > 0
    assert asked.status_code == 200


async def test_a_client_that_leaves_gives_its_place_back(api: ApiWorld) -> None:
    clients = await waiting(api, 3)
    for client in clients:
        client.cancel()
    await asyncio.gather(*clients, return_exceptions=True)

    async def nobody_waits() -> None:
        assert api.rindle.api.following.waiting == 0

    await eventually(nobody_waits, within=10)
