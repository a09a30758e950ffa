"""Our rows beside the provider's list.

Which are due, which stand on a page, and which should stand there.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import event, text

from rindle_sync.domain import Due, ErrorKind, ProviderAsset, State, replace
from rindle_sync.store import AssetQueries
from tests.support.rows import GAPS, NOW, OLD, a_row
from tests.support.world import World

SECOND = timedelta(seconds=1)
FLOOR = timedelta(seconds=30)


@pytest.fixture
def queries(world: World) -> AssetQueries:
    return world.context.store.queries


async def add(world: World, *rows: ProviderAsset) -> None:
    for row in rows:
        await world.context.store.assets.add(row)


def elsewhere(row: ProviderAsset) -> list[ProviderAsset]:
    """The same row under another provider, and in another environment."""
    others = [
        {"provider_name": "bunny"},
        {"environment": "staging", "reference": f"{row.reference}-2"},
    ]
    return [replace(row, id=str(uuid4()), **other) for other in others]


# what is due


async def due(queries: AssetQueries, *, limit: int = 100, now: datetime = NOW) -> list[Due]:
    return await queries.due(
        due=NOW, touched_before=NOW - FLOOR, now=now, longest=GAPS, limit=limit
    )


async def ids_due(queries: AssetQueries, *, limit: int = 100, now: datetime = NOW) -> list[str]:
    return [row.id for row in await due(queries, limit=limit, now=now)]


async def test_what_is_due_says_what_a_plan_needs(world: World, queries: AssetQueries) -> None:
    row = a_row(
        State.ERRORED,
        error_kind=ErrorKind.STUCK,
        provider_upload_id="upload-1",
        provider_created_at=OLD,
        missing_since=OLD,
        check_at=NOW,
    )
    await add(world, row)

    assert await due(queries) == [
        Due(
            id=row.id,
            state=State.ERRORED,
            error_kind=ErrorKind.STUCK,
            provider_created_at=OLD,
            updated_at=row.updated_at,
            check_at=NOW,
            provider_asset_id=row.provider_asset_id,
            provider_upload_id="upload-1",
            missing_since=OLD,
        )
    ]


async def test_a_due_time_that_somebody_has_set_by_hand_is_in_utc(
    world: World, queries: AssetQueries
) -> None:
    row = a_row(check_at=NOW)
    await add(world, row)

    async with queries.writing() as connection:
        await connection.execute(
            text("UPDATE media_provider_assets SET check_at = '2025-11-29 10:00'")
        )

    found = await due(queries)
    assert [row.check_at for row in found] == [datetime(2025, 11, 29, 10, tzinfo=UTC)]


async def test_the_longest_due_comes_first_and_no_more_than_asked_for(
    world: World, queries: AssetQueries
) -> None:
    rows = [a_row(check_at=NOW - seconds * SECOND) for seconds in (3, 9, 0, 5)]
    await add(world, *rows)

    assert await ids_due(queries) == [rows[1].id, rows[3].id, rows[0].id, rows[2].id]
    assert await ids_due(queries, limit=2) == [rows[1].id, rows[3].id]


async def test_rows_that_are_due_at_one_moment_come_in_the_order_of_their_ids(
    world: World, queries: AssetQueries
) -> None:
    rows = [a_row(check_at=NOW) for _ in range(10)]
    await add(world, *rows)

    assert await ids_due(queries) == sorted(row.id for row in rows)


async def test_a_row_is_not_due_before_its_time_at_rest_or_within_the_floor(
    world: World, queries: AssetQueries
) -> None:
    just, not_yet = (
        a_row(check_at=NOW, updated_at=NOW - FLOOR),
        a_row(check_at=NOW, updated_at=NOW - FLOOR + SECOND),
    )
    await add(world, just, not_yet, a_row(check_at=NOW + SECOND), a_row(check_at=None))

    assert await ids_due(queries) == [just.id]


async def test_a_row_that_somebody_checks_is_left_out_until_the_lease_ends(
    world: World, queries: AssetQueries
) -> None:
    held, free = a_row(check_at=NOW), a_row(check_at=NOW)
    await add(world, held, free)
    claim = world.context.store.assets.claim
    await claim([held.id], due=NOW, now=NOW, longest=GAPS, token=str(uuid4()), until=NOW + FLOOR)

    assert await ids_due(queries) == [free.id]
    assert await ids_due(queries, now=NOW + FLOOR) == [free.id]
    assert set(await ids_due(queries, now=NOW + FLOOR + SECOND)) == {held.id, free.id}


async def test_rows_of_other_providers_and_environments_are_not_due_here(
    world: World, queries: AssetQueries
) -> None:
    row = a_row(check_at=NOW)
    await add(world, row, *elsewhere(row))

    assert await ids_due(queries) == [row.id]


# what stands on a page


async def listed(
    queries: AssetQueries, *, asset_ids: Sequence[str | None] = (), upload_ids: Sequence[str] = ()
) -> list[ProviderAsset]:
    found = await queries.listed(
        asset_ids=[asset_id for asset_id in asset_ids if asset_id], upload_ids=upload_ids
    )
    return sorted(found, key=lambda row: row.id)


async def test_rows_stand_on_a_page_by_their_asset_whatever_their_state(
    world: World, queries: AssetQueries
) -> None:
    rows = sorted((a_row(state) for state in State), key=lambda row: row.id)
    await add(world, *rows, a_row())

    assert await listed(queries, asset_ids=[row.provider_asset_id for row in rows]) == rows


async def test_a_row_that_waits_for_an_asset_stands_on_a_page_by_its_upload(
    world: World, queries: AssetQueries
) -> None:
    waiting = a_row(State.UPLOADING, provider_asset_id=None, provider_upload_id="upload-1")
    linked = a_row(provider_upload_id="upload-2")
    await add(world, waiting, linked)

    assert await listed(queries, upload_ids=["upload-1", "upload-2", "upload-3"]) == [waiting]


async def test_an_entry_with_both_ids_brings_its_row_once(
    world: World, queries: AssetQueries
) -> None:
    linked = a_row(provider_upload_id="upload-2")
    await add(world, linked)

    assert await listed(queries, asset_ids=[linked.provider_asset_id], upload_ids=["upload-2"]) == [
        linked
    ]


async def test_nothing_stands_on_a_page_without_entries(
    world: World, queries: AssetQueries
) -> None:
    await add(world, a_row(), a_row(provider_asset_id=None, provider_upload_id=None))

    assert await listed(queries) == []


async def test_ids_are_taken_word_for_word(world: World, queries: AssetQueries) -> None:
    odd = a_row(provider_asset_id="it's \"odd\" \\ ünïcode %_ '); --")
    await add(world, odd, a_row())

    assert await listed(queries, asset_ids=[odd.provider_asset_id]) == [odd]


async def test_hundreds_of_ids_are_one_statement(world: World, queries: AssetQueries) -> None:
    rows = [a_row() for _ in range(20)]
    rows += [
        a_row(State.UPLOADING, provider_asset_id=None, provider_upload_id=f"upload-{n}")
        for n in range(20)
    ]
    await add(world, *rows)
    statements: list[str] = []
    event.listen(
        queries.database.engine.sync_engine,
        "before_cursor_execute",
        lambda _c, _cursor, statement, *_: statements.append(statement),
    )

    found = await listed(
        queries,
        asset_ids=[
            *(row.provider_asset_id for row in rows),
            *(f"untracked-{n}" for n in range(900)),
        ],
        upload_ids=[*(f"upload-{n}" for n in range(20)), *(f"untracked-{n}" for n in range(900))],
    )

    assert found == sorted(rows, key=lambda row: row.id)
    assert len(statements) == 1


async def test_rows_of_other_providers_and_environments_stand_on_other_pages(
    world: World, queries: AssetQueries
) -> None:
    row = a_row()
    await add(world, row, *elsewhere(row))

    assert await listed(queries, asset_ids=[row.provider_asset_id]) == [row]


# when assets were made


async def test_when_the_asset_of_the_nth_newest_row_was_made(
    world: World, queries: AssetQueries
) -> None:
    for seconds in (5, 1, 9):
        row = a_row(provider_created_at=NOW - seconds * SECOND)
        await add(world, row, *elsewhere(replace(row, provider_created_at=NOW)))

    newest = [await queries.newest_created(place) for place in (1, 2, 3, 4)]

    assert newest == [NOW - SECOND, NOW - 5 * SECOND, NOW - 9 * SECOND, None]


async def test_without_rows_there_is_no_newest_row(queries: AssetQueries) -> None:
    assert await queries.newest_created(1) is None


async def test_made_between_leaves_out_its_beginning_and_not_its_end(
    world: World, queries: AssetQueries
) -> None:
    rows = [
        a_row(State.READY, provider_created_at=NOW + seconds * SECOND) for seconds in (-2, -1, 0, 1)
    ]
    await add(world, *rows)

    found = await queries.made_between(NOW - 2 * SECOND, NOW)

    assert {row.id for row in found} == {rows[1].id, rows[2].id}


async def test_moments_are_kept_to_the_microsecond(world: World, queries: AssetQueries) -> None:
    microsecond = timedelta(microseconds=1)
    row = a_row(State.READY, provider_created_at=NOW)
    await add(world, row)

    assert await queries.made_between(NOW, NOW + microsecond) == []
    assert len(await queries.made_between(NOW - microsecond, NOW)) == 1


async def test_only_what_the_provider_has_settled_should_stand_in_its_list(
    world: World, queries: AssetQueries
) -> None:
    settled = [a_row(State.READY), a_row(State.ERRORED)]
    others = [a_row(state) for state in State if state not in {State.READY, State.ERRORED}]
    without = a_row(State.ERRORED, provider_asset_id=None, provider_upload_id="upload-1")
    await add(world, *settled, *others, without, *elsewhere(settled[0]))

    found = await queries.made_between(OLD, NOW)

    assert {row.id for row in found} == {row.id for row in settled}
    assert await queries.count_settled() == 2
