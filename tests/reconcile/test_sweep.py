"""The pass over the rows that are due."""

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from rindle_sync.domain import (
    ErrorKind,
    Observation,
    Outcome,
    PlaybackId,
    ProviderAsset,
    State,
    Trigger,
    replace,
)
from rindle_sync.gateway import KEPT_FREE, RUN
from rindle_sync.providers import Page, Provider
from rindle_sync.reconcile import (
    ROWS_FOR_A_PAGE_IN_VAIN,
    Applied,
    ListIndex,
    audit,
    check_first,
    sweep,
)
from rindle_sync.store import JobRun, JobRuns, Write
from rindle_sync.telemetry import Resolved, StateChange, Stuck, Swept
from tests.support.rows import OLD, a_row
from tests.support.tables import SqliteTables
from tests.support.world import ERRORED, NEVER, READY, World, a_world, unknown_id

FLOOR = timedelta(seconds=30)


def until(world: World, calls: int) -> Callable[[], bool]:
    """Says yes until so many calls were made."""
    return lambda: world.calls < calls


async def test_every_due_row_is_in_sync_after_one_run(world: World) -> None:
    rows = [await world.track() for _ in range(7)]

    result = await world.sweep()

    assert (result.outcome, result.checked, result.changed) == (Outcome.DONE, 7, 7)
    assert {(await world.now_is(row)).state for row in rows} == {State.READY}
    assert world.calls == result.calls == result.pages == 1


async def test_a_row_touched_less_than_the_floor_ago_is_left_alone(world: World) -> None:
    await world.track(updated_at=world.clock.now() - FLOOR + timedelta(microseconds=1))
    await world.track(updated_at=world.clock.now() - FLOOR)

    assert (await world.sweep()).checked == 1


async def test_a_row_is_left_alone_before_its_time(world: World) -> None:
    await world.track(check_at=world.clock.now() + timedelta(microseconds=1))

    assert (await world.sweep()).checked == 0
    assert world.calls == 0


@pytest.mark.long_on_postgresql
async def test_a_run_checks_each_row_once_even_when_it_takes_long(world: World) -> None:
    world.without_pages()
    world.with_reads(1, 0.02)
    rows = [
        await world.track(life=NEVER, updated_at=world.clock.now() - 2 * FLOOR) for _ in range(5)
    ]

    result = await world.sweep()

    assert result.checked == len(rows) == world.calls


async def test_rows_just_checked_do_not_keep_others_waiting(world: World) -> None:
    world.without_pages()
    rows = [await world.track(life=NEVER) for _ in range(9)]

    while world.calls < len(rows):
        await sweep(world.context, keep_going=until(world, world.calls + 1))
        world.clock.move(1)

    assert {(await world.now_is(row)).version for row in rows} == {2}
    assert world.calls == 9


async def test_a_row_that_needs_no_call_costs_no_call(world: World) -> None:
    await world.track(updated_at=world.clock.now() - timedelta(hours=3))

    result = await world.sweep()

    assert (result.checked, result.uncalled, world.calls) == (1, 1, 0)


async def test_two_sweeps_at_once_share_no_row(world: World) -> None:
    for _ in range(120):
        await world.track(life=NEVER)

    first, second = await asyncio.gather(world.sweep(), world.sweep())

    assert {first.checked, second.checked} == {0, 120}
    assert {first.outcome, second.outcome} == {Outcome.DONE, Outcome.ALREADY_RUNNING}
    assert world.calls == 2


class Impatient(JobRuns):
    """Takes whoever holds a run for dead."""

    async def take(self, kind: str, *, now: datetime, token: str, until: datetime) -> JobRun | None:
        later = now + timedelta(days=1)
        return await super().take(kind, now=later, token=token, until=until)


async def test_two_sweeps_at_once_share_no_row_that_is_fetched_by_id(world: World) -> None:
    world.without_pages()
    world.context.store.job_runs = Impatient(world.context.store.database, "mux", "default")
    for _ in range(120):
        await world.track(life=NEVER)

    first, second = await asyncio.gather(world.sweep(), world.sweep())

    assert first.checked + second.checked == 120
    assert world.calls == 120


