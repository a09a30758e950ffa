"""The service called from threads, in requests and scripts, by apps without an event loop."""

import asyncio
import inspect
import json
import os
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from importlib import util
from io import BytesIO
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import httpx
import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from rindle_sync import ChangeEvent, PlaybackKind, RindleSync, State
from rindle_sync.config import plain_settings
from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.errors import AlreadyClosed, AlreadyTracked, CalledFromItsLoop, ConfigurationError
from rindle_sync.installation import connect_all as connect_all_async
from rindle_sync.integrations.blocking import (
    BlockingRindle,
    BlockingWebhookEvents,
    connect,
    connect_all,
    webhook_wsgi_app,
)
from rindle_sync.webhooks import LARGEST_BODY, WebhookEvents
from tests.support import broker
from tests.support.app_connections import driver_url, file_of
from tests.support.processes import PATIENCE, UNWANTED, free_port, serving
from tests.support.webhooks import SECRET, signed
from tests.support.world import READY
from tests.support.wsgi_servers import started

ROOT = Path(__file__).parents[2]

NOT_BLOCKING = {
    "run": "`start` does so in the background",
    "api": "an ASGI app",
    "webhooks": "an ASGI app; `webhook_wsgi_app` is one of WSGI",
    "wants_webhook": "part of the endpoint",
    "procrastinate": "an engine is run by `rindle-sync worker`",
    "finish": "`close` does all of it",
    "close": "its own",
    "runtime": "of engines",
    "waiting_events": "part of the endpoint",
    "within": "for integrations, as that of Django",
    "context": "internal",
    "job_runner": "internal",
    "settings": "internal",
    "store": "internal",
    "telemetry": "internal",
}


def settings_of(url: str, emulator: MuxEmulator, **more: Any) -> Any:
    return plain_settings(
        database_url=url,
        mux_token_id=emulator.token_id,
        mux_token_secret=emulator.token_secret,
        mux_webhook_secrets=SECRET,
        **more,
    )


@pytest.fixture
def emulator() -> MuxEmulator:
    return MuxEmulator()


@pytest.fixture
def rindle(tables_url: str, emulator: MuxEmulator) -> Iterator[BlockingRindle]:
    transport = httpx.ASGITransport(emulator.app)
    with connect(settings_of(tables_url, emulator), transport=transport) as rindle:
        yield rindle


def test_what_a_program_does_through_it_is_recorded(
    rindle: BlockingRindle, emulator: MuxEmulator
) -> None:
    program = rindle.as_actor("token:backend")
    row = program.track(reference="film-1", provider_asset_id=emulator.create_asset(life=READY))
    program.sync(row)
    rindle.sync(row)

    acted = [moment for moment in rindle.explain(row).history if moment.kind == "action"]

    assert [(moment.trigger, moment.text) for moment in acted] == [
        ("token:backend", "track: done"),
        ("token:backend", "sync: changed"),
    ]
    with pytest.raises(ConfigurationError, match="actor: "):
        rindle.as_actor("anna")


# the whole of the public object


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def test_every_method_of_the_service_is_there() -> None:
    missing = public(RindleSync) - public(BlockingRindle)

    assert missing - set(NOT_BLOCKING) == set()
    assert public(WebhookEvents) <= public(BlockingWebhookEvents)


@pytest.mark.parametrize("name", sorted(public(BlockingRindle) & public(RindleSync)))
def test_a_method_takes_the_same_arguments_and_is_documented(name: str) -> None:
    plain, ours = getattr(RindleSync, name), getattr(BlockingRindle, name)

    if inspect.isfunction(plain) and name not in {"on_change", "on_webhook", "close", "list_all"}:
        assert inspect.signature(plain) == inspect.signature(ours)
    assert ours.__doc__


# any thread


def test_threads_call_at_the_same_time(rindle: BlockingRindle) -> None:
    def track(number: int) -> str:
        return rindle.track(reference=f"video-{number}", provider_asset_id=f"asset-{number}").id

    with ThreadPoolExecutor(8) as threads:
        ids = list(threads.map(track, range(40)))

    assert rindle.count() == len(set(ids)) == 40
    assert {row.id for row in rindle.list_all()} == set(ids)
    assert [row.id for row in rindle.list_all(references=["video-7"])] == [ids[7]]


