"""What a statement reads beside many rows: a database tells how it would."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import event

from rindle_sync.domain import EventStatus, State
from rindle_sync.runtime.outgoing.client import OutgoingClient
from rindle_sync.runtime.outgoing.endpoints import OutgoingWebhooksOfApp
from rindle_sync.store import EventQuery, RowCondition, RowOrder, RowQuery
from tests.support.rows import NOW, a_row
from tests.support.world import World

on_postgres = pytest.mark.parametrize("tables_url", ["postgresql"], indirect=True)
on_sqlite = pytest.mark.parametrize("tables_url", ["sqlite"], indirect=True)
WHOLE_ENVIRONMENT = "(provider_name=? AND environment=?)"
TIES = ("USE TEMP B-TREE FOR RIGHT PART OF ORDER BY", "USE TEMP B-TREE FOR LAST TERM OF ORDER BY")
"""Only what has the same time is sorted."""


_PLAN = {"sqlite": "QUERY PLAN", "postgresql": ""}


@asynccontextmanager
async def planned(world: World) -> AsyncIterator[list[str]]:
    """The steps of the plans of what is read meanwhile."""
    database, sent, steps = world.context.store.database, list[tuple[str, Any]](), list[str]()

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        if statement.startswith(("SELECT", "UPDATE", "WITH")):
            sent.append((statement, parameters))

    event.listen(database.engine.sync_engine, "before_cursor_execute", note)
    yield steps
    event.remove(database.engine.sync_engine, "before_cursor_execute", note)
    async with database.reading() as connection:
        for statement, parameters in sent:
            explained = f"EXPLAIN {_PLAN[database.engine.dialect.name]} {statement}"
            found = await connection.exec_driver_sql(explained, parameters)
            steps += [line[-1] for line in found]


@on_sqlite
@pytest.mark.parametrize("passthroughs", [(), ("passthrough-1",)])
@pytest.mark.parametrize("upload_ids", [(), ("upload-1",)])
async def test_a_webhook_finds_its_row_by_an_index_for_each_name(
    world: World, upload_ids: tuple[str, ...], passthroughs: tuple[str, ...]
) -> None:
    row = a_row(provider_asset_id="asset-1", provider_upload_id="upload-1")
    waiting = a_row(provider_asset_id=None, passthrough="passthrough-1")
    await world.context.store.assets.add_all([row, waiting])

    async with planned(world) as steps:
        found = await world.context.store.assets.match(
            provider_asset_ids=["asset-1", "asset-2"],
            provider_upload_ids=upload_ids,
            passthroughs=passthroughs,
        )

    assert {row.id for row in found} == {row.id, *([waiting.id] if passthroughs else [])}
    of_rows = [step for step in steps if "media_provider_assets" in step]
    wanted = ["provider_asset_id=?)"]
    wanted += ["provider_upload_id=?)"] * len(upload_ids)
    # an index of the rows without an id alone
    wanted += ["INDEX ix_media_provider_assets_passthrough"] * len(passthroughs)
    assert len(of_rows) == len(wanted)
    for step, end in zip(of_rows, wanted, strict=True):
        assert step.endswith(end)


@on_sqlite
async def test_nothing_is_read_for_no_name(world: World) -> None:
    async with planned(world) as steps:
        found = await world.context.store.assets.match(
            provider_asset_ids=(), provider_upload_ids=(), passthroughs=()
        )

    assert (found, steps) == ([], [])


@on_sqlite
async def test_the_webhook_events_of_a_row_are_found_by_its_ids(world: World) -> None:
    row = a_row(provider_asset_id="asset-1", provider_upload_id="upload-1")
    async with planned(world) as steps:
        await world.context.store.history.webhook_events_about(row, limit=50)

    assert not any(WHOLE_ENVIRONMENT in step for step in steps)


@on_sqlite
async def test_dead_webhook_events_are_found_without_reading_all_others(world: World) -> None:
    now = world.clock.now()
    async with planned(world) as steps:
        await world.context.store.statistics.of(["default"], "audit", now=now, since=now)

        await world.context.store.event_listing.page(EventQuery(status=EventStatus.DEAD), limit=1)

    counted = [step for step in steps if "provider_webhook_events USING INDEX ix" in step]
    assert len(counted) >= 3
    assert "INDEX ix_provider_webhook_events_pending" in counted[0]
    assert all("INDEX ix_provider_webhook_events_dead" in step for step in counted[1:])


QUERIES = {
    "all": RowQuery(),
    "ready": RowQuery(state=State.READY),
    "errored": RowQuery(state=State.ERRORED),
    "failing": RowQuery(condition=RowCondition.FAILING),
    "unlinked": RowQuery(condition=RowCondition.UNLINKED),
    "due": RowQuery(
        condition=RowCondition.DUE, due_by=NOW, order=RowOrder.NEXT_CHECK, is_descending=False
    ),
    "checked": RowQuery(order=RowOrder.CHECKED),
    "of a profile": RowQuery(profile="trailer"),
}


@on_sqlite
@pytest.mark.parametrize("what", QUERIES)
async def test_no_list_of_rows_is_sorted_that_an_index_has_in_order(
    world: World, what: str
) -> None:
    await world.track(State.READY)
    async with planned(world) as steps:
        await world.context.store.row_listing.page(QUERIES[what], limit=1)

    assert_in_order(steps)


@on_sqlite
@pytest.mark.parametrize("status", [None, *EventStatus])
async def test_no_list_of_webhook_events_is_sorted(
    world: World, status: EventStatus | None
) -> None:
    async with planned(world) as steps:
        await world.context.store.event_listing.page(EventQuery(status=status), limit=1)

    assert_in_order(steps)


def assert_in_order(steps: list[str]) -> None:
    """Each range is read in the order of its index; what the ranges have together is a page."""
    ranges = [place for place, step in enumerate(steps) if " INDEX ix_" in step]
    assert ranges
    for place in ranges:
        assert steps[place + 1] in TIES, steps[place]


@on_postgres
async def test_no_webhook_is_compared_with_every_other_one(world: World) -> None:
    store, now = world.context.store, world.clock.now
    endpoint = await OutgoingWebhooksOfApp(store, OutgoingClient(), now).create(
        "app", "https://app.example.com"
    )

    async with planned(world) as steps:
        await store.outgoing_webhooks.claim(
            endpoint.id, now=now(), token=str(uuid4()), until=now(), limit=50
        )
        await store.outgoing_webhooks.put_off_waiting(endpoint.id, now())

    # as its statistics have it there are none: a join of all with all would cost nothing
    assert any("ix_provider_outgoing_webhooks_row" in step for step in steps)
    assert not any("Anti Join" in step or "Semi Join" in step for step in steps)
