"""The service in apps of Flask's."""

import gc
import json
import os
import re
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import sqlalchemy as sa

from rindle_sync import ChangeEvent, types
from rindle_sync.config import plain_settings
from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.errors import ConfigurationError
from rindle_sync.integrations.blocking import connect
from rindle_sync.providers.mux import sign
from rindle_sync.webhooks import LARGEST_BODY
from tests.support.app_connections import driver_url
from tests.support.processes import PATIENCE, UNWANTED, free_port, serving
from tests.support.webhooks import SECRET, an_event, signed
from tests.support.world import READY
from tests.support.wsgi_servers import ROOT, started, wait_for, wait_until

if TYPE_CHECKING:
    from rindle_sync.integrations.flask import FlaskRindle

flask = pytest.importorskip("flask")
ours = pytest.importorskip("rindle_sync.integrations.flask")


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in os.environ:
        if variable.startswith("RINDLE_"):
            monkeypatch.delenv(variable)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def emulator() -> MuxEmulator:
    return MuxEmulator()


AS_A_DICTIONARY = "input should be a valid dictionary (set a dictionary: for the name of each"

Makes = Callable[..., Any]
"""Makes an app with a service, by the name of the app and more of its config."""


@pytest.fixture
def rindle() -> "FlaskRindle":
    made: FlaskRindle = ours.FlaskRindle()
    return made


@pytest.fixture
def an_app(rindle: "FlaskRindle", tables_url: str, emulator: MuxEmulator) -> Iterator[Makes]:
    """Makes apps with one extension; their services end with the test."""
    apps = []

    def make(
        name: str = "first", *, options: Any = None, extensions: Any = (), **config: Any
    ) -> Any:
        app = flask.Flask(name)
        app.config.update(
            RINDLE_DATABASE_URL=tables_url,
            RINDLE_MUX_TOKEN_ID=emulator.token_id,
            RINDLE_MUX_TOKEN_SECRET=emulator.token_secret,
            RINDLE_MUX_WEBHOOK_SECRETS=SECRET,
        )
        app.config.update(config)
        for extension in extensions:
            extension.init_app(app)
        transport = httpx.ASGITransport(emulator.app)
        rindle.init_app(app, transport=transport, **(options or {}))
        apps.append(app)
        return app

    yield make
    for app in apps:
        app.extensions["rindle_sync"].close()


def post(app: Any, path: str = "/webhooks/mux", asset_id: str = "asset-1", **values: Any) -> Any:
    headers, body = signed(asset_id)
    return app.test_client().post(path, **({"data": body, "headers": headers} | values))


# an app, and several


def test_a_view_tracks_and_reads_rows_of_its_app(rindle: "FlaskRindle", an_app: Makes) -> None:
    app = an_app()

    def add(reference: str) -> Any:
        return {"id": rindle.track(reference=reference, provider_asset_id="asset-1").id}

    def show(reference: str) -> Any:
        [row] = rindle.find_by_reference(reference)
        return {"id": row.id, "state": row.state}

    app.post("/videos/<reference>")(add)
    app.get("/videos/<reference>")(show)
    client = app.test_client()
    added, shown = client.post("/videos/video-1"), client.get("/videos/video-1")

    assert shown.json == {"id": added.json["id"], "state": "processing"}


def test_a_delivery_is_applied_and_a_callback_runs_within_the_app(
    rindle: "FlaskRindle", an_app: Makes
) -> None:
    heard: list[tuple[str, str, int]] = []

    @rindle.on_change(state="ready")
    def hear(event: ChangeEvent) -> None:
        heard.append((event.reference, flask.current_app.name, rindle.count()))

    app = an_app()
    with app.app_context():
        rindle.track(reference="video-1", provider_asset_id="asset-1")
        rindle.start()
    answer = post(app)
    wait_until(lambda: bool(heard), "no callback was called")

    assert answer.status_code == 202
    assert heard == [("video-1", "first", 1)]


