"""Transactional callbacks: what the app writes and the note that it has handled a change are one.

The app keeps, in the same database, a line for each change that it was called with.
"""

import asyncio
import contextlib
import time
from collections import Counter
from contextvars import Context
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, PendingRollbackError, ResourceClosedError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from rindle_sync.domain import State
from rindle_sync.errors import TransactionEnded, WriteInsideCallback
from rindle_sync.runtime import BATCH, ChangeEvent, dispatch
from rindle_sync.store.schema import change_deliveries, changes
from rindle_sync.store.schema.core_engine import CoreConnection
from rindle_sync.telemetry import CallbackException
from rindle_sync.tracking import untrack
from tests.runtime.test_dispatch import Heard, a_row_that_went_through, told
from tests.support.callbacks import registered
from tests.support.crash_points import app_changes
from tests.support.rows import a_row
from tests.support.world import World

LOCK_SECONDS = 10
"""Less than any wait for a lock."""

SECOND = timedelta(seconds=1)
STATES = [State.UPLOADING, State.PROCESSING, State.READY]


async def make_app_table(world: World) -> None:
    async with world.context.store.database.writing() as connection:
        await connection.run_sync(app_changes.create, checkfirst=True)
        await connection.execute(app_changes.delete())


async def keep(event: ChangeEvent, connection: AsyncConnection) -> None:
    """What a callback of the app does."""
    values = {"row_id": event.change.row_id, "version": event.version}
    await connection.execute(app_changes.insert(), values)


async def kept(world: World) -> Counter[tuple[str, int]]:
    """How often the app has each change."""
    async with world.context.store.database.reading() as connection:
        return Counter([(row.row_id, row.version) for row in await read(connection, app_changes)])


async def noted(world: World) -> set[tuple[str, int]]:
    """Every change there is."""
    async with world.context.store.database.reading() as connection:
        return {(row.row_id, row.version) for row in await read(connection, changes)}


async def read(connection: AsyncConnection | CoreConnection, table: sa.Table) -> list[Any]:
    return list(await connection.execute(sa.select(table)))


async def left(world: World) -> int:
    """How many changes and calls are still to be dispatched, and markers that are still there."""
    async with world.context.store.database.reading() as connection:
        waiting = [line for line in await read(connection, changes) if line.dispatch_at]
        return len(waiting) + len(await read(connection, change_deliveries))


async def handed_over(world: World, *functions: Any) -> int:
    """Dispatch to transactional callbacks until nothing is due at this moment."""
    number = 0
    while taken := await dispatch(world.context, registered(*functions, transactional=True)):
        number += taken
    return number


def failures(world: World) -> list[str]:
    events = world.events(CallbackException)
    return [event.error for event in events if isinstance(event, CallbackException)]


@pytest.fixture(autouse=True)
async def _app_table(world: World) -> None:
    await make_app_table(world)


