"""A line of the rows table, and of the changes table, as the domain has it; and the way back."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from operator import attrgetter
from typing import Any, Final, TypeVar

import msgspec
import sqlalchemy as sa

from rindle_sync.domain import (
    ROW_FIELDS,
    ChangeKind,
    Due,
    ErrorKind,
    Master,
    OutputStatus,
    ProviderAsset,
    Rendition,
    State,
    Track,
    Trigger,
    Value,
    replace,
)
from rindle_sync.store.schema.json_rows import document
from rindle_sync.store.schema.tables import assets
from rindle_sync.store.schema.types import UtcTime

P = TypeVar("P", Track, Rendition, Master)

CHECK_TRIGGERS: Final = (
    Trigger.SWEEP,
    Trigger.SYNC,
    Trigger.AUDIT,
    Trigger.CLI,
    Trigger.CONSOLE,
    Trigger.API,
)
"""The triggers that find a change by a check."""


class Change(Value, frozen=True, kw_only=True):
    """One real change of a row, as stored in `provider_asset_changes`."""

    # the reference may contain a provider id of its row
    hidden = frozenset({"reference", "outputs"})

    row_id: str
    reference: str
    provider_name: str
    environment: str
    version: int
    """The row's version after the change: it orders the changes of a row."""
    from_state: State
    to_state: State
    error_kind: ErrorKind | None
    trigger: Trigger
    reason: str
    at: datetime
    late_ms: int
    """How late it was found: since the event or, at most, since the last check."""
    webhook_at: datetime | None = None
    """When a webhook reported it, if a check had found it first."""
    kind: ChangeKind = ChangeKind.STATE
    outputs: Mapping[str, bool] | None = None
    """The outputs that a change of media found ended, by key; whether a webhook reported each.

    None where it found none.
    """


_CHANGE_FIELDS: Final = Change.__struct_fields__
CHANGE_COLUMNS: Final = (*_CHANGE_FIELDS, "dispatch_at")
"""The columns of a new change."""
_read_change: Final = attrgetter(*_CHANGE_FIELDS)
_TIMES: Final = tuple(column.name for column in assets.c if isinstance(column.type, UtcTime))
_read_times: Final = attrgetter(*_TIMES)
_decoder: Final = msgspec.json.Decoder(ProviderAsset)
_DUE_TIMES: Final = tuple(name for name in Due.__struct_fields__ if name in _TIMES)
_read_due_times: Final = attrgetter(*_DUE_TIMES)
_due_decoder: Final = msgspec.json.Decoder(Due)

ROW: Final = document(assets.c)
"""What is selected of a row, for `read_row`."""

DUE: Final = tuple(assets.c[name] for name in Due.__struct_fields__)
"""The columns whose `line` is selected for `read_due`."""

_STATUSES: Final = frozenset(OutputStatus)
_UTC_ALONE: Final = frozenset({UTC})


def read_part(kind: type[P], stored: dict[str, Any]) -> P:
    """A part of a row's media, also as another version of rindle-sync has stored it."""
    if stored.get("status") not in _STATUSES:
        stored = stored | {"status": OutputStatus.UNKNOWN.value}
    return msgspec.convert(stored, kind)


def read_row(text: str) -> ProviderAsset:
    """A row as `ROW` selects it; its lease token stays out, since it is not the reader's."""
    try:
        row = _decoder.decode(text)
    except msgspec.ValidationError:
        row = _odd_row(text)
    if not _are_in_utc(_read_times(row)):
        row = replace(row, **{name: _in_utc(getattr(row, name)) for name in _TIMES})
    return row if row.lease_token is None else replace(row, lease_token=None)


def read_due(text: str) -> Due:
    """The part of a row that is needed to plan its check, from the line of `DUE`."""
    try:
        due = _due_decoder.decode(text)
    except msgspec.ValidationError:
        values = dict(zip(Due.__struct_fields__, msgspec.json.decode(text), strict=True))
        due = msgspec.convert(list(_with_times(values, _DUE_TIMES).values()), Due)
    if _are_in_utc(_read_due_times(due)):
        return due
    return replace(due, **{name: _in_utc(getattr(due, name)) for name in _DUE_TIMES})


def _odd_row(text: str) -> ProviderAsset:
    """A row with parts that another version has stored, or with times that somebody has set."""
    values = msgspec.json.decode(text)
    values["tracks"] = tuple(read_part(Track, track) for track in values["tracks"])
    values["renditions"] = tuple(read_part(Rendition, file) for file in values["renditions"])
    values["master"] = values["master"] and read_part(Master, values["master"])
    return msgspec.convert(_with_times(values, _TIMES), ProviderAsset)


def _with_times(values: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return values | {name: values[name] and datetime.fromisoformat(values[name]) for name in names}


def _are_in_utc(moments: Sequence[datetime | None]) -> bool:
    return {moment.tzinfo for moment in moments if moment} <= _UTC_ALONE


def _in_utc(moment: datetime | None) -> datetime | None:
    if moment is None or moment.tzinfo:
        return moment and moment.astimezone(UTC)
    # SQLite's own datetime('now'), with which somebody may have set it, is UTC without saying
    return moment.replace(tzinfo=UTC)


def read_change(found: sa.Row[Any]) -> Change:
    """A line of the changes table."""
    values = {name: getattr(found, name) for name in _CHANGE_FIELDS}
    values["from_state"] = State(found.from_state)
    values["to_state"] = State(found.to_state)
    values["error_kind"] = found.error_kind and ErrorKind(found.error_kind)
    values["trigger"] = Trigger(found.trigger)
    values["kind"] = ChangeKind(found.kind)
    return Change(**values)


def read_known_change(found: sa.Row[Any]) -> Change | None:
    """The same; None for one with a word in it that a later version, or somebody, has written."""
    try:
        return read_change(found)
    except ValueError:
        return None


def columns_of(row: ProviderAsset) -> dict[str, Any]:
    """The column values of a new row."""
    values = {name: getattr(row, name) for name in ROW_FIELDS}
    values["playback_ids"] = [{"id": p.id, "policy": p.policy} for p in row.playback_ids]
    for name, value in values.items():
        if isinstance(value, StrEnum):
            values[name] = value.value
    return values


def change_columns(change: Change) -> tuple[Any, ...]:
    """The values of `CHANGE_COLUMNS` of a new change, due for dispatch at once."""
    return *_read_change(change), change.at
