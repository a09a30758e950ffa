"""Callbacks on change.

Once for each real change, after its commit, in the order of each row, whoever fails or dies.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from rindle_sync.app import RindleSync, connect
from rindle_sync.config import plain_settings
from rindle_sync.domain import ProviderAsset, State, Trigger, replace
from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.providers import UploadRequest
from rindle_sync.runtime import BATCH, CALL_LIMIT, Callback, ChangeEvent, dispatch
from rindle_sync.store import Change, Database, NewCall, Outcomes, Write
from rindle_sync.store.schema import assets, change_deliveries, open_engine
from rindle_sync.telemetry import CallbackException
from rindle_sync.tracking import begin_upload, cancel_upload
from rindle_sync.webhooks import process_webhook_events
from tests.support.callbacks import registered
from tests.support.rows import a_row
from tests.support.webhooks import an_event, deliver, with_secrets
from tests.support.world import Clock, World, a_context

SECOND = timedelta(seconds=1)
MICROSECOND = timedelta(microseconds=1)
HELD = "00000000-0000-4000-8000-000000000001"


@dataclass
class Heard:
    """A callback that keeps its events, and first fails on some rows so and so often."""

    fails_on: dict[str, int] = field(default_factory=dict)
    error: Exception = field(
        default_factory=lambda: RuntimeError("the mail server said: secret-0123456789")
    )
    changes: list[ChangeEvent] = field(default_factory=list)
    calls: int = 0

    async def __call__(self, changed: ChangeEvent) -> None:
        self.calls += 1
        await asyncio.sleep(0)
        left = self.fails_on.get(changed.change.row_id, 0)
        if left:
            self.fails_on[changed.change.row_id] = left - 1
            raise self.error
        self.changes.append(changed)

    def states(self, row: ProviderAsset) -> list[State]:
        return [event.change.to_state for event in self.changes if event.change.row_id == row.id]


def changes_into(heard: list[ChangeEvent]) -> Callback:
    """A callback with another name than `Heard`."""

    async def hears(event: ChangeEvent) -> None:
        heard.append(event)

    return hears


async def told(world: World, *callbacks: Callback) -> int:
    """Announce until nothing is due at this moment; how many changes were taken up."""
    number = 0
    while taken := await dispatch(world.context, registered(*callbacks)):
        number += taken
    return number


async def moved(world: World, row: ProviderAsset, *states: State) -> None:
    """Bring a row through `states`, each one a real change."""
    for state in states:
        before = await world.now_is(row)
        after = replace(before, state=state, version=before.version + 1)
        await world.context.store.assets.write(
            [Write(after, change=a_change(world, before, after))]
        )


def a_change(world: World, before: ProviderAsset, after: ProviderAsset) -> Change:
    return Change(
        row_id=after.id,
        reference=after.reference,
        provider_name=after.provider_name,
        environment=after.environment,
        version=after.version,
        from_state=before.state,
        to_state=after.state,
        error_kind=after.error_kind,
        trigger=Trigger.SYNC,
        reason="for the test",
        at=world.clock.now(),
        late_ms=0,
    )


async def a_row_that_went_through(world: World, *states: State) -> ProviderAsset:
    row = a_row(State.PENDING)
    await world.context.store.assets.add(row)
    await moved(world, row, *states)
    return row


async def again_at(world: World) -> datetime:
    """When the only call that is left is to be made again."""
    async with world.context.store.database.reading() as connection:
        found = await connection.execute(select(change_deliveries.c.dispatch_at))
        return found.scalar_one()  # type: ignore[no-any-return]


async def claimed(world: World, *, limit: int = BATCH) -> int:
    """Take changes up as an announcer does that is then killed."""
    taken = await world.context.store.outbox.claim(**a_lease(world), limit=limit)
    return len(taken.changes) + len(taken.calls)


def a_lease(world: World, *callbacks: Callback) -> dict[str, Any]:
    names = [callback.name for callback in registered(*callbacks)]
    now = world.clock.now()
    until = now + world.context.lease
    return {"now": now, "token": HELD, "until": until, "callbacks": names}


# by whichever road


async def by_webhook(world: World) -> ProviderAsset:
    row = await world.track()
    await deliver(with_secrets(world), an_event(row))
    await process_webhook_events(world.context)
    return row


async def by_sync(world: World) -> ProviderAsset:
    row = await world.track()
    await world.sync(row)
    return row


async def by_sweep(world: World) -> ProviderAsset:
    row = await world.track()
    await world.sweep()
    return row


Road = Callable[[World], Awaitable[ProviderAsset]]


@pytest.mark.parametrize(
    ("road", "by"),
    [(by_webhook, Trigger.WEBHOOK), (by_sync, Trigger.SYNC), (by_sweep, Trigger.SWEEP)],
)
async def test_a_change_is_dispatched_once_by_whichever_road_it_came(
    world: World, road: Road, by: Trigger
) -> None:
    row, heard = await road(world), Heard()

    await told(world, heard)
    world.clock.move(timedelta(days=1))
    await told(world, heard)

    [event] = heard.changes
    assert (event.change.row_id, event.change.trigger) == (row.id, by)
    assert (event.change.from_state, event.change.to_state) == (State.PROCESSING, State.READY)
    assert event.row == await world.now_is(row)


async def test_what_the_app_itself_does_is_dispatched_too(world: World) -> None:
    row = a_row(
        State.PENDING, provider_asset_id=None, passthrough="ours-1", updated_at=world.clock.now()
    )
    await begin_upload(world.context, row, UploadRequest(cors_origin="*"))
    await cancel_upload(world.context, await world.now_is(row))
    heard = Heard()

    await told(world, heard)

    assert heard.states(row) == [State.UPLOADING, State.ERRORED]
    assert {event.change.trigger for event in heard.changes} == {Trigger.APP}


async def test_a_check_that_changes_nothing_is_not_dispatched(world: World) -> None:
    row = await world.track(State.READY, check_at=None)
    row_before = await world.sync(row)
    heard = Heard()
    await told(world, heard)
    first = heard.calls

    await world.sync(row)
    await told(world, heard)

    assert row_before
    assert heard.calls == first


async def test_a_callback_can_read_what_it_is_told_of(world: World) -> None:
    row = await world.track()
    read: list[State] = []

    async def reads(changed: ChangeEvent) -> None:
        found = await world.context.store.assets.get(changed.change.row_id)
        assert found
        read.append(found.state)

    await world.sync(row)
    await told(world, reads)

    assert read == [State.READY]


async def test_a_callback_may_change_the_row_and_is_told_of_that_too(world: World) -> None:
    row = await a_row_that_went_through(world, State.PROCESSING)
    states: list[State] = []

    async def ends(changed: ChangeEvent) -> None:
        states.append(changed.change.to_state)
        if changed.change.to_state is State.PROCESSING:
            await moved(world, row, State.READY)

    await told(world, ends)

    assert states == [State.PROCESSING, State.READY]


async def test_a_change_of_a_row_that_the_app_has_deleted_is_told_without_the_row(
    world: World,
) -> None:
    row, heard = await a_row_that_went_through(world, State.READY), Heard()
    async with world.context.store.database.writing() as connection:
        await connection.execute(assets.delete())

    await told(world, heard)

    assert [(event.change.row_id, event.row) for event in heard.changes] == [(row.id, None)]


# order


async def test_the_changes_of_a_row_are_told_in_their_order(world: World) -> None:
    states = [State.UPLOADING, State.PROCESSING, State.ERRORED, State.READY, State.DELETED]
    rows, heard = [await a_row_that_went_through(world, *states) for _ in range(4)], Heard()

    assert await told(world, heard) == len(rows) * len(states)

    assert [heard.states(row) for row in rows] == [states] * len(rows)


async def test_more_changes_than_are_taken_up_at_once_are_all_told(world: World) -> None:
    rows, heard = (
        [await a_row_that_went_through(world, State.READY) for _ in range(BATCH + 5)],
        Heard(),
    )

    assert await told(world, heard) == len(rows)

    assert {event.change.row_id for event in heard.changes} == {row.id for row in rows}
    assert heard.calls == len(rows)


async def test_a_callback_that_fails_keeps_back_only_its_row(world: World) -> None:
    row = await a_row_that_went_through(world, State.PROCESSING, State.READY)
    other = await a_row_that_went_through(world, State.PROCESSING, State.READY)
    heard = Heard({row.id: 1})

    await told(world, heard)
    at_first = heard.states(row), heard.states(other)
    world.clock.move(SECOND)
    await told(world, heard)

    assert at_first == ([], [State.PROCESSING, State.READY])
    assert heard.states(row) == [State.PROCESSING, State.READY]


async def test_a_change_that_comes_while_an_earlier_one_waits_is_told_after_it(
    world: World,
) -> None:
    row = await a_row_that_went_through(world, State.PROCESSING)
    heard = Heard({row.id: 1})
    await told(world, heard)

    await moved(world, row, State.READY)
    await told(world, heard)
    waiting = heard.states(row)
    world.clock.move(SECOND)
    await told(world, heard)

    assert waiting == []
    assert heard.states(row) == [State.PROCESSING, State.READY]


# failures


async def test_a_callback_that_fails_is_called_again_with_growing_gaps_up_to_ten_minutes(
    world: World,
) -> None:
    row = await a_row_that_went_through(world, State.READY)
    heard, gaps = Heard({row.id: 14}), []

    await told(world, heard)
    while not heard.changes:
        gap = await again_at(world) - world.clock.now()
        world.clock.move(gap - MICROSECOND)
        assert await told(world, heard) == 0
        world.clock.move(MICROSECOND)
        await told(world, heard)
        gaps.append(gap.total_seconds())

    assert gaps == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600, 600, 600]


async def test_a_failure_is_told_by_its_name_and_without_its_text(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    row = await a_row_that_went_through(world, State.READY)

    await told(world, Heard({row.id: 1}))

    [failure] = [e for e in world.events(CallbackException) if isinstance(e, CallbackException)]
    assert failure.row_id == row.id
    name = "tests.runtime.test_dispatch.Heard"
    assert (failure.callback, failure.error, failure.attempt) == (name, "RuntimeError", 1)
    assert "secret-0123456789" not in repr(failure) + caplog.text


async def test_each_failure_is_told_with_its_attempt(world: World) -> None:
    row = await a_row_that_went_through(world, State.READY)
    heard = Heard({row.id: 3})

    for _ in range(4):
        await told(world, heard)
        world.clock.move(10 * SECOND)

    assert [
        e.attempt for e in world.events(CallbackException) if isinstance(e, CallbackException)
    ] == [1, 2, 3]
    assert len(heard.changes) == 1


async def test_a_callback_that_fails_is_called_again_alone(world: World) -> None:
    row = await a_row_that_went_through(world, State.READY)
    first, second, third = Heard(), Heard({row.id: 1}), Heard()

    await told(world, first, second, third)
    at_first = [len(heard.changes) for heard in (first, second, third)]
    world.clock.move(SECOND)
    await told(world, first, second, third)

    assert at_first == [1, 0, 1]
    assert [heard.calls for heard in (first, second, third)] == [1, 2, 1]
    assert len(second.changes) == 1


async def test_a_callback_that_fails_holds_back_its_later_calls_for_the_row_and_nothing_else(
    world: World,
) -> None:
    states = [State.UPLOADING, State.PROCESSING, State.READY]
    row, other = [await a_row_that_went_through(world, *states) for _ in range(2)]
    fails, goes_on = Heard({row.id: 1}), Heard()

    await told(world, fails, goes_on)
    at_first = fails.states(row)
    world.clock.move(SECOND)
    await told(world, fails, goes_on)

    assert at_first == []
    assert [fails.states(row), fails.states(other)] == [states, states]
    assert [goes_on.states(row), goes_on.states(other)] == [states, states]
    assert (fails.calls, goes_on.calls) == (7, 6)


async def test_a_call_that_is_left_waits_for_a_process_that_has_the_callback(world: World) -> None:
    row = await a_row_that_went_through(world, State.PROCESSING)
    heard, other = Heard({row.id: 1}), changes_into([])
    await told(world, heard)
    world.clock.move(SECOND)

    assert await told(world, other) == 0
    await told(world, heard)

    assert heard.states(row) == [State.PROCESSING]


async def test_calls_of_a_callback_that_is_no_more_are_forgotten_as_changes_are(
    world: World,
) -> None:
    row = await a_row_that_went_through(world, State.PROCESSING)
    heard = Heard({row.id: 1})
    await told(world, heard)
    world.clock.move(timedelta(days=8))

    await world.context.store.outbox.forget(world.clock.now() - timedelta(days=7))

    assert await told(world, heard) == 0
    assert (await world.tables())["provider_change_deliveries"] == []


async def test_a_callback_that_is_over_its_time_is_given_up_and_called_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    real, passed = loop.time, [0.0]
    monkeypatch.setattr(loop, "time", lambda: real() + passed[0])
    row, other = [await a_row_that_went_through(world, State.READY) for _ in range(2)]
    heard = Heard()

    async def hangs_once(changed: ChangeEvent) -> None:
        if changed.change.row_id == row.id and not passed[0]:
            passed[0] = CALL_LIMIT.total_seconds() + 1
            await asyncio.Event().wait()
        await heard(changed)

    await told(world, hangs_once)
    failures = [
        e.error for e in world.events(CallbackException) if isinstance(e, CallbackException)
    ]
    world.clock.move(2 * SECOND)
    await told(world, hangs_once)

    assert "TimeoutError" in failures
    assert (heard.states(row), heard.states(other)) == ([State.READY], [State.READY])


async def test_a_callback_that_awaits_something_cancelled_keeps_back_only_its_row(
    world: World,
) -> None:
    row, other = [await a_row_that_went_through(world, State.READY) for _ in range(2)]
    heard = Heard()

    async def awaits_something_cancelled(changed: ChangeEvent) -> None:
        if changed.change.row_id == row.id:
            work = asyncio.ensure_future(asyncio.sleep(60))
            work.cancel()
            await work
        await heard(changed)

    await dispatch(world.context, registered(awaits_something_cancelled))

    assert heard.states(other) == [State.READY]
    assert [
        e.error for e in world.events(CallbackException) if isinstance(e, CallbackException)
    ] == ["CancelledError"]
    assert await told(world, awaits_something_cancelled) == 0
    world.clock.move(SECOND)
    assert await told(world, awaits_something_cancelled) == 1


# several announcers


async def test_two_announcers_at_once_tell_each_change_once(world: World) -> None:
    states = [State.UPLOADING, State.PROCESSING, State.READY]
    rows, heard = [await a_row_that_went_through(world, *states) for _ in range(30)], Heard()

    for _ in range(len(states)):
        await asyncio.gather(*(told(world, heard) for _ in range(4)))

    assert [heard.states(row) for row in rows] == [states] * len(rows)
    assert heard.calls == len(rows) * len(states)


async def test_a_change_that_is_being_told_is_told_by_nobody_else(world: World) -> None:
    row = await a_row_that_went_through(world, State.PROCESSING, State.READY)
    began, may_end, other = asyncio.Event(), asyncio.Event(), Heard()

    async def slow(_: ChangeEvent) -> None:
        began.set()
        await may_end.wait()

    telling = asyncio.create_task(dispatch(world.context, registered(slow)))
    await asyncio.wait_for(began.wait(), 10)
    meanwhile = await told(world, other)
    may_end.set()
    await telling
    await told(world, other)

    assert meanwhile == 0
    assert other.states(row) == [State.READY]


async def test_what_a_killed_dispatcher_had_taken_up_is_told_when_its_lease_ends(
    world: World,
) -> None:
    row, heard = await a_row_that_went_through(world, State.PROCESSING, State.READY), Heard()
    assert await claimed(world) == 1

    before = await told(world, heard)
    world.clock.move(world.context.lease + SECOND)
    await told(world, heard)

    assert before == 0
    assert heard.states(row) == [State.PROCESSING, State.READY]


async def test_a_dispatcher_that_comes_back_after_its_lease_undoes_nothing(world: World) -> None:
    await a_row_that_went_through(world, State.READY)
    late = await world.context.store.outbox.claim(**a_lease(world), limit=1)
    world.clock.move(world.context.lease + SECOND)
    await told(world, Heard())

    again = NewCall(pending=late.changes[0], callback="the app's", at=world.clock.now(), attempts=1)
    await world.context.store.outbox.end(Outcomes(late.changes, [again]), HELD)

    assert await claimed(world) == 0


async def test_a_lease_outlives_all_callbacks_that_take_as_long_as_they_may(world: World) -> None:
    await a_row_that_went_through(world, State.READY)
    taken: list[int] = []

    async def slow(_: ChangeEvent) -> None:
        world.clock.move(CALL_LIMIT)
        taken.append(await claimed(world))

    await dispatch(world.context, registered(*[slow] * 8))

    assert taken == [0] * 8


# nobody listens


@pytest.mark.parametrize("callbacks", [[], ()])
async def test_nothing_is_taken_up_where_nobody_listens(
    world: World, callbacks: Sequence[Callback]
) -> None:
    row, heard = await a_row_that_went_through(world, State.READY), Heard()

    assert await dispatch(world.context, registered(*callbacks)) == 0
    await told(world, heard)

    assert heard.states(row) == [State.READY]


async def test_changes_of_another_environment_are_told_by_its_own_dispatcher(world: World) -> None:
    row = await a_row_that_went_through(world, State.READY)
    heard, ours = Heard(), world.context
    world.context = a_context(world, "staging")

    elsewhere = (
        await told(world, heard),
        await world.context.store.outbox.forget(world.clock.now() + SECOND),
    )
    world.context = ours
    await told(world, heard)

    assert elsewhere == (0, 0)
    assert heard.states(row) == [State.READY]


async def test_a_dispatcher_that_is_stopped_gives_back_what_it_had_taken_up(world: World) -> None:
    row, heard, began = await a_row_that_went_through(world, State.READY), Heard(), asyncio.Event()

    async def hangs(_: ChangeEvent) -> None:
        began.set()
        await asyncio.Event().wait()

    telling = asyncio.create_task(dispatch(world.context, registered(hangs)))
    await asyncio.wait_for(began.wait(), 10)
    telling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await telling
    await told(world, heard)

    assert heard.states(row) == [State.READY]


async def test_old_changes_are_forgotten_and_newer_ones_told(world: World) -> None:
    row = await a_row_that_went_through(world, State.PROCESSING)
    world.clock.move(timedelta(days=8))
    await moved(world, row, State.READY)
    heard = Heard()

    forgotten = await world.context.store.outbox.forget(world.clock.now() - timedelta(days=7))
    await told(world, heard)

    assert forgotten == 1
    assert heard.states(row) == [State.READY]
    assert len(await world.context.store.assets.changes_of(row.id)) == 2
    assert await world.context.store.outbox.forget(world.clock.now() + SECOND) == 0


# for an app that embeds it


async def test_an_app_registers_callbacks_by_decorator_and_hears_of_each_change(
    database_url: str,
) -> None:
    emulator = MuxEmulator(prepare_seconds=0)
    settings = plain_settings(
        database_url=database_url,
        mux_token_id=emulator.token_id,
        mux_token_secret=emulator.token_secret,
    )
    heard: list[tuple[str, str]] = []
    async with connect(settings, transport=httpx.ASGITransport(app=emulator.app)) as rindle:
        await rindle.migrate()

        @rindle.on_change
        async def hears(changed: ChangeEvent) -> None:
            heard.append((changed.change.row_id, changed.change.to_state))

        row = await rindle.track(reference="video-1", provider_asset_id=emulator.create_asset())
        await rindle.sync(row.provider_asset_id or "")
        await rindle.dispatch()
        await rindle.dispatch()

    assert heard == [(row.id, "ready")]


async def test_an_app_that_prunes_forgets_what_was_never_dispatched(sqlite_url: str) -> None:
    clock = Clock()
    emulator = MuxEmulator(prepare_seconds=0, now=clock.seconds, sleep=clock.sleep)
    values: dict[str, Any] = {
        "mux_token_id": emulator.token_id,
        "mux_token_secret": emulator.token_secret,
    }
    settings = plain_settings(database_url=sqlite_url, webhook_event_retention_days=7, **values)
    transport, heard = httpx.ASGITransport(app=emulator.app), Heard()
    database = Database(open_engine(sqlite_url))
    rindle = RindleSync(settings, database, transport=transport, clock=clock.now)
    await rindle.migrate()
    row = await rindle.track(reference="video-1", provider_asset_id=emulator.create_asset())
    await rindle.sync(row.provider_asset_id or "")

    clock.move(timedelta(days=7, seconds=1))
    await rindle.webhook_events.prune()
    rindle.on_change(heard)
    await rindle.dispatch()
    await rindle.close()

    assert heard.calls == 0


async def test_a_callback_that_does_not_let_itself_be_ended_is_left_behind(world: World) -> None:
    short = timedelta(milliseconds=50)
    stubborn, other = await world.track(), await world.track()
    heard, over = [], asyncio.Event()

    async def clings(changed: ChangeEvent) -> None:
        heard.append(changed.change.row_id)
        while changed.change.row_id == stubborn.id and not over.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await over.wait()

    await world.sync(stubborn)
    await world.sync(other)

    dispatching = dispatch(world.context, registered(clings), call_limit=short, grace=short)
    assert await asyncio.wait_for(dispatching, 10) == 2

    over.set()
    assert sorted(heard) == sorted([stubborn.id, other.id])
    assert [e.row_id for e in world.events(CallbackException)] == [stubborn.id]


async def test_a_stop_while_a_callback_hangs_does_not_dispatch_the_others_again(
    world: World,
) -> None:
    hangs, *others = [await world.track() for _ in range(4)]
    heard: list[str] = []
    all_heard = asyncio.Event()

    async def hears(changed: ChangeEvent) -> None:
        heard.append(changed.change.row_id)
        if len(heard) == 4:
            all_heard.set()
        if changed.change.row_id == hangs.id and heard.count(hangs.id) == 1:
            await asyncio.Event().wait()

    for row in (hangs, *others):
        await world.sync(row)
    announcing = asyncio.create_task(dispatch(world.context, registered(hears)))
    async with asyncio.timeout(10):
        await all_heard.wait()
    announcing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await announcing

    await dispatch(world.context, registered(hears))

    assert Counter(heard) == {hangs.id: 2} | dict.fromkeys((row.id for row in others), 1)


async def test_a_stop_as_the_last_callback_fails_waits_its_time_as_ever(world: World) -> None:
    row = await a_row_that_went_through(world, State.READY)
    heard: list[str] = []

    async def fails_as_it_is_stopped(changed: ChangeEvent) -> None:
        if not announcing.done():
            announcing.cancel()
            raise LookupError
        heard.append(changed.change.row_id)

    callbacks = registered(fails_as_it_is_stopped)
    announcing = asyncio.create_task(dispatch(world.context, callbacks))
    with pytest.raises(asyncio.CancelledError):
        await announcing
    at_once = await dispatch(world.context, callbacks)
    world.clock.move(SECOND)
    await dispatch(world.context, callbacks)

    assert at_once == 0
    assert heard == [row.id]
    assert [
        e.error for e in world.events(CallbackException) if isinstance(e, CallbackException)
    ] == ["LookupError"]


async def test_a_service_hears_only_of_its_own_environment(world: World) -> None:
    row = await world.track()
    await world.sync(row)
    heard = Heard()
    elsewhere = a_context(world, "staging")

    assert await dispatch(elsewhere, registered(heard)) == 0
    assert await elsewhere.store.outbox.forget(world.clock.now() + SECOND) == 0
    assert await dispatch(world.context, registered(heard)) == 1
