"""The loop of an engine: ticks, failures, the end.

Time is the loop's own, and skips whatever nobody waits for.
"""

import asyncio
import logging
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from rindle_sync.errors import AuthenticationFailed, DatabaseUnavailable, RindleSyncError
from rindle_sync.runtime.engines.loop import LONGEST_GAP, Loop

SECRET = "an-id-of-the-provider-s"
Tick = Callable[[], Awaitable[object]]


class SkippingSelector(selectors.DefaultSelector):
    """Waits for nothing: it moves the time on by what it was asked to wait."""

    skipped = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0 if timeout is not None else None)
        if not ready and timeout:
            self.skipped += timeout
        return ready


class SkippingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._skipping = SkippingSelector()
        super().__init__(self._skipping)

    def time(self) -> float:
        return super().time() + self._skipping.skipped


def at_once(told: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        runner.run(told)


def seconds() -> float:
    return asyncio.get_running_loop().time()


class Ticks:
    """A tick that counts, and ends everything at its `last` time.

    What is raised is what `fails` makes.
    """

    def __init__(
        self, last: int, fails: Callable[[int], Exception | None] = lambda _: None
    ) -> None:
        self.at: list[float] = []
        self.stop = asyncio.Event()
        self._last = last
        self._fails = fails

    async def __call__(self) -> None:
        self.at.append(seconds())
        if len(self.at) == self._last:
            self.stop.set()
        if error := self._fails(len(self.at)):
            raise error

    @property
    def gaps(self) -> list[int]:
        return [round(after - before) for before, after in zip(self.at, self.at[1:], strict=False)]


def test_it_ticks_at_once_and_then_every_interval() -> None:
    async def told() -> None:
        ticks, began = Ticks(4), seconds()

        await Loop(5, drain=15).run(ticks, ticks.stop)

        assert round(ticks.at[0] - began) == 0
        assert ticks.gaps == [5, 5, 5]

    at_once(told())


def test_the_gap_begins_when_the_tick_has_ended() -> None:
    async def told() -> None:
        ticks = Ticks(3)

        async def slow() -> None:
            await ticks()
            await asyncio.sleep(7)

        await Loop(5, drain=15).run(slow, ticks.stop)

        assert ticks.gaps == [12, 12]

    at_once(told())


@pytest.mark.parametrize(
    "error",
    [
        DatabaseUnavailable("no answer"),
        AuthenticationFailed("no"),
        RindleSyncError("so"),
        KeyError("x"),
    ],
)
def test_failing_ticks_do_not_end_it_and_gaps_double_up_to_a_minute(error: Exception) -> None:
    async def told() -> None:
        ticks = Ticks(8, lambda _: error)

        await Loop(5, drain=15).run(ticks, ticks.stop)

        assert ticks.gaps == [10, 20, 40, 60, 60, 60, 60]
        assert LONGEST_GAP == 60

    at_once(told())


def test_a_tick_that_ran_well_for_a_minute_begins_the_count_of_failures_anew() -> None:
    async def told() -> None:
        ticks = Ticks(6, lambda _: OSError())

        async def runs_long_the_fourth_time() -> None:
            try:
                await ticks()
            finally:
                await asyncio.sleep(LONGEST_GAP * (len(ticks.at) == 4))

        await Loop(1, drain=15).run(runs_long_the_fourth_time, ticks.stop)

        assert ticks.gaps == [2, 4, 8, 60 + 2, 4]

    at_once(told())


def test_however_often_ticks_fail_it_goes_on() -> None:
    async def told() -> None:
        ticks = Ticks(1500, lambda _: OSError())

        await Loop(0.5, drain=15).run(ticks, ticks.stop)

        assert len(ticks.at) == 1500

    at_once(told())


def test_an_interval_longer_than_a_minute_is_never_shortened_by_failures() -> None:
    async def told() -> None:
        ticks = Ticks(3, lambda _: OSError())

        await Loop(300, drain=15).run(ticks, ticks.stop)

        assert ticks.gaps == [300, 300]

    at_once(told())


def test_a_good_tick_brings_the_gap_back() -> None:
    async def told() -> None:
        ticks = Ticks(5, lambda number: OSError() if number in {1, 2} else None)

        await Loop(5, drain=15).run(ticks, ticks.stop)

        assert ticks.gaps == [10, 20, 5, 5]

    at_once(told())


def test_a_tick_that_cancels_itself_does_not_end_it() -> None:
    async def told() -> None:
        ticks = Ticks(3)

        async def cancelled() -> None:
            await ticks()
            raise asyncio.CancelledError

        await Loop(5, drain=15).run(cancelled, ticks.stop)

        assert ticks.gaps == [10, 20]

    at_once(told())


def test_stop_in_a_gap_ends_it_at_once() -> None:
    async def told() -> None:
        ticks, began = Ticks(99), seconds()
        asyncio.get_running_loop().call_later(1, ticks.stop.set)

        await Loop(3600, drain=15).run(ticks, ticks.stop)

        assert (len(ticks.at), round(seconds() - began)) == (1, 1)

    at_once(told())


def test_stop_during_a_tick_waits_for_its_end() -> None:
    async def told() -> None:
        stop, ended, began = asyncio.Event(), [], seconds()
        asyncio.get_running_loop().call_later(1, stop.set)

        async def tick() -> None:
            await asyncio.sleep(10)
            ended.append(round(seconds() - began))

        await Loop(5, drain=15).run(tick, stop)

        assert (ended, round(seconds() - began)) == ([10], 10)

    at_once(told())


def test_stop_during_an_endless_tick_cancels_it_after_the_drain() -> None:
    async def told() -> None:
        stop, cancelled, began = asyncio.Event(), [], seconds()
        asyncio.get_running_loop().call_later(1, stop.set)

        async def tick() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.append(round(seconds() - began))

        await Loop(5, drain=15).run(tick, stop)

        assert (cancelled, round(seconds() - began)) == ([16], 16)

    at_once(told())


def test_a_cancelled_tick_may_put_its_things_away_before_run_returns() -> None:
    async def told() -> None:
        stop, put_away = asyncio.Event(), []
        asyncio.get_running_loop().call_later(1, stop.set)

        async def tick() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(2)
                put_away.append(True)

        await Loop(5, drain=15).run(tick, stop)

        assert put_away == [True]

    at_once(told())


def test_a_stop_that_was_set_before_means_no_tick() -> None:
    async def told() -> None:
        ticks = Ticks(99)
        ticks.stop.set()

        await Loop(5, drain=15).run(ticks, ticks.stop)

        assert ticks.at == []

    at_once(told())


def test_whoever_cancels_it_cancels_the_tick_too_and_waits_until_it_has_put_its_things_away() -> (
    None
):
    async def told() -> None:
        running, put_away = asyncio.Event(), []

        async def tick() -> None:
            running.set()
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(2)
                put_away.append(True)

        engine = asyncio.create_task(Loop(5, drain=15).run(tick, asyncio.Event()))
        await running.wait()
        engine.cancel()
        with pytest.raises(asyncio.CancelledError):
            await engine

        assert put_away == [True]

    at_once(told())


def test_nothing_of_ours_is_left_behind() -> None:
    async def told() -> None:
        ticks = Ticks(3)

        await Loop(5, drain=15).run(ticks, ticks.stop)
        await asyncio.sleep(0)

        assert asyncio.all_tasks() == {asyncio.current_task()}

    at_once(told())


def test_an_unexpected_fault_is_logged_by_its_kind_and_never_by_its_text(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def told() -> None:
        ticks = Ticks(2, lambda _: LookupError(SECRET))
        await Loop(5, drain=15).run(ticks, ticks.stop)

    with caplog.at_level(logging.DEBUG):
        at_once(told())

    assert "LookupError" in caplog.text
    assert SECRET not in caplog.text
    assert not any(record.exc_info for record in caplog.records)


def test_our_own_errors_are_logged_with_their_text(caplog: pytest.LogCaptureFixture) -> None:
    async def told() -> None:
        ticks = Ticks(
            1, lambda _: DatabaseUnavailable("the database lacks the tables of rindle-sync")
        )
        await Loop(5, drain=15).run(ticks, ticks.stop)

    with caplog.at_level(logging.DEBUG):
        at_once(told())

    assert "DatabaseUnavailable: the database lacks the tables of rindle-sync" in caplog.text


def test_a_loop_that_is_cancelled_while_it_waits_leaves_no_task_behind() -> None:
    async def told() -> None:
        ticks = Ticks(99)
        engine = asyncio.create_task(Loop(60, drain=1).run(ticks, ticks.stop))
        await asyncio.sleep(30)
        engine.cancel()
        await asyncio.gather(engine, return_exceptions=True)
        await asyncio.sleep(0)

        assert len(ticks.at) == 1
        assert asyncio.all_tasks() == {asyncio.current_task()}

    at_once(told())


def test_a_tick_that_succeeds_after_failures_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def told() -> None:
        ticks = Ticks(6, lambda number: OSError() if number in {2, 3} else None)
        await Loop(5, drain=15).run(ticks, ticks.stop)

    with caplog.at_level(logging.INFO, "rindle_sync"):
        at_once(told())

    logged = [record.getMessage() for record in caplog.records if record.levelname == "INFO"]
    assert logged == ["rindle-sync works again after 2 failed attempts"]
