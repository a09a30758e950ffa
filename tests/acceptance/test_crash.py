"""`run` as a real process that is killed in the middle of a pass.

Nothing is lost, nothing is written twice.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from rindle_sync.app import RindleSync, connect
from rindle_sync.config import Settings, plain_settings
from rindle_sync.demo import agrees
from rindle_sync.domain import State
from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.emulator.lifecycle import Life
from rindle_sync.providers.mux import sign
from rindle_sync.reconcile import SWEEP
from rindle_sync.reconcile.sweep import AHEAD
from rindle_sync.store import Inbox, Store
from tests.support.processes import (
    FarEnd,
    Shell,
    a_store,
    add_due,
    all_rows,
    eventually,
    free_port,
    holding,
    serving,
    settings_for,
)
from tests.support.rows import GAPS
from tests.support.webhooks import SECRET, an_event

ROWS = 120
BATCH = 1
HELD = 2 * AHEAD * BATCH
"""The most rows that a process leases at once: two batches take turns."""

READY_LATER = 3.0
FLOOR = 1
MICROSECOND = timedelta(microseconds=1)


@pytest.fixture
def far_end() -> Iterator[FarEnd]:
    with serving(MuxEmulator()) as far_end:
        yield far_end


@dataclass
class Scene:
    """Rows that are due, the provider, and how to start the service on them."""

    shell: Shell
    far_end: FarEnd
    store: Store

    async def rows_like(self, *lives: Life) -> None:
        """Rows that are due.

        There are no list pages to be had, so that each is asked about by id and answered late.
        """
        emulator = self.far_end.emulator
        emulator.add_fault("server_error", operation="list_assets")
        await add_due(
            self.store, *emulator.create_assets(ROWS, life=lambda i: lives[i % len(lives)])
        )
        emulator.add_fault("late_answer", seconds=0.1)

    async def kill_after(self, looks: int) -> None:
        """Start the service, and kill it in the batch that exceeds so many checks in all."""
        with holding(
            self.far_end.emulator, "get_asset", after=looks - self.far_end.looks.total()
        ) as gate:
            async with self.shell.started("run") as running:
                await running.waits_at(gate)
                running.process.kill()
                await running.process.wait()
        await self.the_pass_is_free()

    async def the_pass_is_free(self) -> None:
        """As if the time had passed that a dead service holds its pass."""
        job_runs, token = self.store.job_runs, str(uuid4())
        later = datetime.now(UTC) + timedelta(days=1)
        assert await job_runs.take(SWEEP, now=later, token=token, until=later)
        await job_runs.release(token)

    async def in_sync_but(self, leased: int) -> None:
        """All rows are in sync, but for at most so many that somebody dead still holds."""
        rows = await all_rows(self.store)
        behind = [
            row
            for row in rows
            if not agrees(row, self.far_end.emulator.truth(row.provider_asset_id or ""))
        ]
        assert len(rows) == ROWS
        assert len(behind) <= leased
        assert all(row.lease_until for row in behind)

    async def no_change_is_lost_or_doubled(self) -> None:
        """Each row's changes lead from where it began to where it is.

        None is written without a look of its own.
        """
        for row in await all_rows(self.store):
            history = await self.store.assets.changes_of(row.id)
            versions = [change.version for change in history]
            assert [change.from_state for change in history] == [
                State.PROCESSING,
                *(change.to_state for change in history[:-1]),
            ]
            assert (history[-1].to_state, history[-1].at) == (row.state, row.updated_at)
            assert [change.to_state for change in history].count(row.state) == 1
            assert versions == sorted(set(versions))
            assert versions[0] > 1
            assert (
                versions[-1] <= row.version <= 1 + self.far_end.looks[row.provider_asset_id or ""]
            )
            if row.version == len(history) + 1:
                assert versions == list(range(2, row.version + 1))


@pytest.fixture
async def scene(tables_url: str, far_end: FarEnd, tmp_path: Path) -> AsyncIterator[Scene]:
    settings = settings_for(
        tables_url, far_end, sweep_batch=BATCH, provider_polling_floor_seconds=FLOOR
    )
    async with a_store(tables_url) as store:
        yield Scene(Shell(tmp_path, settings), far_end, store)


async def test_a_service_that_is_killed_again_and_again_loses_nothing(
    scene: Scene, tables_url: str
) -> None:
    await scene.rows_like(Life(after=0), Life(ends="errored", after=0), Life(after=READY_LATER))
    deaths = [1, 15, 38, 70]
    for looks in deaths:
        await scene.kill_after(looks)

    async with scene.shell.started("run"):
        await eventually(lambda: scene.in_sync_but(leased=HELD * len(deaths)))

    # what a dead one held is free when its lease has ended, not before, and is then synced too
    held = [row for row in await all_rows(scene.store) if row.lease_until]
    ends = sorted(row.lease_until for row in held if row.lease_until)
    settings = plain_settings(database_url=tables_url)
    longest = RindleSync(settings, scene.store.database).context.lease
    assert 0 < len(held) <= HELD * len(deaths)
    assert ends[-1] <= datetime.now(UTC) + longest
    assert await claimed(scene.store, ends[0] - MICROSECOND) == set()
    assert await claimed(scene.store, ends[-1] + MICROSECOND) == {row.id for row in held}
    async with scene.shell.started("run"):
        await eventually(lambda: scene.in_sync_but(leased=0))
    await scene.no_change_is_lost_or_doubled()
    assert {row.lease_until for row in await all_rows(scene.store)} == {None}


async def test_a_delivery_that_was_answered_is_applied_however_the_service_died(
    scene: Scene,
) -> None:
    emulator, port = scene.far_end.emulator, free_port()
    assets = emulator.create_assets(40, life=Life(ends="never"))
    emulator.add_fault("server_error")  # looks would say that these assets are not ready at all
    await add_due(scene.store, *assets)
    shell = scene.shell.but(
        mux_webhook_secrets=SECRET, listen_port=port, sweep_interval_seconds=600
    )
    answered: list[str] = []

    async def deliver_to_the_end(client: httpx.AsyncClient) -> None:
        for asset in assets:
            body = json.dumps(an_event(asset)).encode()
            headers = {"mux-signature": sign(body, SECRET, datetime.now(UTC))}
            reply = await client.post(
                f"http://127.0.0.1:{port}/webhooks/mux", content=body, headers=headers
            )
            answered.extend([asset] * (reply.status_code == 202))

    for _ in range(2):
        async with shell.started("run") as running, httpx.AsyncClient() as client:
            await running.says("webhooks at")
            delivering = asyncio.create_task(deliver_to_the_end(client))

            async def some(before: int = len(answered)) -> None:
                assert len(answered) >= before + 5

            await eventually(some)
            running.process.kill()
            await running.process.wait()
            with pytest.raises(httpx.HTTPError):
                await delivering

    await leases_end(scene.store.inbox)
    async with shell.started("run"):

        async def all_applied() -> None:
            rows = {row.provider_asset_id: row.state for row in await all_rows(scene.store)}
            assert {rows[asset] for asset in answered} == {State.READY}

        await eventually(all_applied)
    assert len(answered) >= 10


async def leases_end(inbox: Inbox) -> None:
    """As if the time of every lease on a notice had passed.

    Somebody else takes them up, and gives them back.
    """
    later, token = datetime.now(UTC) + timedelta(days=1), str(uuid4())
    await inbox.claim(now=later, token=token, until=later, limit=1000)
    await inbox.release(token)


async def claimed(store: Store, now: datetime) -> set[str]:
    """The ids of the rows that a sweep would get at that time; they are given back."""
    rows = await store.assets.claim(
        [row.id for row in await all_rows(store)],
        due=now,
        now=now,
        longest=GAPS,
        token=(token := "00000000-0000-4000-8000-000000000000"),
        until=now + timedelta(hours=1),
    )
    await store.assets.release(token)
    return {row.id for row in rows}


async def test_two_services_on_one_database_share_the_rows(scene: Scene) -> None:
    await scene.rows_like(Life(after=0), Life(ends="errored", after=0))

    async with scene.shell.started("run") as first, scene.shell.started("run") as other:
        await asyncio.gather(first.says("sweeping"), other.says("sweeping"))
        await eventually(lambda: scene.in_sync_but(leased=0))

    assert scene.far_end.looks.total() == ROWS
    assert set(scene.far_end.looks.values()) == {1}
    await scene.no_change_is_lost_or_doubled()


async def test_two_services_check_a_row_that_is_not_done_once_in_each_window(scene: Scene) -> None:
    await scene.rows_like(Life(ends="never"))

    async with scene.shell.started("run"), scene.shell.started("run"):
        await eventually(lambda: each_looked_at(scene, times=2))

    for row in await all_rows(scene.store):
        assert {change.to_state for change in await scene.store.assets.changes_of(row.id)} <= {
            State.PROCESSING
        }
        looks = scene.far_end.looked_at[row.provider_asset_id or ""]
        assert all(later - earlier > 0.9 * FLOOR for earlier, later in pairwise(looks))


async def each_looked_at(scene: Scene, times: int) -> None:
    assert len(scene.far_end.looks) == ROWS
    assert min(scene.far_end.looks.values()) >= times


async def test_the_app_that_embeds_us_and_is_cancelled_leaves_no_lease(
    scene: Scene, tables_url: str
) -> None:
    await scene.rows_like(Life(after=0))
    async with connect(Settings.model_validate(scene.shell.settings)) as rindle:
        service = asyncio.create_task(rindle.run(asyncio.Event()))
        await eventually(lambda: looked_at_some(scene))

        service.cancel()
        with pytest.raises(asyncio.CancelledError):
            await service

    assert {row.lease_until for row in await all_rows(scene.store)} == {None}


async def looked_at_some(scene: Scene) -> None:
    assert scene.far_end.looks