async def test_a_provider_that_is_down_ends_the_run_before_all_rows_have_failed(
    world: World,
) -> None:
    world.emulator.add_fault("server_error")
    world.without_pages()
    world.context = dataclasses.replace(world.context, batch=RUN)
    rows = [await world.track() for _ in range(2 * RUN)]

    result = await world.sweep()

    assert (result.outcome, result.unanswered, world.calls) == (Outcome.UNREACHABLE, RUN, RUN)
    assert {(await world.now_is(row)).state for row in rows} == {State.PROCESSING}


async def test_rows_that_brought_no_answer_are_tried_again_soon(world: World) -> None:
    world.emulator.add_fault("server_error", times=1)
    row = await world.track()
    await world.sweep()

    world.clock.move(world.context.schedule.retry)
    await world.sweep()

    assert (await world.now_is(row)).state is State.READY


async def test_a_rate_limited_run_waits_and_goes_on(world: World) -> None:
    world.emulator.set_rate_limits("low")
    rows = [await world.track() for _ in range(40)]
    began = world.clock.now()

    for _ in range(20):
        await world.sweep()
        world.clock.move(5)

    assert {(await world.now_is(row)).state for row in rows} == {State.READY}
    assert world.clock.now() - began > timedelta(seconds=20)


async def test_a_rate_limit_that_fits_the_token_never_meets_a_429(world: World) -> None:
    world.emulator.set_rate_limits("low")
    world.with_reads(20, 1.0)
    rows = [await world.track() for _ in range(60)]

    await world.sweep()

    assert {(await world.now_is(row)).state for row in rows} == {State.READY}
    assert world.emulator.statuses[429] == 0


async def test_a_stopped_run_leaves_the_rest_due_and_unleased(world: World) -> None:
    world.without_pages()
    rows = [await world.track() for _ in range(20)]
    result = await sweep(world.context, keep_going=until(world, 1))

    after = [await world.now_is(row) for row in rows]
    assert result.outcome is Outcome.STOPPED
    assert 0 < result.checked == world.calls < len(rows)
    assert sum(row.state is State.PROCESSING for row in after) == len(rows) - world.calls
    assert all(row.lease_until is None for row in after)


async def test_a_cancelled_run_gives_its_leases_back(world: World) -> None:
    world.emulator.sleep = asyncio.sleep
    world.emulator.add_fault("silence")
    row = await world.track()
    work = asyncio.create_task(world.sweep())
    async with asyncio.timeout(10):
        while not world.emulator.calls:  # noqa: ASYNC110  the emulator has no event to wait for
            await asyncio.sleep(0.01)

    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work

    assert (await world.now_is(row)).lease_until is None


async def test_a_run_is_told_with_what_it_did(world: World) -> None:
    await world.track()
    await world.track(life=NEVER)

    await world.sweep()

    [told] = world.events(Swept)
    assert told.metadata() == {
        "provider": "mux",
        "outcome": "done",
        "looked": 2,
        "changed": 1,
        "unanswered": 0,
        "calls": 1,
        "pages": 1,
        "duration_ms": 0,
    }


async def test_a_row_errored_as_stuck_is_given_up_after_the_recovery_days(world: World) -> None:
    row = await world.track(
        State.ERRORED,
        life=NEVER,
        error_kind=ErrorKind.STUCK,
        updated_at=world.clock.now() - timedelta(days=8),
    )

    await world.sweep()

    assert (await world.now_is(row)).check_at is None


async def test_an_upload_that_became_an_asset_is_linked_and_followed_to_its_end(
    world: World,
) -> None:
    upload = world.emulator.create_upload(life=READY)
    row = await world.track(State.UPLOADING, provider_asset_id=None, provider_upload_id=upload)
    asset = world.emulator.finish_upload(upload)

    await world.sweep()
    linked = await world.now_is(row)
    world.clock.move(FLOOR * 2)
    await world.sweep()

    assert linked.provider_asset_id == asset
    assert (await world.now_is(row)).state is State.READY