def test_each_app_of_one_extension_has_its_own_rows_and_context(
    rindle: "FlaskRindle", an_app: Makes, tmp_path: Path
) -> None:
    heard: list[str] = []
    apps = [an_app("first"), an_app("second", RINDLE_DATABASE_URL=f"sqlite:///{tmp_path}/second")]

    @rindle.on_change
    def hear(event: ChangeEvent) -> None:
        heard.append(f"{flask.current_app.name} {event.reference}")

    for app in apps:
        with app.app_context():
            rindle.migrate()
            rindle.track(reference=f"video-of-{app.name}", provider_asset_id="asset-1")
        assert post(app).status_code == 202
    for app in apps:
        with app.app_context():
            rindle.process_webhook_events()
            rindle.dispatch()
            assert [row.reference for row in rindle.list_all()] == [f"video-of-{app.name}"]

    assert heard == ["first video-of-first", "second video-of-second"]


def test_an_app_may_be_given_to_the_extension_at_once(tables_url: str) -> None:
    app = flask.Flask("at_once")
    app.config["RINDLE_DATABASE_URL"] = tables_url
    rindle = ours.FlaskRindle(app)

    with app.app_context():
        assert rindle.count() == 0
        rindle.close()


def test_the_app_of_the_page_takes_an_upload_and_hears_that_it_is_ready(
    emulator: MuxEmulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "flask.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"__name__": "videos"}
    exec(blocks[0], names)
    with serving(emulator) as far_end:
        monkeypatch.setenv("FLASK_RINDLE_MUX_BASE_URL", far_end.url)
        monkeypatch.setenv("FLASK_RINDLE_MUX_TOKEN_ID", emulator.token_id)
        monkeypatch.setenv("FLASK_RINDLE_MUX_TOKEN_SECRET", emulator.token_secret)
        monkeypatch.setenv("FLASK_RINDLE_MUX_WEBHOOK_SECRETS", SECRET)
        app = names["create_app"]()
        with app.app_context():
            names["rindle"].migrate()
            names["rindle"].track(reference="video-1", provider_asset_id="asset-1")
            begun = app.test_client().post("/videos/video-2/upload").json
            answer = post(app)
            names["rindle"].process_webhook_events()
            names["rindle"].dispatch()
            shown = app.test_client().get("/videos/video-1").json
            missing = app.test_client().get("/videos/none")
            names["rindle"].close()

    assert begun["url"].startswith("http")
    assert answer.status_code == 202
    assert shown == {"state": "ready"}
    assert missing.status_code == 404
    assert capsys.readouterr().out == "ready: video-1\n"


def test_outside_an_app_flask_says_so(rindle: "FlaskRindle") -> None:
    with pytest.raises(RuntimeError, match="Working outside of application context"):
        rindle.count()


def test_an_app_that_was_not_set_up_is_told_how(rindle: "FlaskRindle") -> None:
    with flask.Flask("plain").app_context(), pytest.raises(ConfigurationError, match="init_app"):
        rindle.count()


def test_an_app_is_set_up_once(rindle: "FlaskRindle", an_app: Makes) -> None:
    with pytest.raises(ConfigurationError, match="call it once for each app"):
        rindle.init_app(an_app())


def test_apps_that_are_gone_are_not_kept(rindle: "FlaskRindle") -> None:
    app = flask.Flask("short")
    rindle.init_app(app)
    gone = weakref.ref(app)
    del app
    gc.collect()

    assert gone() is None


# settings


def test_settings_of_the_app_win_over_those_of_the_process(
    rindle: "FlaskRindle", monkeypatch: pytest.MonkeyPatch, tables_url: str, sqlite_url: str
) -> None:
    monkeypatch.setenv("RINDLE_DATABASE_URL", sqlite_url)
    monkeypatch.setenv("RINDLE_MUX_TOKEN_ID", "of-the-process")
    app = flask.Flask("app")
    app.config.update(RINDLE_DATABASE_URL=tables_url, RINDLE_MUX_TOKEN_ID=None)
    rindle.init_app(app)

    with app.app_context():
        assert rindle.count() == 0  # the other database has no tables
        rindle.close()


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        (
            "RINDLE_MUX_TOKN_ID",
            "a-secret-word",
            "RINDLE_MUX_TOKN_ID: is no setting; did you mean RINDLE_MUX_TOKEN_ID?",
        ),
        ("RINDLE_X", "a-secret-word", "RINDLE_X: is no setting; see docs/settings.md"),
        ("RINDLE_LISTEN_PORT", "a-secret-word", "RINDLE_LISTEN_PORT: input should be a valid"),
        ("RINDLE_CONSOLE_TOKEN", "short-word", "RINDLE_CONSOLE_TOKEN: must have at least 16"),
        ("RINDLE_ENVIRONMENTS", "live", f"RINDLE_ENVIRONMENTS: {AS_A_DICTIONARY}"),
        ("RINDLE_ENVIRONMENTS", {"live": 1}, f"RINDLE_ENVIRONMENTS: {AS_A_DICTIONARY}"),
        ("RINDLE_DATABASE_URL", "mysql://a-secret-word@h/d", "RINDLE_DATABASE_URL: "),
        ("RINDLE_MUX_BASE_URL", 17, "RINDLE_MUX_BASE_URL: "),
    ],
)
def test_a_wrong_setting_is_told_as_the_app_is_made(
    key: str, value: Any, text: str, rindle: "FlaskRindle"
) -> None:
    app = flask.Flask("app")
    app.config[key] = value

    with pytest.raises(ConfigurationError) as raised:
        rindle.init_app(app)

    assert str(raised.value).startswith(text)
    assert raised.value.setting
    assert "word" not in str(raised.value)
    assert "\n" not in str(raised.value)


