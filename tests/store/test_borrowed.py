"""Our statements in a transaction of the app: its commit is ours, and its rollback, too."""

from collections.abc import AsyncIterator

import pytest

from rindle_sync.errors import AlreadyTracked
from rindle_sync.store import Database, Store
from rindle_sync.store.schema import open_engine
from tests.support.app_connections import ADD_VIDEO, KINDS, Opens, make_videos, videos
from tests.support.rows import a_row


@pytest.fixture
async def store(tables_url: str) -> AsyncIterator[Store]:
    database = Database(open_engine(tables_url))
    await make_videos(tables_url)
    yield Store(database, "mux", "default")
    await database.close()


@pytest.mark.parametrize("opens", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("commit", [True, False], ids=["commit", "rollback"])
async def test_both_commit_or_neither(
    tables_url: str, store: Store, opens: Opens, *, commit: bool
) -> None:
    row = a_row(playback_ids=(), raw_provider_metadata={"a": [1, "ü"]})
    async with opens(tables_url) as app:
        await app.run(ADD_VIDEO)
        within = store.within(app.connection)
        await within.assets.add(row)
        assert await within.assets.get(row.id) == row
        await app.end(commit=commit)
    assert await videos(tables_url) == commit
    assert await store.assets.get(row.id) == (row if commit else None)


@pytest.mark.parametrize("opens", KINDS.values(), ids=KINDS)
async def test_a_clash_leaves_the_transaction_of_the_app_as_it_was(
    tables_url: str, store: Store, opens: Opens
) -> None:
    row = a_row()
    await store.assets.add(row)
    async with opens(tables_url) as app:
        with pytest.raises(AlreadyTracked):
            await store.within(app.connection).assets.add(a_row(reference=row.reference))
        await app.run(ADD_VIDEO)
        await app.end(commit=True)
    assert await videos(tables_url) == 1
