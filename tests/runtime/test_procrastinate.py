"""Procrastinate: its tables, jobs in the app's own transaction, and what dead workers leave."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import psycopg
import pytest
from procrastinate import App
from sqlalchemy import text

from rindle_sync import RindleSync, connect
from rindle_sync.config import EngineName, plain_settings
from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.emulator.lifecycle import Life
from rindle_sync.errors import ConfigurationError, DatabaseUnavailable
from rindle_sync.runtime.engines.base import Distributed
from rindle_sync.runtime.engines.procrastinate import Procrastinate, cron, opened
from rindle_sync.store import Store
from rindle_sync.store.schema.engine import conninfo
from tests.support.processes import eventually

IN_THE_LAST = "procrastinate_trigger_function_status_events_update_v1"
"""A function that the last of Procrastinate's migrations makes."""

PROVIDER_ID = "an-id-of-the-provider-s"


def settings_on(url: str) -> Any:
    emulator = MuxEmulator()
    token = {"mux_token_id": emulator.token_id, "mux_token_secret": emulator.token_secret}
    return plain_settings(
        database_url=url, engine="procrastinate", sweep_interval_seconds=1, **token
    )


@pytest.fixture
async def rindle(postgres_url: str) -> AsyncIterator[RindleSync]:
    async with connect(settings_on(postgres_url)) as rindle:
        await rindle.migrate()
        yield rindle


@pytest.fixture
async def app(postgres_url: str, rindle: RindleSync) -> AsyncIterator[App]:
    async with opened(conninfo(postgres_url)) as app:
        yield app


@pytest.fixture
def engine(rindle: RindleSync, app: App) -> Distributed:
    return rindle.procrastinate(app)