# the webhook endpoint


def test_what_is_no_delivery_is_refused_with_a_reason(an_app: Makes) -> None:
    app = an_app()
    headers, body = signed()

    stored = post(app, data=body, headers=headers)
    again = post(app, data=body, headers=headers)
    forged = post(app, data=body + b" ", headers=headers)
    large = post(app, data=b"x" * (LARGEST_BODY + 1), headers=headers)
    elsewhere = post(app, "/webhooks/other")

    assert (stored.status_code, stored.json) == (202, {"status": "stored"})
    assert (again.status_code, again.json) == (200, {"status": "duplicate"})
    assert (forged.status_code, forged.json) == (400, {"error": "provider_webhook_invalid"})
    assert (large.status_code, large.json) == (413, {"error": "payload_too_large"})
    assert elsewhere.status_code == 404


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
def test_another_method_than_post_is_refused(method: str, an_app: Makes) -> None:
    answer = an_app().test_client().open("/webhooks/mux", method=method)

    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


def test_a_closed_service_tells_the_sender_to_try_again(
    rindle: "FlaskRindle", an_app: Makes
) -> None:
    app = an_app()
    with app.app_context():
        rindle.close()

    answer = post(app)

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")


def test_without_its_tables_the_database_stores_nothing_and_the_sender_tries_again(
    an_app: Makes, tmp_path: Path
) -> None:
    answer = post(an_app(RINDLE_DATABASE_URL=f"sqlite:///{tmp_path}/empty"))

    assert (answer.status_code, answer.json) == (503, {"error": "try_again"})


def test_the_endpoint_stands_where_the_app_wants_it(an_app: Makes) -> None:
    moved, without = an_app(options={"url_prefix": "/hooks"}), an_app(options={"url_prefix": None})

    assert post(moved, "/hooks/mux").status_code == 202
    assert post(moved).status_code == 404
    assert post(without).status_code == 404


def test_the_apps_limit_of_forms_is_not_that_of_deliveries(an_app: Makes) -> None:
    assert post(an_app(MAX_CONTENT_LENGTH=10)).status_code == 202


def test_a_body_that_the_app_has_read_before_is_whole(an_app: Makes) -> None:
    app = an_app()
    app.before_request(lambda: flask.request.get_json(force=True) and None)

    assert post(app).status_code == 202


@pytest.mark.parametrize("order", ["before", "after"])
def test_a_delivery_needs_no_token_of_flask_wtf(order: str, an_app: Makes) -> None:
    protection = pytest.importorskip("flask_wtf").CSRFProtect()
    earlier = [protection] if order == "before" else []

    app = an_app(SECRET_KEY="a-secret", extensions=earlier)
    if order == "after":
        protection.init_app(app)
    app.post("/own")(lambda: "stored")

    assert post(app).status_code == 202
    assert post(app, "/own").status_code == 400


# the app's transaction


