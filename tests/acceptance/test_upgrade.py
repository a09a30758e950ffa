"""This version and the one before on one database, as they are while processes are replaced."""

import csv
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import text

from rindle_sync.demo import agrees
from rindle_sync.domain import State
from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.emulator.lifecycle import Life
from rindle_sync.store import Store
from tests.support.deliveries import Acknowledging, delivering, nothing_acknowledged_is_lost
from tests.support.old_version import prelude_of, unpack
from tests.support.processes import (
    FarEnd,
    Running,
    Shell,
    a_store,
    all_rows,
    eventually,
    free_port,
    settings_for,
)
from tests.support.webhooks import SECRET

LIVES: Final = (
    Life(ends="ready", after=1),
    Life(ends="errored", after=1),
    Life(ends="ready", after=3),
    Life(ends="ready", after=1, deleted_after=2),
)
ROWS: Final = 12
FEED: Final = text("SELECT id, row_id, version, position FROM provider_asset_changes ORDER BY id")


@pytest.fixture(scope="session")
def old_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the version before this one is imported from."""
    return unpack(tmp_path_factory.mktemp("old"))


@dataclass
class Upgrade:
    """Commands of both versions on one database, and a provider that tells both of its assets."""

    old: Shell
    new: Shell
    far_end: FarEnd
    acknowledged: set[str] = field(default_factory=set)
    rows: int = 0

    async def migrate(self, version: Shell) -> str:
        ended = await version.run("migrate")
        assert ended.code == 0, ended.err
        return ended.out

    @asynccontextmanager
    async def serving(self, version: Shell, command: str = "run") -> AsyncIterator[Running]:
        """A service of this version, and webhooks to it where it receives any."""
        port = free_port()
        async with version.but(listen_port=port).started(command) as running:
            await running.says("Ctrl-C ends it")
            if command == "run":
                await running.says("webhooks at")
                self.far_end.emulator.add_webhook(
                    f"http://127.0.0.1:{port}/webhooks/mux",
                    SECRET,
                    double=0.2,
                    shuffle=0.2,
                    transport=Acknowledging(self.acknowledged),
                )
            yield running

    async def track(self, version: Shell, name: str) -> None:
        """New assets, and their rows by a command of this version."""
        assets = self.far_end.emulator.create_assets(ROWS, life=lambda i: LIVES[i % len(LIVES)])
        file = version.folder / f"{name}.csv"
        with file.open("w") as out:
            lines = csv.writer(out)
            lines.writerow(("reference", "provider_asset_id"))
            lines.writerows((f"{name}-{i}", asset) for i, asset in enumerate(assets))
        ended = await version.run("track", "--from", str(file))
        assert ended.code == 0, ended.err
        self.rows += ROWS

    async def in_sync(self, store: Store) -> None:
        """Every row says what is true at the provider."""

        async def agree() -> None:
            truths = self.far_end.emulator.truths()
            rows = await all_rows(store)
            assert len(rows) == self.rows
            assert [
                (row.reference, row.state, row.last_sync_error)
                for row in rows
                if not agrees(row, truths[row.provider_asset_id or ""])
            ] == []

        await eventually(agree)

    async def is_ended(self, running: Running) -> None:
        running.send(signal.SIGTERM)
        ended = await running.ended()
        assert ended.code == 0, ended.err
        assert "nothing is lost" in ended.err


@pytest.fixture
async def upgrade(old_source: Path, database_url: str, tmp_path: Path) -> AsyncIterator[Upgrade]:
    async with delivering(MuxEmulator()) as far_end:
        yield upgrade_on(database_url, far_end, old_source, tmp_path)


def upgrade_on(url: str, far_end: FarEnd, old_source: Path, folder: Path) -> Upgrade:
    settings = settings_for(
        url,
        far_end,
        mux_webhook_secrets=SECRET,
        provider_polling_floor_seconds=1,
        provider_check_cap_seconds=2,
        provider_confirm_seconds=1,
        audit_days=0.00002,
    )
    new = Shell(folder, settings)
    return Upgrade(Shell(folder, settings, prelude=prelude_of(old_source)), new, far_end)


async def test_processes_of_both_versions_share_a_database_while_they_are_replaced(
    upgrade: Upgrade, database_url: str
) -> None:
    old, new = upgrade.old, upgrade.new
    await upgrade.migrate(old)
    async with upgrade.serving(old) as the_old:
        await upgrade.track(old, "before")
        too_early = await new.run("run")
        assert too_early.code == 1
        assert "run `rindle-sync migrate`" in too_early.complaint
        assert "(from " in await upgrade.migrate(new)
        async with a_store(database_url) as store, upgrade.serving(new) as the_new:
            await store.change_feed.turn_on()
            await upgrade.track(old, "by-old")
            await upgrade.track(new, "by-new")
            await upgrade.in_sync(store)

            await upgrade.is_ended(the_old)
            await upgrade.track(new, "after")
            await upgrade.in_sync(store)

            await nothing_acknowledged_is_lost(store, upgrade.acknowledged)
            await no_change_is_lost_or_doubled(store)
            await the_feed_has_all(store, 3 * ROWS)
            await upgrade.is_ended(the_new)
    assert upgrade.acknowledged


async def test_the_version_before_goes_on_alone_after_an_upgrade_that_is_taken_back(
    upgrade: Upgrade, database_url: str
) -> None:
    old, new = upgrade.old, upgrade.new
    await upgrade.migrate(old)
    await upgrade.migrate(new)
    async with a_store(database_url) as store:
        await store.change_feed.turn_on()
        async with upgrade.serving(new) as the_new:
            await upgrade.track(new, "by-new")
            await upgrade.in_sync(store)
            await upgrade.is_ended(the_new)

        async with upgrade.serving(old) as the_old:
            await upgrade.track(old, "by-old")
            await upgrade.in_sync(store)
            await upgrade.is_ended(the_old)
        status, migrated = await old.run_all(["status"], ["migrate"])
        assert (status.code, migrated.code) == (0, 1)
        assert "of a newer version of rindle-sync" in migrated.complaint

        async with upgrade.serving(new):
            await nothing_acknowledged_is_lost(store, upgrade.acknowledged)
            await no_change_is_lost_or_doubled(store)
            await the_feed_has_all(store, 2 * ROWS)


async def test_workers_of_both_versions_share_a_queue(
    old_source: Path, postgres_url: str, tmp_path: Path
) -> None:
    async with delivering(MuxEmulator()) as far_end:
        upgrade = upgrade_on(postgres_url, far_end, old_source, tmp_path)
        old, new = (
            shell.but(engine="procrastinate", sweep_interval_seconds=1)
            for shell in (upgrade.old, upgrade.new)
        )
        await upgrade.migrate(old)
        async with upgrade.serving(old, "worker") as the_old:
            await upgrade.migrate(new)
            async with (
                a_store(postgres_url) as store,
                upgrade.serving(new) as endpoint,
                upgrade.serving(new, "worker") as the_new,
            ):
                await store.change_feed.turn_on()
                await upgrade.track(old, "by-old")
                await upgrade.track(new, "by-new")
                await upgrade.in_sync(store)
                await nothing_acknowledged_is_lost(store, upgrade.acknowledged)
                await no_change_is_lost_or_doubled(store)
                await the_feed_has_all(store, 2 * ROWS)
                for running in (the_old, the_new, endpoint):
                    await upgrade.is_ended(running)


async def no_change_is_lost_or_doubled(store: Store) -> None:
    """The changes of each row lead from where it began to where it was when it was read.

    A service goes on meanwhile: a webhook that comes late may have moved the row since.
    """
    for row in await all_rows(store):
        changes = [c for c in await store.assets.changes_of(row.id) if c.version <= row.version]
        versions = [change.version for change in changes]
        assert [c.from_state for c in changes] == [
            State.PROCESSING,
            *(c.to_state for c in changes[:-1]),
        ]
        assert changes[-1].to_state is row.state
        assert versions == sorted(set(versions))


async def the_feed_has_all(store: Store, rows: int) -> None:
    """Each change has a place in the feed, in the order of its row, but for those before it."""

    async def published() -> None:
        async with store.database.reading() as connection:
            lines = (await connection.execute(FEED)).all()
        assert [line.id for line in lines if line.position is None] == []
        feed = sorted((line for line in lines if line.position), key=lambda line: line.position)
        assert [line.position for line in feed] == list(range(1, len(feed) + 1))
        assert [entry.id for entry in await store.change_feed.page(None, limit=10_000)] == [
            line.position for line in feed
        ]
        of_rows: dict[str, list[int]] = {}
        for line in feed:
            of_rows.setdefault(str(line.row_id), []).append(line.version)
        assert len(of_rows) >= rows
        assert all(versions == sorted(versions) for versions in of_rows.values())

    await eventually(published)
