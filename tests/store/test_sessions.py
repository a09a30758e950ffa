"""Transactions on PostgreSQL, whatever the server, the database or the role sets by default."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import event

from rindle_sync.domain import Bucket, State, replace
from rindle_sync.errors import DatabaseUnavailable
from rindle_sync.runtime.engines.procrastinate import opened
from rindle_sync.store import Database, Store, Write
from rindle_sync.store.schema import conninfo, open_engine
from tests.support.rows import NOW, a_row
from tests.support.tables import migrate

ODD_DEFAULTS = {
    "default_transaction_isolation": "serializable",
    "client_encoding": "LATIN1",
    "datestyle": "German",
    "timezone": "Asia/Kolkata",
    "statement_timeout": "1h",
    "lock_timeout": "1h",
}

FAILS = """
CREATE SEQUENCE attempts;
CREATE FUNCTION fails() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF nextval('attempts') <= {times} THEN
    RAISE EXCEPTION 'rolled back' USING ERRCODE = {state};
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER fails BEFORE INSERT OR UPDATE ON {table} EXECUTE FUNCTION fails();
"""


def set_defaults(url: str, defaults: dict[str, str]) -> None:
    with psycopg.connect(url, autocommit=True) as owner:
        database = sql.Identifier(owner.info.dbname)
        for name, value in defaults.items():
            alter = sql.SQL("ALTER DATABASE {} SET {} = {}")
            owner.execute(alter.format(database, sql.Identifier(name), sql.Literal(value)))


def fail_first(url: str, table: str, state: str, times: int) -> None:
    """Have the first writes to `table` fail as a server that rolls a transaction back has them."""
    values = {"table": sql.Identifier(table), "state": sql.Literal(state), "times": times}
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(sql.SQL(FAILS).format(**values))


def attempts(url: str) -> int:
    with psycopg.connect(url) as owner:
        line = owner.execute("SELECT last_value FROM attempts").fetchone()
    return int(line[0]) if line else 0


@pytest.fixture
async def store(postgres_tables_url: str) -> AsyncIterator[Store]:
    database = Database(open_engine(postgres_tables_url))
    yield Store(database, "mux", "default")
    await database.close()


async def test_a_transaction_has_our_limits_whatever_the_defaults_are(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_defaults(postgres_url, ODD_DEFAULTS)
    monkeypatch.setenv("PGCLIENTENCODING", "SQL_ASCII")
    database = Database(open_engine(postgres_url))
    names = (*ODD_DEFAULTS, "transaction_isolation")
    async with database.reading() as connection:
        shown = {
            name: (await connection.exec_driver_sql(f"SHOW {name}")).scalar_one() for name in names
        }
    await database.close()

    assert shown == {
        "default_transaction_isolation": "read committed",
        "transaction_isolation": "read committed",
        "client_encoding": "UTF8",
        "datestyle": "ISO, DMY",
        "timezone": "UTC",
        "statement_timeout": "30s",
        "lock_timeout": "15s",
    }


async def test_a_row_comes_back_as_it_was_kept_whatever_the_defaults_are(postgres_url: str) -> None:
    set_defaults(postgres_url, ODD_DEFAULTS)
    await asyncio.to_thread(migrate, postgres_url)
    database = Database(open_engine(postgres_url))
    store = Store(database, "mux", "default")
    row = a_row(State.READY, raw_provider_metadata={"title": "☃ 🎬"}, observed_at=NOW)

    await store.assets.add(row)

    assert await store.assets.get(row.id) == row
    await database.close()


async def test_writers_at_once_do_not_fail_where_serializable_is_the_default(
    postgres_url: str,
) -> None:
    set_defaults(postgres_url, ODD_DEFAULTS)
    await asyncio.to_thread(migrate, postgres_url)
    database = Database(open_engine(postgres_url))
    limits = Store(database, "mux", "default").rate_limits
    bucket = Bucket(name="reads", capacity=100, per_second=0.001)
    now = datetime.now(UTC)

    taken = await asyncio.gather(
        *(limits.take(bucket, now, most=1, reserve=0, most_left=100) for _ in range(20))
    )

    assert sum(grant.calls for grant in taken) == 20
    await database.close()


async def test_jobs_of_procrastinate_are_queued_in_read_committed(postgres_url: str) -> None:
    set_defaults(postgres_url, ODD_DEFAULTS)
    async with opened(conninfo(postgres_url)) as app:
        found = {
            name: (
                await app.connector.execute_query_one_async(f"SELECT current_setting('{name}') it")
            )["it"]
            for name in ("transaction_isolation", "client_encoding", "statement_timeout")
        }

    assert found == {
        "transaction_isolation": "read committed",
        "client_encoding": "UTF8",
        "statement_timeout": "30s",
    }


async def write_row(store: Store) -> None:
    row = a_row()
    await store.assets.add(row)
    written = await store.assets.write([Write(replace(row, version=row.version + 1))])
    assert (len(written.ids), written.refused) == (1, {})


async def lease_job(store: Store) -> None:
    now = datetime.now(UTC)
    until, token = now + timedelta(seconds=60), "0a5f6f3c-6f2c-4d3b-a3c9-3f2b0d6f7c11"
    assert await store.job_runs.take("audit", now=now, token=token, until=until)


async def take_calls(store: Store) -> None:
    bucket = Bucket(name="reads", capacity=10, per_second=1)
    now = datetime.now(UTC)
    for _ in range(2):
        assert (await store.rate_limits.take(bucket, now, most=1, reserve=0, most_left=10)).calls


async def note_environment(store: Store) -> None:
    await store.environments.identify("environment-1")
    assert (await store.environments.get()).provider_environment_id == "environment-1"


WORK = {
    "media_provider_assets": write_row,
    "provider_job_runs": lease_job,
    "provider_rate_limits": take_calls,
    "provider_environments": note_environment,
}


@pytest.mark.parametrize("state", ["40001", "40P01"])
@pytest.mark.parametrize(("table", "work"), WORK.items(), ids=list(WORK))
async def test_a_transaction_that_the_server_rolled_back_is_run_again(
    store: Store,
    postgres_tables_url: str,
    table: str,
    work: Callable[[Store], Awaitable[None]],
    state: str,
) -> None:
    fail_first(postgres_tables_url, table, state, times=2)

    await work(store)

    assert attempts(postgres_tables_url) > 2


async def test_it_is_run_again_within_a_bound(store: Store, postgres_tables_url: str) -> None:
    fail_first(postgres_tables_url, "media_provider_assets", "40P01", times=1000)

    with pytest.raises(DatabaseUnavailable, match="rolled back 5 times"):
        await store.assets.add(a_row())

    assert attempts(postgres_tables_url) == 5


async def test_a_read_only_default_is_named(store: Store, postgres_tables_url: str) -> None:
    set_defaults(postgres_tables_url, {"default_transaction_read_only": "on"})

    with pytest.raises(DatabaseUnavailable, match="is default_transaction_read_only off"):
        await store.assets.add(a_row())


async def test_a_statement_that_is_alone_is_sent_alone(store: Store) -> None:
    row, sent = a_row(), list[str]()
    await store.assets.add(row)

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        sent.append(statement)

    event.listen(store.database.engine.sync_engine, "before_cursor_execute", note)
    await store.assets.get(row.id)
    await store.assets.make_due(row.id, NOW)

    assert [statement.split()[0] for statement in sent] == ["SELECT", "UPDATE"]
    after = await store.assets.get(row.id)
    assert after
    assert after.check_at == NOW


async def test_a_connection_that_the_server_ended_at_rest_is_made_anew(
    postgres_tables_url: str, store: Store
) -> None:
    row = a_row()
    await store.assets.add(row)

    with psycopg.connect(postgres_tables_url, autocommit=True) as owner:
        ended = owner.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchall()

    assert ended == [(True,)]
    assert await store.assets.get(row.id) == row