@pytest.fixture
def db(tables_url: str) -> Iterator[Any]:
    """An extension of Flask-SQLAlchemy, and a model; its table is gone afterwards."""
    db = pytest.importorskip("flask_sqlalchemy").SQLAlchemy()

    class Video(db.Model):  # type: ignore[misc,name-defined]
        __tablename__ = "app_videos"
        id = sa.Column(sa.String, primary_key=True)
        state = sa.Column(sa.String, nullable=False)

    db.Video = Video
    yield db
    engine = sa.create_engine(driver_url(tables_url, is_async=False))
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE app_videos"))
    engine.dispose()


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_both_rows_of_a_video_are_written_in_the_session_of_flask_sqlalchemy_or_none(
    end: str, rindle: "FlaskRindle", an_app: Makes, db: Any, tables_url: str
) -> None:
    app = an_app(SQLALCHEMY_DATABASE_URI=driver_url(tables_url, is_async=False))
    db.init_app(app)

    with app.app_context():
        db.create_all()
        db.session.add(db.Video(id="video-1", state="pending"))
        rindle.track(reference="video-1", provider_asset_id="asset-1", connection=db.session)
        getattr(db.session, end)()
        counts = db.session.query(db.Video).count(), rindle.count()
        db.session.remove()
        db.engine.dispose()

    assert counts == ((1, 1) if end == "commit" else (0, 0))


def test_a_transactional_callback_writes_a_model_of_the_app(
    rindle: "FlaskRindle", an_app: Makes, db: Any, tables_url: str, emulator: MuxEmulator
) -> None:
    @rindle.on_change(transactional=True)
    def copy_state(event: ChangeEvent, connection: sa.Connection) -> None:
        video = sa.update(db.Video).where(db.Video.id == event.reference)
        connection.execute(video.values(state=f"{event.change.to_state} {flask.current_app.name}"))

    app = an_app(SQLALCHEMY_DATABASE_URI=driver_url(tables_url, is_async=False))
    db.init_app(app)
    asset_id = emulator.create_asset(life=READY)
    with app.app_context():
        db.create_all()
        db.session.add(db.Video(id="video-1", state="pending"))
        rindle.track(reference="video-1", provider_asset_id=asset_id, connection=db.session)
        db.session.commit()
        rindle.sync(asset_id, ask_first=True)
        rindle.dispatch()
        rindle.dispatch()
        state = db.session.execute(sa.select(db.Video.state)).scalar_one()
        db.session.remove()
        db.engine.dispose()

    assert state == "ready first"


def test_a_callback_may_read_through_the_session_of_flask_sqlalchemy(
    rindle: "FlaskRindle", an_app: Makes, db: Any, tables_url: str, emulator: MuxEmulator
) -> None:
    heard: list[str] = []

    @rindle.on_change
    def hear(event: ChangeEvent) -> None:
        heard.append(db.session.get(db.Video, event.reference).state)

    app = an_app(SQLALCHEMY_DATABASE_URI=driver_url(tables_url, is_async=False))
    db.init_app(app)
    asset_id = emulator.create_asset(life=READY)
    with app.app_context():
        db.create_all()
        db.session.add(db.Video(id="video-1", state="as the app wrote it"))
        rindle.track(reference="video-1", provider_asset_id=asset_id, connection=db.session)
        db.session.commit()
        rindle.sync(asset_id, ask_first=True)
        rindle.dispatch()
        db.session.remove()
        db.engine.dispose()

    assert heard == ["as the app wrote it"]


def test_an_event_that_only_the_app_acts_on_is_handled_within_the_app(
    rindle: "FlaskRindle", an_app: Makes
) -> None:
    heard: list[str] = []

    @rindle.on_webhook("video.live_stream.*")
    def live(event: types.WebhookReceived) -> None:
        heard.append(f"{flask.current_app.name} {event.type}")

    app = an_app()
    body = json.dumps(an_event("stream-1", "video.live_stream.active")).encode()
    headers = {"mux-signature": sign(body, SECRET, datetime.now(UTC))}
    answer = post(app, data=body, headers=headers)
    with app.app_context():
        rindle.dispatch()

    assert answer.status_code == 202
    assert heard == ["first video.live_stream.active"]


# `flask rindle`

APP = ("-m", "flask", "--app", "tests.support.flask_app")


