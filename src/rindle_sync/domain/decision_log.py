"""What was last decided about a row, as the row itself remembers it, each kind of decision once in a run. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from rindle_sync.domain.asset import FetchFailure, Observation, ObservationSource, Trigger
from rindle_sync.domain.decide import Decision, Verdict

MOST: Final = 12
"""How many entries a row keeps; a decision like the one before adds none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedDecision:
    """One decision, or several of the same kind one after the other: from `at` to `until`, `times` in all."""

    at: datetime
    until: datetime
    times: int
    trigger: Trigger
    source: ObservationSource | None
    """None where nothing was asked, or no answer came."""
    verdict: Verdict
    reason: str


def log_decision(
    log: Sequence[Mapping[str, Any]],
    observation: Observation | FetchFailure | None,
    decision: Decision,
    trigger: Trigger,
    now: datetime,
) -> list[Mapping[str, Any]]:
    """The log with one decision more."""
    source = observation.source.value if isinstance(observation, Observation) else None
    what = {
        "trigger": trigger.value,
        "source": source,
        "verdict": decision.verdict.value,
        "reason": decision.reason,
    }
    at = now.isoformat()
    if log and {name: log[-1].get(name) for name in what} == what:
        last = log[-1]
        return [*log[:-1], {"at": last["at"], "until": at, "times": last["times"] + 1} | what]
    return [*log[-MOST + 1 :], {"at": at, "until": at, "times": 1} | what]


def read_log(log: Sequence[Mapping[str, Any]]) -> list[LoggedDecision]:
    """The log in its order, the oldest first."""
    return [
        LoggedDecision(
            at=datetime.fromisoformat(entry["at"]),
            until=datetime.fromisoformat(entry["until"]),
            times=entry["times"],
            trigger=Trigger(entry["trigger"]),
            source=entry["source"] and ObservationSource(entry["source"]),
            verdict=Verdict(entry["verdict"]),
            reason=entry["reason"],
        )
        for entry in log
    ]