async def test_the_app_has_each_change_once_and_in_order(world: World) -> None:
    for _ in range(BATCH // 2):
        await a_row_that_went_through(world, *STATES)

    await handed_over(world, keep)

    assert await kept(world) == Counter(await noted(world))
    assert await left(world) == 0


async def test_a_callback_that_raises_takes_back_what_it_wrote_and_is_called_again(
    world: World,
) -> None:
    await a_row_that_went_through(world, *STATES)
    calls: list[int] = []

    async def fails_once(event: ChangeEvent, connection: AsyncConnection) -> None:
        await keep(event, connection)
        calls.append(event.version)
        if len(calls) == 1:
            raise LookupError

    await handed_over(world, fails_once)
    at_first = await kept(world)
    world.clock.move(SECOND)
    await handed_over(world, fails_once)

    assert at_first == Counter()
    assert await kept(world) == Counter(await noted(world))
    assert calls == sorted(calls)
    assert failures(world) == ["LookupError"]
    assert await left(world) == 0


@pytest.mark.parametrize("order", ["first", "last"])
async def test_beside_a_plain_callback_that_fails_it_is_called_once(
    world: World, order: str
) -> None:
    row = await a_row_that_went_through(world, State.READY)
    heard = Heard({row.id: 2})
    callbacks = [*registered(heard), *registered(keep, transactional=True)]
    if order == "first":
        callbacks.reverse()

    for _ in range(4):
        while await dispatch(world.context, callbacks):
            pass
        world.clock.move(5 * SECOND)

    assert await kept(world) == Counter(await noted(world))
    assert (heard.calls, len(heard.changes)) == (3, 1)
    assert await left(world) == 0


async def test_several_are_each_called_once_though_one_of_them_fails(world: World) -> None:
    await a_row_that_went_through(world, *STATES)
    calls: list[int] = []

    async def fails_at_first(event: ChangeEvent, connection: AsyncConnection) -> None:
        await keep(event, connection)
        calls.append(event.version)
        if len(calls) < 3:
            raise LookupError

    for _ in range(5):
        await handed_over(world, keep, fails_at_first, keep)
        world.clock.move(5 * SECOND)

    assert await kept(world) == Counter(dict.fromkeys(await noted(world), 3))
    assert await left(world) == 0


async def test_a_marker_outlives_the_process_that_was_killed_before_the_change_ended(
    world: World,
) -> None:
    await a_row_that_went_through(world, State.READY)
    began, callbacks = asyncio.Event(), registered(keep, transactional=True)

    async def hangs(_: ChangeEvent) -> None:
        began.set()
        await asyncio.Event().wait()

    dispatching = asyncio.create_task(dispatch(world.context, [*callbacks, *registered(hangs)]))
    await asyncio.wait_for(began.wait(), 10)
    dispatching.cancel()
    await asyncio.wait({dispatching})
    after_the_stop = await kept(world)
    await dispatch(world.context, [*callbacks, *registered(Heard())])

    assert after_the_stop == await kept(world) == Counter(await noted(world))
    assert await left(world) == 0


async def test_a_callback_that_takes_too_long_writes_nothing(world: World) -> None:
    await a_row_that_went_through(world, State.READY)
    short = timedelta(milliseconds=50)

    async def hangs(event: ChangeEvent, connection: AsyncConnection) -> None:
        await keep(event, connection)
        await asyncio.Event().wait()

    callbacks = registered(hangs, transactional=True)
    assert await dispatch(world.context, callbacks, call_limit=short, grace=short) == 1

    assert await kept(world) == Counter()
    assert failures(world) == ["TimeoutError"]
    assert await left(world) == 1


@pytest.mark.parametrize("error", [None, LookupError])
async def test_a_task_that_outlives_its_callback_writes_nothing_outside_of_its_transaction(
    world: World, error: type[Exception] | None
) -> None:
    await a_row_that_went_through(world, State.READY)
    late: list[asyncio.Task[None]] = []

    async def keeps_in_a_task(event: ChangeEvent, connection: AsyncConnection) -> None:
        if late:
            return await keep(event, connection)
        late.append(asyncio.create_task(goes_on(event, connection)))
        if error:
            raise error
        return None

    async def goes_on(event: ChangeEvent, connection: AsyncConnection) -> None:
        while True:
            await asyncio.sleep(0)
            await keep(event, connection)

    await handed_over(world, keeps_in_a_task)
    with pytest.raises(TransactionEnded):
        await late[0]
    world.clock.move(SECOND)
    await handed_over(world, keeps_in_a_task)

    # what it writes before its callback has ended is of the transaction
    assert await kept(world) == dict.fromkeys(await noted(world) if error else await kept(world), 1)
    assert await left(world) == 0


async def test_a_callback_that_does_not_heed_its_end_holds_up_no_later_one(world: World) -> None:
    await a_row_that_went_through(world, State.READY)
    ends = [TransactionEnded, ResourceClosedError, PendingRollbackError]
    deaf: list[asyncio.Task[None]] = []

    async def goes_on(event: ChangeEvent, connection: AsyncConnection) -> None:
        if deaf:
            return await keep(event, connection)
        task = asyncio.current_task()
        assert task
        deaf.append(task)
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await connection.execute(sa.text("SELECT 1"))
                await asyncio.sleep(0.1)

    callbacks = registered(goes_on, transactional=True)
    limits = {"call_limit": timedelta(seconds=0.1), "grace": timedelta(seconds=0.1)}
    await dispatch(world.context, callbacks, **limits)
    await asyncio.wait(deaf, timeout=20)
    world.clock.move(SECOND)
    await handed_over(world, goes_on)

    assert isinstance(deaf[0].exception(), tuple(ends))
    assert failures(world) == ["TimeoutError"]
    assert await kept(world) == dict.fromkeys(await noted(world), 1)
    assert await left(world) == 0


@pytest.mark.parametrize("asks", ["dispatch", "untrack"])
async def test_what_would_wait_for_the_callback_itself_fails_at_once(
    world: World, asks: str
) -> None:
    rows = [await a_row_that_went_through(world, State.READY) for _ in range(4)]

    async def waits_for_itself(event: ChangeEvent, connection: AsyncConnection) -> None:
        await keep(event, connection)
        if asks == "dispatch":
            await dispatch(world.context, callbacks)
        elif event.row:
            await untrack(world.context, event.row, history=True)

    callbacks = registered(waits_for_itself, transactional=True)
    began = time.monotonic()
    await dispatch(world.context, callbacks)

    assert time.monotonic() - began < LOCK_SECONDS
    assert set(failures(world)) == {"WriteInsideCallback"}
    assert not await kept(world)
    assert all([await world.now_is(row) for row in rows])


async def test_a_stop_during_a_statement_takes_back_what_was_written(world: World) -> None:
    await a_row_that_went_through(world, State.READY)
    is_sqlite = world.context.store.database.engine.dialect.name == "sqlite"
    began, long_statement = asyncio.Event(), "SELECT pg_sleep(20)"
    if is_sqlite:
        numbers = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 5e6)"
        long_statement = f"{numbers} SELECT count(*) FROM n"

    async def is_stopped(event: ChangeEvent, connection: AsyncConnection) -> None:
        await keep(event, connection)
        began.set()
        await connection.execute(sa.text(long_statement))

    dispatching = asyncio.create_task(handed_over(world, is_stopped))
    await asyncio.wait_for(began.wait(), 10)
    await asyncio.sleep(0)
    dispatching.cancel()
    async with asyncio.timeout(15):
        await asyncio.wait({dispatching})
        after_the_stop = await kept(world)
        await handed_over(world, keep)

    assert after_the_stop == Counter()
    assert await kept(world) == Counter(await noted(world))
    assert await left(world) == 0


