"""The faults that a test can set, the calls that each applies to, and when it fires."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Final

from rindle_sync.emulator.call import Operation
from rindle_sync.emulator.validation import (
    check_number,
    check_text,
    check_whole,
    check_word,
    reject,
)


class FaultKind(StrEnum):
    """The kinds of fault."""

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
    ODD_TEXT = "odd_text"
    UNKNOWN_STATUS = "unknown_status"
    MISSING_PLAYBACK_IDS = "missing_playback_ids"
    REPEATED_ENTRIES = "repeated_entries"
    DROPPED_ENTRIES = "dropped_entries"
    OUT_OF_ORDER = "out_of_order"
    LAGGING_LIST = "lagging_list"


DELAYS: Final = frozenset({FaultKind.LATENCY})
LATE: Final = frozenset({FaultKind.LATE_ANSWER})
LAGS: Final = frozenset({FaultKind.LAGGING_LIST})
TEXT_CHANGES: Final = frozenset({FaultKind.BROKEN_JSON, FaultKind.TRUNCATED, FaultKind.ODD_TEXT})
DATA_CHANGES: Final = frozenset(
    {
        FaultKind.UNKNOWN_STATUS,
        FaultKind.MISSING_PLAYBACK_IDS,
        FaultKind.REPEATED_ENTRIES,
        FaultKind.DROPPED_ENTRIES,
        FaultKind.OUT_OF_ORDER,
    }
)
REFUSALS: Final = frozenset(FaultKind) - DELAYS - LATE - LAGS - TEXT_CHANGES - DATA_CHANGES

_LISTS: Final = frozenset({Operation.LIST_ASSETS, Operation.LIST_UPLOADS})
_ASSETS: Final = frozenset(
    {
        Operation.CREATE_ASSET,
        Operation.GET_ASSET,
        Operation.LIST_ASSETS,
        Operation.UPDATE_ASSET,
        Operation.UPDATE_MASTER_ACCESS,
    }
)
_UPLOADS: Final = frozenset(
    {Operation.CREATE_UPLOAD, Operation.GET_UPLOAD, Operation.LIST_UPLOADS, Operation.CANCEL_UPLOAD}
)
_NOT_BY_ID: Final = frozenset(
    {
        Operation.CREATE_ASSET,
        Operation.LIST_ASSETS,
        Operation.CREATE_UPLOAD,
        Operation.LIST_UPLOADS,
        Operation.SEND_BYTES,
        Operation.UPLOAD_PREFLIGHT,
        Operation.LIST_LIVE_STREAMS,
        Operation.WHOAMI,
        Operation.UNKNOWN,
    }
)
_BY_ID: Final = frozenset(Operation) - _NOT_BY_ID
_SCOPES: Final = {
    FaultKind.NOT_FOUND_ONCE: _BY_ID,
    FaultKind.NOT_FOUND: _BY_ID,
    FaultKind.ODD_TEXT: _ASSETS | _UPLOADS,
    FaultKind.UNKNOWN_STATUS: _ASSETS | _UPLOADS,
    FaultKind.MISSING_PLAYBACK_IDS: _ASSETS,
    FaultKind.REPEATED_ENTRIES: _LISTS,
    FaultKind.DROPPED_ENTRIES: _LISTS,
    FaultKind.OUT_OF_ORDER: _LISTS,
    FaultKind.LAGGING_LIST: frozenset({Operation.LIST_ASSETS}),
}
_ANY: Final = frozenset(Operation)
_TIMED: Final = DELAYS | LATE | LAGS
_LONG_SILENCE: Final = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault; None for `operation` and `object_id` means every call, for `times` no limit."""

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
        if self.operation is not None:
            check_word("operation", self.operation, Operation)
            if self.operation not in self.scope:
                possible = ", ".join(sorted(self.scope))
                reject("operation", f"{self.kind} cannot happen to it; use one of {possible}")
        if self.seconds is not None:
            check_number("seconds", self.seconds)
        elif self.kind in _TIMED:
            reject("seconds", f"is missing; say how long {self.kind} lasts")
        if self.retry_after is not None:
            check_whole("retry_after", self.retry_after, low=0)
            if self.kind != FaultKind.RATE_LIMITED:
                reject("retry_after", f"belongs to rate_limited only; leave it out for {self.kind}")

    @property
    def scope(self) -> frozenset[Operation]:
        """The operations that faults of this kind apply to."""
        return _SCOPES.get(FaultKind(self.kind), _ANY)

    @property
    def wait(self) -> float:
        """How long it delays a response, or how old the list is that it shows, in seconds."""
        return _LONG_SILENCE if self.seconds is None else self.seconds


@dataclass(slots=True, eq=False)
class Rule:
    """An active fault with its own random generator, and how often it fired."""

    fault: Fault
    chance: Random
    fired: int = 0
    _seen: set[str] = field(default_factory=set)

    def fires(self, operation: Operation, ids: Collection[str]) -> bool:
        """Whether it fires for this call; counts if it does."""
        fault = self.fault
        if fault.operation not in {None, operation} or operation not in fault.scope:
            return False
        if self.fired == fault.times or fault.object_id not in {None, *ids}:
            return False
        is_once = fault.kind == FaultKind.NOT_FOUND_ONCE
        if is_once and self._seen.issuperset(ids):
            return False
        # Drawn last: a call that the fault does not apply to must not shift the random sequence.
        if self.chance.random() >= fault.probability:
            return False
        if is_once:
            self._seen.update(ids)
        self.fired += 1
        return True


class Faults:
    """All active faults, in the order they were set."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.rules: list[Rule] = []
        self._created = 0

    def add(self, fault: Fault) -> Rule:
        """Activate a fault."""
        rule = Rule(fault, Random(f"{self._seed}:fault:{self._created}"))
        self._created += 1
        self.rules.append(rule)
        return rule

    def clear(self) -> None:
        """Deactivate all faults."""
        self.rules.clear()
        self._created = 0

    def firing(
        self, kinds: frozenset[FaultKind], operation: Operation, ids: Collection[str]
    ) -> Iterator[Rule]:
        """The rules of these kinds that fire for a call; each is drawn when the caller takes it."""
        for rule in self.rules:
            if rule.fault.kind in kinds and rule.fires(operation, ids):
                yield rule
