"""How many calls were made in each of the last hours. Pure.

A history is the number of its newest hour since 1970, and then a count for each hour, newest first.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

HOURS_KEPT: Final = 25
"""A day, and the hour that is not over."""

_HOUR: Final = timedelta(hours=1)
_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def add_calls(history: Sequence[int], at: datetime, calls: int) -> tuple[int, ...]:
    """The history with `calls` more, fewer if negative, in the hour of `at`."""
    hour = _hour_of(at)
    newest, counts = hour, [0] * HOURS_KEPT
    # a clock that was an hour ahead or more was wrong: what it wrote is left out
    if history and history[0] <= hour + 1:
        newest = max(hour, history[0])
        counts = ([0] * min(newest - history[0], HOURS_KEPT) + [*history[1:]])[:HOURS_KEPT]
        counts = counts or [0]
    return newest, max(0, counts[0] + calls), *counts[1:]


def calls_in(history: Sequence[int], begins: datetime) -> int:
    """The calls of the hour that begins so; 0 where it is not in the history."""
    if not history:
        return 0
    place = history[0] - _hour_of(begins)
    counts = history[1:]
    return counts[place] if 0 <= place < len(counts) else 0


def _hour_of(moment: datetime) -> int:
    return (moment - _EPOCH) // _HOUR
