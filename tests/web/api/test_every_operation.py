"""What holds for every operation that the description has, those that are added later included."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from rindle_sync.app import RindleSync, http_api
from rindle_sync.store.schema.tables import assets, changes, webhook_events
from rindle_sync.web.api.openapi import document
from rindle_sync.web.mounting import at_prefix
from tests.support.api import PREFIX, TOKEN, ApiWorld, bearer
from tests.support.server import served
from tests.web.api.test_idempotency import uploads
from tests.web.api.test_operations import problem

BODIES: dict[str, dict[str, Any]] = {
    "trackAsset": {"reference": "film-9", "provider_asset_id": "asset-9"},
    "replaceAsset": {"provider_asset_id": "asset-9"},
    "createUpload": {"reference": "film-9", "cors_origin": "https://app.example.com"},
    "createAssetFromUrl": {"reference": "film-9", "input": "https://files.example.com/a.mp4"},
}
QUERIES = {
    "getPlaybackUrl": {"kind": "video.m3u8"},
    "untrackAsset": {"history": "true", "webhook_bodies": "true", "delete_asset": "true"},
}


def operations(api: ApiWorld) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method, path and description of each."""
    for path, methods in document(api.rindle.api.framework)["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


async def everything(api: ApiWorld) -> list[Any]:
    """What no request that is refused may change."""
    counted: list[Any] = [len(api.emulator.truths()), uploads(api)]
    rows = select(assets.c.id, assets.c.version, assets.c.state, assets.c.check_at)
    async with api.rindle.store.database.reading() as connection:
        for wanted in (
            select(func.count()).select_from(changes),
            select(webhook_events.c.id, webhook_events.c.status),
            rows.order_by(assets.c.id),
        ):
            found = await connection.execute(wanted)
            counted.append(found.all())
    return counted


async def send(
    client: httpx.AsyncClient, method: str, path: str, operation: dict[str, Any], **query: str
) -> httpx.Response:
    name = operation["operationId"]
    params = QUERIES.get(name, {}) | query
    return await client.request(method, path, params=params, json=BODIES.get(name))


async def a_world(api: ApiWorld) -> tuple[str, str]:
    """A row, and a webhook event about it; their ids."""
    row = await api.ready("film-1")
    found = await api.rindle.get(row["id"])
    assert found
    assert found.provider_asset_id
    await api.tell(found.provider_asset_id)
    [event] = await api.rindle.webhook_events.list(limit=1)
    return row["id"], event.id


async def test_a_token_that_may_only_read_changes_nothing(api: ApiWorld) -> None:
    row_id, event_id = await a_world(api)
    reader, before, refused = await api.token(), await everything(api), 0
    async with httpx.AsyncClient(base_url=api.client.base_url, headers=reader) as client:
        for method, template, operation in operations(api):
            path = template.format(row_id=row_id, webhook_event_id=event_id)
            answer = await send(client, method, path, operation)
            if method == "GET":
                assert answer.status_code in {200, 409}, (template, answer.text)
            else:
                problem(answer, 403)
                refused += 1

    assert refused >= 9
    assert await everything(api) == before


@asynccontextmanager
async def two_environments(
    api: ApiWorld, headers: dict[str, str]
) -> AsyncIterator[httpx.AsyncClient]:
    settings = api.rindle.settings
    staging = RindleSync(
        settings.model_copy(update={"environment": "staging"}), api.rindle.store.database
    )
    both = http_api({"default": api.rindle, "staging": staging}, settings)
    async with served(at_prefix(PREFIX, both)) as port:
        base_url = f"http://127.0.0.1:{port}{PREFIX}"
        async with httpx.AsyncClient(base_url=base_url, headers=headers, timeout=30) as client:
            yield client
    await both.close()
    await staging.finish()


@pytest.mark.parametrize("names_it", [True, False])
async def test_what_is_of_another_environment_is_not_there(
    api: ApiWorld, *, names_it: bool
) -> None:
    row_id, event_id = await a_world(api)
    token = await api.token("here", may_write=True, sees_provider_ids=True, environment="staging")
    before, asked = await everything(api), 0
    async with two_environments(api, token) as client:
        for method, template, operation in operations(api):
            if "{" not in template:
                continue
            path = template.format(row_id=row_id, webhook_event_id=event_id)
            query = {"environment": "staging"} if names_it else {}
            problem(await send(client, method, path, operation, **query), 404)
            problem(await send(client, method, path, operation, environment="default"), 403)
            asked += 1

    assert asked >= 9
    assert await everything(api) == before


async def test_without_a_token_nothing_is_done(api: ApiWorld) -> None:
    row_id, event_id = await a_world(api)
    before = await everything(api)
    async with httpx.AsyncClient(base_url=api.client.base_url) as client:
        for method, template, operation in operations(api):
            path = template.format(row_id=row_id, webhook_event_id=event_id)
            problem(await send(client, method, path, operation, access_token=TOKEN), 401)
            problem(await client.request("OPTIONS", path), 401)
            client.cookies.set("authorization", bearer(TOKEN)["authorization"])

    assert await everything(api) == before