async def test_an_upload_that_timed_out_ends_as_errored_with_the_reason(world: World) -> None:
    upload = world.emulator.create_upload(timeout=60)
    row = await world.track(State.UPLOADING, provider_asset_id=None, provider_upload_id=upload)
    world.clock.move(61)

    await world.sweep()

    after = await world.now_is(row)
    assert (after.state, after.error_kind, after.last_sync_error) == (
        State.ERRORED,
        ErrorKind.UPLOAD,
        "mux upload timed out",
    )


async def test_ages_are_told_as_they_were_before_the_run_wrote(world: World) -> None:
    await world.track()

    await world.sweep()

    assert [e.age_ms for e in world.events() if isinstance(e, Resolved)] == [3_600_000]


# by list page


async def library(
    world: World, count: int, *, every: float = 60, older_than: float = 3600, **values: Any
) -> list[str]:
    """Assets made in turn, `every` so many seconds, each with a due row; newest last."""
    began = world.clock.seconds() - older_than - every * count
    ids = world.emulator.create_assets(count, created_at=began, every=every, life=READY)
    made = datetime.fromtimestamp(began, UTC)
    for place, provider_asset_id in enumerate(ids):
        created = made + timedelta(seconds=every * place)
        await world.track(
            provider_asset_id=provider_asset_id,
            provider_created_at=created,
            updated_at=max(created, world.clock.now() - timedelta(hours=1)),
            **values,
        )
    return ids


async def states(world: World) -> Counter[State]:
    return Counter([row.state async for row in world.context.store.assets.rows()])


async def test_three_hundred_fresh_rows_take_three_calls(world: World) -> None:
    await library(world, 300)

    result = await world.sweep()

    assert (result.calls, result.pages, world.calls) == (3, 3, 3)
    assert await states(world) == {State.READY: 300}


async def test_one_row_is_fetched_by_id(world: World) -> None:
    await library(world, 1)

    result = await world.sweep()

    assert (result.calls, result.pages) == (1, 0)


async def test_rows_far_apart_are_fetched_by_id(world: World) -> None:
    await library(world, 400, check_at=None, state=State.READY)
    rows = [row async for row in world.context.store.assets.rows()]
    old = sorted(rows, key=lambda row: row.provider_created_at)[:40:10]
    for row in old:
        await make_due(world, row)

    result = await world.sweep()

    assert (result.checked, result.calls, result.pages) == (4, 4, 0)


async def test_a_new_row_is_found_on_the_page_that_old_ones_paid_for(world: World) -> None:
    """A row that is not due yet, but that the page shows to be ready, is not checked by itself."""
    await library(world, 5)
    waiting = await world.track(
        provider_asset_id=world.emulator.create_asset(life=READY),
        check_at=world.clock.now() + timedelta(minutes=5),
    )

    result = await world.sweep()

    assert (await world.now_is(waiting)).state is State.READY
    assert (result.checked, result.changed, result.calls) == (5, 6, 1)


async def test_a_page_counts_as_the_check_of_rows_that_come_due_soon(world: World) -> None:
    soon = world.clock.now() + timedelta(seconds=10)
    await world.track(life=NEVER)
    waiting = await world.track(life=NEVER, check_at=soon, updated_at=hours_ago(world, 1))

    result = await world.sweep()

    after = await world.now_is(waiting)
    resolved = [e for e in world.told if isinstance(e, Resolved) and e.row_id == waiting.id]
    assert (result.checked, result.calls, result.pages) == (1, 1, 1)
    assert [(e.no_change, e.age_ms) for e in resolved] == [(True, 3_600_000)]
    assert (after.state, after.updated_at) == (State.PROCESSING, waiting.updated_at)
    assert after.checked_at == after.observed_at == world.clock.now()
    assert after.check_at
    assert after.check_at > soon + timedelta(minutes=9)


async def test_a_page_leaves_alone_what_is_to_be_checked_much_later(world: World) -> None:
    waiting = await world.track(life=NEVER)
    await world.sweep()
    before = await world.now_is(waiting)
    world.clock.move(timedelta(minutes=2))
    for _ in range(2):
        await world.track(life=NEVER)
    world.told.clear()

    result = await world.sweep()

    assert result.pages == 1
    assert await world.now_is(waiting) == before
    assert not [e for e in world.told if e.row_id == waiting.id]