async def test_nobody_is_called_whose_lease_was_lost(world: World) -> None:
    await a_row_that_went_through(world, State.READY)
    called: list[int] = []

    async def loses_the_lease(_: ChangeEvent) -> None:
        # meanwhile another process has taken the change
        async with world.context.store.database.writing() as connection:
            await connection.execute(changes.update().values(lease_token=a_row().id))

    async def is_called(event: ChangeEvent, connection: AsyncConnection) -> None:
        called.append(event.version)
        await keep(event, connection)

    callbacks = [*registered(loses_the_lease), *registered(is_called, transactional=True)]
    assert await dispatch(world.context, callbacks) == 1

    assert called == []
    assert await left(world) == 1


async def test_a_change_whose_lease_ends_during_the_call_is_taken_by_nobody_else(
    world: World,
) -> None:
    await a_row_that_went_through(world, State.READY)
    if world.context.store.database.engine.dialect.name == "sqlite":
        pytest.skip("the callback holds the only write lock")
    taken: list[int] = []

    async def slow(event: ChangeEvent, connection: AsyncConnection) -> None:
        await keep(event, connection)
        world.clock.move(timedelta(hours=1))
        # an empty context: as another process does
        elsewhere = dispatch(world.context, registered(Heard()))
        taken.append(await asyncio.create_task(elsewhere, context=Context()))

    await handed_over(world, slow)

    assert taken == [0]
    assert await kept(world) == Counter(await noted(world))
    assert await left(world) == 0


# what the app does with its connection


async def test_an_orm_session_and_sync_code_share_the_transaction(world: World) -> None:
    await a_row_that_went_through(world, State.UPLOADING, State.READY)

    async def by_session(event: ChangeEvent, connection: AsyncConnection) -> None:
        async with AsyncSession(bind=connection) as session:
            await session.execute(
                app_changes.insert(), {"row_id": event.change.row_id, "version": event.version}
            )
            await session.commit()
        if event.change.to_state is State.READY and not failures(world):
            raise LookupError  # what the session has committed is taken back

    async def by_sync_code(event: ChangeEvent, connection: AsyncConnection) -> None:
        def write(connection: sa.Connection) -> None:
            values = {"row_id": event.change.row_id, "version": event.version}
            connection.execute(app_changes.insert(), values)

        await connection.run_sync(write)

    await handed_over(world, by_session, by_sync_code)
    at_first = await kept(world)
    world.clock.move(SECOND)
    await handed_over(world, by_session, by_sync_code)

    assert sum(at_first.values()) == 3
    assert await kept(world) == Counter(dict.fromkeys(await noted(world), 2))


@pytest.mark.parametrize("ends", ["commit", "rollback", "close"])
async def test_a_callback_must_not_end_its_transaction(world: World, ends: str) -> None:
    await a_row_that_went_through(world, State.READY)

    async def ends_it(_: ChangeEvent, connection: AsyncConnection) -> None:
        await getattr(connection, ends)()

    await handed_over(world, ends_it)

    assert failures(world) == [TransactionEnded.__name__]
    assert await left(world) == 1
    world.clock.move(SECOND)
    await handed_over(world, ends_it)
    assert await left(world) == 1


