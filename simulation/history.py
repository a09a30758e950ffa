"""Everything that happened, in order: what the laws are checked on, and what a person reads."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

from rindle_sync.telemetry import Event

NOTED: Final = (
    *("state", "error_kind", "version", "updated_at", "playback_ids", "provider_asset_id"),
    *("last_event_at", "raw_provider_metadata"),
)
"""The columns of a row that are noted, before and after."""

OF_LEASES: Final = ("lease_token", "lease_until")
"""The columns whose change alone is no write."""


@dataclass(frozen=True, slots=True)
class Written:
    """A row that a committed transaction changed in more than its lease, before and after."""

    row_id: str
    from_state: str
    to_state: str
    from_kind: str | None
    to_kind: str | None
    from_version: int
    to_version: int
    was_updated_at: datetime
    lost_playback_ids: frozenset[str]
    provider_asset_id: str | None
    moved_event: bool
    """Whether the last event has another time, and the metadata is as before."""

    @classmethod
    def of(cls, row_id: str, *values: Any) -> "Written":
        """A row, by its columns before and after in turn."""
        (
            state,
            to_state,
            kind,
            to_kind,
            version,
            to_version,
            updated_at,
            _,
            played,
            to_played,
            _,
            asset_id,
            event_at,
            to_event_at,
            metadata,
            to_metadata,
        ) = values
        updated = datetime.fromisoformat(str(updated_at))
        updated = updated if updated.tzinfo else updated.replace(tzinfo=UTC)
        lost = _ids(played) - _ids(to_played)
        return cls(
            str(row_id),
            state,
            to_state,
            kind,
            to_kind,
            version,
            to_version,
            updated,
            lost,
            asset_id,
            to_event_at not in {None, event_at} and metadata == to_metadata,
        )

    def __str__(self) -> str:
        states = f"{self.from_state}/{self.from_kind} -> {self.to_state}/{self.to_kind}"
        return f"writes {self.row_id} v{self.from_version} -> v{self.to_version}: {states}"


def _ids(playback_ids: Any) -> frozenset[str]:
    """The playback ids in a column, as SQLite or PostgreSQL gives it."""
    shown = json.loads(playback_ids) if isinstance(playback_ids, str) else playback_ids
    return frozenset(playback["id"] for playback in shown or ())


@dataclass(frozen=True, slots=True)
class Noted:
    """An entry of the changes, committed."""

    row_id: str
    version: int
    from_state: str
    to_state: str

    def __str__(self) -> str:
        return f"notes {self.row_id} v{self.version}: {self.from_state} -> {self.to_state}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened: when, on which host, and what."""

    number: int
    at: float
    host: str
    what: Any


@dataclass(slots=True)
class History:
    """All entries so far."""

    entries: list[Entry] = field(default_factory=list)

    def add(self, at: float, host: str, what: Any) -> None:
        """Note one more."""
        self.entries.append(Entry(len(self.entries), at, host, what))

    def of(self, kind: type[Any]) -> Iterator[Entry]:
        """The entries of one kind."""
        return (entry for entry in self.entries if isinstance(entry.what, kind))

    def digest(self) -> str:
        """What two runs of one seed have in common, if they are the same."""
        return sha256("\n".join(map(_line, self.entries)).encode()).hexdigest()[:16]

    def about(self, *words: str, most: int = 60) -> list[str]:
        """The last lines in which one of `words` stands; all of them without any."""
        lines = [
            line
            for line in map(_line, self.entries)
            if not words or any(word in line for word in words)
        ]
        return lines[-most:]


def _line(entry: Entry) -> str:
    return f"{entry.at:10.3f} {entry.host:<10} {_told(entry.what)}"


def _told(what: Any) -> str:
    match what:
        case Event():
            fields = {"row": what.row_id, **what.metadata()}
            return f"tells {what.name} " + " ".join(
                f"{k}={v}" for k, v in fields.items() if v is not None
            )
        case _:
            return str(what)
