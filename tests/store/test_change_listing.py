"""The changes and the webhook events as a person looks through them, and the figures of hours."""

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import pytest
import sqlalchemy as sa

from rindle_sync.domain import EventStatus, State, Trigger
from rindle_sync.store import ChangeQuery, EventQuery, WebhookOutcome, bounded_scan
from rindle_sync.store.schema import changes, webhook_events
from tests.support.rows import NOW
from tests.support.world import World

DAY: Final = timedelta(days=1)
MINUTE: Final = timedelta(minutes=1)


async def add_changes(world: World, *lines: dict[str, Any]) -> None:
    """Changes to ready, each a minute before the one before it."""
    values = []
    for place, line in enumerate(lines):
        change = {
            "row_id": str(uuid4()),
            "reference": f"video-{place}",
            "provider_name": "mux",
            "environment": "default",
            "version": 1,
            "kind": "state",
            "from_state": "processing",
            "to_state": "ready",
            "trigger": "webhook",
            "reason": f"number {place}",
            "at": NOW - 10 * MINUTE - place * MINUTE,
            "late_ms": 1000 * place,
            "webhook_at": None,
            "error_kind": None,
        }
        values.append(change | line)
    async with world.context.store.database.writing() as connection:
        await connection.execute(sa.insert(changes), values)


async def listed(world: World, limit: int = 2, **wanted: Any) -> list[str]:
    """The numbers of the changes, page by page."""
    query = ChangeQuery(since=NOW - DAY, until=NOW, final_before=NOW - 5 * MINUTE, **wanted)
    numbers, after = list[str](), None
    while True:
        page = await world.context.store.change_listing.page(query, limit=limit, after=after)
        numbers += [change.reason.removeprefix("number ") for change in page.changes]
        after = page.next
        if after is None:
            return numbers


SWEPT: Final[dict[str, Any]] = {"trigger": "sweep"}
SOME: Final[tuple[dict[str, Any], ...]] = (
    {},
    SWEPT,
    SWEPT | {"webhook_at": NOW},
    {"trigger": "app", "to_state": "uploading", "from_state": "pending"},
    SWEPT | {"to_state": "errored", "error_kind": "stuck"},
    SWEPT | {"environment": "another"},
    SWEPT | {"at": NOW - 2 * DAY},
    SWEPT | {"at": NOW - MINUTE},
    SWEPT | {"to_state": "deleted"},
)


async def test_changes_are_listed_by_what_found_them_and_by_what_became_of_the_webhook(
    world: World,
) -> None:
    await add_changes(world, *SOME)

    assert await listed(world) == ["7", "0", "1", "2", "3", "4", "8"]
    assert await listed(world, trigger=Trigger.SWEEP) == ["7", "1", "2", "4", "8"]
    assert await listed(world, to_state=State.UPLOADING) == ["3"]
    assert await listed(world, webhook=WebhookOutcome.MISSED) == ["1", "8"]
    missed = WebhookOutcome.MISSED
    assert await listed(world, webhook=missed, never_reported=State.DELETED) == ["1"]
    assert await listed(world, webhook=WebhookOutcome.LATE) == ["2"]


async def test_as_many_changes_are_listed_as_the_status_counts(world: World) -> None:
    await add_changes(world, *SOME)

    by_name = await world.context.store.statistics.webhooked(
        ["default"], now=NOW, since=NOW - DAY, final_before=NOW - 5 * MINUTE
    )
    counted = by_name["default"]

    assert len(await listed(world, webhook=WebhookOutcome.MISSED)) == sum(counted.missed.values())
    came_late = counted.expected - counted.found[Trigger.WEBHOOK] - sum(counted.missed.values())
    assert len(await listed(world, webhook=WebhookOutcome.LATE)) == came_late


async def test_the_hours_of_a_day_add_up_to_what_the_status_counts(world: World) -> None:
    await add_changes(world, *SOME)
    begins = [NOW.replace(minute=0, second=0, microsecond=0) - timedelta(hours=h) for h in (1, 0)]

    before, newest = await world.context.store.activity.hours(begins, final_before=NOW - 5 * MINUTE)

    assert newest.by_trigger == {}
    assert before.by_trigger == {Trigger.WEBHOOK: 1, Trigger.SWEEP: 5, Trigger.APP: 1}
    assert (before.expected, before.missed) == (4, 2)
    assert sorted(before.late_ms) == [0, 1000, 2000, 4000, 7000, 8000]


async def add_events(world: World, *lines: dict[str, Any]) -> None:
    """Webhook events, each received a minute before the one before it."""
    values = []
    for place, line in enumerate(lines):
        event = {
            "id": str(uuid4()),
            "provider_name": "mux",
            "environment": "default",
            "event_id": f"event-{place}",
            "type": f"type-{place}",
            "received_at": NOW - place * MINUTE,
            "body": b"{}",
            "status": "applied",
            "attempts": 1,
            "next_attempt_at": None,
        }
        values.append(event | line)
    async with world.context.store.database.writing() as connection:
        await connection.execute(sa.insert(webhook_events), values)


async def types(
    world: World, status: EventStatus | None = None, since: datetime | None = None
) -> list[str]:
    """The numbers of the events, page by page."""
    query, numbers, after = EventQuery(status=status, since=since), list[str](), None
    while True:
        page = await world.context.store.event_listing.page(query, limit=2, after=after)
        numbers += [event.type.removeprefix("type-") for event in page.events]
        after = page.next
        if after is None:
            return numbers


async def test_webhook_events_are_listed_by_status_and_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_scan, "SEARCHED", 4)
    dead, pending = {"status": "dead"}, {"status": "pending"}
    await add_events(
        world,
        {},
        dead,
        {},
        pending | {"next_attempt_at": NOW},
        pending | {"next_attempt_at": NOW - MINUTE},
        dead | {"received_at": NOW - 2 * DAY},
        {"status": "ignored"},
        dead | {"environment": "another"},
    )

    assert await types(world) == ["0", "1", "2", "3", "4", "6", "5"]
    assert await types(world, EventStatus.APPLIED) == ["0", "2"]
    assert await types(world, EventStatus.IGNORED) == ["6"]
    assert await types(world, EventStatus.PENDING) == ["4", "3"]
    assert await types(world, EventStatus.DEAD) == ["1", "5"]
    assert await types(world, EventStatus.DEAD, NOW - DAY) == ["1"]
