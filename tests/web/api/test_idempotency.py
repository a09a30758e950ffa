"""Requests with a key: done once, answered again, and never twice after a crash."""

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from rindle_sync.store.schema.api_tables import api_requests
from rindle_sync.web.api.app import READS
from tests.support.api import ApiWorld, an_api
from tests.support.processes import eventually, free_port, holding
from tests.web.api.test_operations import fields, problem

KEY = {"idempotency-key": "8e03978e-40d5-43dd-bc93-6894a57f9324"}
UPLOAD = {"reference": "film-1", "cors_origin": "https://app.example.com"}
FROM_URL = {"reference": "film-1", "input": "https://files.example.com/film-1.mp4"}


@pytest.mark.parametrize(("path", "body"), [("/uploads", UPLOAD), ("/assets/from-url", FROM_URL)])
async def test_a_repeated_request_has_the_first_answer(
    api: ApiWorld, path: str, body: dict[str, Any]
) -> None:
    first = await api.client.post(path, json=body, headers=KEY)
    again = await api.client.post(path, json=body, headers=KEY)
    other = await api.client.post(path, json=body | {"reference": "film-2"}, headers=KEY)

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["content-type"] == "application/json"
    assert fields(problem(other, 422)) == ["Idempotency-Key"]


async def test_a_key_is_that_of_one_token(api: ApiWorld) -> None:
    writer = await api.token("writer", may_write=True)
    await api.client.post("/uploads", json=UPLOAD, headers=KEY)

    other = await api.client.post("/uploads", json=UPLOAD, headers=KEY | writer)

    problem(other, 409)


async def test_tracking_and_replacing_take_a_key(api: ApiWorld) -> None:
    body = {"reference": "film-1", "provider_asset_id": api.asset()}
    tracked = await api.client.post("/assets", json=body, headers=KEY)
    path = f"/assets/{tracked.json()['id']}/replace"
    other = {"provider_asset_id": api.asset()}

    replaced = await api.client.post(path, json=other, headers={"idempotency-key": "2"})
    again = await api.client.post(path, json=other, headers={"idempotency-key": "2"})

    assert replaced.status_code == 200
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json() == replaced.json()


async def test_a_request_that_made_nothing_can_be_sent_again_with_its_key(api: ApiWorld) -> None:
    api.emulator.add_fault("unauthorized", operation="create_upload", times=1)

    refused = await api.client.post("/uploads", json=UPLOAD, headers=KEY)
    again = await api.client.post("/uploads", json=UPLOAD, headers=KEY)

    problem(refused, 502)
    assert again.status_code == 201


@pytest.mark.parametrize(("path", "body"), [("/uploads", UPLOAD), ("/assets/from-url", FROM_URL)])
async def test_a_request_that_did_not_reach_the_provider_can_be_sent_again_with_its_key(
    tables_url: str, path: str, body: dict[str, Any]
) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    async with an_api(tables_url, mux_base_url=nobody) as api:
        unreached = await api.client.post(path, json=body, headers=KEY)
    async with an_api(tables_url) as api:
        again = await api.client.post(path, json=body, headers=KEY)

    problem(unreached, 502)
    assert again.status_code == 201, again.text


async def test_an_upload_whose_answer_is_lost_can_be_asked_for_again_with_its_key(
    api: ApiWorld,
) -> None:
    api.emulator.add_fault("bad_gateway", operation="create_upload", times=1)

    lost = await api.client.post("/uploads", json=UPLOAD, headers=KEY)
    again = await api.client.post("/uploads", json=UPLOAD, headers=KEY)

    problem(lost, 502)
    assert again.status_code == 201, again.text


async def test_an_asset_whose_answer_is_lost_is_not_made_again(api: ApiWorld) -> None:
    api.emulator.add_fault("bad_gateway", operation="create_asset", times=1)

    lost = await api.client.post("/assets/from-url", json=FROM_URL, headers=KEY)
    again = await api.client.post("/assets/from-url", json=FROM_URL, headers=KEY)

    problem(lost, 502)
    found = problem(again, 409)
    assert found["type"].endswith(":still-running")
    assert "has just failed" in found["detail"]


