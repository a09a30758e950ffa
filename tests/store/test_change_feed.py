"""The feed of changes: whoever follows it gets each once, whatever is committed when."""

import asyncio
from datetime import timedelta

import pytest
import sqlalchemy as sa

from rindle_sync.domain import JobKind, State
from rindle_sync.errors import UnknownChange
from rindle_sync.store import Change, DueJobs
from rindle_sync.store.change_feed import PublishedChange
from rindle_sync.store.lines import CHANGE_COLUMNS, change_columns
from rindle_sync.store.schema import changes
from tests.runtime.test_dispatch import a_row_that_went_through
from tests.support.rows import a_row
from tests.support.world import World, a_job_runner


def shown(page: list[PublishedChange]) -> list[tuple[str, State]]:
    return [(published.change.row_id, published.change.to_state) for published in page]


def columns_of_a_change(world: World) -> dict[str, object]:
    row = a_row(State.PROCESSING)
    change = Change(
        row_id=row.id,
        reference=row.reference,
        provider_name="mux",
        environment="default",
        version=2,
        from_state=State.PROCESSING,
        to_state=State.READY,
        error_kind=None,
        trigger="sweep",  # type: ignore[arg-type]  # as it is stored
        reason="a test",
        at=world.clock.now(),
        late_ms=0,
    )
    return dict(zip(CHANGE_COLUMNS, change_columns(change), strict=True))


async def test_nothing_is_published_before_somebody_follows(world: World) -> None:
    await a_row_that_went_through(world, State.READY)
    feed, job_runner = world.context.store.change_feed, a_job_runner(world)

    assert await job_runner.publish() == 0
    assert not await feed.is_on()
    await feed.turn_on()
    await feed.turn_on()

    assert await feed.is_on()
    assert await job_runner.publish() == 1
    assert await job_runner.publish() == 0


async def test_each_change_is_read_once_in_the_order_of_its_row(world: World) -> None:
    feed = world.context.store.change_feed
    await feed.turn_on()
    row = await a_row_that_went_through(world, State.READY, State.ERRORED)
    other = await a_row_that_went_through(world, State.ERRORED)
    while await feed.publish(limit=1):
        pass

    first = await feed.page(None, limit=2)
    rest = await feed.page(first[-1].id, limit=2)

    assert shown(first) == [(row.id, State.READY), (row.id, State.ERRORED)]
    assert shown(rest) == [(other.id, State.ERRORED)]
    assert await feed.page(rest[-1].id, limit=2) == []
    assert await feed.newest() == rest[-1].id


async def test_who_goes_on_behind_a_change_that_is_not_there_is_told(world: World) -> None:
    feed = world.context.store.change_feed
    await feed.turn_on()
    await a_row_that_went_through(world, State.READY)

    with pytest.raises(UnknownChange, match="the feed ends before the change 1"):
        await feed.page(1, limit=2)  # not published yet
    assert await feed.newest() is None


async def test_who_follows_goes_on_though_the_last_change_was_deleted(world: World) -> None:
    store = world.context.store
    await store.change_feed.turn_on()
    gone, left = [await a_row_that_went_through(world, State.READY) for _ in range(2)]
    await store.change_feed.publish()
    [first] = await store.change_feed.page(None, limit=1)

    await store.removal.remove(gone.id, world.clock.now(), history=True)
    rest = await store.change_feed.page(first.id, limit=5)

    assert first.change.row_id == gone.id
    assert shown(rest) == [(left.id, State.READY)]


async def test_a_change_that_is_committed_late_comes_behind_what_was_read(world: World) -> None:
    database, feed = world.context.store.database, world.context.store.change_feed
    if database.engine.dialect.name == "sqlite":
        pytest.skip("SQLite lets one transaction write at a time")
    await feed.turn_on()
    began, may_end = asyncio.Event(), asyncio.Event()
    late = columns_of_a_change(world)

    async def commits_late() -> None:
        async with database.writing() as connection:
            await connection.execute(sa.insert(changes), late)
            began.set()
            await may_end.wait()

    writing = asyncio.create_task(commits_late())
    await asyncio.wait_for(began.wait(), 10)
    row = await a_row_that_went_through(world, State.READY)
    assert len(await feed.publish()) == 1
    read = await feed.page(None, limit=10)
    may_end.set()
    await writing
    assert len(await feed.publish()) == 1

    assert shown(read) == [(row.id, State.READY)]
    rest = await feed.page(read[-1].id, limit=10)
    assert shown(rest) == [(late["row_id"], State.READY)]
    assert rest[0].id == read[0].id + 1


async def test_processes_that_publish_at_once_publish_each_once(world: World) -> None:
    feed = world.context.store.change_feed
    await feed.turn_on()
    rows = [await a_row_that_went_through(world, State.READY) for _ in range(30)]

    async def publish() -> list[PublishedChange]:
        published = []
        while batch := await feed.publish(limit=3):
            published += batch
        return published

    published = await asyncio.gather(*(publish() for _ in range(4)))

    ids = [change.id for batch in published for change in batch]
    assert len(ids) == len(set(ids)) == len(rows)
    assert {change.id for change in await feed.page(None, limit=100)} == set(ids)


async def test_publishing_is_due_only_where_somebody_follows(world: World) -> None:
    store, job_runner = world.context.store, a_job_runner(world)
    await a_row_that_went_through(world, State.READY)

    async def is_due() -> bool:
        now = world.clock.now()
        work = await DueJobs(store.database, "mux").due([job_runner.due_thresholds(now)], now=now)
        return JobKind.PUBLISH in {job.kind for job in work.jobs}

    assert not await is_due()
    await store.change_feed.turn_on()
    assert await is_due()
    await job_runner.run(JobKind.PUBLISH)
    assert not await is_due()


async def test_what_nobody_followed_in_time_is_left_out(world: World) -> None:
    feed = world.context.store.change_feed
    await a_row_that_went_through(world, State.READY)
    world.clock.move(timedelta(days=8))
    await a_row_that_went_through(world, State.ERRORED)

    assert await feed.forget(world.clock.now() - timedelta(days=7)) == 1
    await feed.turn_on()
    assert len(await feed.publish()) == 1
    assert await feed.forget(world.clock.now() + timedelta(days=1)) == 0
