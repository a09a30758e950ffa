"""The slow pass over the whole library.

What it finds, what it never does, and how it is gone on with.
"""

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from msgspec.structs import asdict
from sqlalchemy import update

from rindle_sync.app import connect
from rindle_sync.config import Settings, plain_settings
from rindle_sync.diagnostics import environment_status
from rindle_sync.domain import (
    ADOPTED,
    ErrorKind,
    JobKind,
    Observation,
    ObservationSource,
    Outcome,
    PlaybackId,
    ProviderAsset,
    State,
    Trigger,
    replace,
)
from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.errors import AuthenticationFailed
from rindle_sync.providers import Page, Provider
from rindle_sync.reconcile import (
    AUDIT,
    BACKFILL,
    ENOUGH_ALIVE,
    LEASE,
    Context,
    Drift,
    Observed,
    Report,
    apply,
    audit,
    backfill,
    is_audit_due,
)
from rindle_sync.store import JobRuns
from rindle_sync.store.schema import assets
from rindle_sync.telemetry import Audited, StateChange
from rindle_sync.tracking import track
from tests.support.processes import (
    PATIENCE,
    Shell,
    a_store,
    all_rows,
    eventually,
    holding,
    serving,
    settings_for,
)
from tests.support.rows import a_row
from tests.support.world import ERRORED, NEVER, READY, World, a_job_runner, unknown_id

CONFIRM = timedelta(minutes=10)
NOTHING = dict.fromkeys((drift.value for drift in Drift), 0)


def lose(world: World, rows: Sequence[ProviderAsset]) -> None:
    """The assets of these rows are deleted, and nobody tells us."""
    for row in rows:
        world.emulator.delete_asset(row.provider_asset_id or "")


async def known(world: World) -> None:
    """We have looked before: the environment is known, and its line is in the table."""
    await world.sync(await world.track())
    world.clock.move(60)


async def suspected(world: World) -> set[str]:
    return {row.id async for row in world.context.store.assets.rows() if row.missing_since}


def after_calls(world: World, calls: int) -> Callable[[], bool]:
    """Says no once so many list pages were asked for."""
    return lambda: world.emulator.calls["list_assets"] < calls


def drift(report: Report, **expected: int) -> bool:
    assert report.drift == NOTHING | expected
    return True


# lost deletions


async def test_a_library_that_is_in_sync_is_left_alone(world: World) -> None:
    await known(world)
    await world.shelve(250)
    before = await world.tables("provider_rate_limits", "provider_job_runs")

    report = await audit(world.context)

    assert (report.outcome, report.rows, report.seen, report.calls, report.pages) == (
        Outcome.DONE,
        251,
        251,
        3,
        3,
    )
    assert drift(report)
    assert await world.tables("provider_rate_limits", "provider_job_runs") == before


async def test_a_lost_deletion_is_suspected_at_first_and_ended_by_the_sweep_later(
    world: World,
) -> None:
    rows = await world.shelve(150)
    lose(world, rows[40:42])

    report = await audit(world.context)
    first = await world.now_is(rows[40])
    world.clock.move(CONFIRM - timedelta(seconds=1))
    too_early = await world.sweep()
    still = await world.now_is(rows[40])
    world.clock.move(1)
    await world.sweep()

    assert drift(report, missing=2)
    assert (first.state, first.check_at) == (
        State.READY,
        first.missing_since and first.missing_since + CONFIRM,
    )
    assert (too_early.checked, still.state) == (0, State.READY)
    assert await world.states() == {State.READY: 148, State.DELETED: 2}
    [change] = await world.context.store.assets.changes_of(rows[40].id)
    assert (change.to_state, change.trigger) == (State.DELETED, Trigger.SWEEP)


async def test_an_asset_that_failed_and_was_deleted_is_found_too(world: World) -> None:
    await world.know_identity()
    row = await world.track(
        State.ERRORED, life=ERRORED, check_at=None, provider_asset_id=unknown_id()
    )

    report = await audit(world.context)

    assert drift(report, missing=1)
    assert await suspected(world) == {row.id}


async def test_a_row_that_is_there_at_the_second_check_is_cleared(world: World) -> None:
    rows = await world.shelve(30)
    asset = rows[7].provider_asset_id
    world.emulator.add_fault("dropped_entries", object_id=asset)
    world.emulator.add_fault("not_found", object_id=asset)
    await audit(world.context)
    suspects = await suspected(world)
    world.emulator.clear_faults()

    world.clock.move(CONFIRM)
    result = await world.sweep()

    after = await world.now_is(rows[7])
    assert suspects == {rows[7].id}
    assert result.checked == 1
    assert (after.state, after.missing_since, after.check_at, after.updated_at) == (
        State.READY,
        None,
        None,
        rows[7].updated_at,
    )
    assert await world.context.store.assets.changes_of(rows[7].id) == []


async def test_a_row_that_is_suspected_already_is_not_fetched_again(world: World) -> None:
    rows = await world.shelve(10)
    lose(world, rows[3:5])
    await audit(world.context)
    first = [await world.now_is(row) for row in rows]

    report = await audit(world.context)

    assert report.unlisted == 0
    assert [await world.now_is(row) for row in rows] == first


async def test_a_deletion_is_not_missed_because_one_answer_lacked(world: World) -> None:
    """An audit that could not check every row is not done: the one that resumes it checks again."""
    await known(world)
    rows = await world.shelve(30)
    lose(world, rows[3:5])
    world.emulator.add_fault(
        "server_error", operation="get_asset", object_id=rows[3].provider_asset_id, times=1
    )

    outcomes = [(await audit(world.context)).outcome]
    if await is_audit_due(world.context):
        outcomes.append((await audit(world.context)).outcome)

    assert await suspected(world) == {rows[3].id, rows[4].id}, outcomes


async def test_a_deletion_is_not_missed_because_of_a_rate_limit(world: World) -> None:
    await known(world)
    rows = await world.shelve(30)
    lose(world, rows[3:8])
    world.emulator.add_fault("rate_limited", operation="get_asset", times=3, retry_after=2)

    await audit(world.context)
    if await is_audit_due(world.context):
        await audit(world.context)

    assert await suspected(world) == {row.id for row in rows[3:8]}


