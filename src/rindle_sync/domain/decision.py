"""What `decide` says of a row, and the settings that it depends on. Pure."""

from datetime import timedelta
from enum import StrEnum
from typing import Final

from msgspec import Struct

from rindle_sync.domain.asset import ChangeKind, ProviderAsset


class StuckPolicy(StrEnum):
    """What to do with a row in flight past the threshold: end it at once, or fetch it first."""

    DECLARE = "declare"
    ASK_FIRST = "ask-first"


class Policy(Struct, frozen=True, kw_only=True):
    """The settings that a verdict depends on."""

    stuck_threshold: timedelta = timedelta(seconds=7200)
    stuck_policy: StuckPolicy = StuckPolicy.DECLARE
    confirm: timedelta = timedelta(minutes=10)
    """The least time between two answers that take something away: 404s that delete a settled row,
    and whole assets that lack playback ids of it."""
    begin_grace: timedelta = timedelta(minutes=10)
    """How long a row may wait for its direct upload to be created."""


class Verdict(StrEnum):
    """The outcome of `decide`."""

    NEEDS_FETCH = "needs_fetch"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    STUCK = "stuck"
    MISSING_ONCE = "missing_once"
    STALE = "stale"
    AMBIGUOUS = "ambiguous"
    UNANSWERED = "unanswered"


CHANGES: Final = (Verdict.CHANGED, Verdict.STUCK)
"""The verdicts that are a real change of the row."""


class Decision(Struct, frozen=True, gc=False):
    """A verdict, the row as it should become, and the reason in a few words."""

    verdict: Verdict
    row: ProviderAsset
    reason: str
    is_doubtful: bool = False
    """Whether a check is to confirm at once what the row became."""
    media: tuple[str, ...] = ()
    """The fields of `Media` that are new in the row."""

    @property
    def kind(self) -> ChangeKind | None:
        """What kind of change it is; None for none."""
        if self.verdict in CHANGES:
            return ChangeKind.STATE
        return ChangeKind.MEDIA if self.media else None
