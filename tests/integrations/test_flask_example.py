"""The whole app of examples/flask_app: on PostgreSQL as well, and under its own gunicorn."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from rindle_sync.emulator.emulator import MuxEmulator
from tests.support.processes import PATIENCE, UNWANTED, free_port, serving
from tests.support.webhooks import SECRET, signed
from tests.support.wsgi_servers import ROOT, started, wait_for, wait_until

pytest.importorskip("flask")

APP = ROOT / "examples" / "flask_app"


def run(*command: str, **environment: str) -> str:
    """The output of a command in the folder of the app, which must succeed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(UNWANTED)}
    ended = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=APP,
        env=kept | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=10 * PATIENCE,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


def test_the_app_passes_its_own_tests_on_postgresql(postgres_url: str) -> None:
    run("pytest", "-q", "-p", "no:cacheprovider", TEST_DATABASE_URL=postgres_url)


def test_the_app_is_set_up_and_served_as_its_page_says(database_url: str, tmp_path: Path) -> None:
    pytest.importorskip("gunicorn")
    emulator, log, port = MuxEmulator(), tmp_path / "log", free_port()
    environment = {
        "FLASK_APP": "videosite",
        "DATABASE_URL": database_url,
        "RINDLE_MUX_TOKEN_ID": emulator.token_id,
        "RINDLE_MUX_TOKEN_SECRET": emulator.token_secret,
        "RINDLE_MUX_WEBHOOK_SECRETS": SECRET,
    }
    served = ["--chdir", str(APP), "--config", str(APP / "gunicorn.conf.py")]
    command = ["-m", "gunicorn", *served, "--bind", f"127.0.0.1:{port}", "videosite:create_app()"]

    run("flask", "init-db", **environment)
    assert "the tables are at" in run("flask", "rindle", "migrate", **environment)
    with (
        serving(emulator) as far_end,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client,
        started(log, *command, RINDLE_MUX_BASE_URL=far_end.url, **environment) as server,
    ):
        wait_for(server, client, "/", log)
        existing = {"title": "Old", "provider_asset_id": "asset-1"}
        made = client.post("/videos/existing", json=existing).json()
        headers, body = signed("asset-1")
        answer = client.post("/webhooks/mux", content=body, headers=headers)

        def is_ready() -> bool:
            shown = client.get(f"/videos/{made['id']}").json()
            return (shown["state"], shown["changes"]) == ("ready", 1)

        wait_until(is_ready, "the change is not in the app's table")

    assert answer.status_code == 202
    assert server.returncode == 0, log.read_text()
    assert "Traceback" not in log.read_text()