async def test_a_failed_statement_that_a_callback_passes_over_is_a_failure(world: World) -> None:
    await a_row_that_went_through(world, State.READY)
    is_sqlite = world.context.store.database.engine.dialect.name == "sqlite"

    async def passes_over(event: ChangeEvent, connection: AsyncConnection) -> None:
        await keep(event, connection)
        with pytest.raises(IntegrityError):
            await connection.execute(app_changes.insert(), {"row_id": None, "version": 1})

    await handed_over(world, passes_over)

    # SQLite takes back the statement alone, PostgreSQL the transaction
    assert failures(world) == ([] if is_sqlite else [TransactionEnded.__name__])
    assert await kept(world) == Counter(await noted(world) if is_sqlite else ())


async def test_a_failed_statement_in_a_savepoint_leaves_the_rest(world: World) -> None:
    await a_row_that_went_through(world, State.READY)

    async def tries(event: ChangeEvent, connection: AsyncConnection) -> None:
        await keep(event, connection)
        with pytest.raises(IntegrityError):
            async with connection.begin_nested():
                await connection.execute(app_changes.insert(), {"row_id": None, "version": 1})

    await handed_over(world, tries)

    assert failures(world) == []
    assert await kept(world) == Counter(await noted(world))


async def test_a_constraint_of_the_app_that_fails_at_the_commit_is_a_failure(world: World) -> None:
    database = world.context.store.database
    await a_row_that_went_through(world, State.READY)
    async with database.writing() as connection:
        await connection.exec_driver_sql("DROP TABLE IF EXISTS app_parts")
        await connection.exec_driver_sql("DROP TABLE IF EXISTS app_wholes")
        await connection.exec_driver_sql("CREATE TABLE app_wholes (id INTEGER PRIMARY KEY)")
        await connection.exec_driver_sql(
            "CREATE TABLE app_parts (whole INTEGER REFERENCES app_wholes "
            "DEFERRABLE INITIALLY DEFERRED)"
        )

    async def refers_to_nothing(event: ChangeEvent, connection: AsyncConnection) -> None:
        await keep(event, connection)
        await connection.exec_driver_sql("PRAGMA foreign_keys" if is_sqlite else "SELECT 1")
        await connection.exec_driver_sql("INSERT INTO app_parts VALUES (7)")

    is_sqlite = database.engine.dialect.name == "sqlite"
    await handed_over(world, refers_to_nothing)
    async with database.writing() as connection:
        await connection.exec_driver_sql("DROP TABLE app_parts")
        await connection.exec_driver_sql("DROP TABLE app_wholes")

    if is_sqlite:
        pytest.skip("foreign keys are not enforced on our connections to SQLite")
    assert failures(world) == ["IntegrityError"]
    assert await kept(world) == Counter()
    assert await left(world) == 1


async def test_a_callback_reads_by_our_methods_and_a_write_on_sqlite_fails_at_once(
    world: World,
) -> None:
    row = await a_row_that_went_through(world, State.READY)
    store = world.context.store
    read_states: list[State] = []

    async def calls_us(event: ChangeEvent, connection: AsyncConnection) -> None:
        found = await store.assets.get(event.change.row_id)
        assert found
        read_states.append(found.state)
        await keep(event, connection)
        async with asyncio.timeout(5):
            await asyncio.create_task(write())

    async def write() -> None:
        await store.assets.make_due(row.id, world.clock.now())

    await handed_over(world, calls_us)
    await write()

    is_sqlite = store.database.engine.dialect.name == "sqlite"
    assert read_states == [State.READY]
    assert failures(world) == ([WriteInsideCallback.__name__] if is_sqlite else [])


async def test_others_go_on_while_many_callbacks_are_in_their_transactions(world: World) -> None:
    for _ in range(BATCH):
        await a_row_that_went_through(world, State.READY)
    is_sqlite = world.context.store.database.engine.dialect.name == "sqlite"
    began, may_end = asyncio.Event(), asyncio.Event()
    running = 0
    most = 0

    async def waits(event: ChangeEvent, connection: AsyncConnection) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        began.set()
        await keep(event, connection)
        await may_end.wait()
        running -= 1

    dispatching = asyncio.create_task(handed_over(world, waits))
    await asyncio.wait_for(began.wait(), 10)
    async with asyncio.timeout(5):
        assert await world.context.store.assets.get(a_row().id) is None
    may_end.set()
    await dispatching

    assert most <= (1 if is_sqlite else 3)
    assert await kept(world) == Counter(await noted(world))


async def test_two_dispatchers_at_once_hand_over_each_change_once(world: World) -> None:
    for _ in range(20):
        await a_row_that_went_through(world, *STATES)

    for _ in STATES:
        await asyncio.gather(*(handed_over(world, keep) for _ in range(3)))

    assert await kept(world) == Counter(await noted(world))
    assert await left(world) == 0


