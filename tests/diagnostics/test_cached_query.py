"""One question at a time to what may be slow to answer."""

import asyncio
from datetime import timedelta

import pytest

from rindle_sync.diagnostics import CachedQuery, ConcurrencyLimit
from rindle_sync.diagnostics.cached_query import LONGEST_QUERY
from rindle_sync.errors import DatabaseUnavailable
from tests.support.world import Clock

HOLDS = timedelta(seconds=10)


class Oracle:
    """Answers how often it was asked, once it is free to."""

    def __init__(self) -> None:
        self.asked = 0
        self.is_free = asyncio.Event()
        self.is_free.set()

    async def answer(self) -> int:
        self.asked += 1
        await self.is_free.wait()
        return self.asked


async def test_an_answer_holds_for_a_while() -> None:
    clock, oracle = Clock(), Oracle()
    question = CachedQuery(oracle.answer, clock.now, HOLDS)

    answers = [await question.get()]
    for wait in (5, 4, 1):
        clock.move(wait)
        answers.append(await question.get())

    assert answers == [1, 1, 1, 2]


async def test_who_asks_meanwhile_waits_for_the_same_answer() -> None:
    oracle = Oracle()
    question = CachedQuery(oracle.answer, Clock().now, timedelta(0))

    assert list(await asyncio.gather(question.get(), question.get())) == [1, 1]


async def test_what_is_slow_is_not_asked_again_until_it_has_answered() -> None:
    oracle = Oracle()
    oracle.is_free.clear()
    question = CachedQuery(oracle.answer, Clock().now, timedelta(0), within=0.01)

    silent = [await question.get(), await question.get()]
    asked = oracle.asked
    oracle.is_free.set()

    assert (silent, asked) == ([None, None], 1)
    assert await question.get() == 1
    assert await question.get() == 2


async def test_the_former_answer_is_given_while_the_next_one_takes_long() -> None:
    clock, oracle = Clock(), Oracle()
    question = CachedQuery(oracle.answer, clock.now, HOLDS, within=0.01, soon=0.01)
    assert await question.get() == 1

    oracle.is_free.clear()
    clock.move(HOLDS)
    former = [await question.get(), await question.get()]
    clock.move(LONGEST_QUERY)
    too_old = await question.get()
    oracle.is_free.set()

    assert (former, too_old, oracle.asked) == ([1, 1], None, 2)
    assert await question.get() == 2


async def test_a_failure_is_raised_and_not_stored() -> None:
    failures = [DatabaseUnavailable("down")]

    async def ask() -> str:
        if failures:
            raise failures.pop()
        return "up"

    question = CachedQuery(ask, Clock().now, HOLDS)

    with pytest.raises(DatabaseUnavailable):
        await question.get()
    assert await question.get() == "up"


async def test_nothing_is_asked_after_the_end() -> None:
    oracle = Oracle()
    oracle.is_free.clear()
    question = CachedQuery(oracle.answer, Clock().now, HOLDS, within=0.01)
    await question.get()

    await question.close()

    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_only_the_first_who_asks_waits_for_what_is_late() -> None:
    oracle = Oracle()
    oracle.is_free.clear()
    question = CachedQuery(oracle.answer, Clock().now, timedelta(0), within=0.05)
    assert await question.get() is None

    async with asyncio.timeout(0.04):
        assert [await question.get() for _ in range(20)] == [None] * 20
    oracle.is_free.set()


async def test_so_many_ask_at_a_time_and_nobody_waits_for_ever() -> None:
    places, is_over = ConcurrencyLimit(2, within=0.01), asyncio.Event()

    async def stay() -> None:
        async with places.slot():
            await is_over.wait()

    staying = [asyncio.create_task(stay()) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(TimeoutError):
        await stay()
    is_over.set()
    await asyncio.gather(*staying)

    await stay()


async def test_what_took_long_holds_for_longer() -> None:
    clock, oracle = Clock(), Oracle()

    async def slowly() -> int:
        clock.move(3)
        return await oracle.answer()

    question = CachedQuery(slowly, clock.now, HOLDS, times=20)

    answers = [await question.get()]
    for wait in (59, 1):
        clock.move(wait)
        answers.append(await question.get())

    assert answers == [1, 1, 2]
