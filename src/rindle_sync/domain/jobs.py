"""A job: one kind of work in one environment, which an engine runs when it is due."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final

from msgspec import Struct

from rindle_sync.domain.asset import Trigger


class JobKind(StrEnum):
    """A kind of work; each job processes everything of its kind that is due."""

    SWEEP = "sweep"
    PROCESS_WEBHOOK_EVENTS = "process_webhook_events"
    DISPATCH = "dispatch"
    PUBLISH = "publish"
    """Gives changes their place in the feed, where somebody follows it."""
    DELIVER = "deliver"
    """Sends outgoing webhooks."""
    CHECK_AMBIGUOUS = "check_ambiguous"
    """Checks rows that webhook events left ambiguous in this process; a sweep finds them later."""
    AUDIT = "audit"
    PRUNE = "prune"


PROVIDER_JOBS: Final = {
    JobKind.SWEEP: Trigger.SWEEP,
    JobKind.CHECK_AMBIGUOUS: Trigger.SYNC,
    JobKind.AUDIT: Trigger.AUDIT,
}
"""The jobs that call the provider, and the trigger of their calls."""


class Job(Struct, frozen=True):
    """A job that is due."""

    environment: str
    kind: JobKind


class DueWork(Struct, frozen=True):
    """The jobs that are due, and when those that are not will be."""

    jobs: Sequence[Job]
    next_at: Mapping[Job, datetime]
    """When the earliest work of each job is due; in the past also while it is held, or waits."""
    followed: frozenset[str] = frozenset()
    """The environments whose changes somebody follows."""


class DueThresholds(Struct, frozen=True, kw_only=True):
    """When the jobs of an environment are due, beyond what the tables alone say."""

    environment: str
    touched_before: datetime
    """Rows that changed after this are not checked yet."""
    audited_before: datetime | None
    """An audit is due if the last one ended before this; None for no audits."""
    pruned_before: datetime
    latest_check: datetime
    """A check that is planned for later than this was planned by a wrong clock."""
    latest_watched_check: datetime
    """The same of rows that are errored as stuck or not found."""


class Outcome(StrEnum):
    """How a sweep, an audit or a backfill ended."""

    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    RATE_LIMITED = "rate_limited"
    """The rate limit allowed no further call for too long."""
    ALREADY_RUNNING = "already_running"
    """Another process is running it."""
    ALARM = "alarm"
    """So many rows would have been deleted that none was."""
