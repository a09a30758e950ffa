"""A clock that was wrong for a while, and then is right: nothing waits for the time it showed.

Each test lets the clock be wrong by hours or a year, ahead or behind, and sets it right again.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import httpx
import pytest
from msgspec import structs

from rindle_sync.app import lease_of
from rindle_sync.config import plain_settings
from rindle_sync.diagnostics import Check, Readiness, explain, of_environment, overview
from rindle_sync.domain import (
    LONGEST_PAUSE,
    LONGEST_WAIT,
    TOLERANCE,
    WAITS_AFTER_FAILURE,
    WAITS_FOR_ROW,
    ErrorKind,
    EventStatus,
    JobKind,
    Outcome,
    Policy,
    ProviderAsset,
    Schedule,
    State,
    ago,
    decide,
    is_due,
    next_check,
)
from rindle_sync.gateway import RUN, CircuitBreaker, Reason
from rindle_sync.reconcile import SWEEP_LEASE, audit, is_audit_due
from rindle_sync.runtime import (
    LONGEST_RETRY,
    PRUNE_LEASE,
    ChangeEvent,
    Heartbeat,
    JobRunner,
    dispatch,
)
from rindle_sync.store import DueJobs
from rindle_sync.store.api_tokens import ApiTokens
from rindle_sync.web.console.session import Session, Sessions
from rindle_sync.web.probes import operations
from rindle_sync.webhooks import process_webhook_events
from tests.support.callbacks import registered
from tests.support.rows import GAPS, NOW, a_404, a_look, a_row
from tests.support.webhooks import a_kept_notice
from tests.support.world import NEVER, READY, World, a_job_runner, a_rate_limiter

HOURS, YEAR = timedelta(hours=3), timedelta(days=365)
SECOND = timedelta(seconds=1)

wrong_by = pytest.mark.parametrize("off", [HOURS, YEAR], ids=["hours", "year"])


@contextmanager
def a_wrong_clock(world: World, off: timedelta) -> Iterator[None]:
    """The clock is off by this within the block, and right again after it."""
    world.clock.move(off)
    try:
        yield
    finally:
        world.clock.move(-off)


async def jobs_due(world: World, job_runner: JobRunner) -> set[JobKind]:
    now = world.clock.now()
    due_jobs = DueJobs(world.context.store.database, "mux")
    due = await due_jobs.due([job_runner.due_thresholds(now)], now=now)
    return {job.kind for job in due.jobs}


# the rate limit


@wrong_by
async def test_calls_are_granted_again_once_the_clock_is_right(
    world: World, off: timedelta
) -> None:
    world.with_reads(2, 1)
    with a_wrong_clock(world, off):
        assert await world.context.gateway.reads.take(2) == 2
    began = world.clock.now()

    assert await world.context.gateway.reads.take() == 1
    assert world.clock.now() - began < 3 * SECOND


@wrong_by
async def test_a_pause_lasts_no_longer_than_the_provider_asked_for(
    world: World, off: timedelta
) -> None:
    with a_wrong_clock(world, off):
        await world.context.gateway.reads.rate_limited(8)
    began = world.clock.now()

    assert await world.context.gateway.reads.take() == 1
    assert world.clock.now() - began <= 9 * SECOND


@wrong_by
async def test_what_the_provider_reported_under_a_wrong_clock_does_not_stop_all_calls(
    world: World, off: timedelta
) -> None:
    reads = a_rate_limiter(world.context.store, world.clock, 10, 1)
    with a_wrong_clock(world, off):
        reads.note_calls_left(0)
    began = world.clock.now()

    assert await reads.take() == 1
    assert world.clock.now() - began < 3 * SECOND


async def test_the_level_never_promises_a_call_before_it_can_be_made(world: World) -> None:
    ahead = TOLERANCE - SECOND
    world.with_reads(1, 1)
    reads = world.context.gateway.reads
    with a_wrong_clock(world, ahead):
        await reads.take()

    (level,) = await reads.levels([reads])

    assert level.wait >= ahead
    world.clock.move(level.wait)
    began = world.clock.now()
    assert await reads.take() == 1
    assert world.clock.now() - began < SECOND


# rows


def a_row_of_this_clock(world: World, asset_id: str) -> ProviderAsset:
    """A row that was tracked, checked and planned just now, as the clock shows it."""
    now = world.clock.now()
    return a_row(
        provider_asset_id=asset_id,
        inserted_at=now,
        updated_at=now,
        observed_at=now,
        checked_at=now,
        check_at=now + 30 * SECOND,
    )


@wrong_by
async def test_a_row_that_was_checked_under_a_wrong_clock_is_checked_at_the_next_sweep(
    world: World, off: timedelta
) -> None:
    asset_id = world.emulator.create_asset(life=READY)
    with a_wrong_clock(world, off):
        row = a_row_of_this_clock(world, asset_id)
    await world.context.store.assets.add(row)

    await world.sweep()

    assert (await world.now_is(row)).state is State.READY


@wrong_by
async def test_a_sweep_is_due_for_rows_that_a_wrong_clock_has_planned(
    world: World, off: timedelta
) -> None:
    job_runner = a_job_runner(world)
    with a_wrong_clock(world, off):
        await world.context.store.assets.add(a_row(check_at=world.clock.now()))

    assert JobKind.SWEEP in await jobs_due(world, job_runner)


async def test_a_watched_row_may_wait_for_as_long_as_its_cap_and_others_may_not(
    world: World,
) -> None:
    later = world.clock.now() + timedelta(hours=5)
    watched = a_row(State.ERRORED, error_kind=ErrorKind.STUCK, check_at=later)
    await world.context.store.assets.add(watched)
    job_runner, now = a_job_runner(world), world.clock.now()
    await job_runner.run(JobKind.PRUNE)
    floor = now - world.context.schedule.floor

    before = await jobs_due(world, job_runner)
    in_flight = a_row(State.PROCESSING, check_at=later)
    await world.context.store.assets.add(in_flight)
    due = await world.context.store.queries.due(
        due=now, touched_before=floor, now=now, longest=GAPS, limit=10
    )

    assert JobKind.SWEEP not in before
    assert JobKind.SWEEP in await jobs_due(world, job_runner)
    assert [row.id for row in due] == [in_flight.id]


@wrong_by
async def test_a_lease_that_ends_later_than_any_can_is_no_lease(
    world: World, off: timedelta
) -> None:
    row, assets = await world.track(), world.context.store.assets
    with a_wrong_clock(world, off):
        now = world.clock.now()
        held = await assets.claim(
            [row.id], due=now, now=now, longest=GAPS, token=str(uuid4()), until=now + 60 * SECOND
        )
    assert len(held) == 1

    assert (await world.sweep()).checked == 1
    assert (await world.now_is(row)).state is State.READY


@wrong_by
async def test_observations_of_a_wrong_clock_make_neither_checks_nor_events_stale(
    world: World, off: timedelta
) -> None:
    row = await world.track(
        observed_at=world.clock.now() + off, last_event_at=world.clock.now() + off
    )

    applied = await world.sync(row)

    assert applied
    assert applied.row.state is State.READY
    assert applied.row.observed_at == world.clock.now()
    assert applied.row.last_event_at is None


@wrong_by
async def test_a_row_that_was_missing_once_under_a_wrong_clock_is_deleted_in_time(
    world: World, off: timedelta
) -> None:
    await world.know_identity()
    now = world.clock.now()
    row = await world.track(
        State.READY, provider_asset_id="unknown", missing_since=now + off, check_at=now + off
    )

    await world.sweep()
    once = await world.now_is(row)
    world.clock.move(world.context.policy.confirm)
    await world.sweep()

    assert (once.state, once.missing_since) == (State.READY, now)
    assert (await world.now_is(row)).state is State.DELETED


@wrong_by
async def test_a_row_that_was_tracked_under_a_wrong_clock_is_declared_stuck_in_time(
    world: World, off: timedelta
) -> None:
    now = world.clock.now()
    row = await world.track(life=NEVER, updated_at=now + off, inserted_at=now + off)
    await world.sweep()
    world.clock.move(world.context.policy.stuck_threshold + SECOND)

    await world.sweep()

    assert (await world.now_is(row)).error_kind is ErrorKind.STUCK


@wrong_by
async def test_a_pending_row_of_a_wrong_clock_is_ended_in_time(
    world: World, off: timedelta
) -> None:
    at = world.clock.now() + off
    row = await world.track(
        State.PENDING, provider_asset_id=None, inserted_at=at, updated_at=at, check_at=at
    )
    await world.sweep()
    world.clock.move(world.context.policy.begin_grace + SECOND)

    await world.sweep()

    assert (await world.now_is(row)).error_kind is ErrorKind.UPLOAD


async def test_a_year_ahead_for_a_moment_does_not_end_the_watch_of_a_row(world: World) -> None:
    row = await world.track(State.ERRORED, error_kind=ErrorKind.STUCK, life=NEVER)
    with a_wrong_clock(world, YEAR):
        await world.sweep()

    assert (await world.now_is(row)).check_at is not None
    assert (await world.sweep()).checked == 1


@wrong_by
async def test_a_clock_behind_leaves_the_last_change_of_a_row_as_it_was(
    world: World, off: timedelta
) -> None:
    row = await world.track(life=NEVER)
    here = world.context

    # only this host is behind, not the provider
    world.context = replace(here, now=lambda: world.clock.now() - off)
    world.with_gateway(now=world.context.now)
    await world.sweep()
    world.context = here
    await world.sweep()

    found = await world.now_is(row)
    assert (found.state, found.updated_at) == (State.PROCESSING, row.updated_at)


async def test_no_event_tells_of_a_negative_age(world: World) -> None:
    await world.track(updated_at=world.clock.now() + HOURS, life=NEVER)

    await world.sweep()

    assert [event.age_ms >= 0 for event in world.events()] == [True]  # type: ignore[attr-defined]


# events, changes and jobs


@wrong_by
async def test_a_webhook_event_that_a_wrong_clock_has_put_off_is_applied(
    world: World, off: timedelta
) -> None:
    row = await world.track()
    at = world.clock.now() + off
    await world.context.store.inbox.storing(a_kept_notice(row, at))

    assert JobKind.PROCESS_WEBHOOK_EVENTS in await jobs_due(world, a_job_runner(world))
    assert await process_webhook_events(world.context) == 1
    assert (await world.sync(row)) is not None
    assert (await world.now_is(row)).state is State.READY


@wrong_by
async def test_a_change_that_a_wrong_clock_has_put_off_is_dispatched(
    world: World, off: timedelta
) -> None:
    told: list[str] = []

    async def callback(event: ChangeEvent) -> None:
        told.append(event.reference)

    row = await world.track()
    with a_wrong_clock(world, off):
        await world.sweep()
    job_runner = replace(a_job_runner(world), callbacks=registered(callback))

    assert JobKind.DISPATCH in await jobs_due(world, job_runner)
    await dispatch(world.context, registered(callback))
    assert row.reference in told


@wrong_by
async def test_audits_and_pruning_are_due_though_the_last_ones_ended_in_the_future(
    world: World, off: timedelta
) -> None:
    job_runner = a_job_runner(world)
    with a_wrong_clock(world, off):
        await job_runner.run(JobKind.PRUNE)
        assert (await audit(world.context)).outcome is Outcome.DONE

    assert {JobKind.AUDIT, JobKind.PRUNE} <= await jobs_due(world, job_runner)
    assert await is_audit_due(world.context)
    await job_runner.run(JobKind.PRUNE)
    assert JobKind.PRUNE not in await jobs_due(world, job_runner)


async def test_a_year_ahead_for_a_moment_empties_no_body_and_forgets_no_change(
    world: World,
) -> None:
    job_runner, row = a_job_runner(world), await world.track()
    await world.sweep()
    event = structs.replace(
        a_kept_notice(row, world.clock.now()), status=EventStatus.DEAD, next_attempt_at=None
    )
    await world.context.store.inbox.storing(event)
    for _ in range(2):
        await job_runner.run(JobKind.PRUNE)
        world.clock.move(timedelta(hours=1))

    with a_wrong_clock(world, YEAR):
        await job_runner.run(JobKind.PRUNE)

    kept = await world.context.store.inbox.get(event.id)
    assert kept
    assert kept.size > 0
    assert JobKind.DISPATCH in await jobs_due(world, job_runner)


# what one process remembers


@wrong_by
async def test_an_open_circuit_makes_its_trial_call_after_the_clock_was_set_back(
    world: World, off: timedelta
) -> None:
    context = world.context
    breaker = CircuitBreaker(context.store.environments, context.telemetry, world.clock.now)
    with a_wrong_clock(world, off):
        for _ in range(RUN):
            await breaker.failed("no answer")
        assert breaker.room(1) == 0

    assert breaker.room(1) == 1
    assert breaker.enter() is None
    await breaker.open(Reason.UNREACHABLE, "no answer")
    assert breaker.room(1) == 0


# what people are told


@wrong_by
async def test_status_and_doctor_name_the_times_that_lie_in_the_future(
    world: World, off: timedelta
) -> None:
    at = world.clock.now() + off
    await world.track(check_at=at, observed_at=at, lease_until=at, updated_at=at)
    await world.context.store.inbox.storing(a_kept_notice(a_row(), at))
    with a_wrong_clock(world, off):
        await world.context.gateway.reads.take()
        await a_job_runner(world).run(JobKind.PRUNE)

    (found,) = await overview([world.context])

    ahead = int(off.total_seconds())
    assert {times.column: (times.number, times.seconds_ahead) for times in found.wrong_times} == {
        "media_provider_assets.check_at": (1, ahead),
        "media_provider_assets.observed_at": (1, ahead),
        "media_provider_assets.updated_at": (1, ahead),
        "media_provider_assets.lease_until": (1, ahead),
        "provider_webhook_events.next_attempt_at": (1, ahead),
        "provider_webhook_events.received_at": (1, ahead),
        "provider_job_runs.ended_at": (1, ahead),
        "provider_rate_limits.filled_at": (1, ahead),
    }
    (finding,) = [known for known in of_environment(found) if known.check is Check.STORED_TIMES]
    assert "1 of media_provider_assets.check_at" in finding.text
    assert "NTP" in finding.remedy


async def test_readyz_names_them_and_the_process_stays_ready(world: World) -> None:
    async def revisions() -> tuple[str, str]:
        return "1", "1"

    readiness = Readiness([world.context], revisions, runs_engine=False)
    await world.track(check_at=world.clock.now() + YEAR)
    app = operations(readiness.checks, None)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as client:
        answer = await client.get("http://operations/readyz")
    await readiness.close()

    found = answer.json()["checks"]["stored_times"]
    assert (answer.status_code, answer.json()["ready"]) == (200, True)
    assert found.startswith("warning: stored times lie in the future: 1 of media_provider_assets")
    assert "365 d ahead" in found


async def test_no_time_is_named_that_a_right_clock_can_have_written(world: World) -> None:
    now = world.clock.now()
    await world.track(check_at=now + GAPS.others, updated_at=now + TOLERANCE)
    await world.track(State.ERRORED, error_kind=ErrorKind.NOT_FOUND, check_at=now + GAPS.watched)
    await world.context.gateway.reads.pause(LONGEST_PAUSE)

    (found,) = await overview([world.context])

    assert found.wrong_times == []


async def test_explain_says_that_a_wrong_clock_has_planned_the_check(world: World) -> None:
    row = await world.track(check_at=world.clock.now() + YEAR)
    await Heartbeat(world.context.store.database, "mux").beat(world.clock.now())

    told = await explain(world.context, row)

    assert told.next.startswith("due, since a wrong clock planned it for 2027-")


async def test_a_moment_in_the_future_is_not_called_now(world: World) -> None:
    now = world.clock.now()

    assert ago(now + HOURS, now) == "3 h ahead of the clock here"
    assert ago(now + SECOND, now) == "0 s ago"


# the bounds


def test_nothing_is_leased_or_put_off_for_longer_than_the_longest_wait() -> None:
    settings = plain_settings(database_url="sqlite:///x", provider_timeout_seconds=300)

    assert lease_of(settings) <= LONGEST_WAIT
    assert LONGEST_RETRY <= LONGEST_WAIT
    assert max(WAITS_FOR_ROW + WAITS_AFTER_FAILURE) <= LONGEST_WAIT
    assert max(SWEEP_LEASE, PRUNE_LEASE) <= LONGEST_WAIT


@pytest.mark.parametrize("kind", [None, ErrorKind.STUCK])
def test_no_check_is_planned_for_later_than_the_longest_gap(kind: ErrorKind | None) -> None:
    state = State.ERRORED if kind else State.PROCESSING
    ages = [timedelta(0), timedelta(hours=1), timedelta(days=1), timedelta(days=6)]
    for age in ages:
        row = a_row(state, error_kind=kind, updated_at=NOW - age)
        for observation in (None, a_look(State.PROCESSING), a_404()):
            decision = decide(row, observation, NOW, Policy())
            check_at = next_check(decision, observation, NOW, Policy(), Schedule())
            assert check_at is None or check_at > NOW
            assert not is_due(
                structs.replace(row, check_at=check_at, error_kind=decision.row.error_kind),
                NOW,
                GAPS,
            )


async def test_a_session_of_the_console_that_was_begun_under_a_wrong_clock_is_over(
    world: World,
) -> None:
    tokens = ApiTokens(world.context.store.database)
    sessions = Sessions("a-token-for-the-console", tokens, nullcontext)
    cookie = sessions.begin(Session(), NOW + YEAR)

    assert await sessions.resume(cookie, NOW) is None
    assert await sessions.resume(sessions.begin(Session(), NOW + SECOND), NOW) == Session()


@wrong_by
async def test_the_audit_finds_the_deletion_of_a_row_that_a_wrong_clock_has_dated(
    world: World, off: timedelta
) -> None:
    dated, _ = await world.shelve(2, provider_created_at=world.clock.now() + off)
    world.emulator.delete_asset(dated.provider_asset_id or "")

    await audit(world.context)

    assert (await world.now_is(dated)).missing_since
