"""The library without its extras.

It does its work on SQLite, and names the extra where one is needed.
"""

import subprocess
import sys
import textwrap
from pathlib import Path

EXTRAS = (
    "typer",
    "rich",
    "aiohttp_socks",
    "httpx",
    "starlette",
    "uvicorn",
    "httptools",
    "uvloop",
    "jinja2",
    "itsdangerous",
    "psycopg",
    "procrastinate",
    "celery",
    "django",
    "jwt",
    "cryptography",
    "prometheus_client",
    "opentelemetry",
    "flask",
    "fastapi",
)

WITHOUT = f"""
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {EXTRAS!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name.partition(".")[0])

sys.meta_path.insert(0, Missing())
"""


def run_without_extras(script: str, but: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run a script in which no extra can be imported, `but` these."""
    missing = tuple(name for name in EXTRAS if name not in but)
    return subprocess.run(
        [
            sys.executable,
            "-c",
            WITHOUT.replace(repr(EXTRAS), repr(missing)) + textwrap.dedent(script),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_rows_deliveries_and_callbacks_need_no_extra(tmp_path: Path) -> None:
    ended = run_without_extras(f"""
        import asyncio
        from datetime import UTC, datetime
        from rindle_sync import connect
        from rindle_sync.config import plain_settings
        from rindle_sync.providers.mux import sign

        async def main():
            settings = plain_settings(
                database_url="sqlite:///{tmp_path}/rows.sqlite3",
                mux_base_url="http://127.0.0.1:9",
                mux_token_id="id",
                mux_token_secret="secret",
                mux_webhook_secrets="secret",
                provider_retry_seconds=0.01,
            )
            async with connect(settings) as rindle:
                await rindle.migrate()
                heard = []

                @rindle.on_change
                async def hears(changed):
                    heard.append(changed.change.to_state.value)

                row = await rindle.track(reference="video-1", provider_asset_id="asset-1")
                settled = await rindle.sync("asset-1")
                asset = '{{"id": "asset-1", "status": "ready"}}'
                event = '{{"type": "video.asset.ready", "id": "event-1", "data": ' + asset + "}}"
                body = event.encode()
                headers = [(b"mux-signature", sign(body, "secret", datetime.now(UTC)).encode())]
                sent = []

                async def receive():
                    return {{"type": "http.request", "body": body}}

                async def send(message):
                    sent.append(message)

                scope = {{"type": "http", "method": "POST", "headers": headers}}
                await rindle.webhooks(scope, receive, send)
                await rindle.process_webhook_events()
                await rindle.dispatch()
                state = (await rindle.get(row.id)).state.value
                print(settled.decision.verdict.value, sent[0]["status"], state, heard)

        asyncio.run(main())
    """)

    assert ended.stdout == "unanswered 202 ready ['ready']\n", ended.stderr


def test_what_needs_an_extra_names_it() -> None:
    ended = run_without_extras("""
        from rindle_sync import RindleSyncError
        from rindle_sync.providers.mux import Signer
        from rindle_sync.store.schema import open_engine

        url = "postgresql://u@127.0.0.1/d"
        for use in (lambda: open_engine(url), lambda: Signer("key", "text")):
            try:
                use()
            except RindleSyncError as error:
                print(error)
    """)

    postgresql, playback = ended.stdout.splitlines()
    assert "rindle-sync[postgresql]" in postgresql
    assert "rindle-sync[playback]" in playback


def test_what_is_measured_needs_no_extra_and_each_exporter_needs_its_own() -> None:
    ended = run_without_extras("""
        from importlib import import_module
        from rindle_sync.exporters import INSTRUMENTS, Gauges, readings

        print(len(INSTRUMENTS) > 0)
        for name in ("prometheus", "opentelemetry"):
            try:
                import_module(f"rindle_sync.exporters.{name}")
            except ModuleNotFoundError as missing:
                print(missing.name)
    """)

    assert ended.stdout.split() == ["True", "prometheus_client", "opentelemetry"], ended.stderr


def test_the_extension_of_flask_needs_its_extra_and_the_other_faces_none() -> None:
    ended = run_without_extras("""
        import rindle_sync.integrations.blocking
        try:
            import rindle_sync.integrations.flask
        except ModuleNotFoundError as missing:
            print(missing.name)
    """)

    assert ended.stdout == "flask\n", ended.stderr


def test_the_command_of_flask_names_the_extra_of_the_command_line() -> None:
    ended = run_without_extras(
        """
        from flask import Flask
        from rindle_sync.integrations.flask import FlaskRindle

        app = Flask("app")
        FlaskRindle(app)
        app.cli(["rindle", "status"])
    """,
        but=("flask", "jinja2", "itsdangerous"),
    )

    assert ended.returncode == 1
    assert ended.stderr == "Error: this command needs typer; pip install 'rindle-sync[cli]'\n"


def test_the_parts_for_tests_name_their_extra_and_the_plugin_needs_none() -> None:
    ended = run_without_extras("""
        import rindle_sync.testing.plugin
        from rindle_sync.testing import Clock

        try:
            from rindle_sync.testing import FakeMux
        except ModuleNotFoundError as missing:
            print(missing)
    """)

    needs = "rindle_sync.testing needs httpx; pip install 'rindle-sync[testing]'\n"
    assert ended.stdout == needs, ended.stderr


def test_the_command_line_names_its_extra() -> None:
    ended = run_without_extras("from rindle_sync.__main__ import main; main()")

    assert ended.returncode == 1
    assert (
        ended.stderr
        == "rindle-sync: the command line needs typer; pip install 'rindle-sync[cli]'\n"
    )


def test_the_http_api_needs_an_extra(tmp_path: Path) -> None:
    ended = run_without_extras(f"""
        import asyncio
        from rindle_sync import connect
        from rindle_sync.errors import ConfigurationError
        from rindle_sync.config import plain_settings

        async def main():
            settings = plain_settings(database_url="sqlite:///{tmp_path}/rows.sqlite3")
            async with connect(settings) as rindle:
                try:
                    rindle.api
                except ConfigurationError as error:
                    print(error)

        asyncio.run(main())
    """)

    assert ended.stdout == ("api: the HTTP API needs an extra; pip install 'rindle-sync[api]'\n"), (
        ended.stderr
    )
