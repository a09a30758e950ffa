"""Which jobs are due: of each environment for itself, and none that somebody works on."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy import event

from rindle_sync.domain import Job, JobKind, State
from rindle_sync.reconcile import audit
from rindle_sync.runtime import ChangeEvent, JobRunner
from rindle_sync.store import DueJobs
from rindle_sync.telemetry import CallbackException
from tests.support.callbacks import registered
from tests.support.rows import GAPS
from tests.support.world import World
from tests.support.world import a_job_runner as jobs_of


async def nothing(_: ChangeEvent) -> None:
    pass


def a_job_runner(world: World, environment: str = "default", *, audit_days: float = 0) -> JobRunner:
    job_runner = jobs_of(world, environment)
    context = replace(job_runner.context, audit_every=timedelta(days=audit_days))
    return replace(job_runner, context=context, callbacks=registered(nothing))


async def due_of(world: World, *job_runners: JobRunner) -> set[Job]:
    now = world.clock.now()
    thresholds = [job_runner.due_thresholds(now) for job_runner in job_runners]
    due_jobs = DueJobs(world.context.store.database, "mux")
    return set((await due_jobs.due(thresholds, now=now)).jobs)


async def kinds_due(world: World, job_runner: JobRunner) -> set[JobKind]:
    return {job.kind for job in await due_of(world, job_runner)}


async def pruned(world: World, **options: float) -> JobRunner:
    job_runner = a_job_runner(world, **options)  # type: ignore[arg-type]
    await job_runner.run(JobKind.PRUNE)
    return job_runner


async def test_where_nothing_is_known_only_pruning_is_due_and_then_no_more_for_an_hour(
    world: World,
) -> None:
    job_runner = a_job_runner(world)

    assert await kinds_due(world, job_runner) == {JobKind.PRUNE}
    await job_runner.run(JobKind.PRUNE)
    assert await kinds_due(world, job_runner) == set()
    world.clock.move(timedelta(hours=1))
    assert await kinds_due(world, job_runner) == {JobKind.PRUNE}


async def test_a_due_row_makes_a_sweep_due_until_it_was_checked(world: World) -> None:
    job_runner = await pruned(world)
    row = await world.track()

    assert await kinds_due(world, job_runner) == {JobKind.SWEEP}
    await job_runner.run(JobKind.SWEEP)
    assert (await world.now_is(row)).state is State.READY
    assert await kinds_due(world, job_runner) == {JobKind.DISPATCH}
    await job_runner.run(JobKind.DISPATCH)
    assert await kinds_due(world, job_runner) == set()


async def test_a_call_that_failed_makes_a_dispatch_due_when_its_time_has_come(world: World) -> None:
    async def fails_once(_: ChangeEvent) -> None:
        if not world.events(CallbackException):
            raise LookupError

    job_runner = replace(await pruned(world), callbacks=registered(fails_once))
    await world.sync(await world.track())
    await job_runner.run(JobKind.DISPATCH)

    assert await kinds_due(world, job_runner) == set()
    world.clock.move(timedelta(seconds=1))
    assert await kinds_due(world, job_runner) == {JobKind.DISPATCH}
    await job_runner.run(JobKind.DISPATCH)
    assert await kinds_due(world, job_runner) == set()


async def test_a_row_that_changed_within_the_floor_or_is_leased_is_not_due(world: World) -> None:
    job_runner, now = await pruned(world), world.clock.now()
    await world.track(updated_at=now - timedelta(seconds=1))
    held = await world.track()
    await world.context.store.assets.claim(
        [held.id],
        due=now,
        now=now,
        longest=GAPS,
        token=held.id,
        until=now + job_runner.context.lease,
    )

    assert await kinds_due(world, job_runner) == set()
    world.clock.move(job_runner.context.lease + timedelta(seconds=1))
    assert await kinds_due(world, job_runner) == {JobKind.SWEEP}


async def test_an_audit_is_due_where_audits_are_wanted_and_none_was_made_lately(
    world: World,
) -> None:
    job_runner = await pruned(world, audit_days=7)

    assert await kinds_due(world, job_runner) == {JobKind.AUDIT}
    await audit(job_runner.context)
    assert await kinds_due(world, job_runner) == set()
    world.clock.move(timedelta(days=7))
    assert await kinds_due(world, job_runner) == {JobKind.AUDIT, JobKind.PRUNE}


async def test_each_environment_has_its_own_jobs(world: World) -> None:
    first, second = await pruned(world), a_job_runner(world, "other")
    await second.run(JobKind.PRUNE)
    await world.track(environment="other")

    assert await due_of(world, first, second) == {Job("other", JobKind.SWEEP)}
    assert await due_of(world, first) == set()
    assert await due_of(world) == set()


async def test_a_search_for_wrongly_planned_checks_passes_over_no_watched_row(world: World) -> None:
    database, now = world.context.store.database, world.clock.now()
    sent: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        sent.append((statement, parameters))

    event.listen(database.engine.sync_engine, "before_cursor_execute", note)
    await due_of(world, a_job_runner(world))
    await world.context.store.queries.due(
        due=now, touched_before=now, now=now, longest=GAPS, limit=10
    )
    event.remove(database.engine.sync_engine, "before_cursor_execute", note)

    surveys = [(text, given) for text, given in sent if "coalesce" in text]
    assert len(surveys) == 2
    for text, given in surveys:
        async with database.reading() as connection:
            explain = "EXPLAIN QUERY PLAN "
            if connection.dialect.name == "postgresql":
                explain = "EXPLAIN "
                await connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
                await connection.exec_driver_sql("SET LOCAL enable_bitmapscan = off")
            plan = str((await connection.exec_driver_sql(explain + text, given)).all())
        assert "ix_media_provider_assets_due_unwatched" in plan
