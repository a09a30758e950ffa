"""What an engine is woken for: one kind of work, in one environment."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final


class Step(StrEnum):
    """A kind of work; each step takes up all of it that is due."""

    SWEEP = "sweep"
    INGEST = "ingest"
    ANNOUNCE = "announce"
    DOUBTS = "doubts"
    """Looks at what deliveries left in doubt in this process; the sweep finds it as well, a little later."""
    AUDIT = "audit"
    PRUNE = "prune"


LOOKS: Final = frozenset({Step.SWEEP, Step.DOUBTS, Step.AUDIT})
"""The steps that ask the provider."""


@dataclass(frozen=True, slots=True)
class Errand:
    """A step that is due."""

    environment: str
    step: Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """When the steps of an environment are due, as far as the tables alone do not tell."""

    environment: str
    touched_before: datetime
    """Rows that changed after this are left alone for now."""
    audited_before: datetime | None
    """An audit is due if the last one ended before; None for no audits."""
    pruned_before: datetime