async def test_a_row_that_never_gets_an_answer_does_not_hold_the_audit_for_ever(
    world: World,
) -> None:
    await known(world)
    rows = await world.shelve(250)
    lose(world, [rows[10], rows[210]])
    world.emulator.add_fault(
        "server_error", operation="get_asset", object_id=rows[210].provider_asset_id
    )

    for _ in range(3):
        await audit(world.context)
        world.clock.move(timedelta(minutes=10))

    assert not await is_audit_due(world.context)
    assert await suspected(world) == {rows[10].id}
    assert world.calls <= 40


async def test_an_audit_that_is_stopped_while_it_asks_by_id_asks_about_the_rest_later(
    world: World,
) -> None:
    await known(world)
    world.context = dataclasses.replace(world.context, batch=2)
    rows = await world.shelve(250)
    lose(world, gone := [*rows[160:168]])

    def few_by_id() -> bool:
        return world.emulator.calls["get_asset"] < 4

    stopped = await audit(world.context, keep_going=few_by_id)
    done = await audit(world.context)

    assert (stopped.outcome, done.outcome) == (Outcome.STOPPED, Outcome.DONE)
    assert await suspected(world) == {row.id for row in gone}


async def test_an_audit_that_is_stopped_on_the_last_page_is_not_done(world: World) -> None:
    await known(world)
    world.context = dataclasses.replace(world.context, batch=2)
    rows = await world.shelve(50)
    lose(world, gone := [*rows[10:18]])

    stopped = await audit(world.context, keep_going=lambda: world.emulator.calls["get_asset"] < 4)

    assert stopped.outcome is Outcome.STOPPED
    assert await is_audit_due(world.context)
    await audit(world.context)
    assert await suspected(world) == {row.id for row in gone}


async def test_a_circuit_breaker_that_opens_while_it_asks_by_id_does_not_end_the_audit_as_done(
    world: World,
) -> None:
    await known(world)
    world.context = dataclasses.replace(world.context, batch=10)
    rows = await world.shelve(600)
    lose(world, gone := [*rows[10:30]])
    world.emulator.add_fault("server_error", operation="get_asset", times=10)

    first = await audit(world.context)
    world.clock.move(timedelta(minutes=6))
    if await is_audit_due(world.context):
        await audit(world.context)

    assert first.outcome is not Outcome.DONE
    assert await suspected(world) == {row.id for row in gone}


# drift


async def test_playback_ids_and_policies_that_differ_are_settled_and_reported(world: World) -> None:
    rows = await world.shelve(5, every=3600)
    asset = world.emulator.create_asset(life=READY, policies=["signed"])
    [there] = world.emulator.truth(asset).playback_ids
    another = await world.track(
        State.READY, provider_asset_id=asset, playback_ids=(PlaybackId("other-1", "signed"),)
    )
    asset = world.emulator.create_asset(life=READY, policies=["signed"])
    [same] = world.emulator.truth(asset).playback_ids
    opened = await world.track(
        State.READY, provider_asset_id=asset, playback_ids=(PlaybackId(same.id, "public"),)
    )

    report = await audit(world.context)

    assert drift(report, playback_ids=1, policy=1)
    assert report.changed == 2
    assert {note.row_id for note in report.notes} == {another.id, opened.id}
    # what the provider has no more goes when a second answer lacks it
    added = (PlaybackId(there.id, "signed"), PlaybackId("other-1", "signed"))
    assert (await world.now_is(another)).playback_ids == added
    assert (await world.now_is(opened)).playback_ids == (PlaybackId(same.id, "signed"),)
    assert {e.by for e in world.told if isinstance(e, StateChange)} == {"audit"}
    assert [(await world.now_is(row)).version for row in rows] == [1] * 5


async def test_what_has_changed_and_is_not_answered_about_is_left_to_the_sweep(
    world: World,
) -> None:
    asset = world.emulator.create_asset(life=READY, policies=["signed"])
    row = await world.track(
        State.READY,
        provider_asset_id=asset,
        check_at=None,
        playback_ids=(PlaybackId("other-1", "signed"),),
    )
    world.emulator.add_fault("server_error", operation="get_asset", object_id=asset, times=1)

    report = await audit(world.context)
    after = await world.now_is(row)
    world.clock.move(timedelta(minutes=1))
    await world.sweep()

    assert (report.outcome, report.changed) == (Outcome.DONE, 0)
    assert (after.playback_ids, after.check_at is None) == (row.playback_ids, False)
    assert (await world.now_is(row)).playback_ids != row.playback_ids


async def test_states_that_differ_are_settled_and_reported(world: World) -> None:
    lost = await world.track(State.ERRORED, error_kind=ErrorKind.STUCK, check_at=None)
    failed = await world.track(State.READY, life=ERRORED, check_at=None)
    waiting = await world.track(State.PROCESSING, check_at=world.clock.now() + timedelta(hours=1))

    report = await audit(world.context)

    assert drift(report, state=3)
    assert [(await world.now_is(row)).state for row in (lost, failed, waiting)] == [
        State.READY,
        State.ERRORED,
        State.READY,
    ]


async def test_a_tombstone_whose_asset_is_there_is_reported_and_stays(world: World) -> None:
    row = await world.track(State.DELETED, check_at=None)

    report = await audit(world.context)

    assert drift(report, revived=1)
    assert (await world.now_is(row)).version == 1


# assets without a row


async def test_assets_without_a_row_are_reported(world: World) -> None:
    await known(world)
    await world.shelve(120)
    world.emulator.create_assets(7, life=READY, every=900)
    before = await world.tables("provider_rate_limits", "provider_job_runs")

    report = await audit(world.context)

    assert drift(report, orphan=7)
    assert (report.adopted, {note.row_id for note in report.notes}) == (0, {None})
    assert await world.tables("provider_rate_limits", "provider_job_runs") == before


