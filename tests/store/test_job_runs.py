"""What is kept of the passes over an environment: one at a time, how far it is, and whom it has not found."""

import asyncio
from datetime import datetime, timedelta
from uuid import uuid4

import pytest

from rindle_sync.store import JobKey, JobRun, JobRuns
from tests.support.rows import NOW, OLD
from tests.support.world import World

SECOND = timedelta(seconds=1)
LEASE = timedelta(seconds=30)
AUDIT = JobKey("mux", "default", "audit")
OTHERS = [
    JobKey("mux", "default", "sweep"),
    JobKey("mux", "staging", "audit"),
    JobKey("bunny", "default", "audit"),
]


@pytest.fixture
def passes(world: World) -> JobRuns:
    return world.context.job_runs


def a_token() -> str:
    return str(uuid4())


async def take(
    passes: JobRuns, token: str, *, now: datetime = NOW, key: JobKey = AUDIT
) -> JobRun | None:
    return await passes.take(key, now=now, token=token, until=now + LEASE)


# the lease


async def test_a_pass_is_taken_by_one(passes: JobRuns) -> None:
    assert await take(passes, a_token()) == JobRun()
    assert await take(passes, a_token()) is None


@pytest.mark.parametrize("ended_before", [False, True])
async def test_of_many_who_want_a_pass_at_once_one_gets_it(
    passes: JobRuns, *, ended_before: bool
) -> None:
    if ended_before:
        token = a_token()
        await take(passes, token)
        await passes.end(token, NOW, {})

    taken = await asyncio.gather(*(take(passes, a_token()) for _ in range(10)))

    assert sum(standing is not None for standing in taken) == 1


@pytest.mark.parametrize("other", OTHERS)
async def test_passes_of_other_kinds_environments_and_providers_are_apart(
    passes: JobRuns, other: JobKey
) -> None:
    await take(passes, a_token())

    assert await take(passes, a_token(), key=other) == JobRun()


async def test_a_pass_is_free_again_when_its_lease_has_ended(passes: JobRuns) -> None:
    await take(passes, a_token())

    assert await take(passes, a_token(), now=NOW + LEASE) is None
    assert await take(passes, a_token(), now=NOW + LEASE + SECOND) == JobRun()


async def test_a_pass_that_is_renewed_is_held_longer(passes: JobRuns) -> None:
    token = a_token()
    await take(passes, token)

    await passes.renew(token, NOW + 3 * LEASE)

    assert await take(passes, a_token(), now=NOW + 2 * LEASE) is None
    assert await take(passes, a_token(), now=NOW + 4 * LEASE) == JobRun()


async def test_one_who_has_lost_the_pass_neither_renews_nor_gives_back_that_of_another(
    passes: JobRuns,
) -> None:
    lost, later = a_token(), NOW + 2 * LEASE
    await take(passes, lost)
    await take(passes, a_token(), now=later)

    await passes.renew(lost, NOW)
    await passes.release(lost)

    assert await take(passes, a_token(), now=later) is None


async def test_a_pass_that_is_given_back_is_free_at_once(passes: JobRuns) -> None:
    token = a_token()
    await take(passes, token)

    await passes.release(token)

    assert await take(passes, a_token()) == JobRun()


# progress


async def test_what_a_pass_keeps_survives_the_death_of_its_holder(passes: JobRuns) -> None:
    dead = a_token()
    await take(passes, dead)

    assert await passes.keep(
        dead, began_at=OLD, progress={"cursor": "c-7", "seen": [1]}, until=NOW + LEASE
    )

    kept = JobRun(began_at=OLD, progress={"cursor": "c-7", "seen": [1]})
    assert await passes.get(AUDIT) == kept
    assert await take(passes, a_token(), now=NOW + 2 * LEASE) == kept


async def test_what_a_pass_keeps_holds_it_longer(passes: JobRuns) -> None:
    token = a_token()
    await take(passes, token)

    await passes.keep(token, began_at=NOW, progress={}, until=NOW + 3 * LEASE)

    assert await take(passes, a_token(), now=NOW + 2 * LEASE) is None


async def test_one_who_has_lost_the_pass_keeps_nothing(passes: JobRuns) -> None:
    lost, mine = a_token(), a_token()
    await take(passes, lost)
    await take(passes, mine, now=NOW + 2 * LEASE)
    await passes.keep(mine, began_at=NOW, progress={"cursor": "mine"}, until=NOW + 3 * LEASE)

    assert not await passes.keep(
        lost, began_at=OLD, progress={"cursor": "lost"}, until=NOW + 9 * LEASE
    )

    assert await passes.get(AUDIT) == JobRun(began_at=NOW, progress={"cursor": "mine"})


async def test_one_who_has_lost_the_pass_does_not_end_that_of_another(passes: JobRuns) -> None:
    lost, mine, later = a_token(), a_token(), NOW + 2 * LEASE
    await take(passes, lost)
    await take(passes, mine, now=later)
    await passes.keep(mine, began_at=NOW, progress={"cursor": "mine"}, until=later + LEASE)

    await passes.end(lost, later, {"outcome": "done"})

    assert await passes.get(AUDIT) == JobRun(began_at=NOW, progress={"cursor": "mine"})
    assert await take(passes, a_token(), now=later) is None