def test_an_error_is_the_one_of_the_service(rindle: BlockingRindle) -> None:
    row = rindle.track(reference="video-1", provider_asset_id="asset-1")

    with pytest.raises(AlreadyTracked) as raised:
        rindle.track(reference="video-1", provider_asset_id="asset-2")

    assert raised.value.row_id == row.id


def test_a_row_is_synced_explained_and_played(
    rindle: BlockingRindle, emulator: MuxEmulator
) -> None:
    asset_id = emulator.create_asset(life=READY)
    row = rindle.track(reference="video-1", provider_asset_id=asset_id)

    applied = rindle.sync(asset_id, ask_first=True)

    assert applied
    assert applied.row.state is State.READY
    assert rindle.explain(applied.row).row_id == row.id
    url = rindle.playback_url(row.id, PlaybackKind.VIDEO)
    assert url
    assert rindle.playback_bundle(applied.row).playback_id
    assert rindle.tracking(reference="video-2", provider_asset_id="asset-2").row.reference
    assert rindle.webhook_events.list() == []


# in the app's transaction


@contextmanager
def a_session(url: str) -> Iterator[Any]:
    engine = sa.create_engine(driver_url(url, is_async=False))
    with Session(engine) as session:
        yield session
    engine.dispose()


@contextmanager
def a_scoped_session(url: str) -> Iterator[Any]:
    """Another thread would get another session of it."""
    engine = sa.create_engine(driver_url(url, is_async=False))
    session = scoped_session(sessionmaker(engine))
    yield session
    session.remove()
    engine.dispose()


