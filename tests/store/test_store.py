"""One conformance suite for the store, on SQLite and on PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, event, text

from rindle_sync.domain import ROW_FIELDS, ErrorKind, ProviderAsset, State, Trigger, replace
from rindle_sync.errors import AlreadyTracked, DatabaseUnavailable
from rindle_sync.store import AssetStore, Change, Database, Write
from rindle_sync.store.migrations import upgrade
from rindle_sync.store.new_rows import NewRows
from rindle_sync.store.revisions import VERSION_TABLE, revisions
from rindle_sync.store.schema import assets, metadata, open_engine
from tests.support.rows import GAPS, NOW, OLD, PUBLIC, SIGNED, a_row

SECOND = timedelta(seconds=1)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[AssetStore]:
    database = Database(open_engine(url))
    try:
        yield AssetStore(database, "mux", "default")
    finally:
        await database.close()


@pytest.fixture
async def store(tables_url: str) -> AsyncIterator[AssetStore]:
    async with opened(tables_url) as store:
        yield store


def a_full_row() -> ProviderAsset:
    return a_row(
        State.ERRORED,
        provider_upload_id="upload-1",
        passthrough="ours-1",
        playback_ids=(PUBLIC, SIGNED),
        playback_policy="public",
        ingest_mode="direct",
        error_kind=ErrorKind.STUCK,
        last_sync_error="stuck in :processing past threshold – ünïcode",
        last_event_id="event-1",
        last_event_at=NOW,
        raw_provider_metadata={"duration": 1.5, "tracks": [{"type": "vidéo"}], "none": None},
        observed_at=NOW,
        checked_at=NOW,
        check_at=NOW,
        check_failures=2,
        missing_since=OLD,
        version=7,
    )


def a_change(row: ProviderAsset, trigger: Trigger = Trigger.SWEEP) -> Change:
    return Change(
        row_id=row.id,
        reference=row.reference,
        provider_name=row.provider_name,
        environment=row.environment,
        version=row.version,
        from_state=State.PROCESSING,
        to_state=row.state,
        error_kind=row.error_kind,
        trigger=trigger,
        reason="the provider says ready",
        at=NOW,
        late_ms=1234,
    )


def next_of(row: ProviderAsset, **values: object) -> ProviderAsset:
    return replace(row, version=row.version + 1, **values)


async def claim(
    store: AssetStore, *rows: ProviderAsset, token: str | None = None, at: timedelta = timedelta(0)
) -> list[str]:
    claimed = await store.claim(
        [row.id for row in rows],
        due=NOW + at,
        now=NOW + at,
        longest=GAPS,
        token=token or str(uuid4()),
        until=NOW + at + 60 * SECOND,
    )
    return [row.id for row in claimed]


async def test_a_row_comes_back_as_it_was_kept(store: AssetStore) -> None:
    row = a_full_row()

    await store.add(row)

    assert await store.get(row.id) == row
    assert await store.find_by_provider_asset_id(row.provider_asset_id or "") == row


async def test_metadata_that_is_kept_stays_and_all_else_is_written(store: AssetStore) -> None:
    row = a_row(raw_provider_metadata={"duration": 1.5})
    await store.add(row)
    after = next_of(row, title="Title", check_at=NOW)

    without = {"raw_provider_metadata": None}
    await store.write([Write(replace(after, **without), replace(row, **without))])
    assert await store.get(row.id) == after

    cleared = next_of(after, raw_provider_metadata=None)
    await store.write([Write(cleared)])
    assert await store.get(row.id) == cleared


async def test_a_check_that_found_nothing_new_is_noted_and_all_else_stays(
    store: AssetStore,
) -> None:
    row = replace(a_full_row(), version=1)
    await store.add(row)
    after = next_of(
        row,
        observed_at=NOW,
        checked_at=NOW,
        check_at=NOW + timedelta(hours=1),
        check_failures=7,
        last_sync_error="no answer",
        missing_since=None,
        decision_log=[*row.decision_log, {"verdict": "unchanged"}],
    )

    write = Write(after, row)
    assert write.is_of_check
    assert (await store.write([write])).ids == {row.id}

    stored = await store.get(row.id)
    assert stored == after
    assert stored.decision_log == after.decision_log


@pytest.mark.parametrize(
    "found",
    [
        {"state": State.DELETED},
        {"playback_ids": (SIGNED,)},
        {"title": "Title"},
        {"duration": 2.5},
        {"is_live": True},
        {"last_event_at": OLD},
        {"raw_provider_metadata": {"duration": 2.5}},
        {"absent_playback_ids": ("id-1",)},
    ],
    ids=lambda found: next(iter(found)),
)
async def test_what_a_check_brought_is_written_whatever_it_is(
    store: AssetStore, found: dict[str, Any]
) -> None:
    row = replace(a_full_row(), version=1)
    await store.add(row)
    after = next_of(row, checked_at=NOW + SECOND, **found)

    await store.write([Write(after, row)])

    assert await store.get(row.id) == after


async def test_a_check_with_news_brings_those_without_along(store: AssetStore) -> None:
    rows = [replace(a_full_row(), version=1, provider_upload_id=None) for _ in range(2)]
    for number, row in enumerate(rows):
        await store.add(replace(row, provider_asset_id=f"asset-{number}"))
    kept = await store.get_many([row.id for row in rows])
    before = [kept[row.id] for row in rows]
    quiet = next_of(before[0], checked_at=NOW + SECOND)
    loud = next_of(before[1], checked_at=NOW + SECOND, title="Title")

    written = await store.write(
        [Write(quiet, before[0]), Write(loud, before[1], a_change(loud)), Write(next_of(a_row()))]
    )

    assert written.ids == {quiet.id, loud.id}
    assert [await store.get(row.id) for row in rows] == [quiet, loud]


async def test_numbers_come_back_to_their_last_digit(store: AssetStore) -> None:
    rows = [
        a_row(provider_asset_id=f"asset-{number}", duration=number, max_frame_rate=number)
        for number in (0.1 + 0.2, 1 / 3, 1e300, 5e-324, 29.97, 7.0, 0.0)
    ]

    for row in rows:
        await store.add(row)

    found = await store.get_many([row.id for row in rows])
    assert [found[row.id] for row in rows] == rows


async def test_a_written_row_comes_back_as_it_was_written(store: AssetStore) -> None:
    row = a_row()
    await store.add(row)
    after = replace(
        a_full_row(), **{n: getattr(row, n) for n in ("id", "reference", "inserted_at")}, version=2
    )
    after = replace(after, playback_policy=None, ingest_mode=None)

    assert (await store.write([Write(after)])).ids == {row.id}

    assert await store.get(row.id) == after


async def test_a_time_that_somebody_has_set_by_hand_is_in_utc(store: AssetStore) -> None:
    """By `datetime('now')` of SQLite or `now()` of PostgreSQL, whatever zone a session has."""
    row = a_row()
    await store.add(row)

    async with store.database.writing() as connection:
        await connection.execute(
            text("UPDATE media_provider_assets SET check_at = '2026-11-29 10:00'")
        )

    found = await store.get(row.id)
    assert found
    assert found.check_at == datetime(2026, 11, 29, 10, tzinfo=UTC)


async def test_every_field_of_a_row_is_a_column_of_its_table(store: AssetStore) -> None:
    assert tuple(column.name for column in assets.c) == ROW_FIELDS


async def test_the_migrations_make_the_tables_that_the_code_speaks_of(store: AssetStore) -> None:
    def differences(connection: Connection) -> list[object]:
        options = {"compare_type": True, "version_table": VERSION_TABLE}
        return list(
            compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
        )

    async with store.database.engine.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_migrating_again_changes_nothing(store: AssetStore) -> None:
    # what Alembic has written is what is taken for the newest without it
    before, after = await upgrade(store.database.engine)

    assert before == after
    assert await revisions(store.database.engine) == (after, after)


@pytest.mark.parametrize("revision", ["0001", "0002"])
async def test_a_database_of_an_unreleased_version_is_refused_and_does_not_count_as_current(
    store: AssetStore, revision: str
) -> None:
    async with store.database.engine.begin() as connection:
        await connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = '{revision}'")

    for using in (upgrade, revisions):
        with pytest.raises(
            DatabaseUnavailable, match=f"unreleased version .* {revision}.*new database"
        ):
            await using(store.database.engine)


async def test_two_that_migrate_at_once_both_succeed(database_url: str) -> None:
    async with opened(database_url) as store, opened(database_url) as other:
        engines = store.database.engine, other.database.engine
        first, second = await asyncio.gather(*(upgrade(engine) for engine in engines))

    assert first[1] == second[1]


async def test_a_database_without_our_tables_says_how_to_make_them(database_url: str) -> None:
    async with opened(database_url) as store:
        with pytest.raises(DatabaseUnavailable, match="rindle-sync migrate"):
            await store.database.ping()


async def test_a_row_that_was_written_meanwhile_is_not_overwritten(store: AssetStore) -> None:
    row = a_row()
    await store.add(row)
    await store.write([Write(next_of(row, state=State.READY))])

    written = await store.write(
        [Write(next_of(row, state=State.ERRORED, error_kind=ErrorKind.STUCK))]
    )

    assert written.ids == frozenset()
    assert (await store.get(row.id) or row).state is State.READY


async def test_of_many_writers_at_once_exactly_one_wins_each_version(store: AssetStore) -> None:
    row = a_row()
    await store.add(row)

    written = await asyncio.gather(
        *(
            store.write([Write(next_of(row, check_failures=n), change=a_change(next_of(row)))])
            for n in range(8)
        )
    )

    assert sum(len(w.ids) for w in written) == 1
    assert len(await store.changes_of(row.id)) == 1
    assert (await store.get(row.id) or row).version == 2


async def test_a_change_is_kept_with_its_row_or_not_at_all(store: AssetStore) -> None:
    row = a_row()
    await store.add(row)
    after = next_of(row, state=State.READY)

    await store.write(
        [
            Write(after, change=a_change(after)),
            Write(next_of(a_row()), change=a_change(next_of(a_row()))),
        ]
    )
    await store.write([Write(after, change=a_change(after))])

    assert await store.changes_of(row.id) == [a_change(after)]


async def test_a_page_is_written_in_few_statements_whatever_its_size(store: AssetStore) -> None:
    rows = [a_row(id=str(uuid4())) for _ in range(100)]
    for row in rows:
        await store.add(row)
    statements: list[str] = []
    event.listen(
        store.database.engine.sync_engine,
        "before_cursor_execute",
        lambda _c, _cursor, statement, *_: statements.append(statement),
    )

    written = await store.write(
        [Write(next_of(r, state=State.READY), change=a_change(next_of(r))) for r in rows]
    )

    assert len(written.ids) == 100
    is_sqlite = store.database.engine.dialect.name == "sqlite"
    begun = ["BEGIN", "WITH", "WITH"] if is_sqlite else ["WITH"]
    assert [statement.split()[0] for statement in statements] == begun


async def test_a_unique_key_of_another_row_keeps_one_row_out_and_no_other(
    store: AssetStore,
) -> None:
    taken, wants, fine = a_row(), a_row(), a_row()
    for row in (taken, wants, fine):
        await store.add(row)
    clash = next_of(wants, provider_asset_id=taken.provider_asset_id)

    written = await store.write([Write(clash), Write(next_of(fine, state=State.READY))])

    assert (written.ids, set(written.refused)) == ({fine.id}, {wants.id})
    assert await store.get(wants.id) == wants


@pytest.mark.parametrize("same", ["provider_asset_id", "provider_upload_id", "reference"])
async def test_a_key_is_tracked_once(store: AssetStore, same: str) -> None:
    row = a_full_row()
    await store.add(row)
    fresh = {"id": str(uuid4()), "provider_asset_id": "other", "provider_upload_id": "other"}

    with pytest.raises(AlreadyTracked):
        await store.add(replace(row, **{"reference": "other"} | fresh | {same: getattr(row, same)}))


async def test_the_rows_that_were_asked_for_are_claimed_and_no_others(store: AssetStore) -> None:
    rows = [a_row(check_at=NOW) for _ in range(5)]
    for row in rows:
        await store.add(row)

    assert set(await claim(store, *rows[:2], a_row())) == {rows[0].id, rows[1].id}
    assert await claim(store) == []
    assert set(await claim(store, *rows)) == {row.id for row in rows[2:]}


async def test_only_rows_that_are_due_of_this_provider_and_environment_are_claimed(
    store: AssetStore,
) -> None:
    due = a_row(check_at=NOW)
    others = [
        a_row(check_at=NOW + SECOND),
        a_row(check_at=None),
        replace(a_row(check_at=NOW), provider_name="bunny"),
        replace(a_row(check_at=NOW), environment="staging"),
    ]
    for row in (due, *others):
        await store.add(row)

    assert await claim(store, due, *others) == [due.id]


async def test_a_claimed_row_comes_as_it_is_with_the_token_that_it_is_claimed_under(
    store: AssetStore,
) -> None:
    row, token, until = a_row(check_at=NOW), str(uuid4()), NOW + 60 * SECOND
    await store.add(row)

    claimed = await store.claim([row.id], due=NOW, now=NOW, longest=GAPS, token=token, until=until)

    assert claimed == [replace(row, lease_token=token, lease_until=until)]


async def test_a_claimed_row_is_nobody_elses_until_its_lease_ends(store: AssetStore) -> None:
    row = a_row(check_at=NOW)
    await store.add(row)

    assert await claim(store, row) == [row.id]
    assert await claim(store, row, at=60 * SECOND) == []
    assert await claim(store, row, at=61 * SECOND) == [row.id]


async def test_a_claim_that_is_cancelled_at_whatever_moment_keeps_nobody_else_from_writing(
    store: AssetStore, tables_url: str
) -> None:
    rows = [a_row(check_at=NOW) for _ in range(30)]
    for row in rows:
        await store.add(row)

    async with opened(tables_url) as other:
        for turns in range(80):
            await (
                store.database.ping()
            )  # there is a connection, so that the turns are those of the claim
            claiming = asyncio.create_task(claim(store, *rows, at=turns * 61 * SECOND))
            for _ in range(turns):
                await asyncio.sleep(0)
            claiming.cancel()

            with suppress(asyncio.CancelledError):
                try:
                    await claiming
                finally:
                    await other.add(a_row())


async def test_many_claimers_at_once_share_no_row(store: AssetStore) -> None:
    rows = [a_row(check_at=NOW) for _ in range(40)]
    for row in rows:
        await store.add(row)

    claimed = await asyncio.gather(
        *(claim(store, *rows[n : n + 20], *rows[:n:2]) for n in range(0, 24, 4))
    )

    everything = [row_id for some in claimed for row_id in some]
    assert len(everything) == len(set(everything))
    assert set(everything) == {row.id for row in rows}


async def test_released_rows_can_be_claimed_again(store: AssetStore) -> None:
    row, token = a_row(check_at=NOW), str(uuid4())
    await store.add(row)
    await claim(store, row, token=token)

    await store.release(token)

    assert await claim(store, row) == [row.id]


async def test_a_lease_that_was_committed_as_its_taker_was_cancelled_ends_as_the_app_closes(
    tables_url: str,
) -> None:
    """Nobody holds it: what it is on need not wait until it ends by itself."""
    row = a_row(State.PROCESSING, provider_asset_id="asset-1", check_at=NOW)
    async with opened(tables_url) as store:
        await store.add(row)
        claiming = asyncio.ensure_future(claim(store, row))
        engine = store.database.engine.sync_engine
        event.listen(engine, "commit", lambda _: claiming.cancel(), once=True)
        with pytest.raises(asyncio.CancelledError):
            await claiming
    async with opened(tables_url) as store:
        assert await claim(store, row) == [row.id]


async def test_a_write_ends_the_lease_of_its_holder_and_of_nobody_else(store: AssetStore) -> None:
    row, token, until = a_row(check_at=NOW), str(uuid4()), NOW + 60 * SECOND
    await store.add(row)
    [held] = await store.claim([row.id], due=NOW, now=NOW, longest=GAPS, token=token, until=until)

    await store.write([Write(next_of(row))])
    assert await claim(store, row) == []

    await store.write([Write(next_of(next_of(held)))])
    assert await claim(store, row) == [row.id]


async def test_new_rows_are_added_at_once_or_without_those_whose_keys_are_taken(
    store: AssetStore,
) -> None:
    rows = [a_row() for _ in range(4)]
    fresh, [taken, *more] = rows[:2], rows[2:]

    assert (await store.add_all(fresh)).rows == fresh
    assert list((await store.add_all([])).rows) == []
    await store.add(taken)
    assert (await store.add_all([replace(taken, id=str(uuid4())), *more])).rows == more

    assert {row.id async for row in store.rows()} == {row.id for row in rows}


async def test_a_row_gets_the_apps_own_names_and_keeps_all_else(store: AssetStore) -> None:
    row, other = a_full_row(), a_row()
    names = a_row(
        reference="video-1", profile="hls", playback_policy="signed", ingest_mode="direct_upload"
    )
    for added in (row, other):
        await store.add(added)

    new_rows = NewRows(store.database, "mux", "default")
    [taken] = (await new_rows.take_over({row.id: names})).values()
    assert taken.reference == "video-1"
    assert await new_rows.take_over({other.id: names}) == {}

    renamed = {
        name: getattr(names, name)
        for name in ("reference", "profile", "playback_policy", "ingest_mode")
    }
    assert await store.get(row.id) == replace(row, **renamed, version=row.version + 1)
    assert await store.get(other.id) == other


async def test_all_rows_of_an_environment_can_be_read(store: AssetStore) -> None:
    rows = [a_row() for _ in range(3)]
    for row in (*rows, replace(a_row(), environment="staging")):
        await store.add(row)

    assert {row.id async for row in store.rows()} == {row.id for row in rows}


async def test_a_connection_to_what_has_become_a_standby_is_not_used_again(
    postgres_url: str,
) -> None:
    async with opened(postgres_url) as store:
        await upgrade(store.database.engine)
        async with store.database.engine.begin() as connection:
            await connection.execute(text("SET default_transaction_read_only = on"))

        with pytest.raises(DatabaseUnavailable, match="does database_url lead to the primary"):
            await store.add(a_row())
        await store.add(a_row())


async def test_a_server_that_fell_silent_counts_as_gone_soon_or_when_the_url_says_so(
    postgres_url: str,
) -> None:
    async with (
        opened(f"{postgres_url}?keepalives_idle=7") as store,
        store.database.engine.connect() as connection,
    ):
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        limits = driver.info.get_parameters()

    assert {
        name: limits[name]
        for name in ("keepalives_idle", "keepalives_interval", "tcp_user_timeout")
    } == {"keepalives_idle": "7", "keepalives_interval": "5", "tcp_user_timeout": "25000"}


async def test_a_name_that_looks_like_an_id_of_ours_may_be_the_apps_own(store: AssetStore) -> None:
    own_id = "0e3a6802-9757-4c68-a862-97f81f586fdd"
    rows = [
        a_row(id=own_id, reference="0b6d2b3763c94a1f8a0e3d1f0a4f2c11"),
        a_row(reference="e4d0a8a8-4c2d-4d0c-9a3d-5b1d2f6b6c57"),
        a_row(reference=own_id),
    ]
    await store.add_all(rows)

    async def named(name: str) -> set[str]:
        return {row.id for row in await store.find_by_id_or_reference(name)}

    assert [await named(row.reference) for row in rows] == [
        {rows[0].id},
        {rows[1].id},
        {rows[0].id, rows[2].id},
    ]
    assert await named(rows[1].id.upper()) == {rows[1].id}
    assert await named("no\x00text") == await named("\udcff") == set()
    assert await store.find_by_provider_id("\udcff") == []
    assert await named(rows[1].id.replace("-", "")) == set()  # the app's own may look so


async def test_a_row_is_found_by_what_the_provider_calls_its_asset_or_its_upload(
    store: AssetStore,
) -> None:
    row = a_row(provider_asset_id="asset-1", provider_upload_id="upload-1")
    await store.add_all([row, a_row(), a_row(provider_asset_id="asset-1", environment="another")])

    for name, found in {"asset-1": [row], "upload-1": [row], row.reference: []}.items():
        assert await store.find_by_provider_id(name) == found


async def test_a_database_that_is_not_there_is_named_without_its_password() -> None:
    async with opened("postgresql://someone:hunter2secret@127.0.0.1:9/nowhere") as store:
        with pytest.raises(DatabaseUnavailable) as caught:
            await store.database.ping()

    assert "hunter2secret" not in str(caught.value)


async def test_a_write_looks_up_its_rows_by_their_key(store: AssetStore) -> None:
    rows = [a_row(provider_asset_id=f"asset-{number}") for number in range(300)]
    await store.add_all(rows)
    engine, sent = store.database.engine.sync_engine, list[tuple[str, Any]]()

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        sent.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    await store.write([Write(next_of(row)) for row in rows[:100]])
    event.remove(engine, "before_cursor_execute", note)

    (update,) = [each for each in sent if "UPDATE" in each[0]]
    explain = "EXPLAIN " if engine.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN "
    async with store.database.reading() as connection:
        plan = str((await connection.exec_driver_sql(explain + update[0], update[1])).all())
    # a hash join reads each row of the table, to write a few of them
    assert "Seq Scan" not in plan
    assert "SCAN media_provider_assets" not in plan


async def test_of_rows_that_are_added_together_each_is_new_or_its_key_is_taken(
    store: AssetStore,
) -> None:
    first, twin, last = a_row(), a_row(), a_row()
    twin = replace(twin, provider_asset_id=first.provider_asset_id)

    added = await store.add_all([first, twin, last])

    assert [row.id for row in added.rows] == [first.id, last.id]
