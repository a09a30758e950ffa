"""How the outcome of a sync is told to an operator."""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from rindle_sync.domain import Verdict


class Outcome(Struct, frozen=True, kw_only=True):
    """What came of an operator's action; `is_good` is False where the row needs attention."""

    is_good: bool
    text: str


SYNC_OUTCOMES: Final[Mapping[str, Outcome]] = {
    Verdict.CHANGED: Outcome(is_good=True, text="Checked: the row has changed."),
    Verdict.UNCHANGED: Outcome(is_good=True, text="Checked: the row has not changed."),
    Verdict.STUCK: Outcome(
        is_good=False, text="The row was in flight for too long, and is stuck now."
    ),
    Verdict.MISSING_ONCE: Outcome(
        is_good=False,
        text="The provider did not find the asset. "
        "The row is checked again later, before it becomes deleted.",
    ),
    Verdict.STALE: Outcome(is_good=True, text="Another check was faster."),
    Verdict.AMBIGUOUS: Outcome(
        is_good=False, text="The row changed during the check. It is checked again."
    ),
    Verdict.UNANSWERED: Outcome(
        is_good=False, text="The provider did not answer. The row is checked again."
    ),
    "gone": Outcome(is_good=False, text="The row does not exist any more."),
    "late": Outcome(is_good=False, text="No answer in time. The row is checked again."),
}
"""By verdict; `gone` where the row was deleted meanwhile, `late` where nobody waited longer."""
