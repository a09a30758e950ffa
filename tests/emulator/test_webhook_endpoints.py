"""Mux's calls about webhook endpoints, as Mux's pages describe them."""

import hmac
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.emulator.lifecycle import Life

PATH = "/system/v1/webhooks"
ADDRESS = "https://app.example.com/webhooks/mux"
START = 1_800_000_000.0


class Clock:
    at = START

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def emulator(clock: Clock) -> MuxEmulator:
    return MuxEmulator(now=clock)


@pytest.fixture
async def mux(emulator: MuxEmulator) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=emulator.app),
        base_url="https://api.mux.example",
        auth=("emulator-token-id", "emulator-token-secret"),
    ) as client:
        yield client


async def made(mux: httpx.AsyncClient, address: str = ADDRESS) -> dict[str, Any]:
    answer = await mux.post(PATH, json={"address": address})
    assert answer.status_code == 201, answer.text
    return dict(answer.json()["data"])


async def test_the_secret_is_in_the_answer_to_the_create_alone(mux: httpx.AsyncClient) -> None:
    created = await made(mux)
    secret = created.pop("signing_secret")
    path = f"{PATH}/{created['id']}"
    answers = [
        await mux.get(path),
        await mux.get(PATH),
        await mux.patch(path, json={"enabled": False}),
        await mux.get("/_emulator/webhooks"),
    ]

    assert len(secret) == 32
    assert created == {
        "id": created["id"],
        "address": ADDRESS,
        "enabled": True,
        "created_at": "2027-01-15T08:00:00.000000Z",
    }
    assert answers[0].json() == {"data": created}
    assert answers[1].json() == {"data": [created], "total_row_count": 1}
    assert answers[2].json() == {"data": created | {"enabled": False}}
    assert not any(secret in answer.text for answer in answers)


async def test_each_has_an_id_and_a_secret_of_its_own(mux: httpx.AsyncClient) -> None:
    both = [await made(mux), await made(mux, f"{ADDRESS}/2")]

    for name in ("id", "signing_secret"):
        assert both[0][name] != both[1][name]


async def test_the_list_is_newest_first_in_pages(mux: httpx.AsyncClient) -> None:
    ids = [(await made(mux, f"{ADDRESS}/{number}"))["id"] for number in range(30)][::-1]

    default = (await mux.get(PATH)).json()
    second = (await mux.get(PATH, params={"limit": 20, "page": 2})).json()
    beyond = (await mux.get(PATH, params={"limit": 20, "page": 3})).json()

    assert [entry["id"] for entry in default["data"]] == ids[:25]
    assert [entry["id"] for entry in second["data"]] == ids[20:]
    assert beyond["data"] == []
    assert {answer["total_row_count"] for answer in (default, second, beyond)} == {30}


@pytest.mark.parametrize(
    "body", [{}, {"address": None}, {"address": "nonsense"}, {"address": "ftp://a.example/"}, []]
)
async def test_what_is_no_address_is_refused(
    mux: httpx.AsyncClient, emulator: MuxEmulator, body: Any
) -> None:
    answer = await mux.post(PATH, json=body)

    assert answer.status_code == 400
    assert answer.json()["error"]["messages"]
    assert not [*emulator.webhooks]


async def test_an_address_is_there_once(mux: httpx.AsyncClient) -> None:
    first, other = await made(mux), await made(mux, f"{ADDRESS}/2")

    again = await mux.post(PATH, json={"address": ADDRESS})
    moved = await mux.patch(f"{PATH}/{other['id']}", json={"address": ADDRESS})
    same = await mux.patch(f"{PATH}/{first['id']}", json={"address": ADDRESS, "enabled": True})
    await mux.delete(f"{PATH}/{first['id']}")
    free = await mux.post(PATH, json={"address": ADDRESS})

    assert (again.status_code, moved.status_code, same.status_code) == (400, 400, 200)
    assert "already been taken" in again.text
    assert free.status_code == 201
    assert free.json()["data"]["id"] != first["id"]
    assert free.json()["data"]["signing_secret"] != first["signing_secret"]


