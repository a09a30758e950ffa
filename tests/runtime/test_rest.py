"""An engine with nothing due rests, and is woken by the work that any process makes."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from msgspec import structs

from rindle_sync.domain import EventStatus, JobKind, ProviderAsset, State, Trigger
from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.emulator.lifecycle import Life
from rindle_sync.reconcile import sync_row
from rindle_sync.runtime import ChangeEvent, JobRunner
from rindle_sync.runtime.due import DueQuery
from rindle_sync.runtime.engines.base import DueNow
from rindle_sync.runtime.engines.embedded import Embedded
from rindle_sync.store import Database, Store
from rindle_sync.store.schema import open_engine
from tests.support import pgbouncer
from tests.support.callbacks import registered
from tests.support.processes import Shell, a_store, eventually, serving, settings_for
from tests.support.rows import a_row
from tests.support.webhooks import a_kept_notice
from tests.support.world import World, a_job_runner, a_world

AN_HOUR = 3600.0
EVERY = 900.0
SOON = 15.0
"""Seconds: far longer than it takes, and far shorter than the rest of an engine here."""

KINDS = (JobKind.SWEEP, JobKind.PROCESS_WEBHOOK_EVENTS, JobKind.DISPATCH)


class Asked(DueQuery):
    """What is due, and all answers so far."""

    answers: list[DueNow]

    async def __call__(self, kinds: Any = KINDS) -> DueNow:
        self.answers.append(await super().__call__(kinds))
        return self.answers[-1]


@dataclass
class Resting:
    """An engine that may rest for an hour, and the store of another process."""

    world: World
    answers: Sequence[DueNow]
    other: Store

    async def rests(self) -> None:
        await self.rests_for(AN_HOUR)

    async def rests_for(self, seconds: float) -> None:
        async def is_resting() -> None:
            assert self.answers
            assert not self.answers[-1].jobs
            assert self.answers[-1].rest == seconds

        await eventually(is_resting)

    async def keeps(self, row: ProviderAsset) -> str:
        """An event that the other process stores."""
        webhook_event = a_kept_notice(row, self.world.clock.now())
        assert await self.other.inbox.storing(webhook_event)
        return webhook_event.id

    async def is_taken_up(self, webhook_event_id: str) -> None:
        async def is_tried() -> None:
            found = await self.other.inbox.get(webhook_event_id)
            assert found
            assert found.attempts == 1

        await eventually(is_tried, SOON)


def a_query(job_runner: JobRunner, every: float = EVERY) -> Asked:
    context = job_runner.context
    query = Asked(
        context.store.database, [job_runner], context.now, every=every, longest_rest=AN_HOUR
    )
    query.answers = []
    return query


def patient(world: World, **options: Any) -> JobRunner:
    """The jobs of a world in which a new row is checked after hours."""
    job_runner = a_job_runner(world)
    schedule = structs.replace(job_runner.context.schedule, floor=timedelta(hours=2))
    context = replace(job_runner.context, schedule=schedule)
    return replace(job_runner, context=context, **options)


async def settled(world: World) -> ProviderAsset:
    """A row that is not due for hours."""
    return await world.track(check_at=world.clock.now() + timedelta(hours=2))


@asynccontextmanager
async def resting(world: World, *, every: float = EVERY, **options: Any) -> AsyncIterator[Resting]:
    job_runner, stop = patient(world, **options), asyncio.Event()
    store, query = job_runner.context.store, a_query(job_runner, every)
    engine = Embedded([job_runner], query, KINDS, every=every, drain=5)
    running = asyncio.create_task(engine.run(stop))
    url = store.database.engine.url.set(drivername=store.database.engine.dialect.name)
    other = Database(open_engine(url.render_as_string(hide_password=False)))
    try:
        yield Resting(world, query.answers, Store(other, store.provider, store.environment))
    finally:
        stop.set()
        await running
        await other.close()


async def test_it_takes_up_an_event_that_another_process_stores(world: World) -> None:
    async with resting(world) as engine:
        await engine.rests()
        await engine.is_taken_up(await engine.keeps(await settled(world)))


async def test_it_dispatches_a_change_that_another_process_writes(world: World) -> None:
    heard = asyncio.Queue[ChangeEvent]()

    async def hear(change: ChangeEvent) -> None:
        heard.put_nowait(change)

    async with resting(world, callbacks=registered(hear)) as engine:
        await engine.rests()
        row = await settled(world)
        await sync_row(replace(world.context, store=engine.other), row, trigger=Trigger.SYNC)
        change = await asyncio.wait_for(heard.get(), SOON)

    assert change.row
    assert change.row.id == row.id


async def test_a_lost_connection_comes_back_and_no_work_is_lost(postgres_tables_url: str) -> None:
    async with a_world(postgres_tables_url, migrated=True) as world:
        row = await settled(world)
        async with resting(world) as engine:
            await engine.rests()
            ended = end_listening(postgres_tables_url)
            await engine.is_taken_up(await engine.keeps(row))
            await engine.rests()
            await engine.is_taken_up(await engine.keeps(await settled(world)))

        assert ended == 1
        assert end_listening(postgres_tables_url) == 0  # nothing is left of it


def end_listening(url: str) -> int:
    """End the sessions that listen; how many."""
    ending = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE query LIKE 'LISTEN %' AND datname = current_database()"
    )
    with psycopg.connect(url, autocommit=True) as connection:
        return len(connection.execute(ending).fetchall())


async def test_behind_a_pooler_it_asks_every_few_seconds(postgres_tables_url: str) -> None:
    try:
        with pgbouncer.pooling(postgres_tables_url, sessions=3) as url:
            async with a_world(url, migrated=True) as world, resting(world, every=2) as engine:
                row = await settled(world)
                await engine.rests_for(2)
                await engine.is_taken_up(await engine.keeps(row))

                assert end_listening(postgres_tables_url) == 0
    except pgbouncer.NoPgbouncer as reason:
        pytest.skip(str(reason))


async def test_it_rests_until_the_next_row_is_due(world: World) -> None:
    query = a_query(patient(world))
    row = await world.track(check_at=world.clock.now() + timedelta(minutes=3))

    work = await query()
    world.clock.move(timedelta(minutes=2))
    later = await query()

    assert row.check_at
    assert not work.jobs
    # the database may not tell of new work yet: then it asks again after `every`
    assert (work.rest, later.rest) == (180, 60)


async def test_what_this_process_never_runs_keeps_it_from_no_rest(world: World) -> None:
    await world.sync(await world.track())  # a change, and no callback here
    query = a_query(patient(world))

    work = await query()

    assert JobKind.DISPATCH not in {job.kind for job in work.jobs}
    assert work.rest >= EVERY


async def test_it_rests_no_longer_than_a_new_row_may_wait(world: World) -> None:
    query = a_query(a_job_runner(world))

    assert (await query()).rest == world.context.schedule.floor.total_seconds()


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
async def test_a_service_takes_up_what_others_store_while_it_rests(
    database: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = str(request.getfixturevalue(f"{database}_tables_url"))
    with serving(MuxEmulator()) as far_end:
        shell = Shell(tmp_path, settings_for(url, far_end))
        async with shell.started("run") as running, a_store(url) as store:
            await running.says("sweeping")
            (asset,) = far_end.emulator.create_assets(1, life=lambda _: Life(after=0))
            later = datetime.now(UTC) + timedelta(hours=2)
            row = a_row(State.PROCESSING, provider_asset_id=asset, check_at=later)
            await store.assets.add(row)
            webhook_event = a_kept_notice(row, datetime.now(UTC))
            assert await store.inbox.storing(webhook_event)

            async def is_applied() -> None:
                found = await store.inbox.get(webhook_event.id)
                assert found
                assert found.status is EventStatus.APPLIED

            await eventually(is_applied, SOON)