@asynccontextmanager
async def the_apps_connection(url: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    connection = await psycopg.AsyncConnection.connect(conninfo(url))
    try:
        yield connection
    finally:
        await connection.close()


async def jobs(store: Store) -> list[tuple[Any, ...]]:
    async with store.database.reading() as connection:
        found = await connection.execute(
            text("SELECT task_name, args, status FROM procrastinate_jobs ORDER BY id")
        )
        return [tuple(line) for line in found]


async def execute(store: Store, statement: str, **values: Any) -> None:
    async with store.database.writing() as connection:
        await connection.execute(text(statement), values)


async def test_a_job_made_in_a_transaction_is_there_if_that_commits(
    rindle: RindleSync, engine: Distributed, postgres_url: str
) -> None:
    row = await rindle.track(reference="video-1", provider_asset_id=PROVIDER_ID)
    async with the_apps_connection(postgres_url) as connection:
        await engine.defer_sync(row.id, connection=connection)
        await connection.rollback()
        assert await jobs(rindle.store) == []

        await engine.defer_sync(row.id, connection=connection)
        await connection.commit()

    assert await jobs(rindle.store) == [("rindle_sync:sync", {"row_id": row.id}, "todo")]


async def test_a_second_job_for_a_row_is_none_and_leaves_the_transaction_as_it_was(
    rindle: RindleSync, engine: Distributed, postgres_url: str
) -> None:
    row = await rindle.track(reference="video-1", provider_asset_id=PROVIDER_ID)
    await engine.defer_sync(row.id)
    async with the_apps_connection(postgres_url) as connection:
        await connection.execute("CREATE TABLE of_the_app (id INT)")
        await engine.defer_sync(row.id, connection=connection)
        await connection.execute("INSERT INTO of_the_app VALUES (1)")
        await connection.commit()

    assert len(await jobs(rindle.store)) == 1


async def test_migrating_again_changes_nothing_and_a_newer_form_is_brought_in(
    rindle: RindleSync,
) -> None:
    await rindle.migrate()
    last = "SELECT migration FROM rindle_sync_procrastinate ORDER BY migration DESC"
    async with rindle.store.database.reading() as connection:
        newest = (await connection.execute(text(last))).scalars().first()

    await execute(rindle.store, "DELETE FROM rindle_sync_procrastinate")
    await execute(
        rindle.store,
        "INSERT INTO rindle_sync_procrastinate "
        "VALUES ('03.04.00_01_pre_add_retry_failed_job_procedure.sql')",
    )
    await execute(rindle.store, f"DROP FUNCTION {IN_THE_LAST} CASCADE")
    await rindle.migrate()

    async with rindle.store.database.reading() as connection:
        assert (await connection.execute(text(last))).scalars().first() == newest
        there = f"SELECT count(*) FROM pg_proc WHERE proname = '{IN_THE_LAST}'"
        assert (await connection.execute(text(there))).scalar_one() == 1


async def test_tables_that_the_app_has_installed_are_left_to_it(postgres_url: str) -> None:
    async with connect(settings_on(postgres_url)) as rindle:
        await execute(rindle.store, "CREATE TABLE procrastinate_jobs (of_an_older_form INT)")
        await rindle.migrate()

        await execute(rindle.store, "INSERT INTO procrastinate_jobs (of_an_older_form) VALUES (1)")


async def test_it_wants_postgresql(sqlite_url: str) -> None:
    async with connect(settings_on(sqlite_url)) as rindle:
        with pytest.raises(ConfigurationError, match="needs PostgreSQL"):
            await rindle.migrate()
        with pytest.raises(ConfigurationError, match="needs PostgreSQL"):
            await plainly_run(rindle)


async def plainly_run(rindle: RindleSync) -> None:
    rindle.settings = rindle.settings.model_copy(update={"engine": EngineName.EMBEDDED})
    await rindle.migrate()
    rindle.settings = rindle.settings.model_copy(update={"engine": EngineName.PROCRASTINATE})
    await rindle.run(asyncio.Event())


async def test_its_sessions_have_our_time_limits_and_what_the_url_says(postgres_url: str) -> None:
    async with opened(conninfo(f"{postgres_url}?options=-csearch_path%3Dof_the_app")) as app:
        shown = {
            name: await app.connector.execute_query_one_async(
                f"SELECT current_setting('{name}') AS it"
            )
            for name in ("search_path", "lock_timeout", "statement_timeout")
        }

    assert "tcp_user_timeout='25000'" in conninfo(postgres_url)
    assert {name: line["it"] for name, line in shown.items() if line} == {
        "search_path": "of_the_app",
        "lock_timeout": "15s",
        "statement_timeout": "30s",
    }


async def test_jobs_of_dead_workers_are_deleted(rindle: RindleSync, engine: Distributed) -> None:
    await engine.defer_sync("8c876c1a-840e-4a14-92d0-dcfac0a93759")
    await execute(
        rindle.store,
        "INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - interval '1 hour')",
    )
    dead = "(SELECT max(id) FROM procrastinate_workers)"
    await execute(
        rindle.store, f"UPDATE procrastinate_jobs SET status = 'doing', worker_id = {dead}"
    )

    assert isinstance(engine, Procrastinate)
    await engine.delete_stalled()

    assert await jobs(rindle.store) == []


async def test_a_worker_goes_on_after_its_connections_were_cut(
    rindle: RindleSync, engine: Distributed
) -> None:
    stop = asyncio.Event()
    service = asyncio.create_task(engine.run(stop))
    await eventually(lambda: ticked(rindle.store, after=0))
    async with rindle.store.database.reading() as connection:
        others = (
            "FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
        await connection.execute(text(f"SELECT pg_terminate_backend(pid) {others}"))
        last = (await connection.execute(text(LAST_TICK))).scalar_one()

    await eventually(lambda: ticked(rindle.store, after=last))

    stop.set()
    await service


GARBAGE = [
    ("job", "{}"),
    ("job", '{"environment": "default"}'),
    ("job", '{"environment": "default", "kind": "an-id-of-the-provider-s"}'),
    ("job", '{"environment": {"x": ["an-id-of-the-provider-s"]}, "kind": "sweep"}'),
    ("job", '{"environment": "default", "kind": {"x": 1}}'),
    ("sync", "{}"),
    ("sync", '{"row_id": "an-id-of-the-provider-s"}'),
    ("sync", '{"row_id": {"an-id-of-the-provider-s": 1}}'),
    ("tick", '{"timestamp": "an-id-of-the-provider-s"}'),
    ("unknown", '{"row_id": "an-id-of-the-provider-s"}'),
]


async def test_a_job_that_is_none_of_ours_ends_with_one_line_that_tells_nothing_of_it(
    rindle: RindleSync, engine: Distributed, caplog: pytest.LogCaptureFixture
) -> None:
    for task, arguments in GARBAGE:
        columns = "procrastinate_jobs (queue_name, task_name, args)"
        job = f"INSERT INTO {columns} VALUES ('rindle_sync_checks', :task, :args)"
        await execute(rindle.store, job, task=f"rindle_sync:{task}", args=arguments)
    stop = asyncio.Event()
    service = asyncio.create_task(engine.run(stop))

    await eventually(lambda: none_waits(rindle.store))

    stop.set()
    await service
    ours = [record.getMessage() for record in caplog.records if record.name == "rindle_sync"]
    assert len(ours) == len(GARBAGE)
    assert set(ours) == {"a job has an unknown task or unknown arguments; nothing was done"}
    assert PROVIDER_ID not in "".join(ours)


async def none_waits(store: Store) -> None:
    assert [job for job in await jobs(store) if job[0] != "rindle_sync:tick"] == []


async def test_without_its_tables_nothing_is_begun(postgres_url: str) -> None:
    async with connect(
        settings_on(postgres_url).model_copy(update={"engine": EngineName.EMBEDDED})
    ) as rindle:
        await rindle.migrate()

    async with connect(settings_on(postgres_url)) as rindle:
        with pytest.raises(DatabaseUnavailable, match="rindle-sync migrate --engine procrastinate"):
            await rindle.run(asyncio.Event())


async def test_a_worker_whose_tables_are_gone_says_so(
    rindle: RindleSync, engine: Distributed, caplog: pytest.LogCaptureFixture
) -> None:
    await execute(rindle.store, "DROP TABLE procrastinate_jobs CASCADE")
    stop = asyncio.Event()
    service = asyncio.create_task(engine.run(stop))

    await eventually(lambda: says(caplog, "the database lacks Procrastinate's tables"))

    stop.set()
    await service


async def says(caplog: pytest.LogCaptureFixture, text: str) -> None:
    assert text in caplog.text


LAST_TICK = "SELECT coalesce(max(defer_timestamp), 0) FROM procrastinate_periodic_defers"


async def ticked(store: Store, *, after: int) -> None:
    async with store.database.reading() as connection:
        assert (await connection.execute(text(LAST_TICK))).scalar_one() > after + 2 * bool(after)


@pytest.mark.parametrize(
    ("every", "seconds"),
    [(0.1, 1), (1, 1), (5, 5), (7, 6), (13, 12), (29, 20), (30, 30), (600, 30)],
)
def test_the_tick_comes_in_whole_parts_of_a_minute(every: float, seconds: int) -> None:
    assert cron(every) == f"* * * * * */{seconds}"


@asynccontextmanager
async def working(url: str, environment: str, emulator: MuxEmulator) -> AsyncIterator[RindleSync]:
    """A worker for one environment alone, that runs."""
    stop = asyncio.Event()
    settings = settings_on(url).model_copy(
        update={"environment": environment, "provider_polling_floor_seconds": 0.1}
    )
    transport = httpx.ASGITransport(emulator.app)
    async with connect(settings, transport=transport) as rindle, opened(conninfo(url)) as app:
        task = asyncio.create_task(rindle.procrastinate(app).run(stop))
        yield rindle
        stop.set()
        await task


async def test_workers_of_other_environments_take_no_tick_and_no_step_away(
    rindle: RindleSync, postgres_url: str
) -> None:
    emulator = MuxEmulator()
    names = ("prod", "staging")
    async with (
        working(postgres_url, "prod", emulator) as prod,
        working(postgres_url, "staging", emulator) as staging,
    ):
        for number in range(3):
            for service in (prod, staging):
                video = emulator.create_asset(life=Life(after=0))
                name = f"{service.settings.environment}-{number}"
                await service.track(reference=name, provider_asset_id=video)

            async def in_sync() -> None:
                rows = "media_provider_assets WHERE state = 'ready'"
                counted = f"SELECT environment, count(*) FROM {rows} GROUP BY 1"
                async with rindle.store.database.reading() as connection:
                    ready = {line[0]: line[1] for line in await connection.execute(text(counted))}
                assert ready == dict.fromkeys(names, number + 1)  # noqa: B023

            await eventually(in_sync)


async def test_a_row_of_somebody_elses_environment_is_made_due(
    rindle: RindleSync, engine: Distributed
) -> None:
    emulator = MuxEmulator()
    async with working(str(rindle.settings.database_url), "another", emulator) as another:
        row = await rindle.track(reference="video-1", provider_asset_id=PROVIDER_ID)
        await execute(rindle.store, "UPDATE media_provider_assets SET check_at = NULL")
        await engine.defer_sync(row.id)

        async def is_due() -> None:
            found = await another.get(row.id)
            assert found
            assert found.check_at is not None

        await eventually(is_due)