async def test_what_is_deleted_is_not_found(mux: httpx.AsyncClient) -> None:
    path = f"{PATH}/{(await made(mux))['id']}"

    assert (await mux.delete(path)).status_code == 204
    for method in ("GET", "DELETE", "PATCH"):
        assert (await mux.request(method, path, json={"enabled": True})).status_code == 404
    assert (await mux.get(PATH)).json()["data"] == []


async def test_a_change_needs_something_to_change(mux: httpx.AsyncClient) -> None:
    path = f"{PATH}/{(await made(mux))['id']}"

    for body in ({}, {"enabled": "no"}, {"address": "nonsense"}):
        assert (await mux.patch(path, json=body)).status_code == 400


@pytest.mark.parametrize(
    ("permissions", "allowed"),
    [
        ((), []),
        (("video:read", "video:write"), []),
        (("system:read",), ["GET"]),
        (("system:write",), ["POST", "PATCH", "DELETE"]),
    ],
)
async def test_a_token_needs_the_permission(
    mux: httpx.AsyncClient, emulator: MuxEmulator, permissions: tuple[str, ...], allowed: list[str]
) -> None:
    path = f"{PATH}/{(await made(mux))['id']}"
    emulator.whoami = replace(emulator.whoami, permissions=permissions)

    answers = {
        "POST": await mux.post(PATH, json={"address": f"{ADDRESS}/2"}),
        "GET": await mux.get(PATH),
        "PATCH": await mux.patch(path, json={"enabled": True}),
        "DELETE": await mux.delete(path),
    }

    for method, answer in answers.items():
        assert (answer.status_code == 403) is (method not in allowed), method


async def test_a_create_counts_among_the_calls_that_are_not_under_video(clock: Clock) -> None:
    emulator = MuxEmulator(now=clock, rate_limits="low")
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=emulator.app),
        base_url="https://api.mux.example",
        auth=("emulator-token-id", "emulator-token-secret"),
    ) as mux:
        answer = await mux.post(PATH, json={"address": ADDRESS})

    assert answer.headers["x-ratelimit-limit"] == "20"


async def test_events_are_sent_signed_to_those_that_are_enabled(
    mux: httpx.AsyncClient, emulator: MuxEmulator, clock: Clock
) -> None:
    created = await made(mux)
    path, came = f"{PATH}/{created['id']}", list[httpx.Request]()

    def take(request: httpx.Request) -> httpx.Response:
        came.append(request)
        return httpx.Response(200)

    [webhook] = emulator.webhooks
    webhook.transport = httpx.MockTransport(take)

    async def happens() -> int:
        emulator.create_asset(life=Life(after=0))
        clock.at += 1
        return await emulator.deliver_due()

    while_enabled = await happens()
    emulator.create_asset(life=Life(after=0))
    await mux.patch(path, json={"enabled": False})
    while_disabled = await happens()
    moved = "https://other.example.com/webhooks"
    await mux.patch(path, json={"enabled": True, "address": moved})
    again = await happens()
    await mux.delete(path)
    after = await happens()

    assert while_enabled == again == 2
    assert (while_disabled, after) == (0, 0)
    assert [str(request.url) for request in came] == [ADDRESS] * 2 + [moved] * 2
    for request in came:
        at, _, signature = request.headers["mux-signature"].partition(",v1=")
        message = at.removeprefix("t=").encode() + b"." + request.content
        key = created["signing_secret"].encode()
        assert hmac.new(key, message, "sha256").hexdigest() == signature


async def test_a_restart_keeps_endpoints_as_they_are(
    mux: httpx.AsyncClient, emulator: MuxEmulator
) -> None:
    created = await made(mux)
    await mux.patch(f"{PATH}/{created['id']}", json={"enabled": False})

    emulator.reset()

    [listed] = (await mux.get(PATH)).json()["data"]
    assert (listed["id"], listed["enabled"]) == (created["id"], False)
