"""Faults that a test can set: which there are, whom they concern, and when each fires; says nothing of their effect."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Final

from rindle_sync.providers.mux_emulator.checks import check_number, check_text, check_whole, check_word, refuse
from rindle_sync.providers.mux_emulator.rest import Operation


class FaultKind(StrEnum):
    """What may go wrong."""

    LATENCY = "latency"
    LATE_ANSWER = "late_answer"
    SILENCE = "silence"
    NOT_FOUND_ONCE = "not_found_once"
    NOT_FOUND = "not_found"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    BAD_GATEWAY = "bad_gateway"
    BROKEN_JSON = "broken_json"
    TRUNCATED = "truncated"
    UNKNOWN_STATUS = "unknown_status"
    MISSING_PLAYBACK_IDS = "missing_playback_ids"
    REPEATED_ENTRIES = "repeated_entries"
    DROPPED_ENTRIES = "dropped_entries"
    OUT_OF_ORDER = "out_of_order"


DELAYS: Final = frozenset({FaultKind.LATENCY})
LATE: Final = frozenset({FaultKind.LATE_ANSWER})
REFUSALS: Final = frozenset(
    {
        FaultKind.SILENCE,
        FaultKind.NOT_FOUND_ONCE,
        FaultKind.NOT_FOUND,
        FaultKind.UNAUTHORIZED,
        FaultKind.FORBIDDEN,
        FaultKind.RATE_LIMITED,
        FaultKind.SERVER_ERROR,
        FaultKind.BAD_GATEWAY,
    }
)
TEXT_CHANGES: Final = frozenset({FaultKind.BROKEN_JSON, FaultKind.TRUNCATED})
DATA_CHANGES: Final = frozenset(FaultKind) - DELAYS - LATE - REFUSALS - TEXT_CHANGES

_LISTS: Final = frozenset({Operation.LIST_ASSETS, Operation.LIST_UPLOADS})
_ASSETS: Final = frozenset({Operation.CREATE_ASSET, Operation.GET_ASSET, Operation.LIST_ASSETS})
_UPLOADS: Final = frozenset(
    {Operation.CREATE_UPLOAD, Operation.GET_UPLOAD, Operation.LIST_UPLOADS, Operation.CANCEL_UPLOAD}
)
_BY_ID: Final = frozenset(
    {
        Operation.GET_ASSET,
        Operation.DELETE_ASSET,
        Operation.GET_UPLOAD,
        Operation.CANCEL_UPLOAD,
        Operation.GET_PLAYBACK_ID,
    }
)
_SCOPES: Final = {
    FaultKind.NOT_FOUND_ONCE: _BY_ID,
    FaultKind.NOT_FOUND: _BY_ID,
    FaultKind.UNKNOWN_STATUS: _ASSETS | _UPLOADS,
    FaultKind.MISSING_PLAYBACK_IDS: _ASSETS,
    FaultKind.REPEATED_ENTRIES: _LISTS,
    FaultKind.DROPPED_ENTRIES: _LISTS,
    FaultKind.OUT_OF_ORDER: _LISTS,
}
_TIMED: Final = DELAYS | LATE
_LONG_SILENCE: Final = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault: without `operation` and `object_id` it concerns every call, without `times` it never wears off."""

    kind: str
    operation: str | None = None
    object_id: str | None = None
    times: int | None = None
    probability: float = 1.0
    seconds: float | None = None
    retry_after: int | None = None

    def __post_init__(self) -> None:
        check_word("kind", self.kind, FaultKind)
        check_number("probability", self.probability, high=1.0)
        if self.times is not None:
            check_whole("times", self.times, low=1)
        if self.object_id is not None:
            check_text("object_id", self.object_id, longest=255)
        self._check_operation()
        self._check_waits()

    @property
    def wait(self) -> float:
        """How long it holds up an answer, in seconds."""
        return _LONG_SILENCE if self.seconds is None else self.seconds

    def concerns(self, operation: Operation, ids: Collection[str]) -> bool:
        """Whether it is about this operation on any of these objects."""
        if self.operation not in {None, operation} or operation not in _scope(self.kind):
            return False
        return self.object_id is None or self.object_id in ids

    def _check_operation(self) -> None:
        if self.operation is None:
            return
        check_word("operation", self.operation, Operation)
        if self.operation not in _scope(self.kind):
            refuse("operation", f"{self.kind} cannot happen to it; use one of {', '.join(sorted(_scope(self.kind)))}")

    def _check_waits(self) -> None:
        if self.seconds is not None:
            check_number("seconds", self.seconds)
        elif self.kind in _TIMED:
            refuse("seconds", f"is missing; say how long {self.kind} lasts")
        if self.retry_after is not None:
            check_whole("retry_after", self.retry_after, low=0)
            if self.kind != FaultKind.RATE_LIMITED:
                refuse("retry_after", f"belongs to rate_limited only; leave it out for {self.kind}")


@dataclass(slots=True, eq=False)
class Rule:
    """A fault that is set, its own chance, and how often it fired."""

    fault: Fault
    chance: Random
    fired: int = 0
    _met: set[str] = field(default_factory=set)

    def fires(self, operation: Operation, ids: Collection[str]) -> bool:
        """Whether it happens to this call; that counts."""
        if self.fired == self.fault.times or not self.fault.concerns(operation, ids):
            return False
        if self.fault.kind == FaultKind.NOT_FOUND_ONCE and self._met.issuperset(ids):
            return False
        if self.chance.random() >= self.fault.probability:
            return False
        self._met.update(ids if self.fault.kind == FaultKind.NOT_FOUND_ONCE else ())
        self.fired += 1
        return True


class Faults:
    """All faults that are set, in the order of setting."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._rules: list[Rule] = []
        self._made = 0

    def __iter__(self) -> Iterator[Rule]:
        return iter(self._rules)

    def add(self, fault: Fault) -> Rule:
        """Set a fault."""
        rule = Rule(fault, Random(f"{self._seed}:fault:{self._made}"))
        self._made += 1
        self._rules.append(rule)
        return rule

    def remove(self, rule: Rule) -> None:
        """Set one no more."""
        self._rules = [one for one in self._rules if one is not rule]

    def clear(self) -> None:
        """Set none."""
        self._rules.clear()
        self._made = 0

    def firing(self, kinds: frozenset[FaultKind], operation: Operation, ids: Collection[str]) -> Iterator[Rule]:
        """The rules of these kinds that happen to a call; a rule that is not drawn does not count."""
        return (rule for rule in self._rules if rule.fault.kind in kinds and rule.fires(operation, ids))


def _scope(kind: str) -> frozenset[Operation]:
    return _SCOPES.get(FaultKind(kind), frozenset(Operation))