def config(url: str, emulator: MuxEmulator, heard: Path, **more: str) -> dict[str, str]:
    """The app's config, in variables."""
    values = {
        "RINDLE_DATABASE_URL": url,
        "RINDLE_MUX_TOKEN_ID": emulator.token_id,
        "RINDLE_MUX_TOKEN_SECRET": emulator.token_secret,
        "RINDLE_MUX_WEBHOOK_SECRETS": SECRET,
        "RINDLE_CONSOLE_PORT": "0",
        "HEARD": str(heard),
    }
    return {f"FLASK_{name}": value for name, value in (values | more).items()}


def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith(UNWANTED)}
    kept |= {"PYTHONPATH": os.pathsep.join(sys.path), **environment}
    return subprocess.run(
        [sys.executable, *APP, *arguments],
        capture_output=True,
        text=True,
        env=kept,
        timeout=PATIENCE,
        check=False,
    )


def test_a_command_has_the_settings_of_the_app_and_its_own_exit_code(
    sqlite_tables_url: str, emulator: MuxEmulator, tmp_path: Path
) -> None:
    environment = config(sqlite_tables_url, emulator, tmp_path / "heard")

    status = run("rindle", "status", "--json", **environment)
    tracked = run(
        "rindle", "track", "--reference", "video-1", "--upload-id", "an-upload", **environment
    )
    missing = run("rindle", "explain", "none", **environment)
    wrong = run("rindle", "statsu", **environment)
    nowhere = environment | {"FLASK_RINDLE_DATABASE_URL": f"sqlite:///{tmp_path}/empty"}
    empty = run("rindle", "list", **nowhere)
    others = run("rindle", "--environment", "other", "list", "--json", **environment)

    assert status.returncode == 0, status.stderr
    assert json.loads(status.stdout)
    assert tracked.returncode == 0, tracked.stderr
    assert "is that the database that RINDLE_DATABASE_URL in app.config should" in empty.stderr
    assert "`flask rindle migrate`" in empty.stderr
    assert "file" not in empty.stderr
    assert (missing.returncode, missing.stdout) == (1, "")
    assert wrong.returncode == 2
    assert "Usage: flask rindle" in wrong.stderr
    assert json.loads(others.stdout)["rows"] == []
    assert "Traceback" not in status.stderr + missing.stderr + wrong.stderr


def test_the_help_is_that_of_the_command_line(
    sqlite_tables_url: str, emulator: MuxEmulator, tmp_path: Path
) -> None:
    environment = config(sqlite_tables_url, emulator, tmp_path / "heard")

    commands, ours_, one = (
        run("--help", **environment),
        run("rindle", "--help"),
        run("rindle", "status", "--help"),
    )

    assert "rindle " in commands.stdout
    assert "Usage: flask rindle [OPTIONS] COMMAND" in ours_.stdout
    assert "Settings come from RINDLE_… in app.config" in ours_.stdout
    assert "doctor" in ours_.stdout
    assert (one.returncode, "Usage: flask rindle status" in one.stdout) == (0, True)


def test_a_wrong_setting_is_one_sentence_of_any_command() -> None:
    for command in (("rindle", "doctor"), ("run", "--port", "0"), ("shell",)):
        ended = run(*command, FLASK_RINDLE_LISTEN_PORT="none")

        assert ended.returncode == 2
        assert ended.stderr.startswith("Error: RINDLE_LISTEN_PORT: input should be a valid integer")
        assert len(ended.stderr.splitlines()) == 1, ended.stderr


def test_the_service_of_the_command_calls_the_callbacks_of_the_app_until_it_is_stopped(
    an_app: Makes, rindle: "FlaskRindle", tables_url: str, emulator: MuxEmulator, tmp_path: Path
) -> None:
    heard, log, app = tmp_path / "heard", tmp_path / "log", an_app()
    with app.app_context():
        rindle.track(reference="video-1", provider_asset_id="asset-1")
    with serving(emulator) as far_end:
        settings = config(tables_url, emulator, heard, RINDLE_MUX_BASE_URL=far_end.url)
        with started(log, *APP, "rindle", "run", **settings) as process:
            # the endpoint is that of the app
            answer = post(app)
            wait_until(heard.exists, "no callback was called")

    assert answer.status_code == 202
    assert process.returncode == 0, log.read_text()
    assert heard.read_text() == "video-1 1\n"
    assert "webhooks at" not in log.read_text()
    assert "Traceback" not in log.read_text()


