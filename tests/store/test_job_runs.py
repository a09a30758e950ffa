"""What is stored of the runs of a job.

One at a time, how far it is, and which rows it has not found.
"""

import asyncio
from datetime import datetime, timedelta
from uuid import uuid4

import pytest

from rindle_sync.store import JobRun, JobRuns
from tests.support.rows import NOW, OLD
from tests.support.world import World

SECOND = timedelta(seconds=1)
LEASE = timedelta(seconds=30)
AUDIT = "audit"
ELSEWHERE = [("mux", "staging"), ("bunny", "default")]


@pytest.fixture
def job_runs(world: World) -> JobRuns:
    return world.context.store.job_runs


def job_runs_of(world: World, provider: str, environment: str) -> JobRuns:
    return JobRuns(world.context.store.database, provider, environment)


def a_token() -> str:
    return str(uuid4())


async def take(
    job_runs: JobRuns, token: str, *, now: datetime = NOW, kind: str = AUDIT
) -> JobRun | None:
    return await job_runs.take(kind, now=now, token=token, until=now + LEASE)


# the lease


async def test_a_run_is_taken_once(job_runs: JobRuns) -> None:
    assert await take(job_runs, a_token()) == JobRun()
    assert await take(job_runs, a_token()) is None


@pytest.mark.parametrize("ended_before", [False, True])
async def test_of_many_who_want_a_run_at_once_one_gets_it(
    job_runs: JobRuns, *, ended_before: bool
) -> None:
    if ended_before:
        token = a_token()
        await take(job_runs, token)
        await job_runs.end(token, NOW, {})

    taken = await asyncio.gather(*(take(job_runs, a_token()) for _ in range(10)))

    assert sum(job_run is not None for job_run in taken) == 1


async def test_runs_of_another_kind_are_apart(job_runs: JobRuns) -> None:
    await take(job_runs, a_token())

    assert await take(job_runs, a_token(), kind="sweep") == JobRun()


@pytest.mark.parametrize("elsewhere", ELSEWHERE)
async def test_runs_of_other_environments_and_providers_are_apart(
    world: World, job_runs: JobRuns, elsewhere: tuple[str, str]
) -> None:
    await take(job_runs, a_token())

    assert await take(job_runs_of(world, *elsewhere), a_token()) == JobRun()


async def test_a_run_is_free_again_when_its_lease_has_ended(job_runs: JobRuns) -> None:
    await take(job_runs, a_token())

    assert await take(job_runs, a_token(), now=NOW + LEASE) is None
    assert await take(job_runs, a_token(), now=NOW + LEASE + SECOND) == JobRun()


async def test_a_run_that_is_renewed_is_held_longer(job_runs: JobRuns) -> None:
    token = a_token()
    await take(job_runs, token)

    await job_runs.renew(token, NOW + 3 * LEASE)

    assert await take(job_runs, a_token(), now=NOW + 2 * LEASE) is None
    assert await take(job_runs, a_token(), now=NOW + 4 * LEASE) == JobRun()


async def test_one_who_has_lost_the_run_neither_renews_nor_releases_that_of_another(
    job_runs: JobRuns,
) -> None:
    lost, later = a_token(), NOW + 2 * LEASE
    await take(job_runs, lost)
    await take(job_runs, a_token(), now=later)

    await job_runs.renew(lost, NOW)
    await job_runs.release(lost)

    assert await take(job_runs, a_token(), now=later) is None


async def test_a_run_that_is_released_is_free_at_once(job_runs: JobRuns) -> None:
    token = a_token()
    await take(job_runs, token)

    await job_runs.release(token)

    assert await take(job_runs, a_token()) == JobRun()


# progress


async def test_what_a_run_saves_survives_the_death_of_its_holder(job_runs: JobRuns) -> None:
    dead = a_token()
    await take(job_runs, dead)

    assert await job_runs.save(
        dead, began_at=OLD, progress={"cursor": "c-7", "seen": [1]}, until=NOW + LEASE
    )

    kept = JobRun(began_at=OLD, progress={"cursor": "c-7", "seen": [1]})
    assert await job_runs.get(AUDIT) == kept
    assert await take(job_runs, a_token(), now=NOW + 2 * LEASE) == kept


async def test_what_a_run_saves_holds_it_longer(job_runs: JobRuns) -> None:
    token = a_token()
    await take(job_runs, token)

    await job_runs.save(token, began_at=NOW, progress={}, until=NOW + 3 * LEASE)

    assert await take(job_runs, a_token(), now=NOW + 2 * LEASE) is None


async def test_one_who_has_lost_the_run_saves_nothing(job_runs: JobRuns) -> None:
    lost, mine = a_token(), a_token()
    await take(job_runs, lost)
    await take(job_runs, mine, now=NOW + 2 * LEASE)
    await job_runs.save(mine, began_at=NOW, progress={"cursor": "mine"}, until=NOW + 3 * LEASE)

    assert not await job_runs.save(
        lost, began_at=OLD, progress={"cursor": "lost"}, until=NOW + 9 * LEASE
    )

    assert await job_runs.get(AUDIT) == JobRun(began_at=NOW, progress={"cursor": "mine"})


