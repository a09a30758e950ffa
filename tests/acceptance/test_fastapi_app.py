"""The whole app of examples/fastapi_app: on PostgreSQL as well, and killed again and again.

After each kill its table and rindle-sync's agree, and every change is in it exactly once.
"""

import asyncio
import os
import random
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from rindle_sync.domain import State
from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.store import Store
from tests.support.processes import (
    FarEnd,
    a_store,
    all_rows,
    eventually,
    free_port,
    serving,
    settings_for,
)
from tests.support.webhooks import SECRET

APP = Path(__file__).parents[2] / "examples" / "fastapi_app"
KILLS = 6
DRIVERS = {"sqlite:": "sqlite+aiosqlite:", "postgresql:": "postgresql+psycopg:"}

LEASED = (
    *("media_provider_assets", "provider_webhook_events", "provider_asset_changes"),
    *("provider_change_deliveries", "provider_job_runs"),
)


@pytest.fixture
def far_end() -> Iterator[FarEnd]:
    with serving(MuxEmulator(prepare_seconds=0.3)) as far_end:
        yield far_end


def environment(url: str, far_end: FarEnd) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("RINDLE_")}
    scheme, colon, rest = url.partition(":")
    settings = settings_for(url, far_end, mux_webhook_secrets=SECRET)
    settings |= {"provider_polling_floor_seconds": "1"}
    given = {f"RINDLE_{name.upper()}": value for name, value in settings.items()}
    return own | given | {"DATABASE_URL": DRIVERS[scheme + colon] + rest}


async def run(*command: str, env: dict[str, str]) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *command,
        cwd=APP,
        env=env,
        stdout=-1,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()


@asynccontextmanager
async def serving_app(env: dict[str, str], port: int) -> AsyncIterator[httpx.AsyncClient]:
    """The app in a process of its own, killed at the end of the block."""
    command = ["uvicorn", "videos.main:app", "--port", str(port), "--log-level", "warning"]
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", *command, cwd=APP, env=env)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:

            async def answers() -> None:
                assert process.returncode is None
                with suppress(httpx.TransportError):
                    assert (await client.get("/")).status_code == 200
                    return
                raise AssertionError("it does not listen yet")

            await eventually(answers)
            yield client
    finally:
        process.kill()
        await process.wait()


async def test_the_app_passes_its_own_tests_on_postgresql(postgres_url: str) -> None:
    url = postgres_url.replace("postgresql:", "postgresql+psycopg:")

    # the plugin is named, since the package may be there uninstalled
    options = ("-q", "-p", "no:cacheprovider", "-p", "rindle_sync.testing.plugin")
    await run("pytest", *options, env=dict(os.environ) | {"TEST_DATABASE_URL": url})


async def test_an_app_that_is_killed_again_and_again_has_each_change_once(
    tables_url: str, far_end: FarEnd
) -> None:
    env, port, chance = environment(tables_url, far_end), free_port(), random.Random(0)
    await run("alembic", "upgrade", "head", env=env)
    far_end.emulator.add_webhook(f"http://127.0.0.1:{port}/webhooks/mux", SECRET, drop=0.3)

    async with a_store(tables_url) as store:
        for _ in range(KILLS):
            async with serving_app(env, port) as client:
                working = asyncio.create_task(add_videos(client, far_end.emulator))
                await asyncio.sleep(chance.uniform(0.2, 2.0))
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            assert await references(store) == set(await videos(store))
            await end_leases(store)
        async with serving_app(env, port):
            await eventually(lambda: in_sync(store), within=60)


async def add_videos(client: httpx.AsyncClient, emulator: MuxEmulator) -> None:
    """Make videos, of assets and of uploads, until the app is gone."""

    async def add(asset_id: str) -> None:
        with suppress(httpx.TransportError):
            video = {"title": "Old", "provider_asset_id": asset_id}
            assert (await client.post("/videos/existing", json=video)).status_code == 201

    async def begin() -> None:
        with suppress(httpx.TransportError):
            assert (await client.post("/videos", json={"title": "New"})).status_code in {201, 503}

    while True:
        asset_ids = emulator.create_assets(5)
        await asyncio.gather(*map(add, asset_ids), begin())


async def references(store: Store) -> set[str]:
    return {row.reference for row in await all_rows(store)}


async def videos(store: Store) -> dict[str, tuple[str, int]]:
    """What the app's own table says: state and number of changes, by id."""
    async with store.database.reading() as connection:
        found = await connection.execute(text("SELECT id, state, changes FROM videos"))
        return {line.id: (line.state, line.changes) for line in found}


async def in_sync(store: Store) -> None:
    """Both tables have the same videos, and each change is counted once."""
    shown, rows = await videos(store), await all_rows(store)
    assert {row.reference for row in rows} == set(shown)
    for row in rows:
        changes = await store.assets.changes_of(row.id)
        # an upload that was prepared, and not begun, is pending until its ten minutes are over
        assert row.state in {State.READY, State.UPLOADING, State.ERRORED, State.PENDING}
        assert shown[row.reference] == (row.state.value, len(changes))


async def end_leases(store: Store) -> None:
    """As if the time had passed for which the killed process holds what it took."""
    ended = {"ended": (datetime.now(UTC) - timedelta(seconds=1)).isoformat(timespec="microseconds")}
    is_sqlite = store.database.engine.dialect.name == "sqlite"
    for table in LEASED:
        moment = ":ended" if is_sqlite else "CAST(:ended AS TIMESTAMPTZ)"
        update = f"UPDATE {table} SET lease_until = {moment} WHERE lease_until IS NOT NULL"
        async with store.database.writing() as connection:
            await connection.execute(text(update), ended)