async def test_a_row_that_there_is_not_takes_no_key(api: ApiWorld) -> None:
    body = {"provider_asset_id": "asset-2"}
    path = "/assets/00000000-0000-4000-8000-000000000000/replace"

    for _ in range(2):
        problem(await api.client.post(path, json=body, headers=KEY), 404)


async def test_an_attempt_after_one_that_was_cut_off_does_not_forget_it(api: ApiWorld) -> None:
    body = FROM_URL | {"replace": True}
    await cut_off(api, "/assets/from-url", body, after_call=True)
    async with AsyncExitStack() as stack:
        for _ in range(READS):
            await stack.enter_async_context(api.rindle.api.reading())
        problem(await api.client.post("/assets/from-url", json=body, headers=KEY), 503)

    again = await api.client.post("/assets/from-url", json=body, headers=KEY)

    assert problem(again, 409)["type"].endswith(":interrupted")
    assert len(api.emulator.truths()) == 1


async def test_of_two_at_once_one_is_done(api: ApiWorld) -> None:
    with holding(api.emulator, "create_upload") as gate:
        first = asyncio.create_task(api.client.post("/uploads", json=UPLOAD, headers=KEY))
        await eventually(gate.holds)
        second = await api.client.post("/uploads", json=UPLOAD, headers=KEY)
    made = await first

    found = problem(second, 409)
    assert found["type"].endswith(":still-running")
    assert int(second.headers["retry-after"]) > 0
    assert made.status_code == 201
    assert uploads(api) == 1


async def test_a_request_goes_on_though_its_client_leaves(api: ApiWorld) -> None:
    with holding(api.emulator, "create_asset") as gate:
        left = asyncio.create_task(api.client.post("/assets/from-url", json=FROM_URL, headers=KEY))
        await eventually(gate.holds)
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)

    async def is_answered() -> None:
        again = await api.client.post("/assets/from-url", json=FROM_URL, headers=KEY)
        assert again.status_code == 201
        assert again.headers["idempotency-replayed"] == "true"

    await eventually(is_answered)
    assert len(api.emulator.truths()) == 1


async def test_an_upload_that_was_cut_off_is_answered_again(api: ApiWorld) -> None:
    await cut_off(api, "/uploads", UPLOAD, after_call=True)

    again = await api.client.post("/uploads", json=UPLOAD, headers=KEY)
    repeated = await api.client.post("/uploads", json=UPLOAD, headers=KEY)

    assert again.status_code == 201, again.text
    assert uploads(api) == 1
    assert repeated.json() == again.json()


async def test_an_asset_whose_request_was_cut_off_is_made_once(api: ApiWorld) -> None:
    body = FROM_URL | {"replace": True}
    row_id = await cut_off(api, "/assets/from-url", body, after_call=True)

    again = await api.client.post("/assets/from-url", json=body, headers=KEY)

    found = problem(again, 409)
    assert found["type"].endswith(":interrupted")
    assert found["row_id"] == row_id
    assert len(api.emulator.truths()) == 1


async def test_a_request_that_was_cut_off_before_it_did_anything_is_done(api: ApiWorld) -> None:
    await cut_off(api, "/assets/from-url", FROM_URL, after_call=False)

    again = await api.client.post("/assets/from-url", json=FROM_URL, headers=KEY)

    assert (again.status_code, again.json()["state"]) == (201, "processing"), again.text


async def cut_off(
    api: ApiWorld, path: str, body: dict[str, Any], *, after_call: bool
) -> str | None:
    """What a process leaves that dies before it has stored its answer; the id of the row."""
    answer = await api.client.post(path, json=body, headers=KEY)
    found = answer.json()
    row_id = str(found.get("asset", found)["id"])
    if not after_call:
        await api.rindle.untrack(row_id, delete_asset=True)
    long_ago = datetime.now(UTC) - timedelta(minutes=2)
    async with api.rindle.store.database.writing() as connection:
        unanswered = {"status": None, "headers": None, "body": None, "began_at": long_ago}
        await connection.execute(sa.update(api_requests).values(**unanswered))
    return row_id


def uploads(api: ApiWorld) -> int:
    return len(api.emulator.environment.uploads(limit=100))
