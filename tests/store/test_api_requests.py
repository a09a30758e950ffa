"""Requests of the HTTP API with an idempotency key: each is begun once, and answered again."""

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import IO

import pytest

from rindle_sync.store.api_requests import (
    ENDS_WITHIN,
    KEPT_FOR,
    LARGEST_ANSWER,
    Abandoned,
    AnotherRequest,
    ApiRequests,
    Begun,
    StillRunning,
    StoredAnswer,
)
from tests.support.processes import PATIENCE
from tests.support.rows import NOW
from tests.support.world import World, a_job_runner

SECOND = timedelta(seconds=1)
ANSWER = StoredAnswer(status=201, headers={"location": "/api/v1/assets/1"}, body=b'{"id": "1"}')


@pytest.fixture
def requests(world: World) -> ApiRequests:
    return ApiRequests(world.context.store.database)


async def begin(
    requests: ApiRequests, *, after: timedelta = timedelta(0), token: str = "backend"
) -> object:
    return await requests.begin(token, "key-1", "post /assets film-1", NOW + after)


async def begun(requests: ApiRequests, *, after: timedelta = timedelta(0)) -> Begun:
    found = await begin(requests, after=after)
    assert isinstance(found, Begun)
    return found


async def end(requests: ApiRequests, mine: Begun, body: bytes | None = ANSWER.body) -> bool:
    assert body is not None
    return await requests.end(mine, status=ANSWER.status, headers=ANSWER.headers, body=body)


async def test_a_request_is_begun_once_and_then_answered_as_it_was(requests: ApiRequests) -> None:
    mine = await begun(requests)
    assert await begin(requests) == StillRunning()

    assert await end(requests, mine)

    assert await begin(requests) == ANSWER
    assert await begin(requests, after=KEPT_FOR - SECOND) == ANSWER


async def test_a_key_stands_for_one_request_of_one_token(requests: ApiRequests) -> None:
    await begun(requests)

    other = await requests.begin("backend", "key-1", "post /assets film-2", NOW)
    assert other == AnotherRequest()
    assert isinstance(await begin(requests, token="importer"), Begun)


async def test_a_request_that_did_nothing_may_be_made_again(requests: ApiRequests) -> None:
    await requests.drop(await begun(requests))

    mine = await begun(requests)
    await end(requests, mine)
    await requests.drop(mine)  # it was done: the answer stays
    assert await begin(requests) == ANSWER


async def test_after_a_day_the_key_stands_for_a_new_request(requests: ApiRequests) -> None:
    late = await begun(requests)

    mine = await begun(requests, after=KEPT_FOR)

    assert not await end(requests, late)
    assert await begin(requests, after=KEPT_FOR) == StillRunning()
    assert await end(requests, mine)


async def test_a_request_without_an_answer_is_abandoned(requests: ApiRequests) -> None:
    mine = await begun(requests)

    assert await begin(requests, after=ENDS_WITHIN - SECOND) == StillRunning()
    assert await begin(requests, after=ENDS_WITHIN) == Abandoned(NOW)
    assert await end(requests, mine)  # it was late, not dead
    assert await begin(requests, after=ENDS_WITHIN) == ANSWER


async def test_a_clock_that_was_ahead_has_no_request_run_for_a_year(requests: ApiRequests) -> None:
    year = timedelta(days=365)
    mine = await begun(requests, after=year)

    assert await begin(requests) == Abandoned(NOW + year)
    await end(requests, mine)
    assert await begin(requests) == ANSWER


@pytest.mark.parametrize("size", [0, LARGEST_ANSWER, LARGEST_ANSWER + 1])
async def test_an_answer_is_stored_up_to_a_size(requests: ApiRequests, size: int) -> None:
    body = b"\x00" * size
    await end(requests, await begun(requests), body)

    kept = body if size <= LARGEST_ANSWER else None
    assert await begin(requests) == StoredAnswer(
        status=ANSWER.status, headers=ANSWER.headers, body=kept
    )


async def test_old_requests_are_pruned_with_the_job(world: World, requests: ApiRequests) -> None:
    await end(requests, await begun(requests))
    await requests.begin("backend", "key-2", "later", NOW + SECOND)
    world.clock.move(KEPT_FOR)

    await a_job_runner(world).prune()

    lines = (await world.tables())["provider_api_requests"]
    assert len(lines) == 1
    assert "key-2" in lines[0]


async def test_of_many_at_once_one_begins(requests: ApiRequests) -> None:
    found = await asyncio.gather(*(begin(requests) for _ in range(10)))

    assert Counter(type(result) for result in found) == {Begun: 1, StillRunning: 9}


async def test_of_many_at_once_one_begins_anew_after_a_day(requests: ApiRequests) -> None:
    await end(requests, await begun(requests))

    found = await asyncio.gather(*(begin(requests, after=KEPT_FOR) for _ in range(10)))

    assert Counter(type(result) for result in found) == {Begun: 1, StillRunning: 9}


# several processes


@contextmanager
def a_beginner(url: str, number: int) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.beginner", url, str(number)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


async def line_of(pipe: IO[str] | None) -> str:
    assert pipe
    return await asyncio.wait_for(asyncio.to_thread(pipe.readline), PATIENCE)


def go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()


async def test_processes_at_once_begin_each_request_once(tables_url: str) -> None:
    number = 40
    with ExitStack() as stack:
        beginners = [stack.enter_context(a_beginner(tables_url, number)) for _ in range(2)]
        for beginner in beginners:
            assert await line_of(beginner.stdout) == "ready\n"
        for beginner in beginners:
            go_on(beginner)
        begun = [json.loads(await line_of(beginner.stdout)) for beginner in beginners]

    together = begun[0] + begun[1]
    assert sorted(together) == sorted(f"key-{place}" for place in range(number))


async def test_a_process_killed_before_its_answer_leaves_an_abandoned_request(
    tables_url: str, world: World, requests: ApiRequests
) -> None:
    with a_beginner(tables_url, 1) as beginner:
        assert await line_of(beginner.stdout) == "ready\n"
        go_on(beginner)
        assert json.loads(await line_of(beginner.stdout)) == ["key-0"]
        beginner.kill()

    async def again(after: timedelta) -> object:
        return await requests.begin("backend", "key-0", "same", NOW + after)

    assert await again(SECOND) == StillRunning()
    assert await again(ENDS_WITHIN) == Abandoned(NOW)
    assert isinstance(await again(KEPT_FOR), Begun)
