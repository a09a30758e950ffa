"""Which steps are due: of each environment for itself, and none that somebody is at."""

from dataclasses import replace
from datetime import timedelta

from rindle_sync.announce import Changed
from rindle_sync.asset import State
from rindle_sync.audit import audit
from rindle_sync.errand import Errand, Step
from rindle_sync.store import Errands
from rindle_sync.work import Work
from tests.world import World


def a_work(world: World, environment: str = "default", *, audit_days: float = 0) -> Work:
    async def nothing(_: Changed) -> None:
        pass

    return Work(
        tools=replace(world.tools, environment=environment, audit_every=timedelta(days=audit_days)),
        callbacks=[nothing],
        keep_ended=timedelta(days=7),
        keep_dead=timedelta(days=30),
    )


async def due_of(world: World, *works: Work) -> set[Errand]:
    now = world.clock.now()
    return set(await Errands(world.tools.store.engine).due("mux", [work.watch(now) for work in works], now=now))


async def steps_of(world: World, work: Work) -> set[Step]:
    return {errand.step for errand in await due_of(world, work)}


async def pruned(world: World, **options: float) -> Work:
    work = a_work(world, **options)  # type: ignore[arg-type]
    await work.run(Step.PRUNE)
    return work


async def test_where_nothing_is_known_only_pruning_is_due_and_then_no_more_for_an_hour(world: World) -> None:
    work = a_work(world)

    assert await steps_of(world, work) == {Step.PRUNE}
    await work.run(Step.PRUNE)
    assert await steps_of(world, work) == set()
    world.clock.move(timedelta(hours=1))
    assert await steps_of(world, work) == {Step.PRUNE}


async def test_a_due_row_makes_a_sweep_due_until_it_was_looked_at(world: World) -> None:
    work = await pruned(world)
    row = await world.track()

    assert await steps_of(world, work) == {Step.SWEEP}
    await work.run(Step.SWEEP)
    assert (await world.now_is(row)).state is State.READY
    assert await steps_of(world, work) == {Step.ANNOUNCE}
    await work.run(Step.ANNOUNCE)
    assert await steps_of(world, work) == set()


async def test_a_row_that_changed_within_the_floor_or_is_leased_is_not_due(world: World) -> None:
    work, now = await pruned(world), world.clock.now()
    await world.track(updated_at=now - timedelta(seconds=1))
    held = await world.track()
    await world.tools.store.claim(
        "mux", "default", [held.id], due=now, now=now, token=held.id, until=now + work.tools.lease
    )

    assert await steps_of(world, work) == set()
    world.clock.move(work.tools.lease + timedelta(seconds=1))
    assert await steps_of(world, work) == {Step.SWEEP}


async def test_an_audit_is_due_where_audits_are_wanted_and_none_was_made_lately(world: World) -> None:
    work = await pruned(world, audit_days=7)

    assert await steps_of(world, work) == {Step.AUDIT}
    await audit(work.tools)
    assert await steps_of(world, work) == set()
    world.clock.move(timedelta(days=7))
    assert await steps_of(world, work) == {Step.AUDIT, Step.PRUNE}


async def test_each_environment_has_its_own_errands(world: World) -> None:
    first, second = await pruned(world), a_work(world, "other")
    await second.run(Step.PRUNE)
    await world.track(environment="other")

    assert await due_of(world, first, second) == {Errand("other", Step.SWEEP)}
    assert await due_of(world, first) == set()
    assert await due_of(world) == set()
