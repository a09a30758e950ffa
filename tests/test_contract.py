"""The contract of the per-row sync, sentence by sentence, on each database, by the real adapter."""

import asyncio
import logging
from datetime import timedelta
from uuid import uuid4

import pytest

from rindle_sync.domain import (
    ErrorKind,
    FailureKind,
    State,
    StuckPolicy,
    Verdict,
    redact_id,
    replace,
)
from rindle_sync.emulator.lifecycle import Life
from rindle_sync.errors import AuthenticationFailed, DatabaseUnavailable
from rindle_sync.gateway import FIRST_GAP
from rindle_sync.reconcile import sync
from rindle_sync.store.schema import changes
from rindle_sync.telemetry import EventLog, Failed, Resolved, Stuck, nanoseconds
from tests.support.rows import PUBLIC
from tests.support.world import ERRORED, NEVER, READY, World, unknown_id

THRESHOLD = timedelta(seconds=7200)
MICROSECOND = timedelta(microseconds=1)
KEYS = {"profile", "provider", "asset_id", "provider_state", "age_ms", "no_change"}


# step 1: fetch the row


async def test_a_row_that_is_gone_is_finished_and_nothing_is_told(world: World) -> None:
    assert await sync(world.context, unknown_id()) is None

    assert world.told == []
    assert world.calls == 0


async def test_another_providers_row_is_never_looked_up(world: World) -> None:
    row = await world.track()
    foreign = replace(row, id=str(uuid4()), provider_name="bunny")
    await world.context.store.assets.add(foreign)

    await world.sweep()

    assert world.calls == 1
    assert (await world.now_is(foreign)).state is State.PROCESSING


# step 2: stuck


@pytest.mark.parametrize("state", [State.UPLOADING, State.PROCESSING])
async def test_a_row_in_flight_past_the_threshold_is_errored_without_a_call(
    world: World, state: State
) -> None:
    row = await world.track(state, updated_at=world.clock.now() - THRESHOLD - MICROSECOND)

    await world.sync(row)

    after = await world.now_is(row)
    assert (after.state, after.error_kind) == (State.ERRORED, ErrorKind.STUCK)
    assert after.last_sync_error == f"stuck in :{state} past threshold"
    assert world.calls == 0
    assert world.names() == ["rindle.provider.sync.stuck"]


async def test_a_row_exactly_as_old_as_the_threshold_is_not_stuck(world: World) -> None:
    row = await world.track(life=NEVER, updated_at=world.clock.now() - THRESHOLD)

    await world.sync(row)

    assert (await world.now_is(row)).state is State.PROCESSING
    assert world.calls == 1


@pytest.mark.parametrize("state", [State.PENDING, State.READY])
async def test_a_row_that_is_not_in_flight_is_never_stuck(world: World, state: State) -> None:
    row = await world.track(state, updated_at=world.clock.now() - 2 * THRESHOLD)

    await world.sync(row)

    assert world.events(Stuck) == []
    assert (await world.now_is(row)).state is State.READY


async def test_ask_first_applies_the_answer_of_an_old_row(world: World) -> None:
    world.with_policy(stuck_policy=StuckPolicy.ASK_FIRST)
    row = await world.track(updated_at=world.clock.now() - 2 * THRESHOLD)

    await world.sync(row)

    assert (await world.now_is(row)).state is State.READY
    assert world.names() == ["rindle.provider.sync.resolved"]


async def test_ask_first_declares_a_row_stuck_that_the_answer_leaves_in_flight(
    world: World,
) -> None:
    world.with_policy(stuck_policy=StuckPolicy.ASK_FIRST)
    row = await world.track(life=NEVER, updated_at=world.clock.now() - 2 * THRESHOLD)

    await world.sync(row)

    after = await world.now_is(row)
    assert (after.state, after.last_sync_error) == (
        State.ERRORED,
        "stuck in :processing past threshold",
    )
    assert world.calls == 1
    assert [
        (e.name, e.provider_state, e.no_change) for e in world.events() if isinstance(e, Resolved)
    ] == [
        ("rindle.provider.sync.resolved", "processing", True),
        ("rindle.provider.sync.stuck", "errored", False),
    ]


async def test_ask_first_declares_nothing_without_an_answer(world: World) -> None:
    world.with_policy(stuck_policy=StuckPolicy.ASK_FIRST)
    world.emulator.add_fault("server_error")
    row = await world.track(updated_at=world.clock.now() - 2 * THRESHOLD)

    await world.sync(row)

    assert (await world.now_is(row)).state is State.PROCESSING


# step 3: ask, reconcile, tell


