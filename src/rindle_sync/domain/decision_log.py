"""The last decisions about a row, stored in it; equal ones in a row are one entry. Pure."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from rindle_sync.domain.asset import FetchFailure, Observation, ObservationSource, Trigger
from rindle_sync.domain.decide import Decision, Verdict

MOST: Final = 12
"""The most entries that a row keeps."""


class LoggedDecision(Struct, frozen=True, kw_only=True, gc=False):
    """One decision, or `times` equal ones in a row: the first `at`, the last `until`."""

    at: datetime
    until: datetime
    times: int
    trigger: Trigger
    source: ObservationSource | None
    """None where nothing was fetched, or no answer came."""
    verdict: Verdict
    reason: str


def log_decision(
    log: Sequence[Any],
    observation: Observation | FetchFailure | None,
    decision: Decision,
    trigger: Trigger,
    now: datetime,
) -> list[Any]:
    """The log with one more decision; an entry is a JSON object like `LoggedDecision`."""
    source = observation.source if isinstance(observation, Observation) else None
    first, times, older = now, 1, log[-MOST + 1 :]
    for last in read_log(log[-1:]):  # none if another version wrote an unreadable one
        was = last.trigger, last.source, last.verdict, last.reason
        if was == (trigger, source, decision.verdict, decision.reason):
            first, times, older = last.at, last.times + 1, log[:-1]
    entry = LoggedDecision(
        at=first,
        until=now,
        times=times,
        trigger=trigger,
        source=source,
        verdict=decision.verdict,
        reason=decision.reason,
    )
    return [*older, msgspec.to_builtins(entry)]


def read_log(log: Sequence[Any]) -> list[LoggedDecision]:
    """The readable entries, oldest first.

    Unknown fields are ignored and unreadable entries skipped: a newer or an older version of
    rindle-sync may have written them.
    """
    decisions = []
    for entry in log:
        with suppress(msgspec.ValidationError):
            decisions.append(msgspec.convert(entry, LoggedDecision))
    return decisions