async def test_what_comes_due_soon_is_asked_for_by_no_call_of_its_own(world: World) -> None:
    for _ in range(5):
        await world.track(check_at=world.clock.now() + timedelta(seconds=1))

    result = await world.sweep()

    assert (result.checked, world.calls) == (0, 0)


@pytest.mark.long_on_postgresql
async def test_many_assets_of_one_moment_are_checked_by_page_again_and_again(world: World) -> None:
    """The provider tells whole seconds: some of one stand before the place that begins with it."""
    at = world.clock.seconds() - 3600
    for asset_id in world.emulator.create_assets(450, created_at=at, every=0.005, life=NEVER):
        created = datetime.fromtimestamp(at + 0.7, UTC)
        await world.track(provider_asset_id=asset_id, provider_created_at=created)

    for _ in range(3):
        result = await world.sweep()
        assert (result.checked, result.calls, result.pages) == (450, 5, 5)
        world.clock.move(timedelta(minutes=12))


@pytest.mark.long_on_postgresql
async def test_thousands_of_untracked_assets_between_ours_never_cost_more_than_a_call_a_row(
    world: World,
) -> None:
    began = world.clock.seconds() - 90_000
    for number in range(30):
        world.emulator.create_assets(200, created_at=began + number * 3000, every=10)
        asset = world.emulator.create_asset(created_at=began + number * 3000 + 2500, life=READY)
        created = datetime.fromtimestamp(began + number * 3000 + 2500, UTC)
        await world.track(provider_asset_id=asset, provider_created_at=created)

    result = await world.sweep()
    assert result.calls <= 30
    again = await world.sweep()

    assert result.checked + again.checked == 30
    assert await states(world) == {State.READY: 30}
    assert world.calls <= 31


async def test_a_gamble_that_is_lost_leaves_a_row_to_the_next_run(world: World) -> None:
    """All we know says that both rows stand on the first page.

    But there are strangers above them.
    """
    await library(world, 2)
    world.emulator.create_assets(100)

    result = await world.sweep()
    again = await world.sweep()

    assert (result.checked, result.calls, result.pages) == (1, 2, 1)
    assert (again.checked, again.calls, again.pages) == (1, 1, 0)


async def test_what_pages_brought_is_remembered(world: World) -> None:
    """After a gamble was lost, the share of strangers is known.

    The next rows are asked about by id.
    """
    world.emulator.create_assets(400, created_at=world.clock.seconds() - 3000, every=1)
    await library(world, 3)
    await world.sweep()
    await world.sweep()
    world.clock.move(60)
    await library(world, 2)

    result = await world.sweep()

    assert (result.checked, result.calls, result.pages) == (2, 2, 0)


@pytest.mark.long_on_postgresql
async def test_old_rows_are_found_where_earlier_pages_ended(world: World) -> None:
    """The list cannot be searched, but gone on with where another page once ended."""
    await library(world, 500, every=600, check_at=None, state=State.READY)
    await audit(world.context)
    world.clock.move(60)
    rows = [row async for row in world.context.store.assets.rows()]
    for row in sorted(rows, key=lambda row: row.provider_created_at)[:150]:
        await make_due(world, row)
    world.emulator.reset_calls()

    result = await world.sweep()

    assert result.checked == 150
    assert result.calls <= 4


@pytest.mark.long_on_postgresql
async def test_many_old_rows_are_marched_to_past_pages_that_answer_nothing(world: World) -> None:
    """300 rows under 1,000 newer ones that are at rest.

    Ten pages in vain, and three that are not.
    """
    await library(world, 300, every=60, older_than=90 * 86_400)
    await library(world, 1000, every=600, check_at=None, state=State.READY)

    result = await world.sweep()
    again = await world.sweep()

    assert result.checked + again.checked == 300
    assert result.calls + again.calls <= 25


