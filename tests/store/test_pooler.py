"""Behind a real PgBouncer whose one session is shared with other programs."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psycopg
import pytest

from rindle_sync import connect
from rindle_sync.config import Settings, plain_settings
from rindle_sync.diagnostics import Check
from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.emulator.lifecycle import Life
from rindle_sync.errors import DatabaseUnavailable
from rindle_sync.installation import Installation, connect_all
from rindle_sync.store import Database
from rindle_sync.store.schema import open_engine
from tests.support import pgbouncer
from tests.support.processes import FarEnd, add_due, all_rows, eventually, serving, settings_for

SECRET = "a-webhook-secret-of-this-test-01"
SETTINGS = ("statement_timeout", "lock_timeout", "timezone", "datestyle", "search_path")


@contextmanager
def pooled(url: str, mode: str = "transaction", sessions: int = 1) -> Iterator[str]:
    with ExitStack() as stack:
        try:
            yield stack.enter_context(pgbouncer.pooling(url, mode, sessions=sessions))
        except pgbouncer.NoPgbouncer as reason:
            pytest.skip(str(reason))


@pytest.fixture
def far_end() -> Iterator[FarEnd]:
    with serving(MuxEmulator()) as far_end:
        yield far_end


def service_on(url: str, far_end: FarEnd, **others: str) -> Settings:
    told = settings_for(url, far_end, mux_webhook_secrets=SECRET, **others)
    return plain_settings(**told)


def session_of(application: psycopg.Connection) -> dict[str, str]:
    """What another program finds in the session that it is given."""
    found = {}
    for name in SETTINGS:
        line = application.execute(f"SELECT current_setting('{name}')".encode()).fetchone()
        found[name] = str(line[0]) if line else ""
    return found


async def swept(installation: Installation, far_end: FarEnd, rows: int) -> None:
    service = installation.any_service
    await add_due(service.store, *far_end.emulator.create_assets(rows, life=Life(after=0)))
    await service.sweep()


async def test_everything_works_and_other_programs_find_their_session_as_it_was(
    postgres_url: str, far_end: FarEnd
) -> None:
    with (
        pooled(postgres_url) as url,
        psycopg.connect(url, autocommit=True, prepare_threshold=None) as application,
    ):
        before = session_of(application)
        async with connect_all(service_on(url, far_end)) as installation:
            await installation.migrate()
            for _ in range(8):  # psycopg would prepare a statement at its sixth use
                await swept(installation, far_end, 3)
                await installation.any_service.process_webhook_events()
            states = {row.state.value for row in await all_rows(installation.any_service.store)}
            during = session_of(application)
            prepared = application.execute("SELECT count(*) FROM pg_prepared_statements").fetchone()
            locks = application.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
            held = locks.fetchone()

    assert states == {"ready"}
    assert during == before
    assert (prepared, held) == ((0,), (0,))


async def test_a_statement_of_another_program_has_that_programs_time_limit(
    postgres_url: str, far_end: FarEnd
) -> None:
    with (
        pooled(postgres_url) as url,
        psycopg.connect(url, autocommit=True, prepare_threshold=None) as application,
    ):
        database = Database(open_engine(url))
        async with database.writing() as connection:
            ours = await connection.exec_driver_sql("SHOW statement_timeout")
            assert ours.scalar_one() == "30s"
        theirs = application.execute("SHOW statement_timeout").fetchone()
        await database.close()

    assert theirs == ("0",)


async def test_many_at_once_share_two_sessions(postgres_url: str, far_end: FarEnd) -> None:
    with pooled(postgres_url, sessions=2) as url:
        async with (
            connect_all(service_on(url, far_end)) as one_node,
            connect_all(service_on(url, far_end)) as another,
        ):
            await one_node.migrate()
            names = [f"video-{number}" for number in range(40)]

            async def track(node: Installation, name: str) -> None:
                await node.any_service.track(reference=name, provider_asset_id=f"asset-{name}")

            nodes = [(one_node, another)[number % 2] for number in range(40)]
            await asyncio.gather(*map(track, nodes, names))
            rows = await all_rows(one_node.any_service.store)

    assert sorted(row.reference for row in rows) == sorted(names)


async def test_procrastinate_finds_jobs_without_listening(
    postgres_url: str, far_end: FarEnd
) -> None:
    with (
        pooled(postgres_url, sessions=4) as url,
        psycopg.connect(url, autocommit=True, prepare_threshold=None) as application,
    ):
        settings = service_on(url, far_end, engine="procrastinate", sweep_interval_seconds="1")
        async with connect(settings) as rindle:
            await rindle.migrate()
            stop = asyncio.Event()
            running = asyncio.create_task(rindle.run(stop))
            await add_due(rindle.store, *far_end.emulator.create_assets(3, life=Life(after=0)))

            async def are_ready() -> None:
                assert {row.state.value for row in await all_rows(rindle.store)} == {"ready"}

            await eventually(are_ready)
            found = session_of(application)
            stop.set()
            await running
    with psycopg.connect(postgres_url) as direct:
        listening = direct.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE query ILIKE 'listen%'"
        ).fetchone()

    assert (found["statement_timeout"], found["lock_timeout"]) == ("0", "0")
    assert listening == (0,)


async def test_doctor_names_the_pooler_and_finds_nothing_wrong_with_it(
    postgres_url: str, far_end: FarEnd
) -> None:
    async with connect_all(service_on(postgres_url, far_end)) as direct:
        await direct.migrate()
        without = await direct.doctor()
    with pooled(postgres_url) as url:
        async with connect_all(service_on(url, far_end)) as installation:
            behind = await installation.doctor()

    assert [note.check for note in without.notes] == []
    assert [note.check for note in behind.notes] == [Check.DATABASE]
    assert "pooler" in behind.notes[0].text
    assert [finding.check for finding in behind.findings] == [
        finding.check for finding in without.findings
    ]


@pytest.mark.parametrize(
    ("mode", "option", "named"),
    [
        ("statement", "", "the pooler is in statement mode"),
        ("transaction", "?options=-csearch_path%3Dapp", "the pooler refuses an option"),
    ],
)
async def test_a_pooler_that_cannot_serve_is_named(
    postgres_url: str, far_end: FarEnd, mode: str, option: str, named: str
) -> None:
    with pooled(postgres_url, mode) as url:
        settings = service_on(url + option, far_end)
        async with connect_all(settings) as installation:
            diagnosis = await installation.doctor()
            with pytest.raises(DatabaseUnavailable, match=named):
                await installation.check_ready()

    texts = [finding.text for finding in diagnosis.findings if finding.check is Check.DATABASE]
    assert len(texts) == 1
    assert named in texts[0]
