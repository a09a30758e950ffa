"""The webhook endpoint of a Django project, behind the servers that teams use."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from rindle_sync.providers.mux import sign
from rindle_sync.webhooks import LARGEST_BODY
from tests.support.django_project import PROJECT, DjangoProject, Migrate, a_project, database_of
from tests.support.processes import PATIENCE, free_port
from tests.support.webhooks import SECRET, an_event

STRICT = {"DATA_UPLOAD_MAX_MEMORY_SIZE": 100, "APPEND_SLASH": True}
NAME = "tests.integrations.django.project"


def gunicorn(port: int) -> list[str]:
    return ["-m", "gunicorn", f"{NAME}.wsgi:application", "--bind", f"127.0.0.1:{port}"]


def runserver(port: int) -> list[str]:
    return [str(PROJECT / "manage.py"), "runserver", "--noreload", f"127.0.0.1:{port}"]


def uvicorn(port: int) -> list[str]:
    return ["-m", "uvicorn", f"{NAME}.asgi:application", "--port", str(port), "--lifespan", "off"]


@contextmanager
def serving(project: DjangoProject, server: Any) -> Iterator[httpx.Client]:
    """A client of the project behind a server."""
    port = free_port()
    process = project.started(*server(port))
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE)
    try:
        wait_for(client, project)
        yield client
    finally:
        client.close()
        process.terminate()
        process.wait(PATIENCE)


def wait_for(client: httpx.Client, project: DjangoProject) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            client.get("/webhooks/mux")
        except httpx.TransportError:
            assert time.monotonic() < end, (project.folder / "log").read_text()
            time.sleep(0.1)
        else:
            return


def deliver(
    client: httpx.Client, event: Any, path: str = "/webhooks/mux", secret: str = SECRET
) -> httpx.Response:
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    headers = {"Mux-Signature": sign(body, secret, datetime.now(UTC))}
    return client.post(path, content=body, headers=headers)


def stored(project: DjangoProject) -> list[str]:
    found = project.query("SELECT event_id FROM provider_webhook_events ORDER BY event_id")
    return [event_id for [event_id] in found]


def answers(responses: Sequence[httpx.Response]) -> list[int]:
    return [response.status_code for response in responses]


@pytest.mark.parametrize(
    ("server", "kind"),
    [
        (gunicorn, "postgres"),
        (uvicorn, "sqlite"),
        pytest.param(runserver, "sqlite", marks=pytest.mark.acceptance),
    ],
)
def test_a_delivery_is_answered_as_everywhere(
    server: Any, kind: str, request: pytest.FixtureRequest, tmp_path: Path, migrated: Migrate
) -> None:
    # and neither its transactions, nor its limit of bodies, nor its middleware change an answer
    url = request.getfixturevalue(f"{kind}_url")
    databases = {"default": database_of(url) | {"ATOMIC_REQUESTS": True}}
    project = a_project(tmp_path, url, DATABASES=databases, **STRICT)
    migrated(project)
    long = an_event("asset-2", id="long", title="x" * 200_000)
    with serving(project, server) as client:
        assert answers(
            [
                deliver(client, an_event("asset-1", id="first")),
                deliver(client, an_event("asset-1", id="first")),
                deliver(client, long),
                deliver(client, an_event("asset-1", id="slash"), "/webhooks/mux/"),
                deliver(client, an_event("asset-1", id="forged"), secret="another"),
                deliver(client, b"x" * (LARGEST_BODY + 1)),
                deliver(client, an_event("asset-1"), "/webhooks/another"),
                deliver(client, an_event("asset-1"), "/webhooks/mux/production"),
            ]
        ) == [202, 200, 202, 202, 400, 413, 404, 404]
        refused = client.get("/webhooks/mux")
        assert (refused.status_code, refused.headers["Allow"]) == (405, "POST")

    assert stored(project) == ["first", "long", "slash"]


def test_a_body_in_chunks_is_read_whole(tmp_path: Path, sqlite_url: str, migrated: Migrate) -> None:
    project = a_project(tmp_path, sqlite_url)
    migrated(project)
    body = json.dumps(an_event("asset-1", id="in-chunks")).encode()
    headers = {"Mux-Signature": sign(body, SECRET, datetime.now(UTC))}
    with serving(project, gunicorn) as client:
        chunks = iter([body[:10], body[10:]])

        assert client.post("/webhooks/mux", content=chunks, headers=headers).status_code == 202


def test_what_cannot_be_stored_is_sent_again(tmp_path: Path, sqlite_url: str) -> None:
    project = a_project(tmp_path, sqlite_url)
    with serving(project, gunicorn) as client:
        refused = deliver(client, an_event("asset-1"))

        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
        project.managed("migrate", "-v0")
        assert deliver(client, an_event("asset-1")).status_code == 202


def test_an_endpoint_without_a_secret_says_that_it_is_the_server_s_fault(
    tmp_path: Path, sqlite_url: str, migrated: Migrate
) -> None:
    project = a_project(tmp_path, sqlite_url, RINDLE={"MUX_TOKEN_ID": "id"})
    migrated(project)
    with serving(project, gunicorn) as client:
        refused = deliver(client, an_event("asset-1"))

    assert (refused.status_code, refused.json()) == (500, {"error": "server_misconfigured"})


def test_each_environment_has_an_endpoint(
    tmp_path: Path, sqlite_url: str, migrated: Migrate
) -> None:
    environments = {
        name: {"MUX_TOKEN_ID": "id", "MUX_TOKEN_SECRET": "secret", "MUX_WEBHOOK_SECRETS": name}
        for name in ("staging", "production")
    }
    project = a_project(tmp_path, sqlite_url, RINDLE={"ENVIRONMENTS": environments})
    migrated(project)
    with serving(project, gunicorn) as client:
        assert answers(
            [
                deliver(client, an_event("asset-1"), "/webhooks/mux/staging", "staging"),
                deliver(client, an_event("asset-1"), "/webhooks/mux/staging", "production"),
                deliver(client, an_event("asset-1"), "/webhooks/mux/production", "production"),
                deliver(client, an_event("asset-1"), "/webhooks/mux", "production"),
                deliver(client, an_event("asset-1"), "/webhooks/mux/other", "production"),
            ]
        ) == [202, 400, 202, 404, 404]


def test_a_row_and_the_app_s_own_are_written_by_one_request(
    tmp_path: Path, postgres_url: str, migrated: Migrate
) -> None:
    project = a_project(tmp_path, postgres_url)
    migrated(project)
    with serving(project, gunicorn) as client:
        kept = client.post("/lessons/one", data={"asset": "asset-1"})
        undone = client.post("/lessons/two", data={"asset": "asset-2", "fails": "yes"})

    assert (kept.status_code, undone.status_code) == (200, 200)
    assert project.query("SELECT reference FROM media_provider_assets") == [["one"]]
    assert project.query("SELECT title FROM lessons_lesson") == [["one"]]