async def test_assets_without_a_row_are_adopted_if_asked(world: World) -> None:
    await world.shelve(3)
    world.emulator.create_assets(2, life=READY, passthrough=lambda i: f"video-{i}")
    world.emulator.create_asset(life=NEVER)

    report = await audit(world.context, adopt=True)
    again = await audit(world.context, adopt=True)

    assert (
        report.adopted,
        report.drift[Drift.ORPHAN],
        again.adopted,
        again.drift[Drift.ORPHAN],
    ) == (3, 3, 0, 0)
    rows = [row async for row in world.context.store.assets.rows() if row.ingest_mode == ADOPTED]
    assert {row.state for row in rows} == {State.READY, State.PROCESSING}
    assert {"video-0", "video-1"} < {row.reference for row in rows}


async def test_an_adopted_row_is_named_by_track(world: World) -> None:
    asset = world.emulator.create_asset(life=READY)
    await audit(world.context, adopt=True)

    row = await track(
        world.context,
        state=None,
        reference="my-video",
        profile="hls",
        provider_asset_id=asset,
        playback_policy="signed",
    )

    rows = [row async for row in world.context.store.assets.rows()]
    assert rows == [row]
    assert (row.reference, row.profile, row.state, row.playback_policy, row.ingest_mode) == (
        "my-video",
        "hls",
        State.READY,
        "signed",
        None,
    )


async def test_what_track_says_of_an_adopted_row_is_not_undone_by_a_check_under_way(
    world: World,
) -> None:
    asset = world.emulator.create_asset(life=NEVER)
    await audit(world.context, adopt=True)
    [read] = [row async for row in world.context.store.assets.rows()]
    await track(
        world.context,
        state=None,
        profile="default",
        reference="my-video",
        provider_asset_id=asset,
        playback_policy="signed",
    )

    await apply(
        world.context,
        [
            Observed(
                read,
                Observation(source=ObservationSource.GET, at=world.clock.now(), state=State.READY),
            )
        ],
        Trigger.SWEEP,
    )

    after = await world.now_is(read)
    assert (after.reference, after.state, after.playback_policy, after.ingest_mode) == (
        "my-video",
        State.READY,
        "signed",
        None,
    )


async def test_track_of_an_adopted_row_keeps_all_that_it_is_told(world: World) -> None:
    asset = world.emulator.create_asset(life=READY)
    await audit(world.context, adopt=True)

    row = await track(
        world.context,
        state=None,
        profile="default",
        reference="v",
        provider_asset_id=asset,
        passthrough="mine",
    )

    assert row.passthrough == "mine"


async def test_track_of_an_upload_whose_asset_was_adopted_finds_it(world: World) -> None:
    """The app has not tracked its upload yet when the asset is adopted; then it does."""
    upload = world.emulator.create_upload(life=READY)
    asset = world.emulator.finish_upload(upload)
    await audit(world.context, adopt=True)

    await track(
        world.context,
        state=None,
        profile="default",
        reference="my-video",
        provider_upload_id=upload,
    )
    world.clock.move(60)
    await world.sweep()

    rows = [row async for row in world.context.store.assets.rows() if row.reference == "my-video"]
    assert [(row.state, row.provider_asset_id) for row in rows] == [(State.READY, asset)]


async def test_two_adopted_assets_of_one_passthrough_can_both_be_tracked(world: World) -> None:
    asset, other = world.emulator.create_assets(2, life=READY, passthrough="album-1")
    await audit(world.context, adopt=True)

    for number, named in enumerate((other, asset)):
        await track(
            world.context,
            state=None,
            profile="default",
            reference=f"video-{number}",
            provider_asset_id=named,
        )

    assert {row.reference async for row in world.context.store.assets.rows()} == {
        "video-0",
        "video-1",
    }


async def test_an_asset_that_a_row_waits_for_is_no_orphan(world: World) -> None:
    upload = world.emulator.create_upload(life=READY, passthrough="row-1")
    world.emulator.finish_upload(upload)
    by_passthrough = await world.track(
        State.PENDING, provider_asset_id=None, passthrough="row-1", check_at=None
    )
    upload = world.emulator.create_upload(life=READY)
    linked = world.emulator.finish_upload(upload)
    by_upload = await world.track(
        State.UPLOADING, provider_asset_id=None, provider_upload_id=upload
    )

    report = await audit(world.context, adopt=True)

    assert (report.drift[Drift.ORPHAN], report.adopted) == (0, 0)
    assert (await world.now_is(by_passthrough)).state is State.PENDING
    assert (await world.now_is(by_upload)).provider_asset_id == linked


# a change too large to be believed


