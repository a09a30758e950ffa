"""What holds for every engine, with processes on one PostgreSQL, some of them killed with -9."""

import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from celery import Celery, signals
from sqlalchemy import text

from rindle_sync.app import RindleSync
from rindle_sync.config import plain_settings
from rindle_sync.domain import EventStatus, ProviderAsset, State
from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.emulator.lifecycle import Life
from rindle_sync.installation import add_celery_tasks
from rindle_sync.store import Store
from tests.support import broker
from tests.support.broker import celery, celery_worker
from tests.support.processes import (
    LEASED,
    FarEnd,
    Running,
    Shell,
    a_store,
    add_due,
    end_leases,
    eventually,
    holding,
    serving,
    settings_for,
)
from tests.support.webhooks import SECRET, a_kept_notice

READY: Final = Life(ends="ready", after=0)
TICK: Final = 1
PATIENT: Final = 60
"""How long a call may take where an answer is held back, in seconds."""

Node = Callable[[Shell], AbstractAsyncContextManager[Running]]


NODES: Final[dict[str, tuple[Node, str]]] = {
    "embedded": (lambda shell: shell.started("run", "--engine", "embedded"), "sweeping"),
    "procrastinate": (lambda shell: shell.started("worker"), "sweeping"),
    "celery": (celery_worker, "ready."),
}
"""How a process is started that does what is due, and what it says then."""


@pytest.fixture
def far_end() -> Iterator[FarEnd]:
    with serving(MuxEmulator()) as far_end:
        yield far_end


@dataclass
class Fleet:
    """Nodes of one engine on one database, and the provider."""

    engine: str
    shell: Shell
    far_end: FarEnd
    store: Store
    stack: AsyncExitStack

    async def start(self, nodes: int = 1) -> Sequence[Running]:
        node, ready = NODES[self.engine]
        started = [await self.stack.enter_async_context(node(self.shell)) for _ in range(nodes)]
        for running in started:
            await running.says(ready)
        return started

    async def due(self, rows: int = 1, *, life: Life = READY) -> list[ProviderAsset]:
        """Rows that are due, each of which is asked about by its id."""
        self.far_end.emulator.add_fault("server_error", operation="list_assets")
        return await add_due(
            self.store, *self.far_end.emulator.create_assets(rows, life=lambda _: life)
        )

    async def keep(self, row: ProviderAsset) -> str:
        """A webhook event that says ready, stored by an endpoint that then died."""
        webhook_event = a_kept_notice(row, datetime.now(UTC))
        assert await self.store.inbox.storing(webhook_event)
        return webhook_event.id

    async def are_in_sync(self, rows: Sequence[ProviderAsset]) -> None:
        async def hold() -> None:
            found = await self.store.assets.get_many([row.id for row in rows])
            assert {row.state for row in found.values()} == {State.READY}

        await eventually(hold)

    async def is_applied(self, webhook_event_id: str) -> None:
        async def holds() -> None:
            webhook_event = await self.store.inbox.get(webhook_event_id)
            assert webhook_event
            assert webhook_event.status is EventStatus.APPLIED

        await eventually(holds)

    async def let_leases_end(self) -> None:
        """As if the time had passed, which is bounded, that a dead process holds what it took."""
        settings = plain_settings(provider_timeout_seconds=PATIENT)
        longest = RindleSync(settings, self.store.database).context.lease
        for table in LEASED:
            async with self.store.database.reading() as connection:
                until = (
                    await connection.execute(text(f"SELECT max(lease_until) FROM {table}"))
                ).scalar_one()
                assert until is None or until <= datetime.now(UTC) + longest
        await end_leases(self.store)


IN_TEST = [
    engine if engine != "celery" else pytest.param(engine, marks=pytest.mark.acceptance)
    for engine in NODES
]
"""Workers of Celery take long to start: one test of `make test` has them."""


