"""Which steps are due: of each environment for itself, and none that somebody is at."""

from dataclasses import replace
from datetime import timedelta

from rindle_sync.domain import Job, JobKind, State
from rindle_sync.reconcile import audit
from rindle_sync.runtime import ChangeEvent, JobRunner
from rindle_sync.store import DueJobs
from tests.support.world import World


def a_work(world: World, environment: str = "default", *, audit_days: float = 0) -> JobRunner:
    async def nothing(_: ChangeEvent) -> None:
        pass

    return JobRunner(
        context=replace(
            world.context, environment=environment, audit_every=timedelta(days=audit_days)
        ),
        callbacks=[nothing],
        keep_ended=timedelta(days=7),
        keep_dead=timedelta(days=30),
    )


async def due_of(world: World, *job_runners: JobRunner) -> set[Job]:
    now = world.clock.now()
    return set(
        await DueJobs(world.context.store.engine).due(
            "mux", [work.due_thresholds(now) for work in job_runners], now=now
        )
    )


async def steps_of(world: World, work: JobRunner) -> set[JobKind]:
    return {job.kind for job in await due_of(world, work)}


async def pruned(world: World, **options: float) -> JobRunner:
    work = a_work(world, **options)  # type: ignore[arg-type]
    await work.run(JobKind.PRUNE)
    return work


async def test_where_nothing_is_known_only_pruning_is_due_and_then_no_more_for_an_hour(
    world: World,
) -> None:
    work = a_work(world)

    assert await steps_of(world, work) == {JobKind.PRUNE}
    await work.run(JobKind.PRUNE)
    assert await steps_of(world, work) == set()
    world.clock.move(timedelta(hours=1))
    assert await steps_of(world, work) == {JobKind.PRUNE}


async def test_a_due_row_makes_a_sweep_due_until_it_was_looked_at(world: World) -> None:
    work = await pruned(world)
    row = await world.track()

    assert await steps_of(world, work) == {JobKind.SWEEP}
    await work.run(JobKind.SWEEP)
    assert (await world.now_is(row)).state is State.READY
    assert await steps_of(world, work) == {JobKind.DISPATCH}
    await work.run(JobKind.DISPATCH)
    assert await steps_of(world, work) == set()


async def test_a_row_that_changed_within_the_floor_or_is_leased_is_not_due(world: World) -> None:
    work, now = await pruned(world), world.clock.now()
    await world.track(updated_at=now - timedelta(seconds=1))
    held = await world.track()
    await world.context.store.claim(
        "mux", "default", [held.id], due=now, now=now, token=held.id, until=now + work.context.lease
    )

    assert await steps_of(world, work) == set()
    world.clock.move(work.context.lease + timedelta(seconds=1))
    assert await steps_of(world, work) == {JobKind.SWEEP}


async def test_an_audit_is_due_where_audits_are_wanted_and_none_was_made_lately(
    world: World,
) -> None:
    work = await pruned(world, audit_days=7)

    assert await steps_of(world, work) == {JobKind.AUDIT}
    await audit(work.context)
    assert await steps_of(world, work) == set()
    world.clock.move(timedelta(days=7))
    assert await steps_of(world, work) == {JobKind.AUDIT, JobKind.PRUNE}


async def test_each_environment_has_its_own_errands(world: World) -> None:
    first, second = await pruned(world), a_work(world, "other")
    await second.run(JobKind.PRUNE)
    await world.track(environment="other")

    assert await due_of(world, first, second) == {Job("other", JobKind.SWEEP)}
    assert await due_of(world, first) == set()
    assert await due_of(world) == set()
