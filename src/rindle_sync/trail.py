"""What was last decided about a row, as the row itself remembers it, each kind of decision once in a run. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from rindle_sync.asset import By, Seen, Silence, Via
from rindle_sync.decide import Decision, Verdict

MOST: Final = 12
"""How many entries a row keeps; a look like the one before adds none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One decision, or several of the same kind one after the other: from `at` to `until`, `times` in all."""

    at: datetime
    until: datetime
    times: int
    by: By
    via: Via | None
    """None where nothing was asked, or no answer came."""
    verdict: Verdict
    reason: str


def follow(trail: Sequence[Any], seen: Seen | Silence | None, decision: Decision, by: By, now: datetime) -> list[Any]:
    """The trail with one decision more."""
    via = seen.via.value if isinstance(seen, Seen) else None
    what = [by.value, via, decision.verdict.value, decision.reason]
    at = now.isoformat()
    if trail and list(trail[-1][3:]) == what:
        first, _, times = trail[-1][:3]
        return [*trail[:-1], [first, at, times + 1, *what]]
    return [*trail[-MOST + 1 :], [at, at, 1, *what]]


def entries(trail: Sequence[Any]) -> list[Entry]:
    """The trail in its order, the oldest first."""
    return [
        Entry(
            at=datetime.fromisoformat(at),
            until=datetime.fromisoformat(until),
            times=times,
            by=By(by),
            via=via and Via(via),
            verdict=Verdict(verdict),
            reason=reason,
        )
        for at, until, times, by, via, verdict, reason in trail
    ]