@pytest.mark.long_on_postgresql
async def test_few_old_rows_are_not_marched_to(world: World) -> None:
    await library(world, 40, every=60, older_than=90 * 86_400)
    await library(world, 600, every=600, check_at=None, state=State.READY)

    result = await world.sweep()

    assert (result.checked, result.calls, result.pages) == (40, 40, 0)


@pytest.mark.long_on_postgresql
@pytest.mark.parametrize("fault", ["out_of_order", "repeated_entries", "dropped_entries"])
async def test_a_list_that_cannot_be_relied_on_loses_and_ends_no_row(
    world: World, fault: str
) -> None:
    await library(world, 250)
    world.emulator.add_fault(fault)

    tallies = [await world.sweep() for _ in range(3)]

    assert await states(world) == {State.READY: 250}
    assert sum(result.calls for result in tallies) <= 250
    assert not [
        e for e in world.events(StateChange) if isinstance(e, StateChange) and e.to_state != "ready"
    ]


async def test_a_list_that_begins_with_the_oldest_loses_no_row(world: World) -> None:
    await library(world, 150)
    world.with_provider(Upwards(world.context.gateway.provider))

    for _ in range(3):
        await world.sweep()

    assert await states(world) == {State.READY: 150}
    assert world.calls <= 151


async def test_a_page_without_an_answer_is_asked_for_again(world: World) -> None:
    await library(world, 90)
    world.emulator.add_fault("server_error", operation="list_assets", times=1)

    result = await world.sweep()

    assert (result.calls, result.checked, result.unanswered) == (2, 90, 0)


async def test_a_list_that_never_answers_leaves_the_rows_to_be_fetched_by_id(world: World) -> None:
    await library(world, 40)
    world.emulator.add_fault("server_error", operation="list_assets")

    result = await world.sweep()
    again = await world.sweep()

    assert result.calls <= 40
    assert result.checked + again.checked == 40
    assert await states(world) == {State.READY: 40}


async def test_an_upload_is_linked_by_the_list(world: World) -> None:
    upload = world.emulator.create_upload(life=READY)
    row = await world.track(State.UPLOADING, provider_asset_id=None, provider_upload_id=upload)
    asset = world.emulator.finish_upload(upload)
    await library(world, 5)

    result = await world.sweep()

    after = await world.now_is(row)
    assert (after.provider_asset_id, after.state, result.calls) == (asset, State.READY, 1)


async def test_rows_past_the_threshold_cause_no_page_to_be_read_and_come_back(world: World) -> None:
    await library(world, 250)
    world.clock.move(timedelta(hours=5))

    result = await world.sweep()
    assert (result.uncalled, result.calls) == (250, 0)
    assert await states(world) == {State.ERRORED: 250}

    world.clock.move(timedelta(minutes=6))
    again = await world.sweep()
    assert await states(world) == {State.READY: 250}
    assert again.calls == 3


async def test_a_page_read_for_others_shows_a_row_to_be_ready_before_it_is_declared_stuck(
    world: World,
) -> None:
    late = await world.track(updated_at=world.clock.now() - timedelta(hours=5))
    await library(world, 2)

    result = await world.sweep()

    assert (await world.now_is(late)).state is State.READY
    assert (result.calls, result.uncalled, len(world.events(Stuck))) == (1, 0, 0)


async def test_rows_that_just_passed_the_threshold_are_declared_stuck_without_a_call(
    world: World,
) -> None:
    for _ in range(50):
        await world.track(updated_at=world.clock.now() - timedelta(hours=3), life=NEVER)

    result = await world.sweep()

    assert (result.uncalled, result.calls, len(world.events(Stuck))) == (50, 0, 50)


async def test_a_row_that_was_not_found_is_not_looked_for_on_pages(world: World) -> None:
    for _ in range(4):
        await world.track(
            State.ERRORED, provider_asset_id=unknown_id(), error_kind=ErrorKind.NOT_FOUND
        )

    result = await world.sweep()

    assert (result.checked, result.calls, result.pages) == (4, 4, 0)