@pytest.mark.parametrize(
    ("rows", "gone", "outcome"),
    [
        (20, 20, Outcome.DONE),
        (30, 21, Outcome.ALARM),
        (100, 20, Outcome.DONE),
        (100, 21, Outcome.ALARM),
        (500, 25, Outcome.DONE),
        (500, 26, Outcome.ALARM),
    ],
)
async def test_more_than_a_twentieth_and_twenty_rows_gone_is_not_believed(
    world: World, rows: int, gone: int, outcome: Outcome
) -> None:
    await world.context.store.environments.identify("emulator-environment")
    shelf = await world.shelve(rows)
    lose(world, shelf[:: rows // gone][:gone])
    before = await world.tables("provider_rate_limits", "provider_job_runs")

    report = await audit(world.context)

    assert report.outcome is outcome
    assert len(await suspected(world)) == (0 if outcome is Outcome.ALARM else gone)
    if outcome is Outcome.ALARM:
        assert await world.tables("provider_rate_limits", "provider_job_runs") == before
    assert [e.outcome for e in world.told if isinstance(e, Audited)] == [outcome.value]
    assert (await environment_status(world.context)).last_audit == report.figures()


async def test_an_alarm_changes_nothing_whatever_else_was_found(world: World) -> None:
    """Also what the list says of rows that are there, and assets that no row knows.

    It may not be our list.
    """
    await known(world)
    rows = await world.shelve(300)
    lose(world, rows[:60])
    await world.track(State.READY, check_at=None, playback_ids=(PlaybackId("other-1", "signed"),))
    world.emulator.create_assets(3, life=READY)
    before = await world.tables("provider_rate_limits", "provider_job_runs")

    report = await audit(world.context, adopt=True)

    assert report.outcome is Outcome.ALARM
    assert await world.tables("provider_rate_limits", "provider_job_runs") == before


async def test_an_alarm_costs_few_calls(world: World) -> None:
    await world.know_identity()
    rows = await world.shelve(2000)
    lose(world, rows)

    report = await audit(world.context)

    assert report.outcome is Outcome.ALARM
    assert world.calls == report.calls <= 1 + 150


async def test_a_large_change_goes_through_when_it_is_believed(world: World) -> None:
    rows = await world.shelve(120)
    lose(world, rows[10:100])

    report = await audit(world.context, accept_mass_change=True)
    world.clock.move(CONFIRM)
    await world.sweep()

    assert (report.outcome, report.ended) == (Outcome.DONE, 90)
    assert await world.states() == {State.READY: 30, State.DELETED: 90}


@pytest.mark.parametrize("year", [1, 1970, 9999])
async def test_one_asset_whose_creation_time_is_wrong_hides_no_deletion(
    world: World, year: int
) -> None:
    rows = await world.shelve(250)
    await known(world)
    lose(world, [rows[3], rows[-3]])

    def with_a_wrong_time(page: Page) -> Page:
        first, *rest = page.entries
        first = replace(first, created_at=datetime(year, 12, 31, tzinfo=UTC))
        return Page([first, *rest], page.cursor)

    world.with_provider(Lists(world.context.gateway.provider, with_a_wrong_time))

    report = await audit(world.context)

    assert (report.outcome, report.unlisted, report.calls) == (Outcome.DONE, 2, 3 + 2)
    assert await suspected(world) == {rows[3].id, rows[-3].id}


async def test_an_alarm_is_not_forgotten_by_going_on(world: World) -> None:
    """Fifteen rows gone on each of the pages.

    Each part of the audit looks harmless, all of it does not.
    """
    rows = await world.shelve(300)
    lose(world, [row for row in rows if rows.index(row) % 5 == 0])

    outcomes = [
        (await audit(world.context, keep_going=after_calls(world, calls))).outcome
        for calls in (1, 2, 3, 9)
    ]

    assert Outcome.ALARM in outcomes
    assert await suspected(world) == set()


# lists that cannot be relied on


@pytest.mark.parametrize("fault", ["out_of_order", "repeated_entries", "dropped_entries"])
async def test_a_list_that_is_not_right_ends_no_row_and_hides_no_deletion(
    world: World, fault: str
) -> None:
    await world.context.store.environments.identify("emulator-environment")
    rows = await world.shelve(450)
    world.emulator.add_fault(fault)
    lose(world, rows[200:202])

    report = await audit(world.context)

    assert report.outcome is Outcome.DONE
    assert drift(report, missing=2)
    assert await suspected(world) == {rows[200].id, rows[201].id}
    assert report.calls <= 5 + 2 + 5


async def test_assets_of_one_second_across_page_borders_are_not_fetched(world: World) -> None:
    rows = await world.shelve(350, every=0)
    older = await world.shelve(50, older_than=90_000)
    lose(world, [rows[120], older[20]])

    report = await audit(world.context)

    assert drift(report, missing=2)
    assert report.calls == world.calls == 4 + 2


async def test_many_seconds_with_many_assets_each_are_not_fetched(world: World) -> None:
    rows = await world.shelve(640, every=1 / 30)
    lose(world, rows[300:303])

    report = await audit(world.context)

    assert drift(report, missing=3)
    assert report.calls == 7 + 3


async def test_an_empty_list_ends_no_row_and_costs_few_calls(world: World) -> None:
    await world.shelve(400)
    world.with_provider(Lists(world.context.gateway.provider, lambda _: Page(())))

    report = await audit(world.context)

    assert drift(report)
    assert report.is_list_doubtful
    assert ENOUGH_ALIVE <= world.calls <= 2 * ENOUGH_ALIVE
    assert await suspected(world) == set()


async def test_a_list_that_drops_every_second_asset_costs_few_calls(world: World) -> None:
    await world.shelve(1000)
    provider = world.context.gateway.provider
    world.with_provider(Lists(provider, lambda page: Page(page.entries[::2], page.cursor)))

    report = await audit(world.context)

    assert drift(report)
    assert world.calls <= 10 + 2 * ENOUGH_ALIVE
    assert await suspected(world) == set()


async def test_a_list_that_begins_with_the_oldest_ends_no_row(world: World) -> None:
    await world.shelve(400)
    world.with_provider(Upwards(world.context.gateway.provider))

    report = await audit(world.context)

    assert drift(report)
    assert world.emulator.calls["get_asset"] <= 2 * ENOUGH_ALIVE
    assert await suspected(world) == set()


async def test_entries_without_a_time_end_no_row_and_are_not_fetched(world: World) -> None:
    await world.shelve(250)
    world.with_provider(Lists(world.context.gateway.provider, without_times))

    report = await audit(world.context)

    assert drift(report)
    assert report.calls == 3


async def test_rows_tracked_long_after_their_assets_were_made_are_watched_by_the_second_audit(
    world: World,
) -> None:
    """A library that was taken over with `track(state="ready")`.

    Each row was made today, its asset long ago.
    """
    rows = await world.shelve(400, older_than=864_000, provider_created_at=world.clock.now())
    first = await audit(world.context)
    lose(world, rows[100:103])
    world.emulator.reset_calls()

    second = await audit(world.context)

    assert first.calls <= 4 + 2 * ENOUGH_ALIVE
    assert second.calls == 4 + 3
    assert await suspected(world) == {row.id for row in rows[100:103]}


async def test_a_list_that_leads_back_to_itself_does_not_hold_the_audit_for_ever(
    world: World,
) -> None:
    await known(world)
    rows = await world.shelve(350)
    lose(world, rows[5:6])
    right = world.context.gateway.provider
    world.with_provider(Circle(right))
    await audit(world.context)
    await audit(world.context)

    world.with_provider(right)
    outcomes = [(await audit(world.context)).outcome for _ in range(2)]

    assert world.emulator.calls["list_assets"] < 30
    assert Outcome.DONE in outcomes
    assert await suspected(world) == {rows[5].id}


# a dry run


async def a_mess(world: World) -> None:
    """Something of everything that an audit finds."""
    rows = await world.shelve(230)
    lose(world, rows[50:54])
    await world.track(State.READY, check_at=None, playback_ids=(PlaybackId("other-1", "signed"),))
    await world.track(State.ERRORED, error_kind=ErrorKind.STUCK, check_at=None)
    await world.track(State.DELETED, check_at=None)
    world.emulator.create_assets(3, life=READY, every=900)


async def test_a_dry_run_writes_nothing_and_tells_what_an_audit_does(world: World) -> None:
    await known(world)
    await a_mess(world)
    world.told.clear()
    before = await world.tables("provider_rate_limits")

    previewed = await audit(world.context.for_dry_run(), adopt=True)
    untouched, silent = await world.tables("provider_rate_limits"), list(world.told)
    done = await audit(world.context)

    assert untouched == before
    assert silent == []
    assert asdict(previewed) == asdict(done)
    assert drift(done, missing=4, playback_ids=1, state=1, revived=1, orphan=3)


async def test_the_first_dry_run_writes_nothing_either(world: World) -> None:
    """Nobody has looked before: neither the environment nor the breaker has its line yet."""
    await a_mess(world)
    before = await world.tables("provider_rate_limits")

    await audit(world.context.for_dry_run())

    assert await world.tables("provider_rate_limits") == before


async def test_a_dry_run_beside_an_audit_that_was_broken_off_leaves_that_alone(
    world: World,
) -> None:
    await known(world)
    await a_mess(world)
    await audit(world.context, keep_going=after_calls(world, 1))
    before = await world.tables("provider_rate_limits")

    previewed = await audit(world.context.for_dry_run())

    assert await world.tables("provider_rate_limits") == before
    assert previewed.pages == 3


# going on


async def test_an_audit_that_was_stopped_goes_on_where_it_was(world: World) -> None:
    rows = await world.shelve(950)
    lose(world, gone := rows[30::100])

    reports = [await audit(world.context, keep_going=after_calls(world, n)) for n in (1, 4, 5, 99)]

    assert [report.outcome for report in reports] == [*[Outcome.STOPPED] * 3, Outcome.DONE]
    assert (
        world.emulator.calls["list_assets"] <= 10 + 3
    )  # a page that was in hand as it was stopped comes again
    assert (reports[-1].seen, reports[-1].rows, reports[-1].ended) == (950, 950, 10)
    assert await suspected(world) == {row.id for row in gone}


async def test_an_audit_that_was_cancelled_goes_on_where_it_was(world: World) -> None:
    rows = await world.shelve(950)
    lose(world, gone := rows[30::100])
    rule = world.emulator.add_fault("silence", operation="list_assets", times=1, probability=0.25)
    world.emulator.sleep = asyncio.sleep
    work = asyncio.create_task(audit(world.context))
    async with asyncio.timeout(10):
        while not rule.fired:  # noqa: ASYNC110  the emulator has no event to wait for
            await asyncio.sleep(0.01)

    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    done = await audit(world.context)

    assert done.outcome is Outcome.DONE
    assert world.emulator.calls["list_assets"] == 11
    assert await suspected(world) == {row.id for row in gone}
    assert [e.outcome for e in world.told if isinstance(e, Audited)] == ["stopped", "done"]


async def test_going_on_among_assets_of_one_second_asks_about_none_of_them(world: World) -> None:
    rows = await world.shelve(350, every=0)
    older = await world.shelve(80, older_than=90_000)
    lose(world, [rows[60], older[20]])

    for _ in range(3):
        with pytest.raises(EnoughError):
            await audit(world.context, on_progress=enough)
    report = await audit(world.context)

    assert report.outcome is Outcome.DONE
    assert drift(report, missing=2)
    assert world.emulator.calls["get_asset"] == 2


class EnoughError(Exception):
    """Whoever watches has seen enough."""


def enough(_: Report) -> None:
    raise EnoughError


async def test_the_figures_of_an_audit_that_was_gone_on_with_are_those_of_the_whole(
    world: World,
) -> None:
    await world.shelve(350)
    for _ in range(3):
        with pytest.raises(EnoughError):
            await audit(world.context, on_progress=enough)

    report = await audit(world.context)

    assert (report.pages, report.seen, report.rows) == (4, 350, 350)
    assert report.calls == world.calls == 4


async def test_an_outage_keeps_what_was_done(world: World) -> None:
    await known(world)
    rows = await world.shelve(450)
    lose(world, gone := rows[30::100])
    await audit(world.context, keep_going=after_calls(world, 2))
    world.emulator.add_fault("server_error", operation="list_assets")
    down = await audit(world.context)
    world.emulator.clear_faults()
    world.emulator.reset_calls()
    world.clock.move(timedelta(minutes=10))

    done = await audit(world.context)

    assert (down.outcome, done.outcome) == (Outcome.UNREACHABLE, Outcome.DONE)
    assert await suspected(world) == {row.id for row in gone}
    assert world.emulator.calls["list_assets"] <= 4


async def test_an_outage_in_the_middle_is_told_as_unreachable(world: World) -> None:
    await known(world)
    await world.shelve(450)

    def breaks(report: Report) -> None:
        if report.pages == 2:
            world.emulator.add_fault("server_error")

    down = await audit(world.context, on_progress=breaks)
    world.emulator.clear_faults()
    world.emulator.reset_calls()
    world.clock.move(timedelta(minutes=10))
    done = await audit(world.context)

    assert (down.outcome, down.pages) == (Outcome.UNREACHABLE, 2)
    assert (done.outcome, world.emulator.calls["list_assets"]) == (Outcome.DONE, 3)
    assert [e.outcome for e in world.told if isinstance(e, Audited)] == ["unreachable", "done"]


async def test_credentials_that_are_refused_in_the_middle_mark_nothing(world: World) -> None:
    await known(world)
    rows = await world.shelve(450)
    lose(world, rows[440:444])

    def refuses(report: Report) -> None:
        if report.pages == 2:
            world.emulator.add_fault("unauthorized")

    with pytest.raises(AuthenticationFailed):
        await audit(world.context, on_progress=refuses)

    assert await suspected(world) == set()
    assert [e.outcome for e in world.told if isinstance(e, Audited)] == ["refused"]
    assert (await environment_status(world.context)).circuit == "refused"


async def test_credentials_that_are_refused_by_id_mark_nothing(world: World) -> None:
    await known(world)
    rows = await world.shelve(50)
    lose(world, rows[10:14])
    world.emulator.add_fault("forbidden", operation="get_asset")
    before = await world.tables(
        "provider_rate_limits", "provider_environments", "provider_job_runs"
    )

    with pytest.raises(AuthenticationFailed):
        await audit(world.context)

    assert (
        await world.tables("provider_rate_limits", "provider_environments", "provider_job_runs")
        == before
    )


async def test_a_place_that_the_provider_no_longer_knows_does_not_hold_the_audit_for_ever(
    world: World,
) -> None:
    await known(world)
    rows = await world.shelve(350)
    lose(world, rows[20:21])
    await audit(world.context, keep_going=after_calls(world, 1))
    await spoil_cursor(world)

    outcomes = [(await audit(world.context)).outcome for _ in range(2)]

    assert outcomes[-1] is Outcome.DONE
    assert await suspected(world) == {rows[20].id}


async def spoil_cursor(world: World) -> None:
    job_runs, now = world.context.store.job_runs, world.clock.now()
    token = "00000000-0000-4000-8000-000000000000"
    standing = await job_runs.take(AUDIT, now=now, token=token, until=now + LEASE)
    assert standing
    assert standing.began_at
    progress = dict(standing.progress or {}) | {"cursor": "no-such-place"}
    await job_runs.save(token, began_at=standing.began_at, progress=progress, until=now)
    await job_runs.release(token)


# two at once


async def test_of_two_audits_at_once_one_says_that_the_other_is_under_way(world: World) -> None:
    await known(world)
    rows = await world.shelve(350)
    lose(world, rows[20:21])
    world.emulator.reset_calls()

    begun = asyncio.Event()
    first = asyncio.create_task(audit(world.context, on_progress=lambda _: begun.set()))
    await begun.wait()
    other = await audit(world.context)
    done = await first

    assert (done.outcome, other.outcome) == (Outcome.DONE, Outcome.ALREADY_RUNNING)
    assert world.emulator.calls["list_assets"] == 4
    assert len(world.events(Audited)) == 1
    assert await suspected(world) == {rows[20].id}


async def test_an_audit_that_was_taken_over_does_not_end_what_the_other_goes_on_with(
    world: World,
) -> None:
    """It was away for longer than it is held, on its last page.

    The other one is in the middle of it.
    """
    await known(world)
    rows = await world.shelve(150)
    lose(world, rows[120:122])
    others: list[str] = []

    async def taken_over() -> None:
        now = world.clock.now() + 2 * LEASE
        token = "00000000-0000-4000-8000-000000000000"
        assert await world.context.store.job_runs.take(
            AUDIT, now=now, token=token, until=now + 100 * LEASE
        )
        others.append(token)

    provider = world.context.gateway.provider
    world.with_provider(Lists(provider, lambda page: page, last=taken_over))

    report = await audit(world.context)

    assert others
    assert report.outcome is Outcome.ALREADY_RUNNING
    assert await suspected(world) == set()


# spare budget


async def test_an_audit_leaves_half_of_the_bucket_to_others(world: World) -> None:
    await world.context.store.environments.identify("emulator-environment")
    await world.shelve(2500)
    world.with_reads(20, 1.0)
    began = world.clock.now()

    report = await audit(world.context)

    assert (report.outcome, report.calls) == (Outcome.DONE, 25)
    assert await world.context.gateway.reads.take(100, trigger=Trigger.SYNC) >= 10
    assert (world.clock.now() - began).total_seconds() >= 25 - 10 - 1


async def test_an_audit_waits_where_half_of_the_bucket_is_gone(world: World) -> None:
    await known(world)
    await world.shelve(10)
    world.with_reads(20, 0.001)
    await world.context.gateway.reads.take(10)
    until = world.clock.now() + timedelta(minutes=5)

    report = await audit(world.context, keep_going=lambda: world.clock.now() < until)

    assert (report.outcome, report.calls) == (Outcome.RATE_LIMITED, 0)
    assert report.retry_after == pytest.approx(1000, abs=1)
    assert await world.context.gateway.reads.take(100) == 10


async def test_a_sweep_goes_first(world: World) -> None:
    await known(world)
    world.without_pages()
    await world.shelve(1500)
    due = [await world.track(life=NEVER) for _ in range(25)]
    world.with_reads(20, 1.0)
    done: list[str] = []

    async def sweeps() -> None:
        await world.sweep()
        done.append("sweep")

    async def audits() -> None:
        await audit(world.context)
        done.append("audit")

    began = world.clock.now()
    auditing = asyncio.create_task(audits())
    await sweeps()
    took = world.clock.now() - began
    await auditing

    assert done == ["sweep", "audit"]
    assert min([(await world.now_is(row)).version for row in due]) >= 2
    assert took <= timedelta(seconds=25 - 8 + 5)


async def test_an_audit_that_waits_for_the_rate_limit_ends_soon_when_it_is_asked_to(
    world: World,
) -> None:
    await known(world)
    await world.shelve(350)
    world.with_reads(1, 0.01)
    stop_at = world.clock.now() + timedelta(seconds=30)

    report = await audit(world.context, keep_going=lambda: world.clock.now() < stop_at)

    assert report.outcome is Outcome.STOPPED
    assert world.clock.now() <= stop_at + timedelta(seconds=2)


async def test_an_audit_whose_list_is_down_ends_soon_when_it_is_asked_to(world: World) -> None:
    await known(world)
    await world.shelve(350)
    world.emulator.add_fault("server_error", operation="list_assets")
    stop_at = world.clock.now() + timedelta(seconds=2)

    await audit(world.context, keep_going=lambda: world.clock.now() < stop_at)

    assert world.clock.now() <= stop_at + timedelta(seconds=10)


async def test_the_whole_of_a_large_library_takes_a_call_for_a_hundred_assets(world: World) -> None:
    rows = await world.shelve(2500)
    lose(world, rows[1::100])

    report = await audit(world.context)

    assert (report.pages, report.calls, report.ended) == (25, 50, 25)


# when


async def test_when_an_audit_is_due(world: World) -> None:
    await world.shelve(250)
    assert await is_audit_due(world.context)
    assert not await is_audit_due(without_audits(world))

    await audit(world.context, keep_going=after_calls(world, 1))
    assert await is_audit_due(world.context)
    assert not await is_audit_due(without_audits(world))

    await audit(world.context)
    assert not await is_audit_due(world.context)
    world.clock.move(0.95 * timedelta(days=1) - timedelta(microseconds=1))
    assert not await is_audit_due(world.context)
    world.clock.move(timedelta(microseconds=1))
    assert await is_audit_due(world.context)


def without_audits(world: World) -> Context:
    return dataclasses.replace(world.context, audit_every=timedelta(0))


@pytest.mark.long_on_postgresql
async def test_a_lost_deletion_of_a_settled_row_is_known_within_a_day_by_default(
    world: World,
) -> None:
    """The worst moment: just behind the audit, and no webhook comes."""
    await known(world)
    rows = await world.shelve(600)
    world.emulator.set_rate_limits("low")
    world.with_reads(20, 1.0)
    job_runner = a_job_runner(world)
    newest = rows[-1]

    def lose_it(report: Report) -> None:
        if report.pages == 1:
            lose(world, [newest])

    assert (await audit(world.context, on_progress=lose_it)).outcome is Outcome.DONE
    deleted_at = world.clock.now()
    while (await world.now_is(newest)).state is not State.DELETED:
        world.clock.move(timedelta(minutes=1))
        await job_runner.run(JobKind.AUDIT)
        await job_runner.run(JobKind.SWEEP)
        assert world.clock.now() - deleted_at <= timedelta(days=1)

    assert world.emulator.statuses[429] == 0


async def test_a_dry_run_does_not_put_off_the_next_audit(world: World) -> None:
    await audit(world.context.for_dry_run())

    assert await is_audit_due(world.context)


def settings_of(url: str, emulator: MuxEmulator, **others: Any) -> Settings:
    return plain_settings(
        database_url=url,
        mux_token_id=emulator.token_id,
        mux_token_secret=emulator.token_secret,
        **others,
    )


@pytest.mark.parametrize(("days", "audits"), [(7, 1), (0, 0)])
async def test_the_service_audits_by_itself_where_it_shall(
    tables_url: str, days: float, audits: int
) -> None:
    emulator, told, stop = MuxEmulator(), list[Any](), asyncio.Event()
    settings = settings_of(
        tables_url,
        emulator,
        audit_days=days,
        sweep_interval_seconds=0.2,
        provider_polling_floor_seconds=0.1,
        provider_check_cap_seconds=0.1,
        mux_environment_id=emulator.whoami.environment_id,
    )
    transport = httpx.ASGITransport(app=emulator.app)
    async with connect(settings, listeners=[told.append], transport=transport) as rindle:
        hour_ago = datetime.now(UTC) - timedelta(hours=1)
        row = a_row(State.READY, provider_asset_id=unknown_id(), updated_at=hour_ago)
        due = a_row(
            provider_asset_id=emulator.create_asset(life=NEVER),
            updated_at=hour_ago,
            check_at=hour_ago,
        )
        await rindle.store.assets.add_all([row, due])
        service = asyncio.create_task(rindle.run(stop))

        async def swept() -> None:
            assert len([e for e in told if e.name == "rindle.provider.sweep.completed"]) >= 3
            assert len([e for e in told if isinstance(e, Audited)]) >= audits

        await eventually(swept)
        stop.set()
        await asyncio.wait_for(service, PATIENCE)
        kept = await rindle.get(row.id)

    assert [e.outcome for e in told if isinstance(e, Audited)] == ["done"] * audits
    assert kept
    assert (kept.missing_since is not None) == bool(audits)


async def test_a_service_that_is_stopped_in_an_audit_ends_in_time_and_keeps_its_progress(
    tables_url: str,
) -> None:
    emulator, stop = MuxEmulator(), asyncio.Event()
    emulator.create_assets(1000, life=READY)
    settings = settings_of(tables_url, emulator, provider_timeout_seconds=300)
    transport = httpx.ASGITransport(app=emulator.app)
    with holding(emulator, "list_assets", after=2) as gate:
        async with connect(settings, transport=transport) as rindle:
            service = asyncio.create_task(rindle.run(stop))
            await eventually(gate.holds)
            stop.set()
            gate.open()
            await asyncio.wait_for(service, PATIENCE)
            standing = await rindle.store.job_runs.get(AUDIT)

    assert emulator.calls["list_assets"] == 3
    assert standing.began_at
    assert standing.progress
    assert standing.progress["report"]["pages"] >= 2


# killed


async def test_an_audit_that_is_killed_is_gone_on_with(tables_url: str, tmp_path: Path) -> None:
    emulator = MuxEmulator()
    ids = emulator.create_assets(1500, life=READY, created_at=emulator.now() - 900_000, every=500)
    async with a_store(tables_url) as store:
        with serving(emulator) as far_end:
            shell = Shell(tmp_path, settings_for(tables_url, far_end))
            assert (await shell.run("backfill")).code == 0
            await let_time_pass(store.database.engine)
            for asset in ids[50::100]:
                emulator.delete_asset(asset)
            emulator.reset_calls()
            for pages in (2, 4):
                with holding(emulator, "list_assets", after=pages) as gate:
                    async with shell.but(provider_timeout_seconds=300).started("audit") as running:
                        await running.waits_at(gate)
                        running.process.kill()
                        await running.process.wait()
                at_once = await shell.run("audit", "--json")
                assert (at_once.code, at_once.json["outcome"]) == (1, "already_running")
                await lease_ends(store.job_runs)

            done = await shell.run("audit", "--json")

        assert (done.code, done.json["outcome"], done.json["drift"]) == (
            1,
            "done",
            NOTHING | {"missing": 15},
        )
        assert (done.json["pages"], done.json["seen"]) == (15, 1500)
        pages = emulator.calls["list_assets"]
        assert pages <= 15 + 2, f"{pages - 15} pages were read twice"
        missing = {row.provider_asset_id for row in await all_rows(store) if row.missing_since}
        assert missing == set(ids[50::100])


async def let_time_pass(engine: Any) -> None:
    """As if the rows had been at rest for an hour."""
    async with engine.begin() as connection:
        await connection.execute(
            update(assets).values(updated_at=datetime.now(UTC) - timedelta(hours=1))
        )


async def lease_ends(job_runs: JobRuns) -> None:
    """As if the time of the lease had passed."""
    later, token = datetime.now(UTC) + timedelta(days=1), "00000000-0000-4000-8000-000000000000"
    assert await job_runs.take(AUDIT, now=later, token=token, until=later)
    await job_runs.release(token)


# providers whose list is not as it should be


class Lists:
    """A provider whose pages are what `change` makes of them.

    `last` is called as the last one is asked for.
    """

    def __init__(
        self, provider: Provider, change: Callable[[Page], Page], last: Any = None
    ) -> None:
        self._provider = provider
        self._change = change
        self._last = last

    def __getattr__(self, name: str) -> Any:
        return getattr(self._provider, name)

    async def list_assets(self, at: datetime, cursor: str | None = None) -> Page:
        page = await self._provider.list_assets(at, cursor)
        if self._last and page.cursor is None:
            await self._last()
        return self._change(page)


def without_times(page: Page) -> Page:
    return Page([replace(seen, created_at=None) for seen in page.entries], page.cursor)


class Circle(Lists):
    """The third page leads back to the second."""

    def __init__(self, provider: Provider) -> None:
        super().__init__(provider, lambda page: page)
        self._second: str | None = None

    async def list_assets(self, at: datetime, cursor: str | None = None) -> Page:
        page = await super().list_assets(at, cursor)
        if cursor is None:
            self._second = page.cursor
        return Page(page.entries, self._second) if self._second else page


class Upwards(Lists):
    """The list begins with the oldest."""

    def __init__(self, provider: Provider) -> None:
        super().__init__(provider, lambda page: page)

    async def list_assets(self, at: datetime, cursor: str | None = None) -> Page:
        entries: list[Observation] = []
        following: str | None = None
        while True:
            page = await super().list_assets(at, following)
            entries += page.entries
            if (following := page.cursor) is None:
                break
        entries.sort(key=lambda seen: seen.created_at or at)
        start = int(cursor or 0)
        return Page(
            entries[start : start + 100], str(start + 100) if start + 100 < len(entries) else None
        )


@pytest.mark.parametrize(
    "saved",
    [
        {"rows": 3, "seen": 2, "of_a_newer_version": 7},
        {"rows": 3, "seen": 2, "drift": {"state": 1}},
        {"rows": "three"},
        "no report at all",
    ],
    ids=["an unknown field", "a kind of drift less", "a wrong type", "no report"],
)
async def test_progress_that_another_version_has_saved_stops_no_audit(
    world: World, saved: object
) -> None:
    await world.shelve(3)
    job_runs, now = world.context.store.job_runs, world.clock.now()
    until = now + timedelta(seconds=1)
    await job_runs.take(AUDIT, now=now, token=(token := str(uuid4())), until=until)
    cursor = (await world.context.gateway.provider.list_assets(now)).cursor
    progress = {"report": saved, "reach": now.isoformat(), "at_reach": [], "cursor": cursor or "x"}
    await job_runs.save(token, began_at=now, progress=progress, until=until)
    await job_runs.release(token)

    await audit(world.context)
    report = await audit(world.context)

    assert (report.outcome, report.seen) == (Outcome.DONE, 3)


async def test_an_audit_whose_progress_cannot_be_read_begins_at_the_top(world: World) -> None:
    """Not in the middle: all rows above would be fetched by id, as if the list lacked them."""
    rows = await world.shelve(150)
    lose(world, rows[-1:])
    job_runs, now = world.context.store.job_runs, world.clock.now()
    until = now + timedelta(seconds=1)
    await job_runs.take(AUDIT, now=now, token=(token := str(uuid4())), until=until)
    cursor = (await world.context.gateway.provider.list_assets(now)).cursor
    progress = {"report": "of another version", "reach": now.isoformat(), "cursor": cursor}
    await job_runs.save(token, began_at=now, progress=progress, until=until)
    await job_runs.release(token)

    report = await audit(world.context)

    assert (report.outcome, report.seen, report.ended) == (Outcome.DONE, 150, 1)
    assert (report.pages, report.unlisted) == (2, 1)


async def test_progress_that_a_newer_version_has_saved_stops_no_backfill(world: World) -> None:
    world.emulator.create_assets(2)
    job_runs, now = world.context.store.job_runs, world.clock.now()
    until = now + timedelta(seconds=1)
    await job_runs.take(BACKFILL, now=now, token=(token := str(uuid4())), until=until)
    progress = {"filled": {"assets": 1, "of_a_newer_version": True}, "cursor": "x"}
    await job_runs.save(token, began_at=now, progress=progress, until=until)
    await job_runs.release(token)

    await backfill(world.context)
    filled = await backfill(world.context)

    assert filled.outcome is Outcome.DONE