@pytest.mark.parametrize("state", [State.PENDING, State.UPLOADING, State.PROCESSING])
async def test_a_live_ready_asset_makes_the_row_ready_with_its_playback_ids(
    world: World, state: State
) -> None:
    row = await world.track(state)

    await world.sync(row)

    after, truth = await world.now_is(row), world.emulator.truth(row.provider_asset_id or "")
    assert after.state is State.READY
    assert [(p.id, p.policy) for p in after.playback_ids] == [
        (p.id, p.policy) for p in truth.playback_ids
    ]
    assert after.updated_at == world.clock.now()


async def test_an_asset_that_the_provider_errored_keeps_the_reason(world: World) -> None:
    row = await world.track(life=ERRORED)

    await world.sync(row)

    after = await world.now_is(row)
    assert (after.state, after.error_kind) == (State.ERRORED, ErrorKind.PROVIDER)
    assert after.last_sync_error
    assert "invalid_input" in after.last_sync_error


@pytest.mark.parametrize("life", [READY, NEVER])
async def test_resolved_is_told_on_every_answered_call(world: World, life: Life) -> None:
    row = await world.track(life=life)

    await world.sync(row)
    world.clock.move(60)
    await world.sync(row)

    assert world.names() == ["rindle.provider.sync.resolved"] * 2


async def test_an_unchanged_check_leaves_state_playback_ids_and_updated_at_untouched(
    world: World,
) -> None:
    row = await world.track(life=NEVER, playback_ids=(PUBLIC,))
    world.emulator.add_fault("missing_playback_ids")

    await world.sync(row)

    after = await world.now_is(row)
    assert (after.state, after.playback_ids, after.updated_at) == (
        row.state,
        row.playback_ids,
        row.updated_at,
    )
    assert after.checked_at == world.clock.now()
    assert await world.context.store.assets.changes_of(row.id) == []


async def test_an_unknown_provider_status_changes_nothing_and_is_told(world: World) -> None:
    world.emulator.add_fault("unknown_status")
    row = await world.track()

    await world.sync(row)

    assert (await world.now_is(row)).state is State.PROCESSING
    assert world.names() == ["rindle.provider.sync.resolved", "rindle.provider.sync.unknown_status"]


# step 4: 404


async def test_a_404_errors_the_row_and_resolved_is_told(world: World) -> None:
    row = await world.track(provider_asset_id=unknown_id())

    await world.sync(row)

    after = await world.now_is(row)
    assert (after.state, after.last_sync_error) == (State.ERRORED, "mux asset not found")
    [event] = world.events(Resolved)
    assert isinstance(event, Resolved)
    assert (event.name, event.provider_state, event.no_change) == (
        "rindle.provider.sync.resolved",
        "errored",
        False,
    )


# step 5: no answer


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("server_error", "mux answered 500"),
        ("bad_gateway", "mux answered 502"),
        ("broken_json", "no JSON"),
        ("truncated", "no JSON"),
        ("rate_limited", "mux answered 429"),
    ],
)
async def test_without_an_answer_only_the_text_is_kept(world: World, fault: str, says: str) -> None:
    world.emulator.add_fault(fault)
    row = await world.track()

    settled = await world.sync(row)

    after = await world.now_is(row)
    assert settled
    assert settled.decision.verdict is Verdict.UNANSWERED
    assert (after.state, after.updated_at, after.checked_at) == (row.state, row.updated_at, None)
    assert after.last_sync_error
    assert says in after.last_sync_error
    assert {e.name for e in world.events()} == {"rindle.provider.sync.failed"}


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999, 0.9999, 1.0])
@pytest.mark.parametrize("per_second", [1000, 1])
async def test_whatever_the_pauses_come_to_the_text_names_the_429(
    world: World, chance: float, per_second: float
) -> None:
    # with most of these the next call would be later than anybody waits, and is not made
    world.with_reads(100, per_second, chance=lambda: chance)
    world.emulator.add_fault("rate_limited")
    row = await world.track()

    settled = await world.sync(row)

    after = await world.now_is(row)
    assert settled
    assert settled.decision.verdict is Verdict.UNANSWERED
    assert (after.state, after.updated_at, after.checked_at) == (row.state, row.updated_at, None)
    assert "mux answered 429" in (after.last_sync_error or "")
    assert {e.name for e in world.events()} == {"rindle.provider.sync.failed"}


async def test_a_provider_that_says_nothing_is_given_up_after_the_time_limit(world: World) -> None:
    world.emulator.sleep = asyncio.sleep
    world.emulator.add_fault("silence")
    world.with_timeout(0.05)
    row = await world.track()

    await world.sync(row)

    assert (await world.now_is(row)).last_sync_error == "mux did not answer within 0.05 s"


