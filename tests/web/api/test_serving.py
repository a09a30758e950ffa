"""Where a service serves the API, and what becomes of it at the end, or when it is killed."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from rindle_sync.emulator import MuxEmulator
from rindle_sync.store.api_tokens import ApiTokens
from rindle_sync.store.schema.api_tables import api_requests
from tests.support.api import PREFIX, TOKEN, bearer
from tests.support.processes import (
    PATIENCE,
    FarEnd,
    Running,
    Shell,
    a_store,
    all_rows,
    eventually,
    free_port,
    holding,
    serving,
    settings_for,
)
from tests.web.api.test_operations import problem

KEY = {"idempotency-key": "fetch-film-1"}
FROM_URL = {"reference": "film-1", "input": "https://files.example.com/film-1.mp4"}


def a_client(port: int, token: str = TOKEN) -> httpx.AsyncClient:
    url = f"http://127.0.0.1:{port}{PREFIX}"
    return httpx.AsyncClient(base_url=url, headers=bearer(token), timeout=PATIENCE)


@asynccontextmanager
async def running(
    folder: Path, settings: Mapping[str, str], line: str, command: str = "run"
) -> AsyncIterator[Running]:
    async with Shell(folder, settings).started(command) as process:
        await process.says(line)
        yield process


async def test_the_api_is_beside_the_webhooks(sqlite_tables_url: str, tmp_path: Path) -> None:
    port = free_port()
    with serving(MuxEmulator()) as far_end:
        settings = settings_for(
            sqlite_tables_url,
            far_end,
            api_token=TOKEN,
            listen_port=port,
            mux_webhook_secrets="whsec-of-the-tests",
        )
        async with running(tmp_path, settings, "webhooks at") as service, a_client(port) as client:
            listed = await client.get("/assets")
            webhook = await client.post(f"http://127.0.0.1:{port}/webhooks/mux")
            service.send(signal.SIGTERM)
            ended = await service.ended()

    assert listed.json() == {"data": [], "next": None}
    assert webhook.status_code == 400
    assert f"HTTP API at http://127.0.0.1:{port}/api/v1" in ended.err
    assert (ended.code, TOKEN in ended.err + ended.out) == (0, False)


@pytest.mark.parametrize("command", ["run", "receive"])
async def test_the_api_needs_no_webhooks(
    sqlite_tables_url: str, tmp_path: Path, command: str
) -> None:
    port = free_port()
    with serving(MuxEmulator()) as far_end:
        settings = settings_for(sqlite_tables_url, far_end, api_token=TOKEN, listen_port=port)
        async with running(tmp_path, settings, "no webhooks", command), a_client(port) as client:
            answer = await eventually_answered(client)

    assert answer.status_code == 200


async def test_the_api_has_a_port_of_its_own(sqlite_tables_url: str, tmp_path: Path) -> None:
    port, other = free_port(), free_port()
    with serving(MuxEmulator()) as far_end:
        settings = settings_for(
            sqlite_tables_url,
            far_end,
            api_token=TOKEN,
            api_port=port,
            listen_port=other,
            mux_webhook_secrets="whsec-of-the-tests",
        )
        line = f"HTTP API at http://127.0.0.1:{port}/api/v1"
        async with running(tmp_path, settings, line), a_client(port) as client:
            own = await eventually_answered(client)
            webhooks = await client.get(f"http://127.0.0.1:{other}{PREFIX}/assets")

    assert (own.status_code, webhooks.status_code) == (200, 404)


async def test_a_token_of_the_table_has_the_api_served(
    sqlite_tables_url: str, tmp_path: Path
) -> None:
    port = free_port()
    async with a_store(sqlite_tables_url) as store:
        tokens, now = ApiTokens(store.database), datetime.now(UTC)
        _, token = await tokens.create("app", may_write=False, sees_provider_ids=False, now=now)
    with serving(MuxEmulator()) as far_end:
        settings = settings_for(sqlite_tables_url, far_end, listen_port=port)
        async with running(tmp_path, settings, "HTTP API at"), a_client(port, token) as client:
            answer = await eventually_answered(client)
        worker_like = settings | {"listen_port": str(free_port())}
        async with a_store(sqlite_tables_url) as store:
            await ApiTokens(store.database).revoke("app")
        async with running(tmp_path, worker_like, "no webhooks") as service:
            service.send(signal.SIGTERM)
            ended = await service.ended()

    assert answer.status_code == 200
    assert "HTTP API" not in ended.err


async def eventually_answered(client: httpx.AsyncClient) -> httpx.Response:
    """The answer to a first request, once the server listens."""
    answers: list[httpx.Response] = []

    async def answered() -> None:
        try:
            answers.append(await client.get("/assets"))
        except httpx.ConnectError as error:
            raise AssertionError from error

    await eventually(answered)
    return answers[0]


@pytest.mark.parametrize("name", ["api_port", "listen_port"])
async def test_a_port_that_is_taken_ends_the_start(
    sqlite_tables_url: str, tmp_path: Path, name: str
) -> None:
    with serving(MuxEmulator()) as far_end:
        taken = far_end.url.rpartition(":")[2]
        settings = settings_for(sqlite_tables_url, far_end, api_token=TOKEN) | {name: taken}
        ended = await Shell(tmp_path, settings).run("run")

    assert ended.code == 2
    assert f"{name}: cannot listen on 127.0.0.1:{taken}" in ended.complaint
    assert "HTTP API at" not in ended.err


async def test_a_service_that_ends_answers_who_waits(tables_url: str, tmp_path: Path) -> None:
    port = free_port()
    with serving(MuxEmulator()) as far_end:
        settings = settings_for(tables_url, far_end, api_token=TOKEN, listen_port=port)
        async with running(tmp_path, settings, "no webhooks") as service, a_client(port) as client:
            await eventually_answered(client)
            waits = [asyncio.create_task(client.get("/changes?wait=30")) for _ in range(5)]
            # one that is answered at once comes behind them on the same server
            await client.get("/changes")
            began = time.monotonic()
            service.send(signal.SIGTERM)
            answers = await asyncio.gather(*waits)
            ended = await service.ended()

    assert {answer.status_code for answer in answers} <= {200, 503}
    assert time.monotonic() - began < 4
    assert ended.code == 0


async def test_who_waits_hears_of_a_change_within_moments(tables_url: str, tmp_path: Path) -> None:
    """The engine of the process publishes what a check has found."""
    port = free_port()
    with serving(MuxEmulator()) as far_end:
        settings = settings_for(tables_url, far_end, api_token=TOKEN, listen_port=port)
        async with running(tmp_path, settings, "no webhooks"), a_client(port) as client:
            await eventually_answered(client)
            body = {"reference": "film-1", "provider_asset_id": far_end.emulator.create_asset()}
            row = (await client.post("/assets", json=body)).json()
            waits = asyncio.create_task(client.get("/changes?wait=30"))
            await client.post(f"/assets/{row['id']}/sync")
            (change,) = (await waits).json()["data"]

    assert change["data"]["row_id"] == row["id"]


@pytest.mark.parametrize("call", ["create_asset", "create_upload"])
async def test_a_process_that_is_killed_while_it_makes_something_makes_it_once(
    tables_url: str, tmp_path: Path, call: str
) -> None:
    """The provider has made it, and nobody has its answer."""
    path, body = "/assets/from-url", dict(FROM_URL)
    if call == "create_upload":
        path, body = "/uploads", {"reference": "film-1", "cors_origin": "https://app.example.com"}
    with serving(MuxEmulator()) as far_end:
        port = free_port()
        settings = settings_for(
            tables_url, far_end, api_token=TOKEN, listen_port=port, provider_timeout_seconds=60
        )
        with holding(far_end.emulator, call) as gate:
            async with (
                running(tmp_path, settings, "no webhooks") as service,
                a_client(port) as client,
            ):
                await eventually_answered(client)
                cut_off = asyncio.create_task(client.post(path, json=body, headers=KEY))
                await service.waits_at(gate)
                service.process.kill()
                await asyncio.gather(cut_off, return_exceptions=True)
        await a_minute_passes(tables_url)
        settings["listen_port"] = str(port := free_port())
        async with running(tmp_path, settings, "no webhooks"), a_client(port) as client:
            await eventually_answered(client)
            again = await client.post(path, json=body, headers=KEY)
        async with a_store(tables_url) as store:
            rows = await all_rows(store)

    assert isinstance(cut_off.exception(), httpx.HTTPError)
    assert problem(again, 409)["row_id"] == rows[0].id
    assert len(rows) == 1
    assert made(far_end, call) == 1


def made(far_end: FarEnd, call: str) -> int:
    """How many assets, or uploads, the provider has made."""
    if call == "create_asset":
        return len(far_end.emulator.truths())
    return len(far_end.emulator.environment.uploads(limit=100))


async def a_minute_passes(url: str) -> None:
    """As if the request had begun earlier; its row began a moment later."""
    async with a_store(url) as store, store.database.writing() as connection:
        long_ago = datetime.now(UTC) - timedelta(minutes=2)
        await connection.execute(sa.update(api_requests).values(began_at=long_ago))