@pytest.mark.long_on_postgresql
async def test_within_one_run_what_comes_due_is_planned_for(world: World) -> None:
    """Old rows take long by id; new ones that come due meanwhile do not wait for all of them."""
    world.with_reads(20, 1)
    far = [
        await world.track(life=NEVER, provider_created_at=OLD - timedelta(days=n))
        for n in range(200)
    ]
    fresh = await world.track(check_at=world.clock.now() + timedelta(seconds=30))
    other = await world.track(check_at=world.clock.now() + timedelta(seconds=30))

    result = await world.sweep()

    assert result.checked >= len(far)
    changed = [e for e in world.events(StateChange) if e.row_id in {fresh.id, other.id}]
    assert len(changed) == 2


@pytest.mark.long_on_postgresql
@pytest.mark.parametrize("backlog", [1, 20, 90, 250])
async def test_a_due_row_waits_no_longer_than_the_docs_say(world: World, backlog: int) -> None:
    """docs/how-it-works.md: rows due before it x one call each, at the rate of the budget.

    Rows never change.
    """
    world.without_pages()
    world.with_reads(20, 1.0)
    for number in range(backlog):
        await world.track(life=NEVER, check_at=world.clock.now() - timedelta(seconds=1 + number))
    last = await world.track(life=NEVER)
    began = world.clock.now()

    while (await world.now_is(last)).checked_at is None:
        await world.sweep()
        world.clock.move(5)

    checked_at = (await world.now_is(last)).checked_at
    assert checked_at
    burst, interval = 20 * (1 - KEPT_FREE[Trigger.SWEEP]), timedelta(seconds=5)
    assert checked_at - began <= timedelta(seconds=max(0, backlog + 1 - burst) / 1.0) + interval


@pytest.mark.long_on_postgresql
async def test_steady_rows_do_not_push_others_out(world: World) -> None:
    """Forty rows that never change, with a budget for thirty a minute.

    Each is looked at again and again.
    """
    world.without_pages()
    world.with_reads(5, 0.5)
    rows = [
        await world.track(life=NEVER, updated_at=world.clock.now() - timedelta(minutes=3))
        for _ in range(40)
    ]
    began = world.clock.now()

    while world.clock.now() - began < timedelta(minutes=20):
        await world.sweep()
        world.clock.move(5)

    looks = [(await world.now_is(row)).version - 1 for row in rows]
    assert min(looks) >= 2
    assert max(looks) - min(looks) <= 2


# rehearsal


async def test_a_dry_run_previews_the_sweep_and_writes_nothing(world: World) -> None:
    await library(world, 120)
    await world.track(life=ERRORED)
    await world.track(provider_asset_id=unknown_id())
    await world.track(updated_at=world.clock.now() - timedelta(hours=3), life=NEVER)
    before = {row.id: row async for row in world.context.store.assets.rows()}
    previewed: list[Applied] = []

    told = await sweep(world.context.for_dry_run(), on_applied=previewed.append)
    untouched = {row.id: row async for row in world.context.store.assets.rows()}
    silent = list(world.told)
    world.context = dataclasses.replace(world.context, list_index=ListIndex())
    done = await world.sweep()
    after = {row.id: row async for row in world.context.store.assets.rows()}

    assert untouched == before
    assert not silent
    assert {s.row.id: s.row.state for s in previewed} == {
        row.id: row.state for row in after.values()
    }
    assert (told.checked, told.changed, told.calls, told.pages) == (
        done.checked,
        done.changed,
        done.calls,
        done.pages,
    )


# what a webhook left in doubt


@pytest.mark.long_on_postgresql
async def test_rows_in_doubt_are_checked_before_a_backlog(world: World) -> None:
    world.without_pages()
    world.with_reads(10, 0.1)
    backlog = [
        await world.track(life=NEVER, check_at=world.clock.now() - timedelta(hours=1))
        for _ in range(30)
    ]
    ambiguous = await world.track()

    sweeping = asyncio.create_task(world.sweep())
    await check_first(world.context, [ambiguous.id])
    still_due = [row for row in backlog if (await world.now_is(row)).checked_at is None]
    await sweeping

    assert (await world.now_is(ambiguous)).state is State.READY
    assert len(still_due) >= 15


