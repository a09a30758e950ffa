"""What an engine is woken for: one kind of work, in one environment."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final


class JobKind(StrEnum):
    """A kind of work; each step takes up all of it that is due."""

    SWEEP = "sweep"
    PROCESS_WEBHOOK_EVENTS = "ingest"
    DISPATCH = "announce"
    CHECK_AMBIGUOUS = "doubts"
    """Looks at what deliveries left in doubt in this process; the sweep finds it as well, a little later."""
    AUDIT = "audit"
    PRUNE = "prune"


PROVIDER_JOBS: Final = frozenset({JobKind.SWEEP, JobKind.CHECK_AMBIGUOUS, JobKind.AUDIT})
"""The steps that ask the provider."""


@dataclass(frozen=True, slots=True)
class Job:
    """A step that is due."""

    environment: str
    kind: JobKind


@dataclass(frozen=True, slots=True, kw_only=True)
class DueThresholds:
    """When the steps of an environment are due, as far as the tables alone do not tell."""

    environment: str
    touched_before: datetime
    """Rows that changed after this are left alone for now."""
    audited_before: datetime | None
    """An audit is due if the last one ended before; None for no audits."""
    pruned_before: datetime


class Outcome(StrEnum):
    """How a pass ended."""

    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    ALREADY_RUNNING = "elsewhere"
    """Another process is making this pass."""
    ALARM = "alarm"
    """So many rows would have ended that none was."""
