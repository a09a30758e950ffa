"""Webhook events that come together are stored together, and each gets its own answer."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from rindle_sync.domain import EventStatus, WebhookEvent
from rindle_sync.errors import DatabaseUnavailable, InvalidValue
from rindle_sync.store import Inbox
from tests.support.rows import NOW, a_row
from tests.support.webhooks import a_kept_notice
from tests.support.world import World

MINUTE = timedelta(minutes=1)


@pytest.fixture
def inbox(world: World) -> Inbox:
    return world.context.store.inbox


def events(number: int, **values: Any) -> list[WebhookEvent]:
    found = []
    for _ in range(number):
        webhook_event = a_kept_notice(a_row(), NOW)
        found.append(replace(webhook_event, id=str(uuid4()), event_id=str(uuid4()), **values))
    return found


async def transactions(inbox: Inbox) -> int:
    """How many transactions have stored the events that are there."""
    engine = inbox.database.engine
    if engine.dialect.name == "postgresql":
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

    refused = inbox.database.engine.dialect.name == "postgresql"
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
