"""Which stored times a right clock can have written. Pure.

A clock that was wrong for a while leaves times behind that lie far ahead. They would hold
everything up until that time comes. So no stored time is believed that lies further ahead than its
longest wait, and than two clocks may differ.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

TOLERANCE: Final = timedelta(minutes=5)
"""How far the clocks of two machines may differ."""

LONGEST_WAIT: Final = timedelta(minutes=15)
"""Nothing but a check of a row is leased, or put off, for longer than this."""

_EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""No time of a provider's lies before it."""


def is_ahead(moment: datetime | None, now: datetime, longest: timedelta = timedelta(0)) -> bool:
    """Whether no right clock can have written `moment`, as the end of a wait up to `longest`."""
    # most times are past, and a comparison costs less than two sums
    return moment is not None and moment > now and moment > now + longest + TOLERANCE


def credible(moment: datetime | None, now: datetime) -> datetime | None:
    """A time that a provider gave; None where it cannot be one of a past event."""
    return None if moment is None or moment < _EARLIEST or is_ahead(moment, now) else moment


def has_come(moment: datetime | None, now: datetime, longest: timedelta) -> bool:
    """Whether a wait of up to `longest` until `moment` is over, or is not to be believed."""
    return moment is not None and (moment <= now or is_ahead(moment, now, longest))


def lasts(until: datetime | None, now: datetime, longest: timedelta) -> bool:
    """Whether a wait of up to `longest` that this process began goes on until `until`.

    It does not where this process's own clock was set back since.
    """
    return until is not None and now < until <= now + longest