async def test_one_who_has_lost_the_run_does_not_end_that_of_another(job_runs: JobRuns) -> None:
    lost, mine, later = a_token(), a_token(), NOW + 2 * LEASE
    await take(job_runs, lost)
    await take(job_runs, mine, now=later)
    await job_runs.save(mine, began_at=NOW, progress={"cursor": "mine"}, until=later + LEASE)

    await job_runs.end(lost, later, {"outcome": "done"})

    assert await job_runs.get(AUDIT) == JobRun(began_at=NOW, progress={"cursor": "mine"})
    assert await take(job_runs, a_token(), now=later) is None


async def test_the_end_of_a_run_leaves_its_report_and_frees_it(job_runs: JobRuns) -> None:
    token = a_token()
    await take(job_runs, token)
    await job_runs.save(token, began_at=OLD, progress={"cursor": "c-7"}, until=NOW + LEASE)

    await job_runs.end(token, NOW, {"outcome": "done"})

    ended = JobRun(ended_at=NOW, progress={"outcome": "done"})
    assert await job_runs.get(AUDIT) == ended
    assert await take(job_runs, a_token()) == ended


async def test_when_the_last_run_ended_is_known_while_the_next_is_under_way(
    job_runs: JobRuns,
) -> None:
    for token in (first := a_token(), second := a_token()):
        await take(job_runs, token)
        if token is first:
            await job_runs.end(first, OLD, {})
    await job_runs.save(second, began_at=NOW, progress={"cursor": "c-1"}, until=NOW + LEASE)

    assert await job_runs.get(AUDIT) == JobRun(
        began_at=NOW, ended_at=OLD, progress={"cursor": "c-1"}
    )


async def test_a_run_that_was_never_made_stands_at_nothing(job_runs: JobRuns) -> None:
    assert await job_runs.get(AUDIT) == JobRun()


# deletion candidates


def some_ids(number: int) -> list[str]:
    return [str(uuid4()) for _ in range(number)]


async def test_candidates_are_noted_counted_and_found_again(job_runs: JobRuns) -> None:
    first, second = some_ids(2)

    await job_runs.add_candidates({first: OLD}, is_missing=True)
    await job_runs.add_candidates({second: NOW}, is_missing=True)

    assert await job_runs.count_candidates() == 2
    assert await job_runs.candidates(10, are_missing=True) == {first: OLD, second: NOW}


async def test_a_candidate_is_noted_once_and_keeps_its_first_time(job_runs: JobRuns) -> None:
    first, second = some_ids(2)
    await job_runs.add_candidates({first: OLD}, is_missing=True)

    await job_runs.add_candidates({first: NOW, second: NOW}, is_missing=True)

    assert await job_runs.candidates(10, are_missing=True) == {first: OLD, second: NOW}


async def test_there_is_no_candidate_where_no_row_is_named(job_runs: JobRuns) -> None:
    await job_runs.add_candidates({}, is_missing=True)

    assert await job_runs.count_candidates() == 0


async def test_no_more_candidates_are_read_than_asked_for(job_runs: JobRuns) -> None:
    await job_runs.add_candidates(dict.fromkeys(some_ids(5), NOW), is_missing=True)

    assert len(await job_runs.candidates(3, are_missing=True)) == 3
    assert await job_runs.count_candidates() == 5


async def test_a_thousand_candidates_are_noted_and_cleared_at_once(job_runs: JobRuns) -> None:
    many = some_ids(1000)

    await job_runs.add_candidates(dict.fromkeys(many, NOW), is_missing=True)
    assert await job_runs.count_candidates() == 1000

    await job_runs.clear_candidates(many[:999])
    assert await job_runs.candidates(10, are_missing=True) == {many[999]: NOW}


async def test_candidates_are_cleared_one_by_one_or_all(job_runs: JobRuns) -> None:
    first, *others = some_ids(4)
    await job_runs.add_candidates(dict.fromkeys([first, *others], NOW), is_missing=True)

    await job_runs.clear_candidates([])
    assert await job_runs.count_candidates() == 4
    await job_runs.clear_candidates([first])
    assert await job_runs.candidates(10, are_missing=True) == dict.fromkeys(others, NOW)
    await job_runs.clear_candidates()
    assert await job_runs.count_candidates() == 0


@pytest.mark.parametrize("elsewhere", ELSEWHERE)
async def test_candidates_of_other_environments_and_providers_are_apart(
    world: World, job_runs: JobRuns, elsewhere: tuple[str, str]
) -> None:
    [row_id], others = some_ids(1), job_runs_of(world, *elsewhere)
    await job_runs.add_candidates({row_id: NOW}, is_missing=True)

    await others.clear_candidates()
    await others.clear_candidates([row_id])

    assert await others.candidates(10, are_missing=True) == {}
    assert await others.count_candidates() == 0
    assert await job_runs.candidates(10, are_missing=True) == {row_id: NOW}


async def test_a_candidate_that_was_cleared_can_be_noted_again(job_runs: JobRuns) -> None:
    [row_id] = some_ids(1)
    await job_runs.add_candidates({row_id: OLD}, is_missing=True)
    await job_runs.clear_candidates()

    await job_runs.add_candidates({row_id: NOW}, is_missing=True)

    assert await job_runs.candidates(10, are_missing=True) == {row_id: NOW}
