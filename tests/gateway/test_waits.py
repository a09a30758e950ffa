"""Nobody waits for the rate limit for long, and whoever is turned away is told until when."""

import asyncio
from datetime import timedelta

import pytest

from rindle_sync.domain import (
    LONGEST_PAUSE,
    PROVIDER_JOBS,
    FailureKind,
    FetchFailure,
    JobKind,
    Outcome,
    State,
    Trigger,
    Verdict,
)
from rindle_sync.errors import RateLimited
from rindle_sync.gateway import CALLER_WAIT, LONGEST_WAITS
from rindle_sync.reconcile import audit, backfill, check_first, sync_row
from rindle_sync.tracking import begin_upload, cancel_upload
from tests.support.world import World, a_job_runner, a_rate_limiter
from tests.tracking.test_direct_upload import CANCEL, CREATE, WISH, a_new_row, begun, the_row

HOUR = 3600
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


async def paused(world: World, seconds: float = HOUR) -> None:
    """Somebody was told to wait so long, a moment ago."""
    gateway = world.context.gateway
    for limiter in (gateway.reads, gateway.creates):
        await limiter.rate_limited(seconds)


@pytest.mark.parametrize("trigger", Trigger)
async def test_a_wait_within_the_bound_is_waited_and_a_longer_one_is_refused_at_once(
    world: World, trigger: Trigger
) -> None:
    reads, clock = world.context.gateway.reads, world.clock
    bound = LONGEST_WAITS.get(trigger, CALLER_WAIT)
    # after a pause a call is earned first; a pass leaves a part of the bucket to others
    world.with_reads(1, 1)
    reads = world.context.gateway.reads
    await reads.rate_limited((bound - 2 * SECOND).total_seconds())
    assert await reads.take(trigger=trigger) == 1

    await reads.rate_limited((bound + SECOND).total_seconds())
    began = clock.now()
    with pytest.raises(RateLimited) as refused:
        await reads.take(trigger=trigger)

    assert clock.now() == began
    until = began + timedelta(seconds=refused.value.retry_after or 0)
    assert until - began >= bound
    assert f"no call before {until:%H:%M:%S} UTC" in str(refused.value)
    assert not refused.value.was_called
    clock.time = until
    assert await reads.take(trigger=trigger) == 1


async def test_a_crowd_that_waits_together_waits_no_longer_than_one_alone(world: World) -> None:
    limiter = a_rate_limiter(world.context.store, world.clock, 4, 1)
    began = world.clock.now()

    outcomes = await asyncio.gather(*(limiter.take() for _ in range(60)), return_exceptions=True)

    assert world.clock.now() - began <= CALLER_WAIT + SECOND
    assert 10 <= outcomes.count(1) <= 15
    assert {type(outcome) for outcome in outcomes} == {int, RateLimited}


# uploads


async def test_all_the_429s_of_one_upload_hold_it_up_no_longer_than_one_wait(world: World) -> None:
    world.emulator.add_fault("rate_limited", operation=CREATE, retry_after=4)
    began = world.clock.now()

    with pytest.raises(RateLimited) as refused:
        await begun(world)

    assert world.clock.now() - began <= CALLER_WAIT
    assert refused.value.retry_after == pytest.approx(4, abs=1)


async def test_one_429_of_an_hour_holds_up_no_upload(world: World) -> None:
    world.emulator.add_fault("rate_limited", operation=CREATE, times=1, retry_after=HOUR)
    began = world.clock.now()
    for number in range(3):
        with pytest.raises(RateLimited, match="no call before 13:00:00 UTC") as refused:
            await begun(world, reference=f"video-{number}")
        assert refused.value.retry_after == pytest.approx(HOUR, abs=5)

    assert world.clock.now() - began <= CALLER_WAIT
    assert world.emulator.calls[CREATE] == 1
    # it is not the provider's limit of reads
    assert await world.context.gateway.reads.take() == 1
    world.clock.move(HOUR)
    await begun(world, reference="video-0")


async def test_an_upload_that_was_not_made_begins_again_when_it_may(world: World) -> None:
    await paused(world)
    with pytest.raises(RateLimited):
        await begin_upload(world.context, a_new_row(world), WISH)
    assert "allows no call before" in ((await the_row(world)).last_sync_error or "")

    world.clock.move(HOUR + 10)
    fresh = a_new_row(world, reference=(await the_row(world)).reference)
    await begin_upload(world.context, fresh, WISH)

    assert (await the_row(world)).state is State.UPLOADING


async def test_cancelling_an_upload_waits_no_hour(world: World) -> None:
    row = await begun(world)
    world.emulator.add_fault("rate_limited", operation=CANCEL, times=1, retry_after=HOUR)
    began = world.clock.now()

    with pytest.raises(RateLimited) as refused:
        await cancel_upload(world.context, row)

    assert refused.value.retry_after == pytest.approx(HOUR, abs=5)
    assert world.clock.now() - began <= CALLER_WAIT


# one row


