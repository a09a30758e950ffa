"""Rows begun, replaced and forgotten in the app's own transaction, on each kind of connection."""

from collections.abc import AsyncIterator

import httpx
import pytest

from rindle_sync.app import RindleSync, connect
from rindle_sync.config import plain_settings
from rindle_sync.domain import ProviderAsset, State
from rindle_sync.emulator import MuxEmulator
from rindle_sync.errors import AlreadyTracked, ConfigurationError
from rindle_sync.telemetry import Event, StateChange
from tests.support.app_connections import ADD_VIDEO, KINDS, Opens, make_videos, videos
from tests.support.rows import PUBLIC, a_row

URL = "https://files.example/film.mp4"
each_kind = pytest.mark.parametrize("opens", KINDS.values(), ids=KINDS)
each_end = pytest.mark.parametrize("commit", [True, False], ids=["commit", "rollback"])


@pytest.fixture
def told() -> list[Event]:
    return []


@pytest.fixture
async def rindle(tables_url: str, told: list[Event]) -> AsyncIterator[RindleSync]:
    far_end = MuxEmulator()
    settings = plain_settings(
        database_url=tables_url,
        mux_token_id=far_end.token_id,
        mux_token_secret=far_end.token_secret,
    )
    await make_videos(tables_url)
    transport = httpx.ASGITransport(app=far_end.app)
    async with connect(settings, transport=transport, listeners=[told.append]) as rindle:
        yield rindle


async def rows_of(rindle: RindleSync) -> dict[str, ProviderAsset]:
    return {row.reference: row async for row in rindle.store.assets.rows()}


@each_kind
@each_end
async def test_what_is_prepared_commits_with_the_app_s_row_or_not_at_all(
    rindle: RindleSync, tables_url: str, opens: Opens, *, commit: bool
) -> None:
    failed = a_row(State.ERRORED, reference="video-2", playback_ids=(PUBLIC,))
    await rindle.store.assets.add(failed)
    async with opens(tables_url) as app:
        await app.run(ADD_VIDEO)
        upload = await rindle.prepare_upload(
            reference="video-1", cors_origin="*", connection=app.connection
        )
        asset = await rindle.prepare_asset(
            reference="video-2", input=URL, connection=app.connection
        )
        with pytest.raises(AlreadyTracked):
            await rindle.prepare_upload(
                reference="video-1", cors_origin="*", connection=app.connection
            )
        await app.end(commit=commit)

    assert await videos(tables_url) == commit
    rows = await rows_of(rindle)
    assert set(rows) == ({"video-1", "video-2"} if commit else {"video-2"})
    assert rows["video-2"].state is (State.PENDING if commit else State.ERRORED)
    if commit:
        assert (await rindle.start_upload(upload)).row_id == rows["video-1"].id
        assert (await rindle.start_asset(asset)).id == failed.id


@each_kind
@each_end
async def test_a_row_is_replaced_and_another_forgotten_with_the_app_s_row_or_not_at_all(
    rindle: RindleSync, told: list[Event], tables_url: str, opens: Opens, *, commit: bool
) -> None:
    old, new = a_row(State.READY, reference="old"), a_row(State.READY, reference="new")
    await rindle.store.assets.add_all([old, new])
    async with opens(tables_url) as app:
        await app.run(ADD_VIDEO)
        await rindle.untrack(new.id, history=True, webhook_bodies=True, connection=app.connection)
        after = await rindle.replace(
            old.id, provider_asset_id=new.provider_asset_id, connection=app.connection
        )
        assert after
        assert after.provider_asset_id == new.provider_asset_id
        await app.end(commit=commit)

    assert await videos(tables_url) == commit
    rows = await rows_of(rindle)
    assert set(rows) == ({"old"} if commit else {"old", "new"})
    assert rows["old"].state is (State.PROCESSING if commit else State.READY)
    changes = await rindle.store.assets.changes_of(old.id)
    assert len(changes) == int(commit)
    # what the app may roll back is told to nobody
    assert [event for event in told if isinstance(event, StateChange)] == []


async def test_what_the_provider_deletes_no_transaction_takes_back(
    rindle: RindleSync, tables_url: str
) -> None:
    row = a_row(State.READY)
    await rindle.store.assets.add(row)
    async with KINDS["connection"](tables_url) as app:
        with pytest.raises(ConfigurationError, match="connection"):
            await rindle.untrack(row.id, delete_asset=True, connection=app.connection)

    assert await rindle.get(row.id) == row


async def test_rows_of_another_environment_are_not_touched(rindle: RindleSync) -> None:
    row = a_row(State.READY, environment="staging")
    await rindle.store.assets.add(row)

    assert await rindle.untrack(row.id) is None
    assert await rindle.replace(row.id, provider_asset_id="asset-2") is None
    assert await rindle.get(row.id) == row