@contextmanager
def a_driver_connection(url: str) -> Iterator[Any]:
    """That of sqlite3 refuses every thread but its own."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(file_of(url))) as connection:
            yield connection
    else:
        with closing(psycopg.connect(url)) as connection:
            yield connection


@pytest.mark.parametrize("opened", [a_session, a_scoped_session, a_driver_connection])
@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_connection_is_used_on_the_thread_that_passes_it(
    opened: Callable[[str], Any], end: str, rindle: BlockingRindle, tables_url: str
) -> None:
    with opened(tables_url) as connection:
        rindle.track(reference="video-1", provider_asset_id="asset-1", connection=connection)
        rindle.track_many(
            [{"reference": "video-2", "provider_asset_id": "asset-2"}], connection=connection
        )
        getattr(connection, end)()

    assert rindle.count() == (2 if end == "commit" else 0)


def test_a_call_that_raises_leaves_the_transaction_usable(
    rindle: BlockingRindle, tables_url: str
) -> None:
    rindle.track(reference="video-1", provider_asset_id="asset-1")
    with a_driver_connection(tables_url) as connection:
        with pytest.raises(AlreadyTracked):
            rindle.track(reference="video-1", provider_asset_id="other", connection=connection)
        rindle.track(reference="video-2", provider_asset_id="asset-2", connection=connection)
        connection.commit()

    assert rindle.count() == 2


async def test_a_connection_of_another_event_loop_is_refused(
    rindle: BlockingRindle, tables_url: str
) -> None:
    engine = create_async_engine(driver_url(tables_url, is_async=True))
    async with engine.connect() as connection:
        with pytest.raises(ConfigurationError, match="connection: is async"):
            await asyncio.to_thread(
                rindle.track,
                reference="video-1",
                provider_asset_id="asset-1",
                connection=connection,
            )
    await engine.dispose()


# callbacks


def test_a_callback_runs_in_a_thread_where_it_may_call_the_service(
    rindle: BlockingRindle, emulator: MuxEmulator
) -> None:
    heard: list[tuple[str, int]] = []

    @rindle.on_change(state="ready")
    def hear(event: ChangeEvent) -> None:
        assert threading.current_thread().name != "rindle-sync"
        heard.append((event.reference, rindle.count()))

    asset_id = emulator.create_asset(life=READY)
    rindle.track(reference="video-1", provider_asset_id=asset_id)
    rindle.sync(asset_id, ask_first=True)
    rindle.dispatch()

    assert heard == [("video-1", 1)]


@pytest.mark.parametrize("options", [{}, {"transactional": True}])
def test_a_callback_that_exits_has_failed_and_the_service_goes_on(
    rindle: BlockingRindle,
    emulator: MuxEmulator,
    caplog: pytest.LogCaptureFixture,
    options: dict[str, Any],
) -> None:
    def leave(*_: Any) -> None:
        sys.exit("a library has had enough")

    rindle.on_change(leave, name="leaves", **options)
    asset_id = emulator.create_asset(life=READY)
    rindle.track(reference="video-1", provider_asset_id=asset_id)
    rindle.sync(asset_id, ask_first=True)
    rindle.dispatch()

    assert rindle.count() == 1
    assert "leaves" in caplog.text
    assert "SystemExit" in caplog.text


def test_what_a_transactional_callback_writes_is_kept_once(
    rindle: BlockingRindle, emulator: MuxEmulator, tables_url: str
) -> None:
    errors: list[Exception] = []

    @rindle.on_change(transactional=True)
    def keep(event: ChangeEvent, connection: sa.Connection) -> None:
        connection.execute(sa.text("INSERT INTO notes VALUES (:row)"), {"row": event.reference})
        try:
            rindle.count()
        except CalledFromItsLoop as error:
            errors.append(error)

    asset_id = emulator.create_asset(life=READY)
    rindle.track(reference="video-1", provider_asset_id=asset_id)
    with a_session(tables_url) as session:
        session.execute(sa.text("CREATE TABLE notes (reference TEXT)"))
        session.commit()
        rindle.sync(asset_id, ask_first=True)
        rindle.dispatch()
        rindle.dispatch()
        notes = session.execute(sa.text("SELECT reference FROM notes")).scalars().all()
        session.execute(sa.text("DROP TABLE notes"))
        session.commit()

    assert notes == ["video-1"]
    assert len(errors) == 1


@pytest.mark.parametrize(
    ("arguments", "function", "text"),
    [
        ({}, lambda: None, "on_change: wants a function that is called with (event)"),
        (
            {"transactional": True},
            len,
            "on_change: wants a function that is called with (event, connection)",
        ),
        ({"state": "redy"}, len, "state: must be one or several of"),
        ({"name": " "}, len, "name: must be text"),
    ],
)
def test_a_wrong_callback_is_refused_where_it_is_added(
    arguments: Any, function: Any, text: str, rindle: BlockingRindle
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        rindle.on_change(function, **arguments)

    assert str(raised.value).startswith(text)


def test_an_async_callback_is_refused(rindle: BlockingRindle) -> None:
    async def hear(event: ChangeEvent) -> None: ...

    with pytest.raises(ConfigurationError, match="wants a function that is not async"):
        rindle.on_change(hear)


# beginning and end


def test_settings_that_are_wrong_are_told_at_the_first_call_and_can_be_mended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RINDLE_DATABASE_URL", "mysql://localhost/app")
    rindle = connect()

    with pytest.raises(ConfigurationError, match="database_url"):
        rindle.count()
    monkeypatch.setenv("RINDLE_DATABASE_URL", f"sqlite:///{tmp_path}/app.sqlite3")
    rindle.migrate()

    assert rindle.count() == 0
    rindle.close()


def test_after_its_end_every_call_is_refused(rindle: BlockingRindle) -> None:
    rindle.count()
    rindle.close()
    rindle.close()

    with pytest.raises(AlreadyClosed):
        rindle.count()


def test_calls_under_way_end_before_the_service_does(
    rindle: BlockingRindle, emulator: MuxEmulator
) -> None:
    asset_id = emulator.create_asset(life=READY)
    rindle.track(reference="video-1", provider_asset_id=asset_id)
    emulator.add_fault("latency", seconds=0.5)

    with ThreadPoolExecutor() as threads:
        under_way = threads.submit(rindle.sync, asset_id, ask_first=True)
        while not emulator.calls:
            time.sleep(0.01)
        rindle.close()

    applied = under_way.result()
    assert applied
    assert applied.row.state is State.READY


def test_environments_are_apart(sqlite_tables_url: str, emulator: MuxEmulator) -> None:
    token = {"mux_token_id": "an-id", "mux_token_secret": "a-secret"}
    settings = plain_settings(
        database_url=sqlite_tables_url, environments={"live": token, "test": token}
    )

    with connect_all(settings) as installation:
        installation["live"].track(reference="video-1", provider_asset_id="asset-1")
        counts = {name: rindle.count() for name, rindle in installation.items()}

    assert counts == {"live": 1, "test": 0}


def test_an_environment_that_is_none_is_told_with_those_there_are(tables_url: str) -> None:
    environments: dict[str, Any] = {"live": {}, "trial": {}}
    settings = plain_settings(database_url=tables_url, environments=environments)
    with connect_all(settings) as installation:
        text = "'lives' is not in the settings; there are live, trial"
        with pytest.raises(ConfigurationError, match=text):
            installation.of("lives")
        with pytest.raises(KeyError):
            installation["lives"]
        assert installation.of("live").count() == 0


async def test_an_environment_that_is_none_is_told_by_the_async_installation(
    tables_url: str,
) -> None:
    environments: dict[str, Any] = {"live": {}, "trial": {}}
    settings = plain_settings(database_url=tables_url, environments=environments)
    async with connect_all_async(settings) as installation:
        with pytest.raises(ConfigurationError, match="there are live, trial"):
            installation.of("lives")
        with pytest.raises(KeyError):
            installation["lives"]
        assert await installation.of("live").count() == 0


def test_one_of_several_environments_has_to_be_named(sqlite_tables_url: str) -> None:
    token = {"mux_token_id": "an-id", "mux_token_secret": "a-secret"}
    settings = plain_settings(
        database_url=sqlite_tables_url, environments={"live": token, "test": token}
    )

    with (
        connect(settings) as rindle,
        pytest.raises(ConfigurationError, match="environment: must name one of live, test"),
    ):
        rindle.count()


# processes

BEGIN = """
    import os, sys
    from rindle_sync.integrations.blocking import connect

    rindle = connect()