async def test_a_check_without_an_answer_is_tried_three_times_in_all(world: World) -> None:
    fault = world.emulator.add_fault("server_error")
    row = await world.track()

    await world.sync(row)

    assert fault.fired == 3
    assert [e.attempt for e in world.events() if isinstance(e, Failed)] == [1, 2, 3]


async def test_a_429_waits_as_long_as_the_provider_asks_and_costs_no_attempt(world: World) -> None:
    world.emulator.add_fault("rate_limited", times=4, retry_after=9)
    row = await world.track()
    began = world.clock.now()

    await world.sync(row)

    assert (await world.now_is(row)).state is State.READY
    assert world.clock.now() - began >= timedelta(seconds=4 * 9)
    assert [(e.reason, e.attempt) for e in world.events() if isinstance(e, Failed)] == [
        ("throttled", 0)
    ] * 4


async def test_a_429_postpones_the_row_and_nobody_waits_beyond_a_bound(world: World) -> None:
    world.emulator.add_fault("rate_limited", times=1, retry_after=90)
    row, began = await world.track(), world.clock.now()

    settled = await world.sync(row)

    after = await world.now_is(row)
    assert settled
    assert settled.decision.verdict is Verdict.UNANSWERED
    assert (after.state, after.check_at, after.check_failures) == (
        row.state,
        began + timedelta(seconds=90),
        0,
    )
    assert (world.clock.now(), world.calls) == (began, 1)


async def test_a_429_that_names_no_time_is_waited_for_longer_each_time(world: World) -> None:
    world.emulator.add_fault("rate_limited", times=4)
    row = await world.track()
    began = world.clock.now()

    await world.sync(row)

    assert (await world.now_is(row)).state is State.READY
    assert world.clock.now() - began >= timedelta(seconds=1 + 2 + 4 + 8)


async def test_a_later_good_answer_clears_the_text(world: World) -> None:
    world.emulator.add_fault("server_error", times=3)
    row = await world.track(life=NEVER)

    await world.sync(row)
    assert (await world.now_is(row)).last_sync_error
    await world.sync(row)

    after = await world.now_is(row)
    assert (after.last_sync_error, after.check_failures) == (None, 0)


@pytest.mark.parametrize("fault", ["unauthorized", "forbidden"])
async def test_refused_credentials_stop_the_whole_run_and_end_no_row(
    world: World, fault: str
) -> None:
    world.emulator.add_fault(fault)
    rows = [await world.track() for _ in range(60)]

    with pytest.raises(AuthenticationFailed, match="mux_token_id"):
        await world.sweep()

    after = [await world.now_is(row) for row in rows]
    assert {row.state for row in after} == {State.PROCESSING}
    assert {row.updated_at for row in after} == {rows[0].updated_at}
    assert {row.check_failures for row in after} == {0}
    assert {row.last_sync_error for row in after} == {None}
    assert world.calls == 1
    assert sum(row.lease_until is not None for row in after) == 0


async def test_a_row_is_in_sync_once_the_credentials_work_again(world: World) -> None:
    world.emulator.add_fault("unauthorized", times=1)
    row = await world.track()
    with pytest.raises(AuthenticationFailed):
        await world.sync(row)
    assert (await world.now_is(row)).last_sync_error

    world.clock.move(FIRST_GAP)
    await world.sync(row)

    after = await world.now_is(row)
    assert (after.state, after.last_sync_error) == (State.READY, None)


async def test_the_text_of_a_failure_holds_no_id_and_at_most_4096_characters(world: World) -> None:
    row = await world.track(
        life=Life(ends="errored", after=0, error_message=f"{unknown_id()} " * 2000)
    )

    await world.sync(row)

    text = (await world.now_is(row)).last_sync_error or ""
    assert 0 < len(text) <= 4096
    assert "unknown" not in text


# the events


async def test_resolved_has_exactly_its_measurements_and_metadata(world: World) -> None:
    row = await world.track(profile="hls")

    await world.sync(row)

    [event] = world.events()
    assert event.name == "rindle.provider.sync.resolved"
    assert event.measurements() == {"system_time": nanoseconds(world.clock.now())}
    assert event.row_id == row.id
    assert event.metadata() == {
        "profile": "hls",
        "provider": "mux",
        "asset_id": redact_id(row.provider_asset_id),
        "provider_state": "ready",
        "age_ms": 3_600_000,
        "no_change": False,
    }
    assert {type(value) for value in event.metadata().values()} == {str, int, bool}


async def test_every_event_about_a_row_and_its_log_line_name_the_app_s_reference(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "rindle_sync")
    row = await world.track(reference="video-1")

    await world.sync(row)

    events = [event for event in world.told if event.row_id == row.id]
    assert {event.reference for event in events} == {"video-1"}
    for event in events:
        EventLog()(event)
    assert all(
        f"row_id={row.id} reference=video-1 " in record.getMessage() for record in caplog.records
    )


