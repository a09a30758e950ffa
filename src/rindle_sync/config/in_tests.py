"""Whether a test's settings are in force in this process, and the clock that it gives."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Final

Clock = Callable[[], datetime]
"""Tells the time, in UTC."""

_clocks: Final[list[Clock | None]] = []
"""Of the tests whose settings are in force, the innermost last."""


@contextmanager
def in_tests(clock: Clock | None) -> Iterator[None]:
    """A test's settings are in force in the block; services with no clock of their own go by it."""
    _clocks.append(clock)
    try:
        yield
    finally:
        _clocks.pop()


def is_in_tests() -> bool:
    """Whether the settings of a test are in force in this process."""
    return bool(_clocks)


def clock_of_tests() -> Clock | None:
    """The clock of the test whose settings are in force; None where none has one."""
    return _clocks[-1] if _clocks else None
