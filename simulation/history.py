"""Everything that happened, in order: what the laws are checked on, and what a person reads."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

from rindle_sync.domain import MEDIA_FIELDS, ChangeKind
from rindle_sync.telemetry import Event

_OF_JSON: Final = ("playback_ids", "tracks", "renditions", "master")
NOTED: Final = (
    *("state", "error_kind", "version", "updated_at", "playback_ids", "provider_asset_id"),
    *("last_event_at", "raw_provider_metadata", *MEDIA_FIELDS, "media_updated_at"),
    *("last_event_id", "passthrough", "provider_upload_id", "observed_at"),
)
"""The columns of a row that are noted, before and after."""

_OF_ATTEMPT: Final = ("provider_asset_id", "provider_upload_id", "passthrough")
"""What a row gains, and has another of only with another attempt or asset."""

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
    provider_upload_id: str | None
    moved_event: bool
    """Whether the last event has another time, and the metadata is as before."""
    moved: frozenset[str]
    """The noted columns that have another value."""
    is_anew: bool
    """Whether the row is about another asset, upload or attempt than before."""
    event_id: str | None
    """The event that became the last one of the row, if one did."""
    reopened: bool
    """Whether an output that had ended is under way again."""
    lost_reason: bool
    """Whether an output that has failed is known no more to have failed for a reason."""
    observed_at: datetime | None
    """When the row was observed, by the clock of the host.

    None where that is as before, or is not known any more.
    """

    @classmethod
    def of(cls, row_id: str, *values: Any) -> "Written":
        """A row, by its columns before and after in turn."""
        before, after = (
            {name: _read(name, value) for name, value in zip(NOTED, side, strict=True)}
            for side in (values[::2], values[1::2])
        )
        moved = frozenset(name for name in NOTED if before[name] != after[name])
        is_anew = any(before[name] not in {None, after[name]} for name in _OF_ATTEMPT)
        outputs = _outputs({} if is_anew else before), _outputs(after)
        # a time that a wrong clock has written is taken back: then it is not known
        given = {name for name in moved if after[name] is not None}
        return cls(
            row_id=str(row_id),
            from_state=before["state"],
            to_state=after["state"],
            from_kind=before["error_kind"],
            to_kind=after["error_kind"],
            from_version=before["version"],
            to_version=after["version"],
            was_updated_at=_time(before["updated_at"]),
            lost_playback_ids=_ids(before["playback_ids"]) - _ids(after["playback_ids"]),
            provider_asset_id=after["provider_asset_id"],
            provider_upload_id=after["provider_upload_id"],
            moved_event="last_event_at" in given and "raw_provider_metadata" not in moved,
            moved=moved,
            is_anew=is_anew,
            event_id=after["last_event_id"] if "last_event_id" in moved else None,
            reopened=_is_reopened(*outputs),
            lost_reason=_has_lost_reason(*outputs),
            observed_at=_time(after["observed_at"]) if "observed_at" in given else None,
        )

    def __str__(self) -> str:
        states = f"{self.from_state}/{self.from_kind} -> {self.to_state}/{self.to_kind}"
        return f"writes {self.row_id} v{self.from_version} -> v{self.to_version}: {states}"


def _read(name: str, value: Any) -> Any:
    """A value as SQLite or PostgreSQL gives it."""
    return json.loads(value) if name in _OF_JSON and isinstance(value, str) else value


def _time(value: Any) -> datetime:
    """A time as SQLite or PostgreSQL gives it."""
    moment = datetime.fromisoformat(str(value))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


Outputs = dict[str, tuple[str, str | None]]
"""The status of each output and why it failed, by what tells it apart."""


def _outputs(row: Mapping[str, Any]) -> Outputs:
    if not row:
        return {}
    found = {track["id"]: (track["status"], track.get("error")) for track in row["tracks"]}
    found |= {file["name"]: (file["status"], file.get("error")) for file in row["renditions"]}
    master = row["master"]
    return found | {"master": (master["status"], master.get("error"))} if master else found


def _is_reopened(before: Outputs, after: Outputs) -> bool:
    ended = {"ready", "errored", "skipped"}
    under_way = {key for key, (status, _) in after.items() if status == "processing"}
    return any(key in before and before[key][0] in ended for key in under_way)


def _has_lost_reason(before: Outputs, after: Outputs) -> bool:
    told = {key for key, (status, reason) in before.items() if status == "errored" and reason}
    return any(after.get(key) == ("errored", None) for key in told)


def _ids(playback_ids: Any) -> frozenset[str]:
    return frozenset(playback["id"] for playback in playback_ids or ())


@dataclass(frozen=True, slots=True)
class Noted:
    """An entry of the changes, committed."""

    row_id: str
    version: int
    kind: str
    from_state: str
    to_state: str

    def __str__(self) -> str:
        if self.kind == ChangeKind.MEDIA:
            return f"notes {self.row_id} v{self.version}: media"
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
