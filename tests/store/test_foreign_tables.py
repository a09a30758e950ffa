"""Tables of another version, tables of another program, and databases in another encoding."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from rindle_sync.config import Settings, plain_settings
from rindle_sync.diagnostics import Check, Readiness
from rindle_sync.errors import ConfigurationError, DatabaseUnavailable
from rindle_sync.installation import Installation, connect_all
from rindle_sync.store.revisions import VERSION_TABLE, is_newer, revisions
from tests.support import postgres
from tests.support.processes import Shell

RINDLES = """
CREATE TABLE media_provider_assets (
    id CHAR(36) PRIMARY KEY, asset_id CHAR(36) NOT NULL, profile VARCHAR(255) NOT NULL,
    provider_name VARCHAR(255) NOT NULL, provider_asset_id VARCHAR(255), playback_ids TEXT,
    playback_policy VARCHAR(255), ingest_mode VARCHAR(255), state VARCHAR(255) NOT NULL,
    last_event_id VARCHAR(255), last_event_at TIMESTAMP, last_sync_error TEXT,
    raw_provider_metadata TEXT, inserted_at TIMESTAMP NOT NULL, updated_at TIMESTAMP NOT NULL
)
"""


def settings_on(url: str) -> Settings:
    return plain_settings(database_url=url, mux_token_id="id", mux_token_secret="secret")


@asynccontextmanager
async def on(url: str, *statements: str) -> AsyncIterator[Installation]:
    async with connect_all(settings_on(url)) as installation:
        if statements:
            async with installation.database.writing() as connection:
                for statement in statements:
                    await connection.execute(text(statement))
        yield installation


@pytest.fixture
def empty_url(database_url: str) -> str:
    """A database without a table, whose file is there."""
    if database_url.startswith("sqlite"):
        Path(database_url.removeprefix("sqlite:///")).touch()
    return database_url


def at(revision: str) -> str:
    return f"UPDATE {VERSION_TABLE} SET version_num = '{revision}'"


async def found_tables(installation: Installation) -> list[tuple[str, str]]:
    found = (await installation.doctor()).findings
    return [(finding.text, finding.remedy) for finding in found if finding.check is Check.TABLES]


async def test_tables_of_a_newer_version_are_named_and_left_alone(tables_url: str) -> None:
    async with on(tables_url, at("rindle_999")) as installation:
        with pytest.raises(DatabaseUnavailable, match="rindle_999, of a newer version"):
            await installation.migrate()
        ((told, remedy),) = await found_tables(installation)
        await installation.check_ready()  # the version before goes on

    assert "rindle_999" in told
    assert remedy.startswith("run the newer version")


async def test_a_process_of_the_version_before_stays_ready_on_newer_tables(tables_url: str) -> None:
    async with on(tables_url, at("rindle_999")) as installation:
        engine = installation.database.engine
        readiness = Readiness(
            installation.contexts, lambda: revisions(engine), runs_engine=False, is_newer=is_newer
        )
        checks = await readiness.checks()
        await readiness.close()

    assert checks["tables"] == "warning: are of a newer version of rindle-sync"


async def test_migrate_after_a_rollback_ends_with_a_sentence(
    sqlite_tables_url: str, tmp_path: Path
) -> None:
    async with on(sqlite_tables_url, at("rindle_999")):
        pass

    ended = await Shell(tmp_path, {"database_url": sqlite_tables_url}).run("migrate")

    assert ended.code == 1
    assert "rindle_999" in ended.err
    assert "run the newer version" in ended.err
    assert "Traceback" not in ended.err


async def test_tables_of_an_older_version_are_to_be_migrated(tables_url: str) -> None:
    async with on(tables_url, at("rindle_0")) as installation:
        with pytest.raises(DatabaseUnavailable, match="run `rindle-sync migrate`"):
            await installation.check_ready()
        ((_, remedy),) = await found_tables(installation)

    assert remedy == "run `rindle-sync migrate`"


async def test_a_column_of_a_newer_version_is_missed_with_the_remedy(tables_url: str) -> None:
    drop = "ALTER TABLE media_provider_assets DROP COLUMN playback_policy"
    async with on(tables_url, drop) as installation:
        with pytest.raises(DatabaseUnavailable, match="run `rindle-sync migrate`"):
            await installation.any_service.find_by_reference("video-1")


async def test_rindles_own_table_is_recognised(empty_url: str) -> None:
    async with on(empty_url, RINDLES) as installation:
        with pytest.raises(DatabaseUnavailable, match="of Rindle, the Elixir library"):
            await installation.migrate()
        with pytest.raises(DatabaseUnavailable, match="Rindle has one of the same name"):
            await installation.check_ready()
        ((told, _),) = await found_tables(installation)

    assert "Rindle" in told


async def test_a_table_of_another_program_is_named(empty_url: str) -> None:
    table = "CREATE TABLE provider_webhook_events (id INTEGER)"
    async with on(empty_url, table) as installation:
        with pytest.raises(
            DatabaseUnavailable, match="provider_webhook_events already, of another program"
        ):
            await installation.migrate()


async def test_a_schema_beside_rindles_table_is_enough(postgres_url: str) -> None:
    async with on(postgres_url, RINDLES, "CREATE SCHEMA rindle_sync"):
        pass

    beside = f"{postgres_url}?options=-csearch_path%3Drindle_sync"
    async with on(beside) as installation:
        assert await installation.migrate() == (None, "rindle_5")
        await installation.check_ready()


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1", "EUC_JP"])
async def test_a_database_in_another_encoding_is_refused(
    postgres_server: str, encoding: str
) -> None:
    with postgres.new_database(postgres_server, encoding) as url:
        async with on(url) as installation:
            with pytest.raises(ConfigurationError, match=f"{encoding}.*ENCODING 'UTF8'"):
                await installation.migrate()
            diagnosis = await installation.doctor()

        with psycopg.connect(url) as direct:
            made = direct.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
            tables = made.fetchone()

    found = [finding for finding in diagnosis.findings if finding.check is Check.DATABASE]
    assert [encoding in finding.text for finding in found] == [True]
    assert "ENCODING 'UTF8'" in found[0].remedy
    assert tables == (0,)
