"""The guides do what they say: the commands of a page are run, against the emulator."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from rindle_sync import ProviderAsset, State, connect, load_settings
from rindle_sync.emulator import Life, MuxEmulator
from tests.support.processes import FarEnd, serving
from tests.support.readers import Reader, blocks_of, transcript

READY = Life(after=0)

FINDS = ("rindle-sync audit --adopt",)
"""The commands of the guide that end with 1 since they have found something."""


def needs(program: str) -> pytest.MarkDecorator:
    is_missing = shutil.which(program) is None
    return pytest.mark.skipif(is_missing, reason=f"{program} is not installed")


@pytest.fixture
def mux() -> Iterator[FarEnd]:
    with serving(MuxEmulator()) as far_end:
        yield far_end


def reader_on(database_url: str, mux: FarEnd, folder: Path) -> Reader:
    settings = {
        "RINDLE_DATABASE_URL": database_url.replace("+psycopg", ""),
        "RINDLE_MUX_BASE_URL": mux.url,
        "RINDLE_MUX_TOKEN_ID": mux.emulator.token_id,
        "RINDLE_MUX_TOKEN_SECRET": mux.emulator.token_secret,
    }
    return Reader(folder, settings=settings)


async def follow(reader: Reader, page: str) -> None:
    for language, block in blocks_of(page):
        await reader.follow(language, block)


async def rows_of(reader: Reader) -> dict[str, ProviderAsset]:
    """The rows by their references."""
    settings = load_settings(
        database_url=reader.settings["RINDLE_DATABASE_URL"],
        database_schema=reader.settings.get("RINDLE_DATABASE_SCHEMA"),
    )
    async with connect(settings) as rindle:
        return {row.reference: row async for row in rindle.list_all()}


def states(rows: dict[str, ProviderAsset]) -> dict[str, State]:
    return {reference: row.state for reference, row in rows.items()}


@needs("psql")
async def test_rows_of_mux_sync_engine_are_moved(
    postgres_url: str, mux: FarEnd, tmp_path: Path
) -> None:
    reader = reader_on(postgres_url, mux, tmp_path)
    assets = mux.emulator.create_assets(3, life=READY)
    with psycopg.connect(reader.settings["RINDLE_DATABASE_URL"]) as database:
        database.execute("CREATE SCHEMA mux")
        database.execute("CREATE TABLE mux.assets (id text PRIMARY KEY, status text)")
        database.execute("CREATE TABLE videos (id bigint PRIMARY KEY, mux_asset_id text)")
        for number, asset in enumerate(assets, start=1):
            database.execute("INSERT INTO mux.assets VALUES (%s, %s)", [asset, "preparing"])
            database.execute("INSERT INTO videos VALUES (%s, %s)", [number, asset])
        database.execute("INSERT INTO videos VALUES (4, %s)", ["gone-at-mux"])

    await follow(reader, "guides/moving-from-mux-sync-engine.md")

    rows = await rows_of(reader)
    assert states(rows) == dict.fromkeys(("1", "2", "3"), State.READY)
    assert [rows[str(number)].provider_asset_id for number in (1, 2, 3)] == list(assets)


@needs("psql")
async def test_rows_of_rindle_are_moved(postgres_url: str, mux: FarEnd, tmp_path: Path) -> None:
    reader = reader_on(postgres_url, mux, tmp_path)
    ready, failed = mux.emulator.create_asset(life=READY), mux.emulator.create_asset(life=READY)
    mux.emulator.delete_asset(deleted := mux.emulator.create_asset(life=READY))
    with psycopg.connect(reader.settings["RINDLE_DATABASE_URL"]) as database:
        # the columns that Rindle 0.1 gives its table, as far as the page names them
        database.execute(
            "CREATE TABLE media_provider_assets (asset_id uuid DEFAULT gen_random_uuid(), "
            "profile text, provider_name text, provider_asset_id text, playback_policy text, "
            "state text)"
        )
        for asset, state in ((ready, "processing"), (failed, "errored"), (deleted, "deleted")):
            database.execute(
                "INSERT INTO media_provider_assets VALUES "
                "(DEFAULT, 'web', 'mux', %s, 'public', %s)",
                [asset, state],
            )
        references: dict[str, str] = dict(
            database.execute("SELECT provider_asset_id, asset_id::text FROM media_provider_assets")
        )

    await follow(reader, "guides/moving-from-rindle.md")

    rows = await rows_of(reader)
    assert states(rows) == {references[ready]: State.READY, references[failed]: State.READY}
    assert {row.profile for row in rows.values()} == {"web"}


def commands_for(kind: str) -> list[str]:
    """Those of the guide for one kind of database, without the service at its end."""
    others = {"sqlite": "pg_", "postgresql": "sqlite3 "}[kind]
    return [
        command
        for _, block in blocks_of("guides/backup-and-restore.md")
        for command, _ in transcript(block)
        if others not in command and command != "rindle-sync run"
    ]


@pytest.mark.parametrize(
    ("kind", "backup"),
    [
        pytest.param("sqlite", "sqlite3", marks=needs("sqlite3")),
        pytest.param("postgresql", "pg_dump", marks=needs("pg_dump")),
    ],
)
async def test_a_backup_is_restored_and_brought_in_sync(
    kind: str, backup: str, request: pytest.FixtureRequest, mux: FarEnd, tmp_path: Path
) -> None:
    urls = {"sqlite": f"sqlite:///{tmp_path}/videos.sqlite3"}
    url = urls.get(kind) or str(request.getfixturevalue("postgres_url"))
    reader = reader_on(url, mux, tmp_path)
    first, *later = commands_for(kind)
    known = mux.emulator.create_asset(life=READY, passthrough="film-1")
    await reader.run(f"rindle-sync migrate && rindle-sync track --reference film-1 "
                     f"--provider-asset-id {known} && rindle-sync sync film-1")  # fmt: skip

    assert first.startswith(backup)
    assert await reader.run(first) == ""
    mux.emulator.create_asset(life=READY, passthrough="film-2")
    assert "1 row made" in await reader.run("rindle-sync backfill")
    mux.emulator.delete_asset(known)
    for command in later:
        await reader.run(command, code=1 if command in FINDS else 0)

    assert states(await rows_of(reader)) == {"film-1": State.READY, "film-2": State.READY}
