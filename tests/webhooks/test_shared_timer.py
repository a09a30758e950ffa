"""One timer for many waits: each ends in its time, and nobody else's."""

import asyncio
from datetime import timedelta

import pytest

from rindle_sync.webhooks.shared_timer import SharedTimer

SOON = timedelta(milliseconds=20)
LATE = timedelta(hours=1)


async def test_what_takes_too_long_is_ended_and_what_is_over_is_not() -> None:
    timer, ended = SharedTimer(SOON), list[str]()
    all_over = asyncio.Event()

    def end_first() -> None:
        ended.append("first")

    def end_second() -> None:
        ended.append("second")

    def end_last() -> None:
        ended.append("last")
        all_over.set()

    timer.begin(end_first)
    timer.begin(end_second)
    timer.stop(end_second)
    await asyncio.sleep(SOON.total_seconds() / 2)
    timer.begin(end_last)
    await all_over.wait()

    assert ended == ["first", "last"]


async def test_a_block_that_takes_too_long_is_a_timeout_and_its_task_goes_on() -> None:
    timer = SharedTimer(SOON)

    with pytest.raises(TimeoutError), timer.timeout():
        await asyncio.Event().wait()

    task = asyncio.current_task()
    assert task
    assert not task.cancelling()
    with timer.timeout():
        await asyncio.sleep(0)


async def test_a_task_that_somebody_else_cancels_is_cancelled() -> None:
    begun = asyncio.Event()

    async def wait() -> None:
        with SharedTimer(LATE).timeout():
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await begun.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_task_that_is_cancelled_as_its_time_ends_is_cancelled() -> None:
    async def wait() -> None:
        with SharedTimer(SOON).timeout():
            try:
                await asyncio.Event().wait()
            finally:
                own = asyncio.current_task()
                assert own
                own.cancel()

    task = asyncio.create_task(wait())

    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_loop_that_has_ended_takes_no_limit_along() -> None:
    timer = SharedTimer(SOON)

    async def wait() -> None:
        with timer.timeout():
            await asyncio.sleep(0)

    async def wait_for_ever() -> None:
        with timer.timeout():
            await asyncio.Event().wait()

    asyncio.run(wait())
    with pytest.raises(TimeoutError):
        asyncio.run(wait_for_ever())