"""


def run(script: str, url: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith(UNWANTED)}
    kept |= {"RINDLE_DATABASE_URL": url, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    return subprocess.run(
        [sys.executable, "-W", "default", "-c", textwrap.dedent(BEGIN) + textwrap.dedent(script)],
        capture_output=True,
        text=True,
        env=kept,
        timeout=PATIENCE,
        check=False,
    )


def test_a_script_that_does_not_close_ends_in_silence(tables_url: str) -> None:
    ended = run("print(rindle.count())", tables_url)

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "0\n", "")


def test_a_script_that_fails_ends_with_its_own_error_alone(tables_url: str) -> None:
    ended = run("rindle.count(); raise SystemExit('the end')", tables_url)

    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", "the end\n")


def test_an_app_that_configures_no_logging_sees_the_warnings(tables_url: str) -> None:
    script = """
        headers = {"Mux-Signature": "t=1,v1=" + 64 * "0"}
        print(rindle.receive(headers, b"{}").status)
    """
    ended = run(script, tables_url, RINDLE_MUX_WEBHOOK_SECRETS=SECRET)

    assert ended.stdout == "400\n"
    assert "rindle.provider.webhook.rejected" in ended.stderr
    assert "reason=signature_mismatch" in ended.stderr


def test_a_forked_process_has_connections_of_its_own(tables_url: str) -> None:
    ended = run(
        """
        rindle.count()
        children = []
        for number in range(3):
            child = os.fork()
            if not child:
                rindle.track(reference=f"video-{number}", provider_asset_id=f"asset-{number}")
                sys.exit()
            children.append(child)
        rindle.track(reference="video-3", provider_asset_id="asset-3")
        assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
        print(rindle.count())
        """,
        tables_url,
    )

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "4\n", "")


def test_a_process_that_is_forked_without_a_word_to_python_begins_anew_as_well(
    tables_url: str,
) -> None:
    # as uWSGI does it: no function that is registered for a fork is called
    ended = run(
        """
        import ctypes
        rindle.count()
        child = ctypes.PyDLL(None).fork()
        if not child:
            rindle.track(reference="video-1", provider_asset_id="asset-1")
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        rindle.track(reference="video-2", provider_asset_id="asset-2")
        print(rindle.count())
        """,
        tables_url,
    )

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "2\n", "")


def test_an_interrupt_ends_the_wait_and_the_call(
    sqlite_tables_url: str, emulator: MuxEmulator
) -> None:
    asset_id = emulator.create_asset(life=READY)
    emulator.add_fault("latency", seconds=60)
    with serving(emulator) as far_end:
        ended = run(
            f"""
            import signal, threading
            rindle.track(reference="video-1", provider_asset_id="{asset_id}")
            threading.Timer(0.5, os.kill, [os.getpid(), signal.SIGINT]).start()
            try:
                rindle.sync("{asset_id}", ask_first=True)
            except KeyboardInterrupt:
                print(rindle.get(rindle.find_by_reference("video-1")[0].id).state)
            """,
            sqlite_tables_url,
            RINDLE_MUX_BASE_URL=far_end.url,
            RINDLE_MUX_TOKEN_ID=emulator.token_id,
            RINDLE_MUX_TOKEN_SECRET=emulator.token_secret,
        )

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "processing\n", "")


# WSGI


def wsgi_example(rindle: BlockingRindle) -> Any:
    spec = util.spec_from_file_location("example_wsgi", ROOT / "examples" / "wsgi.py")
    assert spec
    assert spec.loader
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.create_app(rindle)


def requested(app: Any, body: bytes = b"", **environ: Any) -> tuple[str, dict[str, str], Any]:
    """The status, the headers and the JSON of a WSGI app's answer, checked for its conformity."""
    values = {"PATH_INFO": "/webhooks/mux", "REQUEST_METHOD": "POST", "wsgi.input": BytesIO(body)}
    values |= {"CONTENT_LENGTH": str(len(body)), **environ}
    setup_testing_defaults(values)
    values |= {"QUERY_STRING": "", "SCRIPT_NAME": ""}
    answers: list[Any] = []

    def started_with(*answer: Any) -> Any:
        answers.append(answer)

    chunks: Any = validator(app)(
        {name: value for name, value in values.items() if value is not None}, started_with
    )
    text = b"".join(chunks)
    chunks.close()
    status, headers = answers[0]
    return status, dict(headers), json.loads(text)


