"""Requests that are refused: each is told why, as a problem document, and none is a 5xx."""

import asyncio

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from rindle_sync.web.api.bodies import LARGEST_BODY
from tests.support.api import PREFIX, TOKEN, ApiWorld, an_api, bearer
from tests.support.processes import PATIENCE, free_port
from tests.web.api.test_operations import fields, problem

JSON = {"content-type": "application/json"}
ID = "00000000-0000-4000-8000-000000000000"


async def test_a_path_that_there_is_not_is_a_404(api: ApiWorld) -> None:
    assert problem(await api.client.get("/nowhere"), 404)["type"].endswith(":no-such-path")
    problem(await api.client.get("/assets/"), 404)
    problem(await api.client.get(f"/assets/{ID}"), 404)
    problem(await api.client.get("/assets/no-id"), 404)
    problem(await api.client.get("/assets/%00"), 404)


async def test_a_reference_in_the_place_of_an_id_is_told_how_to_find_the_id(api: ApiWorld) -> None:
    missing = problem(await api.client.get("/assets/film-1"), 404)

    assert "GET /assets?reference=" in missing["detail"]


@pytest.mark.parametrize(
    ("path", "detail"),
    [
        ("/assets?state=ready&state=redy", "state: input should be 'pending', "),
        ("/changes?after=abc", "after: must be the `next` of an answer before, or newest"),
        ("/changes?after=12%0A", "after: must be the `next` of an answer before, or newest"),
    ],
)
async def test_a_wrong_parameter_is_named_as_it_was_given(
    api: ApiWorld, path: str, detail: str
) -> None:
    assert problem(await api.client.get(path), 422)["detail"].startswith(detail)


@pytest.mark.parametrize("body", [[], "film-1", 7])
async def test_a_body_that_is_no_object_is_a_422(api: ApiWorld, body: object) -> None:
    refused = problem(await api.client.post("/assets", json=body), 422)

    assert refused["errors"] == [{"field": "body", "message": "must be a JSON object"}]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PATCH", "/assets", "GET, POST"),
        ("PUT", f"/assets/{ID}", "DELETE, GET"),
        ("OPTIONS", "/assets/from-url", "POST"),
        ("POST", "/openapi.json", "GET, HEAD"),
    ],
)
async def test_a_method_that_a_path_does_not_take_is_a_405(
    api: ApiWorld, method: str, path: str, allowed: str
) -> None:
    answer = await api.client.request(method, path)

    problem(answer, 405)
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"reference=film-1",
        b'{"reference": "\xff"}',
        b'{"reference": NaN}',
        b"\xef\xbb\xbf{}",
        '{"reference": "film-1"}'.encode("utf-16"),
        b'{"a":' * 200_000,
        b'{"a": ' + b"[" * 40 + b"]" * 40 + b"}",
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
    ids=["cut", "form", "latin", "nan", "mark", "utf-16", "endless", "deep", "number"],
)
async def test_a_body_that_cannot_be_read_is_a_400(api: ApiWorld, body: bytes) -> None:
    content = body[: LARGEST_BODY - 1]

    problem(await api.client.post("/assets", content=content, headers=JSON), 400)


async def test_a_body_that_is_too_large_is_a_413(api: ApiWorld) -> None:
    body = b'{"reference": "' + b"x" * LARGEST_BODY + b'"}'

    problem(await api.client.post("/assets", content=body, headers=JSON), 413)