async def test_a_reference_that_is_the_provider_s_id_is_redacted_in_events(world: World) -> None:
    asset = unknown_id()
    row = await world.track(reference=asset, provider_asset_id=asset)

    await world.sync(row)

    assert {event.reference for event in world.told if event.row_id} == {redact_id(asset)}
    assert "reference" not in world.events()[0].metadata()


async def test_stuck_has_exactly_its_measurements_and_metadata(world: World) -> None:
    row = await world.track(updated_at=world.clock.now() - 2 * THRESHOLD)

    await world.sync(row)

    [event] = world.events()
    assert event.name == "rindle.provider.sync.stuck"
    assert set(event.measurements()) == {"system_time"}
    assert set(event.metadata()) == KEYS
    assert (event.metadata()["provider_state"], event.metadata()["age_ms"]) == (
        "errored",
        14_400_000,
    )


@pytest.mark.parametrize(
    ("provider_id", "tag"),
    [
        ("abcd", "...abcd"),
        ("abcdefgh", "...efgh"),
        ("abc", "...redacted"),
        ("", "...redacted"),
        (None, None),
    ],
)
def test_the_tag_is_the_last_four_characters(provider_id: str | None, tag: str | None) -> None:
    assert redact_id(provider_id) == tag


async def test_the_age_of_a_changed_row_is_read_before_the_write(world: World) -> None:
    row = await world.track()

    await world.sync(row)

    assert [(e.age_ms, e.no_change) for e in world.events() if isinstance(e, Resolved)] == [
        (3_600_000, False)
    ]


async def test_the_age_of_an_unchanged_row_grows_while_all_is_well(world: World) -> None:
    row = await world.track(State.READY)
    await world.sync(row)
    world.told.clear()

    for _ in range(2):
        world.clock.move(60)
        await world.sync(row)

    assert [(e.age_ms, e.no_change) for e in world.events() if isinstance(e, Resolved)] == [
        (60_000, True),
        (120_000, True),
    ]


async def test_nothing_is_told_of_a_write_that_failed(world: World) -> None:
    row = await world.track()
    async with world.context.store.database.engine.begin() as connection:
        await connection.run_sync(changes.drop)

    with pytest.raises(DatabaseUnavailable):
        await world.sync(row)

    assert world.told == []
    assert await world.now_is(row) == row


async def test_a_listener_that_fails_harms_nobody(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    row = await world.track()
    world.context.telemetry.listen(lambda _: 1 / 0)  # type: ignore[arg-type]

    with caplog.at_level(logging.WARNING, "rindle_sync"):
        await world.sync(row)

    assert (await world.now_is(row)).state is State.READY
    assert "ZeroDivisionError" in caplog.text


# known faults of the reference that must not come back, where no sentence above holds them


async def test_a_healthy_row_declared_stuck_in_an_outage_comes_back_by_itself(world: World) -> None:
    row = await world.track(updated_at=world.clock.now() - 2 * THRESHOLD)
    await world.sweep()
    assert (await world.now_is(row)).error_kind is ErrorKind.STUCK

    world.clock.move(timedelta(minutes=6))
    await world.sweep()

    after = await world.now_is(row)
    assert (after.state, after.error_kind, after.last_sync_error) == (State.READY, None, None)


async def test_a_row_that_was_not_found_comes_back_by_itself(world: World) -> None:
    world.emulator.add_fault("not_found_once")
    row = await world.track()
    await world.sweep()
    assert (await world.now_is(row)).error_kind is ErrorKind.NOT_FOUND

    world.clock.move(timedelta(minutes=6))
    await world.sweep()

    assert (await world.now_is(row)).state is State.READY


async def test_playback_ids_survive_an_answer_that_lacks_them(world: World) -> None:
    row = await world.track(playback_ids=(PUBLIC,))
    world.emulator.add_fault("missing_playback_ids")

    await world.sync(row)

    after = await world.now_is(row)
    assert (after.state, after.playback_ids) == (State.READY, (PUBLIC,))


async def test_a_lack_of_answers_is_a_value_and_never_an_exception(world: World) -> None:
    world.emulator.add_fault("rate_limited", retry_after=1)
    row = await world.track()

    settled = await world.sync(row)

    assert settled
    assert getattr(settled.observation, "kind", None) is FailureKind.THROTTLED


async def test_the_longest_due_rows_are_checked_and_no_row_starves(world: World) -> None:
    world.without_pages()
    rows = [await world.track(life=NEVER) for _ in range(120)]

    await world.sweep()
    world.clock.move(5)
    await world.sweep()

    assert {(await world.now_is(row)).checked_at for row in rows} == {
        world.clock.now() - timedelta(seconds=5)
    }
    assert world.calls == 120
