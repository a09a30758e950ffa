"""Accounts to sweep: when their assets were made, which of them have rows, which rows are due.

Every row's asset is ready, and a due row waits in `processing`; what differs is where the due rows
stand in the list.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from benchmarks.providers import READY
from benchmarks.tables import a_due_row, a_settled_row
from rindle_sync.domain import ProviderAsset
from rindle_sync.emulator.emulator import MuxEmulator

HOUR: Final = 3600.0
MONTH: Final = 30 * 24 * HOUR
NEWEST: Final = 60.0
"""How long ago the newest asset was made, in seconds: no row is younger than the polling floor."""

SETTLED: Final = 5_000
"""settled rows: beside and below the due ones, or, where those are old, above them."""

FOREIGN: Final = 5_000
"""Assets that no row knows, where an account has any.

The due ones' share of the list is then that much smaller.
"""


class Age(StrEnum):
    """Where the due rows stand in the list."""

    FRESH = "fresh"
    """Made in the last hour: they are the newest; all others are a month's and older than they."""
    MIXED = "mixed"
    """Half of them fresh, the others made at any time of the last month, among settled rows."""
    OLD = "old"
    """Made in one hour a month ago, below everything else."""


@dataclass(frozen=True, slots=True)
class Mix:
    """One account."""

    due: int
    age: Age
    has_foreign: bool

    @property
    def text(self) -> str:
        return f"{self.due:,} {self.age} rows{' among foreign assets' if self.has_foreign else ''}"


@dataclass(frozen=True, slots=True)
class _Made:
    """`count` assets made evenly from `since` to `until`, both in seconds ago."""

    count: int
    since: float
    until: float
    kind: str

    def times(self, now: float) -> Iterator[tuple[float, str]]:
        gap = (self.since - self.until) / self.count
        return ((now - self.since + gap * place, self.kind) for place in range(self.count))


def settled_account(emulator: MuxEmulator, mix: Mix, now: datetime) -> list[ProviderAsset]:
    """Make the assets of `mix` at the provider, oldest first; the rows that stand for ours."""
    moment = now.timestamp()
    made = sorted(time for group in _groups(mix) for time in group.times(moment))
    return [
        row
        for at, kind in made
        if (row := _row(kind, emulator.create_asset(life=READY, created_at=at), at, now))
    ]


def _groups(mix: Mix) -> Sequence[_Made]:
    foreign = FOREIGN // 2 if mix.has_foreign else 0
    hour_of_due = MONTH if mix.age is Age.OLD else HOUR
    groups = [
        *_due(mix),
        _Made(SETTLED, MONTH - HOUR, HOUR, "settled"),
        _Made(foreign, hour_of_due, hour_of_due - HOUR + NEWEST, "foreign"),
        _Made(foreign, MONTH - HOUR, HOUR, "foreign"),
    ]
    return [group for group in groups if group.count]


def _due(mix: Mix) -> Sequence[_Made]:
    match mix.age:
        case Age.FRESH:
            return [_Made(mix.due, HOUR, NEWEST, "due")]
        case Age.MIXED:
            return [
                _Made(mix.due // 2, HOUR, NEWEST, "due"),
                _Made(mix.due - mix.due // 2, MONTH, HOUR, "due"),
            ]
        case Age.OLD:
            return [_Made(mix.due, MONTH, MONTH - HOUR + NEWEST, "due")]


def _row(kind: str, asset_id: str, at: float, now: datetime) -> ProviderAsset | None:
    created_at = datetime.fromtimestamp(int(at), UTC)  # the provider tells whole seconds
    match kind:
        case "due":
            return a_due_row(asset_id, created_at, now)
        case "settled":
            return a_settled_row(asset_id, created_at)
        case _:
            return None
