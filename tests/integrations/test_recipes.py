"""The recipes of docs/frameworks.md: each is written into a file, and served as its page says."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from rindle_sync.config import plain_settings
from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.errors import NotStarted
from rindle_sync.integrations import blocking
from rindle_sync.integrations.asgi import AsgiRindle
from tests.support.processes import PATIENCE, free_port, serving
from tests.support.webhooks import SECRET, signed
from tests.support.wsgi_servers import ROOT, started, wait_for, wait_until

LONGEST = 10
"""Lines of a recipe, its imports aside."""

RECIPES: dict[str, str] = dict(
    re.findall(
        r"^## (.+?)$.*?^```python\n(.*?)^```$",
        (ROOT / "docs" / "frameworks.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
)

COMMANDS = {
    "uvicorn": ("uvicorn", "videos:app", "--port", "{port}"),
    "hypercorn": ("hypercorn", "videos:app", "--bind", "127.0.0.1:{port}"),
    "gunicorn": (
        *("gunicorn", "videos:app", "--config", "python:videos", "--preload", "--workers", "2"),
        *("--bind", "127.0.0.1:{port}"),
    ),
}
ASYNC = [("uvicorn", "postgres_tables_url"), ("hypercorn", "sqlite_tables_url")]
SYNC = [("gunicorn", "postgres_tables_url"), ("gunicorn", "sqlite_tables_url")]
SERVED = [
    pytest.param(heading, server, database, id=f"{heading}-{server}-{database.partition('_')[0]}")
    for heading in RECIPES
    for server, database in (SYNC if "WSGI" in heading else ASYNC)
]


def test_each_kind_of_app_has_its_recipe() -> None:
    assert list(RECIPES) == ["Litestar", "Quart", "Plain ASGI", "Plain WSGI"]


@pytest.mark.parametrize("heading", RECIPES)
def test_a_recipe_is_short(heading: str) -> None:
    lines = [line for line in RECIPES[heading].splitlines() if line.strip()]
    code = [line for line in lines if not re.match("(import|from) ", line)]

    assert len(code) <= LONGEST


@pytest.mark.parametrize(("heading", "server_name", "database"), SERVED)
def test_a_recipe_receives_applies_and_shows(
    heading: str, server_name: str, database: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    tables_url: str = request.getfixturevalue(database)
    for module in (server_name, *re.findall("from (litestar|quart) import", RECIPES[heading])):
        pytest.importorskip(module)
    (tmp_path / "videos.py").write_text(RECIPES[heading])
    emulator, log, port = MuxEmulator(), tmp_path / "log", free_port()
    with blocking.connect(plain_settings(database_url=tables_url)) as rindle:
        rindle.track(reference="video-1", provider_asset_id="asset-1")

    with (
        serving(emulator) as far_end,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client,
        started(
            log,
            *("-m", *(part.format(port=port) for part in COMMANDS[server_name])),
            PYTHONPATH=f"{ROOT / 'src'}:{tmp_path}",
            RINDLE_DATABASE_URL=tables_url,
            RINDLE_MUX_BASE_URL=far_end.url,
            RINDLE_MUX_TOKEN_ID=emulator.token_id,
            RINDLE_MUX_TOKEN_SECRET=emulator.token_secret,
            RINDLE_MUX_WEBHOOK_SECRETS=SECRET,
        ) as server,
    ):
        wait_for(server, client, "/videos/none", log)
        before = client.get("/videos/video-1").json()
        headers, body = signed("asset-1")
        stored = client.post("/webhooks/mux", content=body, headers=headers)
        forged = client.post("/webhooks/mux", content=b"{}", headers=headers)
        wait_until(
            lambda: client.get("/videos/video-1").json() == {"default": "ready"},
            "the delivery was not applied",
        )

    assert before == {"default": "processing"}
    assert (stored.status_code, stored.json()) == (202, {"status": "stored"})
    assert forged.status_code == 400
    # uvicorn ends as the signal would have ended it
    assert server.returncode in {0, -15}, log.read_text()
    assert "Traceback" not in log.read_text()


# an app without a framework


class Host:
    """A server's side of the lifespan protocol."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._told: asyncio.Queue[str] = asyncio.Queue()
        self._heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def tell(self, phase: str) -> dict[str, Any]:
        """What the app answers."""
        await self._told.put(phase)
        return await asyncio.wait_for(self._heard.get(), PATIENCE)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Host"]:
        async def receive() -> dict[str, Any]:
            return {"type": f"lifespan.{await self._told.get()}"}

        task = asyncio.create_task(self._app({"type": "lifespan"}, receive, self._heard.put))
        yield self
        await asyncio.wait_for(task, PATIENCE)


async def test_the_service_runs_between_startup_and_shutdown(tables_url: str) -> None:
    rindle = AsgiRindle(plain_settings(database_url=tables_url), run_jobs=False)
    async with Host(rindle.asgi).running() as host:
        begun = await host.tell("startup")
        count = await rindle.running.count()
        ended = await host.tell("shutdown")

    assert begun["type"] == "lifespan.startup.complete"
    assert ended["type"] == "lifespan.shutdown.complete"
    assert count == 0
    with pytest.raises(NotStarted):
        _ = rindle.running


async def test_settings_that_are_wrong_are_a_sentence_to_the_server(tables_url: str) -> None:
    rindle = AsgiRindle(plain_settings(database_url=tables_url))  # its jobs need a token
    async with Host(rindle.asgi).running() as host:
        failed = await host.tell("startup")

    assert failed["type"] == "lifespan.startup.failed"
    assert failed["message"].startswith("mux_token_id: ")
    assert "\n" not in failed["message"]


async def test_while_no_service_runs_a_delivery_is_to_be_sent_again() -> None:
    transport = httpx.ASGITransport(AsgiRindle().asgi)
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        answer = await client.post("/webhooks/mux")

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
