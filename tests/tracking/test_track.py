"""How the app's values become rows: alone or by many, in a transaction of the app's or not."""

import sqlite3
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from rindle_sync.app import RindleSync, connect
from rindle_sync.config import plain_settings
from rindle_sync.domain import ADOPTED, EventStatus, State, replace
from rindle_sync.errors import AlreadyTracked, ConfigurationError, DatabaseUnavailable
from rindle_sync.store import Write
from rindle_sync.store.schema import superseded
from tests.support.app_connections import ADD_VIDEO, KINDS, Opens, videos, with_videos
from tests.support.rows import a_row
from tests.support.webhooks import an_untracked_event

ASSET: dict[str, Any] = {"reference": "video-1", "provider_asset_id": "asset-1"}


@pytest.fixture
async def rindle(tables_url: str) -> AsyncIterator[RindleSync]:
    settings = plain_settings(database_url=tables_url)
    async with with_videos(tables_url), connect(settings) as rindle:
        yield rindle


async def all_rows(rindle: RindleSync) -> list[Any]:
    return [row async for row in rindle.store.assets.rows()]


# one row


@pytest.mark.parametrize("opens", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("commit", [True, False], ids=["commit", "rollback"])
async def test_a_row_is_tracked_with_the_apps_own_or_neither_is(
    tables_url: str, rindle: RindleSync, opens: Opens, *, commit: bool
) -> None:
    async with opens(tables_url) as app:
        await app.run(ADD_VIDEO)
        row = await rindle.track(**ASSET, connection=app.connection)
        await app.end(commit=commit)

    assert await videos(tables_url) == commit
    assert await all_rows(rindle) == [row] * commit


async def test_tracking_again_changes_nothing_where_nothing_differs(rindle: RindleSync) -> None:
    values: dict[str, Any] = {**ASSET, "passthrough": "p", "playback_policy": "signed"}
    row = await rindle.track(**values)
    moved = replace(row, state=State.READY, version=2)
    await rindle.store.assets.write([Write(moved)])

    again = await rindle.track(**values)
    fewer = await rindle.track(**ASSET)

    assert again == fewer == moved
    assert await all_rows(rindle) == [moved]


@pytest.mark.parametrize(
    ("values", "differs"),
    [
        ({"provider_asset_id": "asset-2"}, ("provider_asset_id",)),
        ({"reference": "video-2"}, ("reference",)),
        ({"profile": "hls"}, ("profile",)),
        ({"passthrough": "q"}, ("passthrough",)),
        ({"playback_policy": "drm"}, ("playback_policy",)),
        ({"provider_upload_id": "upload-2"}, ("provider_upload_id",)),
    ],
)
async def test_what_differs_is_told_with_the_row_that_has_a_key_of_it(
    rindle: RindleSync, values: dict[str, Any], differs: tuple[str, ...]
) -> None:
    row = await rindle.track(**ASSET, passthrough="p", playback_policy="signed")

    with pytest.raises(AlreadyTracked) as raised:
        await rindle.track(**ASSET | values)

    assert (raised.value.row_id, raised.value.differs) == (row.id, differs)
    assert "asset-1" not in str(raised.value)
    assert await all_rows(rindle) == [row]


@pytest.mark.parametrize("opens", KINDS.values(), ids=KINDS)
async def test_a_clash_leaves_the_apps_transaction_usable(
    tables_url: str, rindle: RindleSync, opens: Opens
) -> None:
    await rindle.track(**ASSET)

    async with opens(tables_url) as app:
        with pytest.raises(AlreadyTracked):
            await rindle.track(**ASSET | {"reference": "other"}, connection=app.connection)
        await app.run(ADD_VIDEO)
        await app.end(commit=True)

    assert await videos(tables_url) == 1


@pytest.mark.parametrize("opens", KINDS.values(), ids=KINDS)
async def test_a_call_that_raises_has_written_nothing(
    postgres_tables_url: str, opens: Opens
) -> None:
    settings = plain_settings(database_url=postgres_tables_url)
    async with with_videos(postgres_tables_url), connect(settings) as rindle:
        with psycopg.connect(postgres_tables_url) as other:
            other.execute(f"LOCK TABLE {superseded.name} IN ACCESS EXCLUSIVE MODE")
            async with opens(postgres_tables_url) as app:
                await app.run("SET LOCAL lock_timeout = '100ms'")
                await app.run(ADD_VIDEO)
                with pytest.raises(DatabaseUnavailable, match="its lock_timeout"):
                    await rindle.track(**ASSET, connection=app.connection)
                with pytest.raises(DatabaseUnavailable, match="its lock_timeout"):
                    await rindle.track_many([ASSET], connection=app.connection)
                await app.end(commit=True)

        assert await videos(postgres_tables_url) == 1
        assert await all_rows(rindle) == []


@pytest.mark.parametrize("opens", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("commit", [True, False], ids=["commit", "rollback"])
async def test_events_that_came_before_are_revived_in_the_same_transaction(
    tables_url: str, rindle: RindleSync, opens: Opens, *, commit: bool
) -> None:
    event = an_untracked_event("asset-1")
    await rindle.store.inbox.storing(event)

    async with opens(tables_url) as app:
        await rindle.track(**ASSET, connection=app.connection)
        await app.end(commit=commit)

    [now] = await rindle.store.inbox.list()
    assert now.status is (EventStatus.PENDING if commit else EventStatus.IGNORED)


async def test_a_row_of_another_environment_is_no_row_of_this_one(
    tables_url: str, rindle: RindleSync
) -> None:
    row = await rindle.track(**ASSET)
    settings = plain_settings(database_url=tables_url, environment="another")

    async with connect(settings) as another:
        with pytest.raises(AlreadyTracked) as raised:
            await another.track(**ASSET)

    assert (raised.value.row_id, raised.value.differs) == (row.id, ("environment",))


async def test_an_adopted_row_becomes_the_apps_own_with_its_transaction(
    tables_url: str, rindle: RindleSync
) -> None:
    adopted = a_row(State.READY, provider_asset_id="asset-1", ingest_mode=ADOPTED)
    await rindle.store.assets.add(adopted)

    async with KINDS["async_session"](tables_url) as app:
        row = await rindle.track(**ASSET, profile="hls", connection=app.connection)
        assert await all_rows(rindle) == [adopted]
        await app.end(commit=True)

    assert (row.id, row.state, row.reference) == (adopted.id, State.READY, "video-1")
    assert await all_rows(rindle) == [row]


# a connection that cannot be used


@pytest.mark.parametrize("wrong", [object(), "postgresql://", 5, sa.create_engine("sqlite://")])
async def test_an_object_that_is_no_connection_is_refused(rindle: RindleSync, wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="connection: must be the app") as raised:
        await rindle.track(**ASSET, connection=wrong)
    assert raised.value.setting == "connection"
    assert f"not {type(wrong).__module__}.{type(wrong).__qualname__}" in str(raised.value)


# many rows


def library(count: int, first: int = 0) -> list[dict[str, Any]]:
    numbers = range(first, first + count)
    return [{"reference": f"video-{n}", "provider_asset_id": f"asset-{n}"} for n in numbers]


async def test_many_rows_are_tracked_in_a_few_statements(rindle: RindleSync) -> None:
    statements = 0

    @sa.event.listens_for(rindle.store.database.engine.sync_engine, "before_cursor_execute")
    def count(*_: Any) -> None:
        nonlocal statements
        statements += 1

    result = await rindle.track_many(library(1200))
    statements_of_first, statements = statements, 0
    again = await rindle.track_many(library(1200))

    assert (len(result.added), result.present, result.refused) == (1200, [], [])
    assert (again.added, len(again.present), again.refused) == ([], 1200, [])
    assert sorted(row.id for row in again.present) == sorted(row.id for row in result.added)
    assert statements_of_first <= 3 * 10
    assert statements <= 3 * 20


async def test_a_wrong_row_stops_no_other(rindle: RindleSync) -> None:
    old = await rindle.track(reference="video-old", provider_asset_id="asset-old")
    rows: list[Any] = [
        {"reference": "video-1", "provider_asset_id": "asset-1"},
        {"reference": "", "provider_asset_id": "asset-2"},
        {"reference": "video-3"},
        {"reference": "video-4", "provider_asset_id": "asset-old"},
        {"reference": "video-5", "provider_asset_id": "asset-5", "policy": "signed"},
        {"provider_asset_id": "asset-6"},
        {"reference": "video-7", "provider_asset_id": 7},
        {"reference": "video-8", "provider_asset_id": "asset-8", "state": "lost"},
        {"reference": "video-9", "provider_upload_id": "upload-9", "profile": None},
        {"reference": "video-1", "provider_asset_id": "asset-1"},
        {"reference": "video-1", "provider_asset_id": "asset-11"},
        None,
    ]

    result = await rindle.track_many(rows)

    assert [row.reference for row in result.added] == ["video-1", "video-9"]
    assert [row.reference for row in result.present] == ["video-1"]
    assert {refusal.index: refusal.reason.split(":")[0] for refusal in result.refused} == {
        1: "reference",
        2: "provider_asset_id",
        3: f"row {old.id} has this provider_asset_id, and another reference",
        4: "policy",
        5: "reference",
        6: "provider_asset_id",
        7: "state",
        10: f"row {result.added[0].id} has this reference and profile, and another "
        "provider_asset_id",
        11: "rows",
    }


async def test_a_library_that_was_adopted_becomes_the_apps(rindle: RindleSync) -> None:
    adopted = [
        a_row(State.READY, provider_asset_id=f"asset-{n}", ingest_mode=ADOPTED) for n in range(5)
    ]
    await rindle.store.assets.add_all(adopted)

    result = await rindle.track_many(library(7))

    assert {row.id for row in adopted} < {row.id for row in result.added}
    assert {row.reference for row in await all_rows(rindle)} == {f"video-{n}" for n in range(7)}


async def test_a_dry_run_tells_the_same_and_writes_nothing(rindle: RindleSync) -> None:
    await rindle.track(**ASSET)
    before = await all_rows(rindle)

    tried = await rindle.track_many(library(3), dry_run=True)

    assert (len(tried.added), len(tried.present)) == (2, 1)
    assert await all_rows(rindle) == before


@pytest.mark.parametrize("opens", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("commit", [True, False], ids=["commit", "rollback"])
async def test_many_rows_are_part_of_the_apps_transaction(
    tables_url: str, rindle: RindleSync, opens: Opens, *, commit: bool
) -> None:
    async with opens(tables_url) as app:
        await app.run(ADD_VIDEO)
        await rindle.track_many([*library(2), {"reference": "wrong"}], connection=app.connection)
        await app.end(commit=commit)

    assert len(await all_rows(rindle)) == 2 * commit
    assert await videos(tables_url) == commit


# the statement alone


async def test_the_app_may_run_the_statement_itself(tables_url: str, rindle: RindleSync) -> None:
    tracking = rindle.tracking(**ASSET)
    async with KINDS["connection"](tables_url) as app:
        for _ in range(2):  # the second does nothing
            app.connection.execute(tracking.statement)
        await app.end(commit=True)
    assert await all_rows(rindle) == [tracking.row]


STYLES = {"sqlite": ["named", "qmark"], "postgresql": ["pyformat", "format"]}


async def test_the_app_may_run_its_text_on_any_cursor(tables_url: str, rindle: RindleSync) -> None:
    for number, style in enumerate(STYLES[tables_url.split(":", maxsplit=1)[0]]):
        values: dict[str, Any] = {
            "reference": f"video-{number}",
            "provider_asset_id": f"asset-{number}",
        }
        tracking = rindle.tracking(**values, paramstyle=style)
        await _run_raw(tables_url, tracking.sql, tracking.parameters)
        assert tracking.row in await all_rows(rindle)
        assert "asset-" not in repr(tracking)


async def _run_raw(url: str, sql: str, parameters: Any) -> None:
    if url.startswith("sqlite"):
        connection: Any = sqlite3.connect(url.removeprefix("sqlite:///"))
    else:
        connection = psycopg.connect(url)
    connection.execute(sql, parameters)
    connection.commit()
    connection.close()


async def test_an_unknown_paramstyle_is_refused(rindle: RindleSync) -> None:
    with pytest.raises(ConfigurationError, match="paramstyle"):
        rindle.tracking(**ASSET, paramstyle="percent")
