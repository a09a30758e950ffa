"""The calls of each hour of a day, whatever the clocks of the processes say."""

from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rindle_sync.domain import add_calls, calls_in
from rindle_sync.domain.hourly_calls import HOURS_KEPT

HOUR: Final = timedelta(hours=1)
NOON: Final = datetime(2026, 11, 30, 12, tzinfo=UTC)


def of_hours(history: tuple[int, ...], *back: int) -> list[int]:
    """The calls of these hours before noon."""
    return [calls_in(history, NOON - place * HOUR) for place in back]


def test_calls_count_for_the_hour_in_which_they_are_made() -> None:
    history = add_calls((), NOON - 3 * HOUR, 7)
    history = add_calls(history, NOON - timedelta(microseconds=1), 2)
    history = add_calls(history, NOON, 1)
    history = add_calls(history, NOON + timedelta(minutes=59), 4)

    assert of_hours(history, 4, 3, 2, 1, 0, -1) == [0, 7, 0, 2, 5, 0]


def test_calls_that_were_not_made_do_not_count() -> None:
    history = add_calls(add_calls((), NOON, 5), NOON, -2)

    assert of_hours(history, 0) == [3]
    assert of_hours(add_calls(history, NOON + HOUR, -9), 0, -1) == [3, 0]


def test_nothing_was_called_before_the_first_call() -> None:
    assert of_hours((), 0, 1) == [0, 0]


@pytest.mark.parametrize("ahead", [HOUR, timedelta(minutes=1)])
def test_clocks_that_differ_a_little_lose_no_call(ahead: timedelta) -> None:
    history = add_calls((), NOON - timedelta(minutes=1) + ahead, 3)
    history = add_calls(history, NOON - timedelta(minutes=1), 2)

    assert sum(of_hours(history, 1, 0)) == 5


def test_a_clock_that_was_far_ahead_is_forgotten() -> None:
    history = add_calls(add_calls((), NOON + 400 * HOUR, 3), NOON, 2)

    assert of_hours(history, 0, -400) == [2, 0]


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 1000)), max_size=40))
def test_the_last_day_is_counted_exactly(steps: list[tuple[int, int]]) -> None:
    history, hour, counted = tuple[int, ...](), 0, dict[int, int]()
    for gap, calls in steps:
        hour += gap
        counted[hour] = counted.get(hour, 0) + calls
        history = add_calls(history, NOON + hour * HOUR, calls)

    assert len(history) <= HOURS_KEPT + 1
    for back in range(HOURS_KEPT if steps else 0):
        expected = counted.get(hour - back, 0)
        assert calls_in(history, NOON + (hour - back) * HOUR) == expected