def hours_ago(world: World, hours: float) -> datetime:
    return world.clock.now() - timedelta(hours=hours)


async def make_due(world: World, row: ProviderAsset) -> None:
    due = replace(row, state=State.PROCESSING, check_at=world.clock.now(), version=row.version + 1)
    await world.context.store.assets.write([Write(due)])


class Upwards:
    """A provider whose list begins with the oldest."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    def __getattr__(self, name: str) -> Any:
        return getattr(self._provider, name)

    async def list_assets(self, at: datetime, cursor: str | None = None) -> Page:
        entries: list[Observation] = []
        following: str | None = None
        while True:
            page = await self._provider.list_assets(at, following)
            entries = [*page.entries, *entries]
            if (following := page.cursor) is None:
                break
        start = int(cursor or 0)
        more = start + 100 < len(entries)
        return Page(
            sorted(entries, key=lambda e: e.created_at or at)[start : start + 100],
            str(start + 100) if more else None,
        )


# never more calls than rows


group = st.tuples(
    st.sampled_from(["due", "at rest", "strangers"]),
    st.integers(1, 150),
    st.sampled_from([0.0, 0.5, 30.0, 3600.0]),
    st.integers(0, 50_000),
)


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(groups=st.lists(group, min_size=1, max_size=8), lag=st.sampled_from([0, 20, 4000]))
def test_at_no_mix_of_ages_and_untracked_assets_is_it_more_than_a_call_a_row(
    groups: list[tuple[str, int, float, int]],
    lag: int,
    sqlite_tables: SqliteTables,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """`lag` is how much later than its asset a row was made.

    Until it is looked at, that is all we know of its age.
    """

    async def swept() -> None:
        url = f"sqlite:///{tmp_path_factory.mktemp('mix') / 'rows.sqlite3'}"
        sqlite_tables.copy_to(url)
        async with a_world(url, migrated=True) as world:
            due = await a_mix(world, groups, lag)
            left, passes = due, 0
            while left and passes < 20:
                result = await world.sweep()
                assert result.calls <= left
                passes, left = passes + 1, left - result.checked
            assert left == 0
            lost = 1 + due // ROWS_FOR_A_PAGE_IN_VAIN
            assert world.calls <= due + lost * max(0, passes - 1)
            assert not [
                row
                async for row in world.context.store.assets.rows()
                if row.state is not State.READY
            ]

    asyncio.run(swept())


async def a_mix(world: World, groups: list[tuple[str, int, float, int]], lag: int) -> int:
    """Assets in stretches of time, with rows that are due or at rest, or without.

    How many are due.
    """
    rows = []
    for kind, count, every, gap in groups:
        began = world.clock.seconds() - 60 - gap - every * count
        ids = world.emulator.create_assets(count, created_at=began, every=every, life=READY)
        for place, provider_asset_id in enumerate(ids if kind != "strangers" else []):
            made = datetime.fromtimestamp(began + every * place + lag, UTC)
            state, check_at = (
                (State.PROCESSING, world.clock.now()) if kind == "due" else (State.READY, None)
            )
            playback_ids = tuple(
                PlaybackId(p.id, p.policy)
                for p in world.emulator.truth(provider_asset_id).playback_ids
            )
            rows.append(
                a_row(
                    state,
                    provider_asset_id=provider_asset_id,
                    provider_created_at=made,
                    updated_at=world.clock.now() - timedelta(hours=1),
                    check_at=check_at,
                    playback_ids=playback_ids if state is State.READY else (),
                )
            )
    await world.context.store.assets.add_all(rows)
    return sum(row.check_at is not None for row in rows)


async def test_rows_whose_assets_were_made_at_one_moment_are_found_on_page_after_page(
    world: World,
) -> None:
    for asset in world.emulator.create_assets(350, life=READY):
        await world.track(
            provider_asset_id=asset, provider_created_at=world.clock.now() - timedelta(seconds=1)
        )

    result = await world.sweep()

    assert (result.checked, result.calls) == (350, 4)
