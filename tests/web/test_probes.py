"""Metrics, probes and logs of real processes, against an emulator over HTTP."""

import asyncio
import json
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from rindle_sync.cli.logs import LoopErrors
from rindle_sync.diagnostics import Readiness
from rindle_sync.domain import State
from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.runtime import SILENT_AFTER, Heartbeat
from rindle_sync.store.revisions import revisions
from rindle_sync.telemetry import EVENTS
from rindle_sync.web.probes import operations
from rindle_sync.web.server import Limits
from rindle_sync.webhooks import at_most
from tests.support.processes import (
    PATIENCE,
    Ended,
    FarEnd,
    Running,
    Shell,
    a_store,
    add_due,
    all_rows,
    eventually,
    free_port,
    serving,
    settings_for,
)
from tests.support.server import served
from tests.support.world import READY, World

SECRET = "whsec-of-the-tests"

WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name.partition(".")[0])

sys.meta_path.insert(0, Missing())
"""

UNSET = "import os; del os.environ['RINDLE_CONSOLE_PORT']"


@pytest.fixture
def far_end() -> Iterator[FarEnd]:
    with serving(MuxEmulator()) as far_end:
        yield far_end


@pytest.fixture
def shell(tmp_path: Path, tables_url: str, far_end: FarEnd) -> Shell:
    """Commands on a database with our tables, which answer an operator."""
    return Shell(tmp_path, settings_for(tables_url, far_end, console_port=free_port()))


@pytest.fixture
def sqlite_shell(tmp_path: Path, sqlite_tables_url: str, far_end: FarEnd) -> Shell:
    """The same, on SQLite alone."""
    return Shell(tmp_path, settings_for(sqlite_tables_url, far_end, console_port=free_port()))


@dataclass
class Operator:
    """Somebody who asks a process that runs."""

    running: Running
    client: httpx.AsyncClient

    async def get(self, path: str) -> httpx.Response:
        return await self.client.get(path)

    async def is_ready(self) -> tuple[int, dict[str, str]]:
        answer = await self.get("/readyz")
        return answer.status_code, answer.json()["checks"]


@asynccontextmanager
async def operated(shell: Shell, *command: str) -> AsyncIterator[Operator]:
    """A command that runs, and its operator, once it answers."""
    url = f"http://127.0.0.1:{shell.settings['console_port']}"
    async with (
        shell.started(*command) as running,
        httpx.AsyncClient(base_url=url, timeout=30) as client,
    ):
        await running.says("metrics and probes at")
        operator = Operator(running, client)

        async def answers() -> None:
            with suppress(httpx.TransportError):
                assert (await operator.get("/healthz")).status_code == 200
                return
            raise AssertionError(running.err)

        await eventually(answers)
        yield operator


async def stopped(running: Running) -> Ended:
    running.send(signal.SIGTERM)
    return await running.ended()


# what is served, and where


async def test_run_serves_metrics_and_is_alive_and_ready(shell: Shell, far_end: FarEnd) -> None:
    pytest.importorskip("prometheus_client")
    asset = far_end.emulator.create_asset(life=READY)
    async with a_store(shell.settings["database_url"]) as store:
        (row,) = await add_due(store, asset)
        async with operated(shell, "run") as operator:

            async def is_counted() -> None:
                labels = 'environment="default",to_state="ready",trigger="sweep"'
                changed = f"rindle_sync_changes_total{{{labels}}} 1.0"
                assert changed in (await operator.get("/metrics")).text

            await eventually(is_counted)
            metrics = await operator.get("/metrics")
            ready = await operator.is_ready()

    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "rindle_sync_database_up 1.0" in metrics.text
    assert ready == (200, {"database": "ok", "tables": "ok", "engine": "ok"})
    assert [secret for secret in (asset, row.id) if secret in metrics.text] == []


async def test_nothing_of_it_is_reachable_where_webhooks_are(sqlite_shell: Shell) -> None:
    port = free_port()
    shell = sqlite_shell.but(mux_webhook_secrets=SECRET, listen_port=port)
    async with operated(shell, "receive") as operator, httpx.AsyncClient() as anybody:
        public = [
            (await anybody.get(f"http://127.0.0.1:{port}{path}")).status_code
            for path in ("/metrics", "/healthz", "/readyz", "/webhooks/mux")
        ]
        private = await operator.get("/webhooks/mux")

    assert public == [404, 404, 404, 405]
    assert private.status_code == 404


async def test_an_endpoint_is_ready_without_an_engine(sqlite_shell: Shell) -> None:
    shell = sqlite_shell.but(mux_webhook_secrets=SECRET, listen_port=free_port())
    async with operated(shell, "receive") as operator:
        assert await operator.is_ready() == (200, {"database": "ok", "tables": "ok"})


async def test_the_metrics_of_all_environments_are_served_together(sqlite_shell: Shell) -> None:
    pytest.importorskip("prometheus_client")
    (sqlite_shell.folder / "rindle-sync.toml").write_text(
        "[environments.acme]\n[environments.beta]\n"
    )
    token = {
        f"environments__{name}__mux_token_{part}": sqlite_shell.settings[f"mux_token_{part}"]
        for name in ("acme", "beta")
        for part in ("id", "secret")
    }
    async with operated(
        sqlite_shell.but(mux_token_id=None, mux_token_secret=None, **token), "run"
    ) as operator:
        text = (await operator.get("/metrics")).text

    for name in ("acme", "beta"):
        assert (
            f'rindle_sync_webhooks_received_total{{environment="{name}",result="stored"}} 0.0'
            in text
        )
        assert f'rindle_sync_rows{{environment="{name}",state="ready"}} 0.0' in text
    assert 'environment="default"' not in text


async def test_it_is_asked_with_get_and_head_alone() -> None:
    transport = httpx.ASGITransport(operations(fine, None))
    async with httpx.AsyncClient(transport=transport, base_url="http://operator") as client:
        answers = [
            (await client.request(method, "/healthz")).status_code
            for method in ("GET", "HEAD", "POST", "DELETE")
        ]
        elsewhere = await client.get("/")

    assert answers == [200, 200, 405, 405]
    assert elsewhere.status_code == 404


# readiness


async def test_a_database_that_is_gone_is_reported_and_the_process_lives(
    tmp_path: Path, far_end: FarEnd, postgres_server: str, postgres_url: str
) -> None:
    pytest.importorskip("prometheus_client")
    url = postgres_url
    shell = Shell(tmp_path, settings_for(url, far_end, console_port=free_port()))
    async with a_store(url):
        pass
    async with operated(shell, "run") as operator:
        before = await operator.is_ready()
        close_database(postgres_server, url.rpartition("/")[2])

        async def told() -> None:
            assert await operator.is_ready() == (503, {"database": "does not answer"})
            text = (await operator.get("/metrics")).text
            assert "rindle_sync_database_up 0.0" in text
            assert "rindle_sync_rows{" not in text

        await eventually(told)
        answer, lives = await operator.get("/readyz"), await operator.get("/healthz")

    assert before[0] == 200
    assert answer.json() == {"ready": False, "checks": {"database": "does not answer"}}
    assert lives.status_code == 200


def close_database(server: str, name: str) -> None:
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false".encode())
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )


async def test_tables_that_are_not_the_newest_are_reported(sqlite_shell: Shell) -> None:
    async with (
        a_store(sqlite_shell.settings["database_url"]) as store,
        operated(sqlite_shell, "run") as operator,
    ):
        async with store.database.writing() as connection:
            await connection.exec_driver_sql(
                "UPDATE rindle_sync_alembic_version SET version_num = 'rindle_0'"
            )

        async def told() -> None:
            status, checks = await operator.is_ready()
            assert (status, checks["tables"]) == (
                503,
                "are at rindle_0, and rindle_5 is the newest",
            )

        await eventually(told)


async def test_a_silent_engine_is_reported_after_a_minute(world: World) -> None:
    readiness = Readiness(
        [world.context], lambda: revisions(world.context.store.database.engine), runs_engine=True
    )
    began = (await readiness.checks())["engine"]
    world.clock.move(SILENT_AFTER + timedelta(seconds=1))
    hung = (await readiness.checks())["engine"]
    await Heartbeat(world.context.store.database, "mux").beat(world.clock.now())
    world.clock.move(SILENT_AFTER)

    assert began == "ok"
    assert hung == "no heartbeat for 60 s"
    assert (await readiness.checks())["engine"] == "ok"


# the listener


async def test_port_0_serves_nothing_and_says_nothing(sqlite_shell: Shell) -> None:
    async with sqlite_shell.but(console_port=0).started("run") as running:
        await running.says("sweeping every")
        ended = await stopped(running)

    assert "metrics" not in ended.err
    assert ended.code == 0


async def test_a_default_port_that_is_taken_is_logged_and_all_else_goes_on(
    sqlite_shell: Shell,
) -> None:
    shell = Shell(sqlite_shell.folder, sqlite_shell.settings, prelude=UNSET)
    with ExitStack() as stack:
        with suppress(OSError):  # somebody else has taken it already
            stack.enter_context(socket.create_server(("127.0.0.1", 8001)))
        async with shell.started("run") as running:
            await running.says(
                "no console, metrics and probes: console_port: cannot listen on 127.0.0.1:8001"
            )
            ended = await stopped(running)

    assert ended.code == 0


async def test_a_port_that_was_asked_for_and_is_taken_ends_it(sqlite_shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = await sqlite_shell.but(console_port=port).run("run")

    assert (ended.code, ended.out) == (2, "")
    assert "console_port" in ended.complaint
    assert str(port) in ended.complaint


async def test_without_the_extra_the_metrics_name_it_and_the_probes_answer(
    sqlite_shell: Shell,
) -> None:
    prelude = WITHOUT.format(names=("prometheus_client",))
    async with operated(
        Shell(sqlite_shell.folder, sqlite_shell.settings, prelude=prelude), "run"
    ) as operator:
        metrics, ready = await operator.get("/metrics"), await operator.is_ready()

    assert metrics.status_code == 404
    assert "rindle-sync[prometheus]" in metrics.text
    assert ready[0] == 200


async def test_without_a_server_one_line_is_logged_and_all_else_goes_on(
    sqlite_shell: Shell,
) -> None:
    prelude = WITHOUT.format(names=("uvicorn",))
    async with Shell(sqlite_shell.folder, sqlite_shell.settings, prelude=prelude).started(
        "run"
    ) as running:
        await running.says(
            "no console, metrics and probes: they need an extra; pip install 'rindle-sync[server]'"
        )
        ended = await stopped(running)

    assert ended.code == 0


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (
            {"console_host": "no.such.host.invalid"},
            "console_host: cannot listen on no.such.host.invalid:",
        ),
        ({"console_host": "192.0.2.1"}, "console_host: cannot listen on 192.0.2.1:"),
        ({"console_host": "a..b"}, "console_host: cannot listen on a..b:"),
        (
            {"listen_host": "no.such.host.invalid", "mux_webhook_secrets": SECRET},
            "listen_host: cannot listen on no.such.host.invalid:",
        ),
    ],
)
async def test_a_host_that_is_none_of_ours_is_named_by_its_setting(
    sqlite_shell: Shell, settings: dict[str, str], named: str
) -> None:
    ended = await sqlite_shell.but(**settings).run("run")

    assert ended.code == 2
    assert named in ended.complaint
    assert "(no such address)" in ended.complaint


async def fine() -> dict[str, str]:
    return {"database": "ok"}


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HTTP/1.1\r\n", b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\nGET /healthz"]
)
async def test_a_connection_that_sends_no_whole_head_is_closed(sent: bytes) -> None:
    async with served(operations(fine, None), limits=Limits(head_within=1)) as port:
        answers, asks = await asyncio.open_connection("127.0.0.1", port)
        asks.write(sent)
        answered = asyncio.create_task(answers.read())
        while not answered.done():  # a byte now and then keeps it no longer
            with suppress(ConnectionError):
                asks.write(b"x" * bool(sent))
                await asks.drain()
            await asyncio.wait({answered}, timeout=0.3)
        with suppress(ConnectionError):
            assert (await answered).count(b"200 OK") == sent.count(b"/healthz") - sent.endswith(
                b"/healthz"
            )
        asks.close()


async def test_an_answer_may_take_longer_than_a_head() -> None:
    async def slow() -> dict[str, str]:
        await asyncio.sleep(1.5)
        return {"database": "ok"}

    async with (
        served(operations(slow, None), limits=Limits(head_within=1)) as port,
        httpx.AsyncClient(timeout=PATIENCE) as client,
    ):
        assert (await client.get(f"http://127.0.0.1:{port}/readyz")).status_code == 200


async def test_a_thousand_idle_connections_keep_no_probe_from_its_answer() -> None:
    async with (
        served(operations(fine, None), limits=Limits(head_within=60)) as port,
        httpx.AsyncClient(timeout=PATIENCE) as client,
    ):
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(1100)]
        answer = await client.get(f"http://127.0.0.1:{port}/healthz")
        for _, asks in idle:
            asks.close()

    assert answer.status_code == 200


async def test_no_more_requests_are_answered_at_once_than_may_be() -> None:
    under_way, is_over = asyncio.Event(), asyncio.Event()

    async def slow() -> dict[str, str]:
        under_way.set()
        await is_over.wait()
        return {"database": "ok"}

    transport = httpx.ASGITransport(at_most(1, operations(slow, None)))
    async with httpx.AsyncClient(transport=transport, base_url="http://operator") as client:
        first = asyncio.create_task(client.get("/readyz"))
        await under_way.wait()
        second = await client.get("/healthz")
        is_over.set()

        assert ((await first).status_code, second.status_code) == (200, 503)
        assert second.headers["retry-after"]
        assert (await client.get("/healthz")).status_code == 200


FEW_FILES = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))"


async def test_more_connections_than_a_process_may_open_are_outlived_and_fill_no_log(
    sqlite_shell: Shell,
) -> None:
    """The loop of uvloop closes them; that of asyncio says so, and tries again a second later."""
    few = replace(sqlite_shell, prelude=FEW_FILES.format(soft=64, hard=64))
    async with operated(few, "run") as operator:
        began = asyncio.get_running_loop().time()
        idle = [
            socket.create_connection(("127.0.0.1", int(few.settings["console_port"])))
            for _ in range(90)
        ]

        async def are_too_many() -> None:
            is_told = "out of system resource" in operator.running.err
            assert is_told or any(is_closed(connection) for connection in idle)

        await eventually(are_too_many)
        for connection in idle:
            connection.close()
        answer = await operator.get("/healthz")
        lasted = asyncio.get_running_loop().time() - began

    assert answer.status_code == 200
    assert operator.running.err.count("out of system resource") <= lasted + 1


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side has closed it."""
    connection.setblocking(False)  # noqa: FBT003
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def test_what_fails_in_the_background_is_logged_without_its_text(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with closing(asyncio.new_event_loop()) as loop:
        loop.set_exception_handler(LoopErrors())
        loop.call_soon(int, "the-id-of-an-asset")
        loop.call_soon(loop.stop)
        loop.run_forever()

    (told,) = caplog.messages
    assert (
        told
        == "something in the background ended in an unexpected ValueError (a callback); going on"
    )


# OpenTelemetry

SDK = """
from opentelemetry.metrics import set_meter_provider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from opentelemetry.trace import set_tracer_provider

set_meter_provider(MeterProvider([PeriodicExportingMetricReader(ConsoleMetricExporter(), 300)]))
tracing = TracerProvider()
tracing.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter()))
set_tracer_provider(tracing)
"""


async def test_run_tells_the_opentelemetry_of_its_process(
    sqlite_shell: Shell, far_end: FarEnd
) -> None:
    pytest.importorskip("opentelemetry.sdk")
    shell = Shell(sqlite_shell.folder, sqlite_shell.settings, prelude=SDK).but(
        opentelemetry="on", console_port=0
    )
    asset = far_end.emulator.create_asset(life=READY)
    async with a_store(shell.settings["database_url"]) as store, shell.started("run") as running:
        await add_due(store, asset)

        async def told() -> None:
            wanted = (
                "rindle_sync.changes",
                "rindle_sync.rows",
                '"name": "sweep"',
                '"name": "provider asset"',
            )
            assert [name for name in wanted if name not in running.out] == []

        await eventually(told)
        ended = await stopped(running)

    assert asset not in ended.out
    assert ended.code == 0


async def test_opentelemetry_without_its_extra_names_it(sqlite_shell: Shell) -> None:
    prelude = WITHOUT.format(names=("opentelemetry",))
    shell = Shell(sqlite_shell.folder, sqlite_shell.settings, prelude=prelude).but(
        opentelemetry="on"
    )

    ended = await shell.run("run")

    assert ended.code == 2
    assert "rindle-sync[opentelemetry]" in ended.complaint


# logs


def lines(err: str) -> list[dict[str, Any]]:
    """Every line of it, which must be a JSON object."""
    return [json.loads(line) for line in err.splitlines()]


async def test_each_line_of_the_log_is_a_json_object(sqlite_shell: Shell, far_end: FarEnd) -> None:
    asset = far_end.emulator.create_asset(life=READY)
    async with a_store(sqlite_shell.settings["database_url"]) as store:
        (row,) = await add_due(store, asset)
        async with sqlite_shell.started("run", "--log-format", "json") as running:

            async def is_ready() -> None:
                assert [row.state for row in await all_rows(store)] == [State.READY]

            await eventually(is_ready)
            await running.says("state_change")
            ended = await stopped(running)

    told = lines(ended.err)
    (changed,) = [line for line in told if line["message"] == "rindle.provider_asset.state_change"]
    assert (changed["level"], changed["logger"], changed["row_id"]) == (
        "INFO",
        "rindle_sync",
        row.id,
    )
    assert (changed["environment"], changed["by"], changed["to_state"]) == (
        "default",
        "sweep",
        "ready",
    )
    assert datetime.fromisoformat(changed["ts"]).utcoffset() == timedelta(0)
    assert "ended; nothing is lost" in [line["message"] for line in told]
    assert asset not in ended.err


@pytest.mark.parametrize(
    ("log_level", "has"),
    [("debug", {"state_change", "resolved"}), ("info", {"state_change"}), ("warning", set())],
)
async def test_the_log_has_lines_from_a_level_on(
    sqlite_shell: Shell, far_end: FarEnd, log_level: str, has: set[str]
) -> None:
    asset = far_end.emulator.create_asset(life=READY)
    async with a_store(sqlite_shell.settings["database_url"]) as store:
        await add_due(store, asset)
        async with sqlite_shell.but(log_level=log_level).started("run") as running:

            async def is_ready() -> None:
                assert [row.state for row in await all_rows(store)] == [State.READY]

            await eventually(is_ready)
            ended = await stopped(running)

    assert {name for name in ("state_change", "resolved") if name in ended.err} == has
    assert asset not in ended.err
    assert far_end.emulator.token_secret not in ended.err


async def test_each_run_is_such_a_line_too_and_an_environment_may_have_any_name(
    sqlite_shell: Shell, far_end: FarEnd
) -> None:
    name = "[/bold]"
    async with a_store(sqlite_shell.settings["database_url"]) as store:
        for log_format in ("json", "text"):
            await add_due(store, far_end.emulator.create_asset(life=READY), environment=name)
            shell = sqlite_shell.but(environment=name, log_format=log_format)
            async with shell.started("run") as running:

                async def is_told() -> None:
                    assert f"{name}: 1 row checked with 1 call" in running.err + running.out

                await eventually(is_told)
                ended = await stopped(running)
            assert (ended.out == "", ended.code) == (log_format == "json", 0)


async def test_a_failure_is_a_json_object_too(sqlite_shell: Shell) -> None:
    ended = await sqlite_shell.but(mux_token_id=None, log_format="json").run("run")

    (told,) = lines(ended.err)
    assert ended.code == 2
    assert told["level"] == "ERROR"
    assert told["message"].startswith("mux_token_id")


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.name)
def test_no_field_of_an_event_has_the_key_of_a_line(event: type[Any]) -> None:
    keys = {"ts", "level", "logger", "message", "exception", "name"}
    assert keys.isdisjoint(event.__struct_fields__)
