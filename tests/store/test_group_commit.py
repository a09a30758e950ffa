"""Webhook events that come together are stored together, and each gets its own answer."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import event, text

from rindle_sync.domain import EventStatus, WebhookEvent, replace
from rindle_sync.errors import DatabaseUnavailable, InvalidValue
from rindle_sync.store import Inbox
from rindle_sync.store.intake import Intake
from tests.support.processes import eventually
from tests.support.rows import NOW, a_row
from tests.support.webhooks import a_kept_notice, lock
from tests.support.world import World, a_context

MINUTE = timedelta(minutes=1)


@pytest.fixture
def inbox(world: World) -> Inbox:
    return world.context.store.inbox


def events(number: int, **values: Any) -> list[WebhookEvent]:
    found = []
    for _ in range(number):
        webhook_event = a_kept_notice(a_row(), NOW)
        own = {"id": str(uuid4()), "event_id": str(uuid4())}
        found.append(replace(webhook_event, **own | values))
    return found


async def transactions(inbox: Inbox) -> int:
    """How many transactions have stored the events that are there."""
    engine = inbox.database.engine
    if is_postgresql(inbox):
        async with engine.connect() as connection:
            counted = "SELECT count(DISTINCT xmin::text) FROM provider_webhook_events"
            return int((await connection.execute(text(counted))).scalar_one())
    return commits_in(await asyncio.to_thread(Path(f"{engine.url.database}-wal").read_bytes))


def commits_in(log: bytes) -> int:
    """https://www.sqlite.org/fileformat2.html#the_write_ahead_log .

    The last frame of a transaction has the size of the database.
    """
    page = int.from_bytes(log[8:12], "big")
    frames = range(32, len(log), 24 + page)
    return sum(log[at + 4 : at + 8] != bytes(4) for at in frames)


def is_postgresql(inbox: Inbox) -> bool:
    return inbox.database.engine.dialect.name == "postgresql"


async def stored(inbox: Inbox) -> set[str]:
    return {summary.id for summary in await inbox.list(limit=1000)}


async def test_what_comes_during_a_commit_is_stored_by_the_next_one(inbox: Inbox) -> None:
    first, *sent = events(61)
    await inbox.storing(first)
    before = await transactions(inbox)

    outcomes = await asyncio.gather(*(inbox.storing(webhook_event) for webhook_event in sent))

    assert outcomes == [True] * 60
    assert await transactions(inbox) == before + 1
    assert await stored(inbox) == {webhook_event.id for webhook_event in (first, *sent)}


async def test_what_comes_turn_after_turn_of_the_loop_is_stored_together(inbox: Inbox) -> None:
    first, *sent = events(6)
    await inbox.storing(first)
    before = await transactions(inbox)

    outcomes = []
    for webhook_event in sent:
        outcomes.append(inbox.storing(webhook_event))
        await asyncio.sleep(0)

    assert await asyncio.gather(*outcomes) == [True] * 5
    assert await transactions(inbox) == before + 1


async def test_an_event_that_is_delivered_twice_at_once_is_new_once(inbox: Inbox) -> None:
    [first] = events(1)
    again = replace(first, id=str(uuid4()))

    outcomes = list(await asyncio.gather(inbox.storing(first), inbox.storing(again)))

    assert outcomes == [True, False]
    assert await stored(inbox) == {first.id}


async def test_a_value_that_the_database_refuses_costs_only_its_own_event(inbox: Inbox) -> None:
    good, more = events(1), events(1)
    [bad] = events(1, type="nul \0 in it")
    odd = events(1, passthrough="lone \ud800 surrogate")

    outcomes = await asyncio.gather(
        *(inbox.storing(webhook_event) for webhook_event in (*good, bad, *odd, *more)),
        return_exceptions=True,
    )

    refused = is_postgresql(inbox)
    kept = {webhook_event.id for webhook_event in (*good, *odd, *more)}
    assert isinstance(outcomes[1], InvalidValue) is refused
    assert [outcomes[0], *outcomes[2:]] == [True, True, True]
    assert await stored(inbox) == kept | (set() if refused else {bad.id})


async def test_a_dead_event_among_new_ones_is_pending_again(inbox: Inbox) -> None:
    [dead] = events(1, status=EventStatus.DEAD, next_attempt_at=None)
    await inbox.storing(dead)
    new = events(2)
    again = replace(dead, id=str(uuid4()), status=EventStatus.PENDING, next_attempt_at=NOW)

    outcomes = await asyncio.gather(
        *(inbox.storing(webhook_event) for webhook_event in (new[0], again, new[1]))
    )

    summary = await inbox.get(dead.id)
    assert outcomes == [True, True, True]
    assert summary
    assert summary.status is EventStatus.PENDING


async def test_all_who_wait_learn_that_the_database_is_not_available(inbox: Inbox) -> None:
    async with inbox.database.engine.begin() as connection:
        await connection.execute(text("DROP TABLE provider_webhook_events"))

    outcomes = await asyncio.gather(
        *(inbox.storing(webhook_event) for webhook_event in events(5)), return_exceptions=True
    )

    assert [type(outcome) for outcome in outcomes] == [DatabaseUnavailable] * 5


async def test_what_nobody_waits_for_is_stored_all_the_same(inbox: Inbox) -> None:
    left, kept = events(2)

    inbox.storing(left).cancel()
    await inbox.storing(kept)
    await inbox.database.intake.finish(MINUTE)

    assert await stored(inbox) == {left.id, kept.id}


async def test_events_of_all_environments_are_stored_together(world: World) -> None:
    here, there = world.context.store.inbox, a_context(world, "other").store.inbox
    [first], [mine], [yours] = events(1), events(1), events(1, environment="other")
    [same] = events(1, environment="other", event_id=mine.event_id)
    await here.storing(first)
    before = await transactions(here)

    storing = here.storing(mine), there.storing(yours), there.storing(same)

    assert list(await asyncio.gather(*storing)) == [True, True, True]
    assert await transactions(here) == before + 1
    assert await stored(here) == {first.id, mine.id}
    assert await stored(there) == {yours.id, same.id}


async def test_who_waits_for_the_commit_as_we_close_learns_that_nothing_is_stored(
    world: World, inbox: Inbox
) -> None:
    async with world.context.store.database.writing() as connection:
        await connection.execute(lock(world))
        waiting = [inbox.storing(webhook_event) for webhook_event in events(3)]
        await inbox.database.intake.finish(timedelta(milliseconds=20))
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [DatabaseUnavailable] * 3
    assert await stored(inbox) == set()


async def test_a_database_that_goes_during_the_commit_is_told_to_all_and_found_again(
    world: World, inbox: Inbox
) -> None:
    if not is_postgresql(inbox):
        pytest.skip("SQLite has no server that goes")
    async with inbox.database.writing() as connection:
        await connection.execute(lock(world))
        waiting = [inbox.storing(webhook_event) for webhook_event in events(3)]
        await eventually(lambda: end_those_that_wait_for_a_lock(inbox))
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    [later] = events(1)

    assert [type(outcome) for outcome in outcomes] == [DatabaseUnavailable] * 3
    assert await inbox.storing(later)
    assert await stored(inbox) == {later.id}


async def end_those_that_wait_for_a_lock(inbox: Inbox) -> None:
    assert await ended(inbox, "wait_event_type = 'Lock'")


async def ended(inbox: Inbox, which: str) -> int:
    """End the sessions of this database of which that holds; how many."""
    statement = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        f"WHERE datname = current_database() AND pid <> pg_backend_pid() AND {which}"
    )
    async with inbox.database.engine.connect() as connection:
        return int((await connection.execute(text(statement))).scalar_one())


async def test_a_connection_that_ended_while_nothing_came_costs_no_event(inbox: Inbox) -> None:
    if not is_postgresql(inbox):
        pytest.skip("SQLite has no server that ends a connection")
    database = inbox.database
    engine: Any = database.engine
    intake = Intake(engine, database.turn, database.notifications, trusted=0.0)
    first, second = events(2)
    await intake.add(first)
    assert await ended(inbox, "query LIKE 'INSERT%'") == 1

    assert await intake.add(second)

    await intake.close()
    assert await stored(inbox) == {first.id, second.id}


async def test_sqlite_syncs_the_commit_of_an_event_to_the_disk_before_it_is_answered(
    inbox: Inbox,
) -> None:
    if is_postgresql(inbox):
        pytest.skip("PostgreSQL does by itself")
    pool, opened = inbox.database.engine.sync_engine.pool, list[Any]()
    event.listen(pool, "checkout", lambda connection, *_: opened.append(connection))
    [webhook_event] = events(1)

    await inbox.storing(webhook_event)
    [for_events] = opened
    async with inbox.database.writing():
        [_, for_others] = opened
        settings = [await synchronous(connection) for connection in (for_events, for_others)]

    # https://www.sqlite.org/pragma.html#pragma_synchronous: FULL and NORMAL
    assert settings == [2, 1]


async def synchronous(connection: Any) -> int:
    async with connection.driver_connection.execute("PRAGMA synchronous") as cursor:
        [value] = await cursor.fetchone()
    return int(value)
