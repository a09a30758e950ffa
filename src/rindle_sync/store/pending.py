"""What is leased for dispatch to the app, and what became of it."""

from dataclasses import dataclass, field
from datetime import datetime

from rindle_sync.store.lines import Change


@dataclass(frozen=True, slots=True)
class PendingChange:
    """A change that is leased for dispatch to every callback."""

    id: int
    change: Change
    handled: frozenset[str] = frozenset()
    """The callbacks that have handled it in a transaction of theirs."""
    behind: frozenset[str] = frozenset()
    """The callbacks that wait with it, for their call for an earlier change of its row."""


@dataclass(frozen=True, slots=True)
class PendingCall:
    """A call of one callback for one change, leased, after `attempts` failed ones."""

    id: int
    callback: str
    attempts: int
    change_id: int
    change: Change | None
    """None where the app has deleted it."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """What was leased."""

    changes: list[PendingChange] = field(default_factory=list)
    calls: list[PendingCall] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCall:
    """A call of one callback that is left of a change."""

    pending: PendingChange
    callback: str
    at: datetime
    attempts: int


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What became of leased changes and calls."""

    changes: list[PendingChange] = field(default_factory=list)
    """Those whose every callback was called, or has a call of its own."""
    new_calls: list[NewCall] = field(default_factory=list)
    marked: list[int] = field(default_factory=list)
    """The ids of those that some callback has marked as handled."""
    calls: list[PendingCall] = field(default_factory=list)
    """Those that went well."""
    put_off: list[tuple[PendingCall, datetime]] = field(default_factory=list)
    """Those that failed, and when to try again."""


class NotRecorded(Exception):
    """A callback returned, and its transaction could not be committed; `error` says why."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error