def post(app: Any, asset_id: str = "asset-1", **environ: Any) -> tuple[str, dict[str, str], Any]:
    headers, body = signed(asset_id)
    return requested(app, body, HTTP_MUX_SIGNATURE=headers["mux-signature"], **environ)


def test_the_example_receives_and_applies_deliveries_in_any_thread(rindle: BlockingRindle) -> None:
    app = wsgi_example(rindle)
    rindle.start()
    rindle.start()
    references = [f"asset-{number}" for number in range(4)]
    for reference in references:
        rindle.track(reference=reference, provider_asset_id=reference)

    with ThreadPoolExecutor() as threads:
        answers = list(threads.map(lambda asset_id: post(app, asset_id), references))
    until = time.monotonic() + PATIENCE
    while rindle.count(state="ready") < 4:
        assert time.monotonic() < until, "the deliveries are not applied"
        time.sleep(0.05)

    assert {status for status, _, _ in answers} == {"202 Accepted"}
    row = next(rindle.list_all())
    status, _, shown = requested(app, PATH_INFO=f"/rows/{row.id}", REQUEST_METHOD="GET")
    assert (status, shown) == ("200 OK", {"state": "ready"})


def test_a_delivery_in_chunks_is_received_where_the_server_knows_its_end(
    rindle: BlockingRindle,
) -> None:
    app = webhook_wsgi_app(rindle)
    chunked: dict[str, Any] = {"CONTENT_LENGTH": None, "HTTP_TRANSFER_ENCODING": "chunked"}

    known = post(app, **(chunked | {"wsgi.input_terminated": True}))
    unknown = post(app, "asset-2", **chunked)

    assert known[0] == "202 Accepted"
    assert unknown[0] == "400 Bad Request"


