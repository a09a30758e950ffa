"""How many rows there are is known without counting them."""

import sqlalchemy as sa

from rindle_sync.domain import ErrorKind, State
from rindle_sync.store import Store
from rindle_sync.store.schema import assets
from tests.support.rows import a_row
from tests.support.world import World


async def number_of(store: Store) -> dict[str, int]:
    return await store.statistics.rows()


async def test_it_follows_rows_that_come_and_go(world: World) -> None:
    store = world.context.store
    rows = [a_row(State.READY), a_row(State.PROCESSING), a_row(State.READY, environment="another")]
    await store.assets.add_all(rows)
    at_first = await number_of(store)

    await store.assets.add(a_row(State.PENDING))
    async with store.database.writing() as connection:
        await connection.execute(sa.delete(assets).where(assets.c.id == rows[0].id))
        await connection.execute(sa.delete(assets).where(assets.c.id == rows[2].id))

    assert at_first == {"default": 2, "another": 1}
    assert await number_of(store) == {"default": 2}


async def test_what_was_rolled_back_does_not_count(world: World) -> None:
    store = world.context.store
    await store.assets.add(a_row(reference="taken"))

    added = await store.assets.add_all([a_row(), a_row(reference="taken")])

    assert len(added.rows) == 1
    assert await number_of(store) == {"default": 2}


async def test_the_lines_of_many_writers_become_one(world: World) -> None:
    store = world.context.store
    for _ in range(5):
        await store.assets.add(a_row())
    await store.statistics.merge_counts()
    await store.assets.add(a_row())

    await store.statistics.merge_counts()

    async with store.database.reading() as connection:
        lines = await connection.execute(sa.text("SELECT number FROM provider_row_counts"))
        assert [line.number for line in lines] == [6]
    assert await number_of(store) == {"default": 6}


async def test_the_states_add_up(world: World) -> None:
    store = world.context.store
    states = [State.READY, State.READY, State.DELETED, State.PROCESSING]
    rows = [a_row(state) for state in states]
    await store.assets.add_all([*rows, a_row(State.ERRORED, error_kind=ErrorKind.STUCK)])

    found = await store.statistics.of(
        ["default"], "audit", now=world.clock.now(), since=world.clock.now()
    )

    figures = found["default"]
    assert figures.by_state == {"ready": 2, "deleted": 1, "processing": 1, "errored": 1}
    assert figures.by_error_kind == {"stuck": 1}