@pytest.mark.parametrize("is_known", [True, False])
async def test_a_sync_postpones_its_row_until_it_may_be_checked(
    world: World,
    is_known: bool,  # noqa: FBT001
) -> None:
    row, began = await world.track(), world.clock.now()
    world.emulator.add_fault("rate_limited", times=1, retry_after=HOUR)
    if is_known:
        await paused(world)

    applied = await sync_row(world.context, row, trigger=Trigger.SYNC)

    assert applied
    assert applied.decision.verdict is Verdict.UNANSWERED
    assert isinstance(applied.observation, FetchFailure)
    assert applied.observation.wait is not None
    assert world.calls == (0 if is_known else 1)
    after = await world.now_is(row)
    assert (after.state, after.check_failures) == (row.state, 0)
    assert after.check_at is not None
    assert after.check_at - began == pytest.approx(timedelta(hours=1), abs=5 * SECOND)
    assert "no call before 13:00:0" in (after.last_sync_error or "")
    assert world.clock.now() - began <= CALLER_WAIT


# passes


async def test_a_sweep_ends_at_a_429_of_an_hour_and_goes_on_after_it(world: World) -> None:
    rows = [await world.track(updated_at=world.clock.now() - MINUTE) for _ in range(3)]
    world.with_gateway(at_once=1)
    world.without_pages()
    world.emulator.add_fault("rate_limited", times=1, retry_after=HOUR)
    began = world.clock.now()

    result = await world.sweep()

    assert (result.outcome, world.calls) == (Outcome.RATE_LIMITED, 1)
    assert result.retry_after == pytest.approx(HOUR, abs=5)
    assert world.clock.now() - began <= LONGEST_WAITS[Trigger.SWEEP]
    world.clock.move(HOUR + 10)
    await world.sweep()
    assert {(await world.now_is(row)).state for row in rows} == {State.READY}


async def test_a_pass_that_the_rate_limit_ends_is_due_again_at_that_time(world: World) -> None:
    row = await world.track()
    runner = a_job_runner(world)
    await paused(world)

    result = await world.sweep()

    assert result.outcome is Outcome.RATE_LIMITED
    assert result.retry_after == pytest.approx(HOUR, abs=5)
    assert (world.calls, (await world.now_is(row)).check_at) == (0, row.check_at)
    assert not runner.can_run(JobKind.SWEEP)
    assert runner.can_run(JobKind.PROCESS_WEBHOOK_EVENTS)
    world.clock.move(result.retry_after or 0)
    assert runner.can_run(JobKind.SWEEP)
    assert (await world.sweep()).outcome is Outcome.DONE


async def test_a_clock_that_was_wrong_holds_up_no_pass_once_it_is_right(world: World) -> None:
    await world.track()
    right = world.clock.now()
    world.clock.move(timedelta(days=365))
    await paused(world)
    await world.sweep()
    world.clock.time = right

    assert a_job_runner(world).can_run(JobKind.SWEEP)
    assert set(PROVIDER_JOBS.values()) >= set(LONGEST_WAITS)
    assert max(LONGEST_WAITS.values()) < LONGEST_PAUSE


@pytest.mark.parametrize("operation", ["list_assets", "whoami", None])
@pytest.mark.parametrize("scan", [audit, backfill])
async def test_a_scan_ends_says_when_to_go_on_and_resumes(
    world: World, scan: type[object], operation: str | None
) -> None:
    world.emulator.create_assets(150)
    if operation:
        world.emulator.add_fault("rate_limited", operation=operation, times=1, retry_after=HOUR)
    else:
        await paused(world)
    began = world.clock.now()

    report = await scan(world.context)  # type: ignore[call-arg, misc]

    assert report.outcome is Outcome.RATE_LIMITED
    assert report.retry_after == pytest.approx(HOUR, abs=5)
    assert world.clock.now() - began <= LONGEST_WAITS[Trigger.AUDIT]
    world.clock.move(HOUR + 10)
    again = await scan(world.context)  # type: ignore[call-arg, misc]
    assert (again.outcome, again.retry_after) == (Outcome.DONE, None)


async def test_ambiguous_rows_are_left_to_a_later_sweep(world: World) -> None:
    row = await world.track(updated_at=world.clock.now() - MINUTE)
    began = world.clock.now()
    await paused(world)

    await check_first(world.context, [row.id])

    assert world.clock.now() == began
    assert await world.now_is(row) == row
    world.clock.move(HOUR + 10)
    await world.sweep()
    assert (await world.now_is(row)).state is State.READY


async def test_the_identity_is_learned_after_a_pause_in_which_it_could_not_be(world: World) -> None:
    gateway = world.context.gateway
    gateway.identity.found = None
    for _ in range(5):
        await paused(world)
        await gateway.identity.learn()
    assert gateway.identity.expected is None

    world.clock.move(HOUR + 10)
    await gateway.identity.learn()

    assert gateway.identity.expected


async def test_an_open_circuit_is_no_reason_to_wait(world: World) -> None:
    row, began = await world.track(), world.clock.now()
    world.emulator.add_fault("server_error")
    for _ in range(4):
        await sync_row(world.context, row, trigger=Trigger.SYNC)
    waited = world.clock.now() - began

    applied = await sync_row(world.context, row, trigger=Trigger.SYNC)

    assert applied
    assert isinstance(applied.observation, FetchFailure)
    assert applied.observation.kind is FailureKind.UNREACHABLE
    assert world.clock.now() - began == waited