@pytest.fixture(params=IN_TEST)
async def fleet(
    request: pytest.FixtureRequest, postgres_url: str, far_end: FarEnd, tmp_path: Path
) -> AsyncIterator[Fleet]:
    settings = settings_for(
        postgres_url,
        far_end,
        sweep_interval_seconds=TICK,
        provider_timeout_seconds=PATIENT,
        audit_days=0,
    )
    shell = Shell(tmp_path, settings)
    if request.param == "procrastinate":
        assert (await shell.run("migrate", "--engine", "procrastinate")).code == 0
    async with a_store(postgres_url) as store, AsyncExitStack() as stack:
        if request.param == "celery":
            shell = shell.but(test_broker_url=stack.enter_context(broker.serving(tmp_path)))
            await stack.enter_async_context(celery(shell, "beat", "-s", str(tmp_path / "beat")))
        yield Fleet(request.param, shell, far_end, store, stack)


@pytest.mark.parametrize("fleet", list(NODES), indirect=True)
async def test_what_is_due_is_done_once_whatever_the_number_of_nodes(fleet: Fleet) -> None:
    await fleet.start(3)
    rows = await fleet.due(60)

    await fleet.are_in_sync(rows)

    assert {fleet.far_end.looks[row.provider_asset_id or ""] for row in rows} == {1}


async def test_what_nobody_was_woken_for_is_found_in_the_tables(fleet: Fleet) -> None:
    await fleet.start()
    (row,) = await fleet.due(life=Life(ends="never"))

    await fleet.is_applied(await fleet.keep(row))


async def test_a_call_that_fails_is_made_again(fleet: Fleet) -> None:
    fleet.far_end.emulator.add_fault("server_error", operation="get_asset", times=2)
    await fleet.start()

    await fleet.are_in_sync(await fleet.due())


@pytest.mark.parametrize("call", ["get_asset", "list_assets"])
async def test_a_process_killed_in_a_check_loses_nothing_and_wedges_nothing(
    fleet: Fleet, call: str
) -> None:
    rows = await fleet.due(5) if call == "get_asset" else await a_page_of(fleet)
    with holding(fleet.far_end.emulator, call) as gate:
        (first,) = await fleet.start()
        await first.waits_at(gate)
        first.process.kill()
        await first.process.wait()
    await fleet.start()

    await fleet.let_leases_end()

    await fleet.are_in_sync(rows)


async def a_page_of(fleet: Fleet) -> list[ProviderAsset]:
    return await add_due(
        fleet.store, *fleet.far_end.emulator.create_assets(30, life=lambda _: READY)
    )


async def test_a_process_killed_in_a_webhook_event_loses_nothing_and_wedges_nothing(
    fleet: Fleet,
) -> None:
    (row,) = await fleet.due(life=Life(ends="never"))
    webhook_event_id = await fleet.keep(row)
    async with fleet.store.database.writing() as connection:
        await connection.execute(text("LOCK TABLE media_provider_assets IN EXCLUSIVE MODE"))
        (first,) = await fleet.start()
        await is_leased(fleet, webhook_event_id)
        first.process.kill()
        await first.process.wait()
    await fleet.start()

    await fleet.let_leases_end()

    await fleet.is_applied(webhook_event_id)


async def is_leased(fleet: Fleet, webhook_event_id: str) -> None:
    async def holds() -> None:
        async with fleet.store.database.reading() as connection:
            held = text("SELECT lease_until FROM provider_webhook_events WHERE id = :id")
            assert (await connection.execute(held, {"id": webhook_event_id})).scalar_one()

    await eventually(holds)


async def test_a_webhook_never_waits_behind_checks(fleet: Fleet) -> None:
    with holding(fleet.far_end.emulator, "get_asset") as gate:
        (node,) = await fleet.start()
        *_, last = await fleet.due(30)
        await node.waits_at(gate)

        await fleet.is_applied(await fleet.keep(last))
        assert gate.held