def test_what_is_no_delivery_is_refused(rindle: BlockingRindle) -> None:
    app = webhook_wsgi_app(rindle)

    status, headers, _ = requested(app, REQUEST_METHOD="GET")
    assert (status, headers["Allow"]) == ("405 Method Not Allowed", "POST")
    assert requested(app, b"{}")[0] == "400 Bad Request"
    assert requested(app, b"x" * (LARGEST_BODY + 1))[0] == "413 Request Entity Too Large"
    assert requested(app, b"{}", CONTENT_LENGTH="9" * 4000)[0] == "413 Request Entity Too Large"
    rindle.close()
    status, headers, _ = post(app)
    assert (status, headers["Retry-After"]) == ("503 Service Unavailable", "5")


# servers that fork


def test_workers_of_gunicorn_that_are_forked_from_a_loaded_app_receive_and_apply(
    tables_url: str, emulator: MuxEmulator, tmp_path: Path
) -> None:
    pytest.importorskip("gunicorn")
    log, port, assets = tmp_path / "log", free_port(), [f"asset-{number}" for number in range(12)]
    settings = {
        "RINDLE_DATABASE_URL": tables_url,
        "RINDLE_MUX_TOKEN_ID": emulator.token_id,
        "RINDLE_MUX_TOKEN_SECRET": emulator.token_secret,
        "RINDLE_MUX_WEBHOOK_SECRETS": SECRET,
    }
    options = ["--preload", "--workers", "2", "--threads", "2", "--bind", f"127.0.0.1:{port}"]
    app = "tests.support.gunicorn_app"
    command = ("-m", "gunicorn", *options, "--config", f"python:{app}", f"{app}:app")

    with (
        serving(emulator) as far_end,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client,
    ):
        settings["RINDLE_MUX_BASE_URL"] = far_end.url
        with started(log, *command, **settings) as server:
            until = time.monotonic() + PATIENCE
            while not answers(client):
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < until, "gunicorn does not answer"
                time.sleep(0.05)
            posted = []
            for asset in assets:
                headers, body = signed(asset)
                posted.append(client.post("/webhooks/mux", content=body, headers=headers))
            with connect(plain_settings(database_url=tables_url)) as rindle:
                while rindle.count(state="ready") < len(assets):
                    assert time.monotonic() < until, "the deliveries are not applied"
                    time.sleep(0.05)

    assert {answer.status_code for answer in posted} == {202}
    assert server.returncode == 0
    assert "Traceback" not in log.read_text()


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/rows/none").status_code == 404
    except httpx.TransportError:
        return False


def test_tasks_of_celery_in_forked_processes_call_the_service(
    tables_url: str, tmp_path: Path
) -> None:
    celery = pytest.importorskip("celery")
    command = ("-m", "celery", "-A", "tests.support.blocking_tasks", "worker", "-P", "prefork")
    with (
        broker.serving(tmp_path) as redis,
        connect(plain_settings(database_url=tables_url)) as rindle,
    ):
        settings = {"RINDLE_DATABASE_URL": tables_url, "RINDLE_TEST_BROKER_URL": redis}
        client, log = celery.Celery("client", broker=redis), tmp_path / "log"
        for number in range(10):
            client.send_task("track_video", [number])
        with started(log, *command, "-c", "2", **settings) as worker:
            until = time.monotonic() + PATIENCE
            while rindle.count() < 10:
                assert worker.poll() is None, log.read_text()
                assert time.monotonic() < until, log.read_text()
                time.sleep(0.05)
        client.close()

    assert worker.returncode == 0
    assert "Traceback" not in log.read_text()
