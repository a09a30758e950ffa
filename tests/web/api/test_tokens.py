"""Who may do what with the API, and what no answer shows."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from rindle_sync.app import RindleSync, http_api
from rindle_sync.config import plain_settings
from rindle_sync.errors import ConfigurationError
from rindle_sync.store.api_tokens import ApiTokens
from rindle_sync.telemetry import Event
from rindle_sync.web.mounting import at_prefix
from tests.support.api import PREFIX, TOKEN, ApiWorld, an_api, bearer
from tests.support.server import served
from tests.support.world import NEVER
from tests.web.api.test_operations import problem

WRONG = "rsk_" + "x" * 43


@pytest.mark.parametrize("header", [None, "", "Bearer", "Basic YTpi", TOKEN, f"Token {TOKEN}"])
async def test_without_a_token_nothing_is_answered(api: ApiWorld, header: str | None) -> None:
    headers = {} if header is None else {"authorization": header}
    async with httpx.AsyncClient(base_url=api.client.base_url) as stranger:
        refused = await stranger.get("/assets", headers=headers)
        unknown = await stranger.get("/nowhere", headers=headers)
        described = await stranger.get("/openapi.json")

    assert problem(refused, 401)["type"].endswith(":unauthorized")
    assert refused.headers["www-authenticate"].startswith("Bearer")
    problem(unknown, 401)
    assert described.status_code == 200


async def test_a_wrong_an_expired_and_a_revoked_token_are_refused(api: ApiWorld) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=0.5)
    short, kept = await api.token("short", expires_at=soon), await api.token("kept")
    assert (await api.client.get("/assets", headers=kept)).status_code == 200
    await ApiTokens(api.rindle.store.database).revoke("kept")
    await asyncio.sleep(max(0.0, (soon - datetime.now(UTC)).total_seconds()))

    refused = await asyncio.gather(
        *(api.client.get("/assets", headers=header) for header in (bearer(WRONG), short, kept))
    )

    for answer in refused:
        problem(answer, 401)
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]


async def test_a_token_that_may_only_read_writes_nothing(api: ApiWorld) -> None:
    reader, row = await api.token(), await api.ready("film-1")
    path = f"/assets/{row['id']}"
    body = {"reference": "film-2", "provider_asset_id": "asset-2"}
    upload = {"reference": "film-2", "cors_origin": "https://app.example.com"}

    read = await api.client.get(path, headers=reader)
    written = [
        await api.client.post("/assets", json=body, headers=reader),
        await api.client.post("/uploads", json=upload, headers=reader),
        await api.client.post(f"{path}/sync", headers=reader),
        await api.client.post("/webhook-events/replay-dead", headers=reader),
        await api.client.delete(path, headers=reader),
    ]

    assert read.status_code == 200
    for answer in written:
        assert problem(answer, 403)["type"].endswith(":read-only")
    assert (await api.client.get("/assets")).json()["data"] == [row]


async def test_a_token_of_one_environment_is_for_that_alone(api: ApiWorld) -> None:
    here = await api.token("here", environment="default")
    elsewhere = await api.token("elsewhere", environment="staging")

    assert (await api.client.get("/assets", headers=here)).status_code == 200
    assert (await api.client.get("/assets?environment=default", headers=here)).status_code == 200
    problem(await api.client.get("/assets?environment=staging", headers=here), 403)
    problem(await api.client.get("/assets", headers=elsewhere), 403)
    problem(await api.client.get("/assets?environment=default", headers=elsewhere), 403)


async def test_guesses_are_slow_and_hold_up_no_right_token(api: ApiWorld) -> None:
    right = await api.token()
    await api.client.get("/assets", headers=right)
    guesses = [
        asyncio.create_task(api.client.get("/assets", headers=bearer(f"rsk_{number:043}")))
        for number in range(20)
    ]
    done, _ = await asyncio.wait(guesses, return_when=asyncio.FIRST_COMPLETED)

    answer = await api.client.get("/assets", headers=right)
    waiting = sum(not guess.done() for guess in guesses)
    statuses = [guess.result().status_code for guess in done]
    for guess in guesses:
        guess.cancel()
    await asyncio.gather(*guesses, return_exceptions=True)

    assert answer.status_code == 200
    assert waiting > 0
    assert set(statuses) <= {429, 503}


async def test_provider_ids_are_shown_to_those_who_may_see_them(api: ApiWorld) -> None:
    asset_id = api.asset(NEVER)
    body = {"reference": "film-1", "provider_asset_id": asset_id}
    row_id = (await api.client.post("/assets", json=body)).json()["id"]
    sees = await api.token("sees", sees_provider_ids=True)

    shown = await api.client.get(f"/assets/{row_id}", headers=sees)
    found = await api.client.get(f"/assets?provider_id={asset_id}", headers=sees)
    refused = await api.client.get(f"/assets?provider_id={asset_id}")

    assert shown.json()["provider_asset_id"] == asset_id
    assert [row["id"] for row in found.json()["data"]] == [row_id]
    assert asset_id not in problem(refused, 403)["detail"]


async def test_no_answer_and_no_log_shows_what_is_secret(
    api: ApiWorld, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    told: list[Event] = []
    api.rindle.telemetry.listen(told.append)
    writer = await api.token("writer", may_write=True)
    asset_id, other = api.asset(NEVER), api.asset(NEVER)
    shown = list[str]()

    async def send(method: str, path: str, **values: object) -> httpx.Response:
        answer = await api.client.request(method, path, headers=writer, **values)  # type: ignore[arg-type]
        shown.append(f"{answer.headers} {answer.text}")
        return answer

    body = {"reference": "film-1", "provider_asset_id": asset_id}
    row_id = (await send("POST", "/assets", json=body)).json()["id"]
    await send("POST", "/assets", json=body | {"provider_asset_id": other})
    await send("POST", "/assets", json=body | {"reference": "film-2"})
    await send("POST", "/assets", json=body | {"state": asset_id})
    await api.tell(asset_id)
    api.emulator.add_fault("not_found", operation="get_asset", times=1)
    await send("POST", f"/assets/{row_id}/sync")
    await send("POST", f"/assets/{row_id}/replace", json={"provider_asset_id": other})
    await api.publish()
    for path in ("", "/explanation", "/playback-bundle", "/playback-url?kind=video.m3u8"):
        await send("GET", f"/assets/{row_id}{path}")
    for path in ("/assets", "/changes", "/webhook-events", "/status", "/openapi.json"):
        await send("GET", path)
    await send("DELETE", f"/assets/{row_id}")

    token = writer["authorization"].removeprefix("Bearer ")
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("rindle")]
    everything = "\n".join([*shown, *ours, *map(repr, told), repr(vars(api.rindle.api))])
    assert len(shown) == 16
    for secret in (asset_id, other, token, TOKEN):
        assert secret not in everything


async def test_with_several_environments_each_request_names_one(sqlite_tables_url: str) -> None:
    async with an_api(sqlite_tables_url) as api:
        settings = api.rindle.settings
        staging = RindleSync(
            settings.model_copy(update={"environment": "staging"}), api.rindle.store.database
        )
        both = http_api({"default": api.rindle, "staging": staging}, settings)
        row = await api.ready("film-1")
        async with (
            served(at_prefix(PREFIX, both)) as port,
            httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{port}{PREFIX}", headers=bearer(TOKEN)
            ) as client,
        ):
            unnamed = await client.get("/assets")
            named = await client.get("/assets?environment=default")
            other = await client.get("/assets?environment=staging")
            foreign = await client.get(f"/assets/{row['id']}?environment=staging")
            forgotten = await client.delete(f"/assets/{row['id']}?environment=staging")
        await both.close()
        await staging.finish()

    assert "default, staging" in problem(unnamed, 422)["detail"]
    assert [shown["id"] for shown in named.json()["data"]] == [row["id"]]
    assert other.json()["data"] == []
    problem(foreign, 404)
    problem(forgotten, 404)


@contextmanager
def refused(setting: str) -> Iterator[None]:
    with pytest.raises(ConfigurationError) as error:
        yield
    assert error.value.setting == setting


def test_a_token_of_the_settings_is_long_and_can_be_sent() -> None:
    with refused("api_token"):
        plain_settings(api_token="x" * 31)
    with refused("api_token"):
        plain_settings(api_token="with spaces in it, however long it may be")
    assert plain_settings(api_token="").api_token is None
    assert TOKEN not in repr(plain_settings(api_token=TOKEN))