async def test_a_change_is_dispatched_after_the_transaction_that_wrote_it(world: World) -> None:
    row = a_row(State.PENDING)
    database, heard = world.context.store.database, Heard()
    values = {"at": world.clock.now(), "dispatch_at": world.clock.now()}
    about: dict[str, Any] = {
        "row_id": row.id,
        "reference": row.reference,
        "environment": row.environment,
    }
    about |= {"provider_name": row.provider_name, "version": 2, "from_state": "pending"}
    about |= {"to_state": "ready", "trigger": "app", "reason": "for the test", "late_ms": 0}

    async with database.engine.begin() as connection:
        await connection.execute(changes.insert(), about | values)
        # on SQLite it waits for the write lock, on PostgreSQL it finds nothing
        dispatching = asyncio.create_task(told(world, heard))
        await asyncio.wait({dispatching}, timeout=0.3)
        before_the_commit = heard.calls
    await dispatching
    await told(world, heard)

    assert before_the_commit == 0
    assert heard.states(row) == [State.READY]


async def several_rows(world: World, number: int = 5) -> list[str]:
    return [(await a_row_that_went_through(world, State.READY)).id for _ in range(number)]


async def test_many_changes_are_handed_over_in_few_transactions(world: World) -> None:
    await several_rows(world, 20)
    begun: list[object] = []
    engine = world.context.store.database.engine.sync_engine
    sa.event.listen(engine, "begin", begun.append)

    await handed_over(world, keep)

    # for leases, reads, calls and outcomes; a transaction for each call would be 20 alone
    assert len(begun) < 20
    assert await kept(world) == Counter(await noted(world))
    assert await left(world) == 0


async def test_one_that_fails_among_many_takes_back_none_of_the_others(world: World) -> None:
    rows = await several_rows(world)

    async def fails_for_one(event: ChangeEvent, connection: AsyncConnection) -> None:
        await keep(event, connection)
        if event.change.row_id == rows[2]:
            raise LookupError

    await handed_over(world, fails_for_one)

    assert await kept(world) == Counter({c for c in await noted(world) if c[0] != rows[2]})
    assert failures(world) == ["LookupError"]
    assert await left(world) == 1
    world.clock.move(SECOND)
    await handed_over(world, keep)


@pytest.mark.parametrize("ends", ["commit", "rollback", "close"])
async def test_one_that_ends_the_transaction_of_many_doubles_none_of_the_others(
    world: World, ends: str
) -> None:
    rows = await several_rows(world)

    async def ends_it(event: ChangeEvent, connection: AsyncConnection) -> None:
        if event.change.row_id == rows[2]:
            await getattr(connection, ends)()
        else:
            await keep(event, connection)

    await handed_over(world, ends_it)

    assert await kept(world) == Counter({c for c in await noted(world) if c[0] != rows[2]})
    assert failures(world) == [TransactionEnded.__name__]
    assert await left(world) == 1


async def test_a_stop_among_many_takes_back_those_that_are_not_committed(world: World) -> None:
    rows = await several_rows(world)
    is_there = asyncio.Event()

    async def hangs_at_the_third(event: ChangeEvent, connection: AsyncConnection) -> None:
        await keep(event, connection)
        if event.change.row_id == rows[2]:
            is_there.set()
            await asyncio.Event().wait()

    dispatching = asyncio.create_task(handed_over(world, hangs_at_the_third))
    await is_there.wait()
    dispatching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dispatching

    assert await kept(world) == Counter()
    assert await left(world) == len(rows)
    await handed_over(world, keep)  # nothing is leased any more
    assert await kept(world) == Counter(await noted(world))


async def test_what_a_statement_of_one_fails_on_is_its_own_failure(world: World) -> None:
    rows = await several_rows(world)

    async def writes_wrongly(event: ChangeEvent, connection: AsyncConnection) -> None:
        await keep(event, connection)
        if event.change.row_id == rows[1]:
            await keep(event, connection)

    async with world.context.store.database.writing() as connection:
        await connection.exec_driver_sql("DROP INDEX IF EXISTS app_once")
        await connection.exec_driver_sql("CREATE UNIQUE INDEX app_once ON app_changes (row_id)")
    await handed_over(world, writes_wrongly)
    async with world.context.store.database.writing() as connection:
        await connection.exec_driver_sql("DROP INDEX app_once")

    assert await kept(world) == Counter({c for c in await noted(world) if c[0] != rows[1]})
    assert failures(world) == ["IntegrityError"]
