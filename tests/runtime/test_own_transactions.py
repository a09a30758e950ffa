"""Callbacks with a transaction of the app's own, in which the note of the change is written, too.

An ORM can be used so, whose connection is not one of SQLAlchemy's.
"""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from rindle_sync.domain import State
from rindle_sync.runtime import ChangeCallback, ChangeEvent, Recorder, dispatch
from rindle_sync.store.schema import changes
from tests.runtime.test_dispatch import Heard, a_row_that_went_through
from tests.runtime.test_transactional import (
    STATES,
    failures,
    keep,
    kept,
    left,
    make_app_table,
    noted,
)
from tests.support.callbacks import registered
from tests.support.world import World

SECOND = timedelta(seconds=1)

Function = Callable[[ChangeEvent, Recorder], Awaitable[None]]


@pytest.fixture
async def app_engine(world: World) -> AsyncIterator[AsyncEngine]:
    """What the app connects with."""
    await make_app_table(world)
    engine = create_async_engine(world.context.store.database.engine.url, poolclass=NullPool)
    yield engine
    await engine.dispose()


def owner(function: Function, **options: Any) -> ChangeCallback:
    return ChangeCallback(name="owner", function=function, owns_transaction=True, **options)


def keeping(engine: AsyncEngine, *, fails: int = 0) -> tuple[ChangeCallback, list[int]]:
    """A callback that keeps each change, but fails so often at first, and the versions it saw."""
    seen: list[int] = []

    async def handle(event: ChangeEvent, record: Recorder) -> None:
        async with engine.begin() as connection:
            await record(connection)
            await keep(event, connection)
            seen.append(event.version)
            if len(seen) <= fails:
                raise LookupError

    return owner(handle), seen


async def dispatched(world: World, *callbacks: ChangeCallback) -> None:
    while await dispatch(world.context, callbacks):
        pass


async def test_the_app_has_each_change_once_and_in_order(
    world: World, app_engine: AsyncEngine
) -> None:
    for _ in range(5):
        await a_row_that_went_through(world, *STATES)
    callback, _ = keeping(app_engine)

    await dispatched(world, callback)

    assert await kept(world) == Counter(await noted(world))
    assert await left(world) == 0


async def test_one_that_raises_takes_back_what_it_wrote_and_is_called_again(
    world: World, app_engine: AsyncEngine
) -> None:
    await a_row_that_went_through(world, *STATES)
    callback, seen = keeping(app_engine, fails=2)

    await dispatched(world, callback)
    at_first = await kept(world)
    for _ in range(2):
        world.clock.move(5 * SECOND)
        await dispatched(world, callback)

    assert at_first == Counter()
    assert await kept(world) == Counter(await noted(world))
    assert seen == sorted(seen)
    assert failures(world) == ["LookupError"] * 2
    assert await left(world) == 0


@pytest.mark.parametrize("order", ["first", "last"])
@pytest.mark.parametrize("beside", ["plain", "transactional"])
async def test_beside_another_that_fails_it_is_called_once(
    world: World, app_engine: AsyncEngine, order: str, beside: str
) -> None:
    row = await a_row_that_went_through(world, State.READY)
    callback, seen = keeping(app_engine)
    heard = Heard({row.id: 2})

    async def hears(event: ChangeEvent, *_: Any) -> None:
        await heard(event)

    callbacks = [callback, *registered(hears, transactional=beside == "transactional")]
    if order == "last":
        callbacks.reverse()
    for _ in range(4):
        await dispatched(world, *callbacks)
        world.clock.move(5 * SECOND)

    assert await kept(world) == Counter(await noted(world))
    assert (seen, heard.calls, len(heard.changes)) == ([2], 3, 1)
    assert await left(world) == 0


async def test_what_another_process_has_leased_meanwhile_is_not_handled_here(
    world: World, app_engine: AsyncEngine
) -> None:
    await a_row_that_went_through(world, State.READY)
    taken: list[int] = []

    async def handle(event: ChangeEvent, record: Recorder) -> None:
        async with world.context.store.database.writing() as connection:
            await connection.execute(sa.update(changes).values(lease_token=None, lease_until=None))
        taken.append(event.version)
        async with app_engine.begin() as connection:
            await record(connection)
            await keep(event, connection)

    await dispatch(world.context, [owner(handle)])
    assert (taken, await kept(world), failures(world)) == ([2], Counter(), [])
    assert await left(world) == 1

    callback, _ = keeping(app_engine)
    await dispatched(world, callback)
    assert await kept(world) == Counter(await noted(world))
    assert await left(world) == 0


async def test_what_it_does_not_want_is_dispatched_without_it(
    world: World, app_engine: AsyncEngine
) -> None:
    await a_row_that_went_through(world, *STATES)

    async def handle(event: ChangeEvent, record: Recorder) -> None:
        raise AssertionError(event)

    await dispatched(world, owner(handle, wants=lambda _: False))

    assert failures(world) == []
    assert await left(world) == 0