# servers that fork


def at_port(port: int) -> httpx.Client:
    return httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE)


def deliver(client: httpx.Client, asset_id: str) -> httpx.Response:
    """One delivery; it is sent again, as Mux does, where a busy machine stores it too late."""
    headers, body = signed(asset_id)
    answer = client.post("/webhooks/mux", content=body, headers=headers)
    for _ in range(3):
        if answer.status_code != 503:
            break
        answer = client.post("/webhooks/mux", content=body, headers=headers)
    return answer


def gunicorn(port: int) -> list[str]:
    """Two workers, forked from a process that has made the app."""
    module = "tests.support.flask_app"
    options = ["--preload", "--workers", "2", "--threads", "4", "--bind", f"127.0.0.1:{port}"]
    options += ["--timeout", "120"]  # else a worker that a busy machine holds up is killed
    return ["-m", "gunicorn", *options, "--config", f"python:{module}", f"{module}:create_app()"]


def test_workers_of_gunicorn_that_are_forked_from_a_used_app_receive_and_apply(
    tables_url: str, emulator: MuxEmulator, tmp_path: Path
) -> None:
    pytest.importorskip("gunicorn")
    heard, log, port = tmp_path / "heard", tmp_path / "log", free_port()
    numbers = range(12)
    with connect(plain_settings(database_url=tables_url)) as rindle:
        for number in numbers:
            rindle.track(reference=f"video-{number}", provider_asset_id=f"asset-{number}")
    with serving(emulator) as far_end, at_port(port) as client:
        settings = config(tables_url, emulator, heard, USED_BEFORE_FORK="true")
        settings["FLASK_RINDLE_MUX_BASE_URL"] = far_end.url
        with started(log, *gunicorn(port), **settings) as server:
            wait_for(server, client, "/rows/none", log)
            with ThreadPoolExecutor(4) as threads:
                answers = list(threads.map(lambda n: deliver(client, f"asset-{n}"), numbers))
            wait_until(lambda: lines(heard) >= len(numbers), "not every callback was called")
            shown = [client.get(f"/rows/video-{number}").json() for number in numbers]

    assert {answer.status_code for answer in answers} <= {202, 200}
    assert {row["state"] for row in shown} == {"ready"}
    assert {line.split()[0] for line in heard.read_text().splitlines()} == {
        f"video-{number}" for number in numbers
    }
    assert server.returncode == 0, log.read_text()
    assert "Traceback" not in log.read_text()


def lines(file: Path) -> int:
    return len(file.read_text().splitlines()) if file.exists() else 0


def test_a_server_that_is_stopped_lets_calls_under_way_end(
    tables_url: str, emulator: MuxEmulator, tmp_path: Path
) -> None:
    pytest.importorskip("gunicorn")
    log, port = tmp_path / "log", free_port()
    asset_ids = emulator.create_assets(4, life=READY)
    with connect(plain_settings(database_url=tables_url)) as rindle:
        for asset_id in asset_ids:
            rindle.track(reference=asset_id, provider_asset_id=asset_id)
    with serving(emulator) as far_end, at_port(port) as client, ThreadPoolExecutor(4) as threads:
        settings = config(tables_url, emulator, tmp_path / "heard")
        settings["FLASK_RINDLE_MUX_BASE_URL"] = far_end.url
        settings["FLASK_RINDLE_PROVIDER_TIMEOUT_SECONDS"] = "60"
        # without the jobs, which would check the rows themselves
        command = [part for part in gunicorn(port) if not part.startswith(("--config", "python:"))]
        with started(log, *command, **settings) as server:
            wait_for(server, client, "/rows/none", log)
            emulator.add_fault("latency", seconds=2)
            under_way = [threads.submit(client.post, f"/rows/{i}/sync") for i in asset_ids]
            wait_until(lambda: sum(far_end.looks.values()) == 4, "not every call has begun")
        answers = [call.result().json() for call in under_way]

    assert answers == [{"state": "ready"}] * 4
    assert server.returncode == 0, log.read_text()
    assert "Traceback" not in log.read_text()