@pytest.mark.parametrize("kind", ["text/plain", "application/json; charset=latin-1", ""])
async def test_a_body_of_another_kind_is_a_415(api: ApiWorld, kind: str) -> None:
    answer = await api.client.post("/assets", content=b"{}", headers={"content-type": kind})

    problem(answer, 415)


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (b"", "body"),
        (b"[]", "body"),
        (b"{}", "reference"),
        (b'{"reference": 3}', "reference"),
        (b'{"provider_asset_id": "x", "reference": " "}', "reference"),
        (b'{"provider_asset_id": "x", "reference": "a\\u0000b"}', "reference"),
        (b'{"reference": "\\ud800"}', "reference"),
        (b'{"reference": "' + b"x" * 300 + b'"}', "reference"),
        (b'{"reference": "a", "profile": null}', "profile"),
        (b'{"provider_asset_id": "x", "reference": "a", "state": "deleted"}', "state"),
        (b'{"reference": "a", "asset": "b"}', "asset"),
        (b'{"reference": "a", "\\ud800": "b"}', "body"),
        (b'{"reference": "a", "provider_asset_id": "x\\u0000"}', "provider_asset_id"),
    ],
)
async def test_a_wrong_field_is_named(api: ApiWorld, content: bytes, field: str) -> None:
    refused = await api.client.post("/assets", content=content, headers=JSON)

    assert fields(problem(refused, 422)) == [field]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=9" + "9" * 5000, "limit"),
        ("after=nonsense", "after"),
        ("after=%00%ff", "after"),
        ("order=up", "order"),
        ("state=ready&state=nonsense", "state"),
        ("since=yesterday", "since"),
        ("since=2026-01-01T00:00:00", "since"),
        ("since=0001-01-01T00:00:00%2B23:59", "since"),
        ("profile=a%00b", "profile"),
        ("stat=ready", "stat"),
        ("environment=other", "environment"),
    ],
)
async def test_a_wrong_parameter_is_named(api: ApiWorld, query: str, field: str) -> None:
    assert fields(problem(await api.client.get(f"/assets?{query}"), 422)) == [field]


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb"])
async def test_a_wrong_idempotency_key_is_named(api: ApiWorld, key: str) -> None:
    body = {"reference": "film-1", "provider_asset_id": "asset-1"}

    refused = await api.client.post("/assets", json=body, headers={"idempotency-key": key})

    assert fields(problem(refused, 422)) == ["Idempotency-Key"]


async def test_a_database_that_does_not_answer_is_a_503() -> None:
    url = f"postgresql://nobody@127.0.0.1:{free_port()}/nothing"
    async with an_api(url) as api:
        by_settings = await api.client.get("/assets")
        by_table = await api.client.get("/assets", headers=bearer("rsk_" + "x" * 43))

    for answer in (by_settings, by_table):
        problem(answer, 503)
        assert int(answer.headers["retry-after"]) > 0


async def test_a_body_that_does_not_arrive_takes_no_place_for_long(api: ApiWorld) -> None:
    answers, asks = await asyncio.open_connection("127.0.0.1", api.port)
    head = f"POST {PREFIX}/assets HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n"
    asks.write(
        f"{head}content-type: application/json\r\nauthorization: Bearer {TOKEN}\r\n\r\n{{".encode()
    )

    async with asyncio.timeout(PATIENCE):
        line = await answers.readline()
    asks.close()

    assert b" 408 " in line


async def test_the_api_can_be_mounted_below_any_path(sqlite_tables_url: str) -> None:
    async with an_api(sqlite_tables_url) as api:
        app = Starlette(routes=[Mount("/internal/video", api.rindle.api)])
        transport = httpx.ASGITransport(app, root_path="/proxied")
        async with httpx.AsyncClient(
            transport=transport, base_url="http://x/proxied/internal/video", headers=bearer(TOKEN)
        ) as client:
            listed = await client.get("/assets")
            missing = await client.get(f"/assets/{ID}")
            described = await client.get("/openapi.json")

    assert (listed.status_code, missing.status_code) == (200, 404)
    assert described.json()["servers"] == [{"url": "/proxied/internal/video"}]


@pytest.mark.parametrize("name", ["Authorization", "Content-Type", "Idempotency-Key"])
async def test_a_header_that_counts_is_sent_once(api: ApiWorld, name: str) -> None:
    given = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
    headers = [(name, "another"), *(given | {"idempotency-key": "key-1"}).items()]
    async with httpx.AsyncClient(base_url=api.client.base_url) as client:
        refused = await client.post("/assets", content=b"{}", headers=headers)

    assert name.lower() in problem(refused, 400)["detail"]
