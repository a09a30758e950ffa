"""How the outcome of a sync is told to an operator."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from rindle_sync.domain import Verdict


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an operator's action; `is_good` is False where the row needs attention."""

    is_good: bool
    text: str


SYNC_OUTCOMES: Final[Mapping[str, Outcome]] = {
    Verdict.CHANGED: Outcome(True, "Checked: the row has changed."),
    Verdict.UNCHANGED: Outcome(True, "Checked: the row has not changed."),
    Verdict.STUCK: Outcome(False, "The row was in flight for too long, and is stuck now."),
    Verdict.MISSING_ONCE: Outcome(
        False,
        "The provider did not find the asset. "
        "The row is checked again later, before it becomes deleted.",
    ),
    Verdict.STALE: Outcome(True, "Another check was faster."),
    Verdict.AMBIGUOUS: Outcome(False, "The row changed during the check. It is checked again."),
    Verdict.UNANSWERED: Outcome(False, "The provider did not answer. The row is checked again."),
    "gone": Outcome(False, "The row does not exist any more."),
    "late": Outcome(False, "No answer in time. The row is checked again."),
}
"""By verdict; `gone` where the row was deleted meanwhile, `late` where nobody waited longer."""