async def test_the_end_of_a_pass_leaves_its_report_and_frees_it(passes: JobRuns) -> None:
    token = a_token()
    await take(passes, token)
    await passes.keep(token, began_at=OLD, progress={"cursor": "c-7"}, until=NOW + LEASE)

    await passes.end(token, NOW, {"outcome": "done"})

    ended = JobRun(ended_at=NOW, progress={"outcome": "done"})
    assert await passes.get(AUDIT) == ended
    assert await take(passes, a_token()) == ended


async def test_when_the_last_pass_ended_is_known_while_the_next_is_under_way(
    passes: JobRuns,
) -> None:
    for token in (first := a_token(), second := a_token()):
        await take(passes, token)
        if token is first:
            await passes.end(first, OLD, {})
    await passes.keep(second, began_at=NOW, progress={"cursor": "c-1"}, until=NOW + LEASE)

    assert await passes.get(AUDIT) == JobRun(began_at=NOW, ended_at=OLD, progress={"cursor": "c-1"})


async def test_a_pass_that_was_never_made_stands_at_nothing(passes: JobRuns) -> None:
    assert await passes.get(AUDIT) == JobRun()


# suspects


def some_ids(number: int) -> list[str]:
    return [str(uuid4()) for _ in range(number)]


async def test_suspects_are_noted_counted_and_found_again(passes: JobRuns) -> None:
    one, other = some_ids(2)

    await passes.add_candidates(AUDIT, {one: OLD}, is_missing=True)
    await passes.add_candidates(AUDIT, {other: NOW}, is_missing=True)

    assert await passes.count_candidates(AUDIT) == 2
    assert await passes.candidates(AUDIT, 10, are_missing=True) == {one: OLD, other: NOW}


async def test_a_suspect_is_noted_once_and_keeps_its_first_time(passes: JobRuns) -> None:
    one, other = some_ids(2)
    await passes.add_candidates(AUDIT, {one: OLD}, is_missing=True)

    await passes.add_candidates(AUDIT, {one: NOW, other: NOW}, is_missing=True)

    assert await passes.candidates(AUDIT, 10, are_missing=True) == {one: OLD, other: NOW}


async def test_nobody_is_suspected_where_nobody_is_named(passes: JobRuns) -> None:
    await passes.add_candidates(AUDIT, {}, is_missing=True)

    assert await passes.count_candidates(AUDIT) == 0


async def test_no_more_suspects_are_read_than_asked_for(passes: JobRuns) -> None:
    await passes.add_candidates(AUDIT, dict.fromkeys(some_ids(5), NOW), is_missing=True)

    assert len(await passes.candidates(AUDIT, 3, are_missing=True)) == 3
    assert await passes.count_candidates(AUDIT) == 5


async def test_a_thousand_suspects_are_noted_and_acquitted_at_once(passes: JobRuns) -> None:
    many = some_ids(1000)

    await passes.add_candidates(AUDIT, dict.fromkeys(many, NOW), is_missing=True)
    assert await passes.count_candidates(AUDIT) == 1000

    await passes.clear_candidates(AUDIT, many[:999])
    assert await passes.candidates(AUDIT, 10, are_missing=True) == {many[999]: NOW}


async def test_suspects_are_acquitted_one_by_one_or_all(passes: JobRuns) -> None:
    one, *others = some_ids(4)
    await passes.add_candidates(AUDIT, dict.fromkeys([one, *others], NOW), is_missing=True)

    await passes.clear_candidates(AUDIT, [])
    assert await passes.count_candidates(AUDIT) == 4
    await passes.clear_candidates(AUDIT, [one])
    assert await passes.candidates(AUDIT, 10, are_missing=True) == dict.fromkeys(others, NOW)
    await passes.clear_candidates(AUDIT)
    assert await passes.count_candidates(AUDIT) == 0


@pytest.mark.parametrize("other", OTHERS[1:])
async def test_suspects_of_other_environments_are_apart(passes: JobRuns, other: JobKey) -> None:
    [row_id] = some_ids(1)
    await passes.add_candidates(AUDIT, {row_id: NOW}, is_missing=True)

    await passes.clear_candidates(other)
    await passes.clear_candidates(other, [row_id])

    assert await passes.candidates(other, 10, are_missing=True) == {}
    assert await passes.count_candidates(other) == 0
    assert await passes.candidates(AUDIT, 10, are_missing=True) == {row_id: NOW}


async def test_a_suspect_that_was_acquitted_can_be_suspected_again(passes: JobRuns) -> None:
    [row_id] = some_ids(1)
    await passes.add_candidates(AUDIT, {row_id: OLD}, is_missing=True)
    await passes.clear_candidates(AUDIT)

    await passes.add_candidates(AUDIT, {row_id: NOW}, is_missing=True)

    assert await passes.candidates(AUDIT, 10, are_missing=True) == {row_id: NOW}