async def test_a_stop_lets_what_is_under_way_end(fleet: Fleet) -> None:
    (row,) = await fleet.due()
    with holding(fleet.far_end.emulator, "get_asset") as gate:
        (node,) = await fleet.start()
        await node.waits_at(gate)
        node.send(signal.SIGTERM)
    ended = await node.ended()

    found = await fleet.store.assets.get(row.id)
    assert found
    assert (ended.code, found.state, found.lease_token) == (0, State.READY, None)


@pytest.mark.acceptance
@pytest.mark.parametrize("fleet", ["celery"], indirect=True)
async def test_a_stop_lets_what_is_under_way_in_child_processes_end(fleet: Fleet) -> None:
    (row,) = await fleet.due()
    with holding(fleet.far_end.emulator, "get_asset") as gate:
        async with celery_worker(fleet.shell, "prefork") as worker:
            await worker.waits_at(gate)
            worker.send(signal.SIGTERM)
            gate.open()
            ended = await worker.ended()

    found = await fleet.store.assets.get(row.id)
    assert found
    assert (ended.code, found.state, found.lease_token) == (0, State.READY, None)


@pytest.mark.parametrize(
    "command", [("worker",), ("run", "--engine", "procrastinate"), ("receive",)]
)
async def test_without_the_tables_of_its_engine_a_process_ends(
    command: Sequence[str], postgres_url: str, far_end: FarEnd, tmp_path: Path
) -> None:
    settings = settings_for(
        postgres_url, far_end, mux_webhook_secrets=SECRET, engine="procrastinate"
    )
    async with a_store(postgres_url):
        ended = await Shell(tmp_path, settings).run(*command)

    assert ended.code == 1
    assert "run `rindle-sync migrate --engine procrastinate`" in ended.complaint


async def test_a_task_of_celerys_that_is_none_of_ours_ends_with_one_line_that_tells_nothing_of_it(
    sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = Celery("tests", broker="memory://")
    add_celery_tasks(app, plain_settings(database_url=sqlite_url))
    garbage: list[tuple[str, tuple[object, ...]]] = [
        ("job", ()),
        ("job", ("default", "an-id")),
        ("job", ({"x": ["an-id"]}, "sweep")),
        ("sync", ()),
        ("sync", ("an-id",)),
        ("sync", ({"an-id": 1},)),
    ]

    for task, arguments in garbage:
        app.tasks[f"rindle_sync.{task}"].apply(arguments, throw=True)

    async def are_told() -> None:
        assert len(caplog.messages) == len(garbage)

    await eventually(are_told)
    signals.worker_shutdown.send(sender=None)
    assert set(caplog.messages) == {
        "a job has an unknown task or unknown arguments; nothing was done"
    }
    assert "an-id" not in caplog.text


async def test_an_environment_that_hangs_delays_no_other(fleet: Fleet, tmp_path: Path) -> None:
    with serving(MuxEmulator()) as other:
        tables = "".join(
            f'[environments.{name}]\nmux_base_url = "{end.url}"\n'
            f'mux_token_id = "{end.emulator.token_id}"\n'
            f'mux_token_secret = "{end.emulator.token_secret}"\n'
            for name, end in (("slow", other), ("fine", fleet.far_end))
        )
        (tmp_path / "rindle-sync.toml").write_text(tables)
        fleet.shell = fleet.shell.but(mux_base_url=None, mux_token_id=None, mux_token_secret=None)
        other.emulator.add_fault("server_error", operation="list_assets")
        slow = await add_due(
            fleet.store, *other.emulator.create_assets(3, life=READY), environment="slow"
        )
        with holding(other.emulator, "get_asset") as gate:
            (node,) = await fleet.start()
            await node.waits_at(gate)
            ids = fleet.far_end.emulator.create_assets(3, life=READY)
            await fleet.are_in_sync(await add_due(fleet.store, *ids, environment="fine"))
            assert gate.held

        await fleet.are_in_sync(slow)
