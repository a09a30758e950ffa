"""Media of rows: taken over with every answer, told of as a change of its own, and watched."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from rindle_sync.diagnostics import explain
from rindle_sync.domain import (
    ChangeKind,
    JobKind,
    Media,
    OutputStatus,
    ProviderAsset,
    State,
    Trigger,
    media_fields,
    media_values,
)
from rindle_sync.emulator import Life
from rindle_sync.reconcile import audit
from rindle_sync.store import Change, DueJobs
from rindle_sync.telemetry import MediaChange, Resolved, StateChange
from tests.support.rows import MEDIA, NOW
from tests.support.world import READY, World, a_job_runner

DAYS = timedelta(days=1)
EMPTY = media_fields(Media())


async def changes(world: World, row: ProviderAsset) -> list[Change]:
    return await world.context.store.assets.changes_of(row.id)


async def in_sync(world: World, count: int = 1, **values: Any) -> list[ProviderAsset]:
    """Rows that are ready and in sync, and were so for a while."""
    values.setdefault("media_updated_at", NOW - DAYS)
    values.setdefault("updated_at", NOW - DAYS)
    return await world.shelve(count, **values)


def an_output(world: World, row: ProviderAsset, kind: str, life: Life) -> None:
    """Something more that is made of the asset of `row` from now on."""
    asset_id = row.provider_asset_id or ""
    if kind == "master":
        world.emulator.set_master_access(asset_id, "temporary", life=life)
    elif kind == "rendition":
        world.emulator.create_static_rendition(asset_id, "1080p", life=life)
    else:
        world.emulator.create_track(asset_id, life=life, name="English")


def status_of(row: ProviderAsset, kind: str) -> OutputStatus | None:
    if kind == "master":
        return row.master.status if row.master else None
    outputs = row.renditions if kind == "rendition" else row.tracks[1:]
    return outputs[0].status if outputs else None


# what is written, and told


async def test_media_survives_being_stored(world: World) -> None:
    row = await world.track(State.READY, media_updated_at=NOW, **media_fields(MEDIA))

    assert await world.now_is(row) == row


async def test_the_first_answer_fills_media_together_with_the_state(world: World) -> None:
    row = await world.track()

    await world.sync(row)

    after, [change] = await world.now_is(row), await changes(world, row)
    assert (after.duration or 0) > 0
    assert (after.aspect_ratio, after.media_updated_at, after.updated_at) == ("16:9", NOW, NOW)
    assert (change.kind, change.to_state, change.outputs) == (ChangeKind.STATE, State.READY, None)
    assert not world.events(MediaChange)


async def test_a_difference_of_media_alone_is_one_change_of_media(world: World) -> None:
    [row] = await in_sync(world, title="Before", duration=7.0)

    applied = await world.sync(row)

    after, [change] = await world.now_is(row), await changes(world, row)
    assert applied
    assert (after.state, after.updated_at) == (row.state, row.updated_at)
    assert (after.media_updated_at, after.version) == (world.clock.now(), row.version + 1)
    assert (change.kind, change.from_state, change.to_state) == (
        ChangeKind.MEDIA,
        State.READY,
        State.READY,
    )
    assert (change.reason, change.version, change.trigger) == (
        "duration, title",
        after.version,
        Trigger.SYNC,
    )
    assert not applied.changed


async def test_a_change_of_media_is_told_of_after_the_write_and_is_no_change_to_resolved(
    world: World,
) -> None:
    [row] = await in_sync(world, duration=7.0)

    await world.sync(row)

    [resolved], [told] = world.events(Resolved), world.events(MediaChange)
    assert not world.events(StateChange)
    assert isinstance(resolved, Resolved)
    assert resolved.no_change
    assert isinstance(told, MediaChange)
    assert (told.state, told.fields, told.by, told.row_id) == ("ready", "duration", "sync", row.id)
    assert (told.reference, told.profile) == (row.reference, row.profile)


async def test_a_change_of_media_wakes_its_dispatch_and_waits_in_the_outbox(world: World) -> None:
    [row] = await in_sync(world, duration=7.0)
    job_runner, outbox = a_job_runner(world), world.context.store.outbox
    world.context.telemetry.listen(job_runner.handle)

    await world.sync(row)

    now = world.clock.now()
    claimed = await outbox.claim(now=now, token=row.id, until=now + DAYS, limit=9, callbacks=())
    [pending] = claimed.changes
    assert job_runner.woken == {JobKind.DISPATCH}
    assert (pending.change.row_id, pending.change.kind) == (row.id, ChangeKind.MEDIA)


async def test_a_dry_run_changes_no_media(world: World) -> None:
    [row] = await in_sync(world, duration=7.0)
    world.context = world.context.for_dry_run()

    applied = await world.sync(row)

    assert applied
    assert applied.decision.media == ("duration",)
    assert await world.now_is(row) == row
    assert await changes(world, row) == []


async def test_an_answer_that_says_what_is_known_is_no_change_of_media(world: World) -> None:
    [row] = await in_sync(world)

    await world.sync(row)

    after = await world.now_is(row)
    assert (after.media_updated_at, media_values(after)) == (
        row.media_updated_at,
        media_values(row),
    )
    assert await changes(world, row) == []


async def test_a_row_that_was_ready_before_it_had_media_gets_it_by_the_audit(world: World) -> None:
    rows = await in_sync(world, 3, media_updated_at=None, **EMPTY)

    report = await audit(world.context)
    again = await audit(world.context)

    assert (report.changed, again.changed) == (0, 0)
    for row in rows:
        after, [change] = await world.now_is(row), await changes(world, row)
        assert (after.updated_at, after.check_at) == (row.updated_at, None)
        assert after.media_updated_at
        assert (change.kind, change.trigger, change.outputs) == (
            ChangeKind.MEDIA,
            Trigger.AUDIT,
            None,
        )


async def test_an_audit_that_finds_an_output_unfinished_has_it_watched(world: World) -> None:
    [row] = await in_sync(world)
    an_output(world, row, "track", Life(after=10**6))

    await audit(world.context)

    after = await world.now_is(row)
    assert after.check_at
    assert after.state is State.READY


async def test_a_page_shows_the_media_of_rows_that_are_not_due(world: World) -> None:
    [row] = await in_sync(world, duration=7.0)
    for _ in range(2):
        await world.track()

    await world.sweep()

    assert (await world.now_is(row)).duration != 7.0
    assert world.emulator.calls == {"list_assets": 1, "whoami": 1}


# outputs are watched like the asset


async def by_id(world: World) -> None:
    world.without_pages()


async def by_page(world: World) -> None:
    """Others are due so often that pages pay."""
    for _ in range(3):
        row = await world.track(State.READY, life=READY, is_live=True)
        an_output(world, row, "track", Life(ends="never"))


@pytest.mark.parametrize(
    ("kind", "ends"),
    [("track", "ready"), ("track", "errored"), ("rendition", "errored"), ("master", "ready")],
)
@pytest.mark.parametrize("way", [by_id, by_page])
async def test_an_output_that_ends_without_a_webhook_is_found_within_the_bound_of_an_asset(
    world: World, way: Callable[[World], Awaitable[None]], kind: str, ends: Any
) -> None:
    [row] = await in_sync(world)
    await way(world)
    an_output(world, row, kind, Life(ends=ends, after=600))
    await world.sync(row)
    began = world.clock.now()
    assert status_of(await world.now_is(row), kind) is OutputStatus.PROCESSING

    while status_of(await world.now_is(row), kind) is OutputStatus.PROCESSING:
        world.clock.move(5)
        await world.sweep()
        assert world.clock.now() - began < timedelta(seconds=600 + 1.1 * 150 + 10)

    after, [*_, change] = await world.now_is(row), await changes(world, row)
    assert (after.state, after.updated_at, after.check_at) == (State.READY, row.updated_at, None)
    assert status_of(after, kind) == ends
    assert (change.kind, change.trigger) == (ChangeKind.MEDIA, Trigger.SWEEP)
    assert list((change.outputs or {}).values()) == [False]


async def test_a_row_that_waits_for_an_output_is_never_stuck_and_left_alone_in_the_end(
    world: World,
) -> None:
    [row] = await in_sync(world)
    an_output(world, row, "track", Life(ends="never"))
    world.without_pages()
    await world.sync(row)

    while check_at := (await world.now_is(row)).check_at:
        world.clock.time = check_at
        await world.sweep()
        assert check_at < NOW + 8 * DAYS

    after = await world.now_is(row)
    assert (after.state, after.error_kind, after.updated_at) == (State.READY, None, row.updated_at)
    assert world.clock.now() > NOW + 7 * DAYS
    assert 50 < world.calls < 90


async def test_a_fetch_failure_leaves_the_media_and_the_row_due(world: World) -> None:
    [row] = await in_sync(world)
    an_output(world, row, "track", Life(after=10**6))
    await world.sync(row)
    before = await world.now_is(row)
    world.emulator.add_fault("server_error")
    world.without_pages()
    world.clock.time = before.check_at or NOW

    await world.sweep()

    after = await world.now_is(row)
    assert media_values(after) == media_values(before)
    assert (after.state, after.check_failures) == (State.READY, 1)
    assert after.check_at


async def test_the_explanation_of_a_watched_output_says_so(world: World) -> None:
    [row] = await in_sync(world)
    an_output(world, row, "rendition", Life(after=10**6))
    await world.sync(row)

    explained = await explain(world.context, await world.now_is(row))

    assert explained.history[-1].text.startswith("media: renditions, ")
    assert "outputs of it are not finished" in explained.next


@pytest.mark.parametrize(
    ("values", "hours", "calls"),
    [
        ({}, 6, 0),
        ({}, 8, 1),
        ({"missing_since": NOW}, 6, 1),
        ({"playback_absent_since": NOW}, 6, 1),
    ],
)
async def test_the_check_of_an_output_may_be_as_far_ahead_as_that_of_a_stuck_row(
    world: World, values: dict[str, Any], hours: int, calls: int
) -> None:
    check_at = world.clock.now() + timedelta(hours=hours)
    await world.track(State.READY, check_at=check_at, is_live=True, **values)
    thresholds = a_job_runner(world).due_thresholds(world.clock.now())
    due_jobs = DueJobs(world.context.store.database, "mux")

    due = await due_jobs.due([thresholds], now=world.clock.now())
    await world.sweep()

    assert (JobKind.SWEEP in {job.kind for job in due.jobs}) is bool(calls)
    assert world.calls == calls
