"""How rows and their changes are written: the statements, and what is sent with them as JSON.

On PostgreSQL both are one statement, which is a transaction by itself. SQLite, which cannot write
to two tables in one statement, and which has one writer and so nothing to lock, takes two.
"""

from collections.abc import Sequence
from functools import cache
from operator import attrgetter
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from rindle_sync.domain import ROW_FIELDS, ProviderAsset
from rindle_sync.errors import InvalidValue
from rindle_sync.store.lines import CHANGE_COLUMNS, Change, change_columns
from rindle_sync.store.notifications import NOTIFYING
from rindle_sync.store.schema.json_rows import (
    json_field,
    json_parameter,
    json_records,
    json_table,
    once,
    to_json,
)
from rindle_sync.store.schema.tables import assets, changes
from rindle_sync.store.schema.types import UtcTime, utc_text
from rindle_sync.store.superseded import SupersededIds


class Write(msgspec.Struct, frozen=True, gc=False):
    """A row to write, one version above the stored one, its change, and the ids that it loses."""

    row: ProviderAsset
    before: ProviderAsset | None = None
    """The row as it was read, so that what it has already is not sent; None where that is unknown.
    """
    change: Change | None = None
    superseded: SupersededIds | None = None

    @property
    def keeps_metadata(self) -> bool:
        """Whether `raw_provider_metadata` is as it is stored."""
        before = self.before
        return before is not None and self.row.raw_provider_metadata is before.raw_provider_metadata

    @property
    def is_of_check(self) -> bool:
        """Whether nothing differs but what is noted of a check, as where it found nothing new."""
        if self.change or self.before is None or not self.keeps_metadata:
            return False
        return bool(_read_other(self.row) == _read_other(self.before))


_FIXED: Final = {
    *("id", "reference", "profile", "provider_name", "environment", "inserted_at"),
    *("lease_token", "lease_until"),
}
"""The columns that a write does not set from the row."""
_WRITTEN: Final = tuple(name for name in ROW_FIELDS if name not in _FIXED)
_METADATA: Final = "raw_provider_metadata"
_KEEPS: Final = sa.column("keeps_metadata", sa.Boolean())

_OF_CHECK: Final = (
    *("observed_at", "checked_at", "check_at", "check_failures", "last_sync_error"),
    *("missing_since", "decision_log", "version"),
)
"""What is noted of each check. Most find nothing new, and eight columns take a third less time."""
_read_other: Final = attrgetter(*(name for name in _WRITTEN if name not in {*_OF_CHECK, _METADATA}))


class _Lines:
    """What is sent of rows, and how."""

    def __init__(self, written: Sequence[str]) -> None:
        names = ("id", "lease_token", *written)
        self.columns: Final = [sa.column(name, assets.c[name].type) for name in names]
        self._has_metadata: Final = _METADATA in written
        if self._has_metadata:
            self.columns.append(_KEEPS)
        self._times: Final = [c.name for c in self.columns if isinstance(c.type, UtcTime)]
        self._read: Final = attrgetter(*names)
        fields: list[Any] = list(names)
        if self._has_metadata:
            fields.append((_KEEPS.name, bool, False))
        self._line: Any = msgspec.defstruct("_Line", fields, gc=False)

    def of(self, writes: Sequence[Write], *, times_as_text: bool = False) -> str:
        """The rows as a JSON array of objects."""
        lines = []
        for write in writes:
            line = self._line(*self._read(write.row))
            if self._has_metadata and write.keeps_metadata:
                line.keeps_metadata, line.raw_provider_metadata = True, None
            lines.append(line)
        if times_as_text:
            self._write_times(lines)
        return _as_json(lines)

    def _write_times(self, lines: Sequence[Any]) -> None:
        for line in lines:
            for name in self._times:
                moment = getattr(line, name)
                if moment is not None:
                    setattr(line, name, utc_text(moment))


_WHOLE_ROWS: Final = _Lines(_WRITTEN)
_CHECKS: Final = _Lines(_OF_CHECK)

_CHANGE_SENT: Final = tuple(changes.c[name] for name in CHANGE_COLUMNS)
_ChangeSent: Any = msgspec.defstruct("_ChangeSent", list(CHANGE_COLUMNS), gc=False)


def _update(
    values: dict[str, Any], row_id: sa.ColumnElement[str], version: sa.ColumnElement[int]
) -> sa.Update:
    """Write `values` to the rows that were not written since they were read."""
    # a lease is ended by its holder only: another process may have leased the row since
    mine = values.pop("lease_token") == assets.c.lease_token
    for name in ("lease_token", "lease_until"):
        values[name] = sa.case((mine, sa.null()), else_=assets.c[name])
    if _METADATA in values:
        keeps = values.pop(_KEEPS.name)
        values[_METADATA] = sa.case((keeps, assets.c[_METADATA]), else_=values[_METADATA])
    is_row = assets.c.id == row_id
    unread = _is_unread(assets.c.version, version)
    return sa.update(assets).where(is_row, unread).values(values).returning(assets.c.id)


def _is_unread(
    stored: sa.ColumnElement[int], version: sa.ColumnElement[int]
) -> sa.ColumnElement[bool]:
    """Whether a row was not written since the one was read that is now to be `version`."""
    return stored == version - 1


def write_on_postgresql(
    writes: Sequence[Write], *, tells: bool
) -> tuple[sa.Select[Any], dict[str, str]]:
    """The statement that writes all, and returns the ids of what it wrote; and its parameters.

    With `tells` other processes are told.
    """
    if _are_checks(writes):
        return _write_checks(), {"rows": _CHECKS.of(writes)}
    added = [_ChangeSent(*change_columns(write.change)) for write in writes if write.change]
    return _write_all(tells=tells), {"rows": _WHOLE_ROWS.of(writes), "changes": _as_json(added)}


def write_on_sqlite(writes: Sequence[Write]) -> tuple[sa.Update, dict[str, str]]:
    """The statement that writes the rows, and returns the ids of those; and its parameters."""
    lines = _CHECKS if _are_checks(writes) else _WHOLE_ROWS
    return _write_rows(lines), {"rows": lines.of(writes, times_as_text=True)}


def _are_checks(writes: Sequence[Write]) -> bool:
    # not apart from the others: two statements would lock their rows in no common order
    return all(write.is_of_check for write in writes)


# each is made where it is first needed: most commands need none


@cache
def _write_checks() -> sa.Select[Any]:
    written = _update_sent(_CHECKS).cte("written")
    return sa.select(_text_id(written))


@cache
def _write_all(*, tells: bool) -> sa.Select[Any]:
    written = _update_sent(_WHOLE_ROWS).cte("written")
    added = json_records("changes", [sa.column(c.name, c.type) for c in _CHANGE_SENT], "added")
    theirs = sa.select(*added.c).join(written, written.c.id == added.c.row_id)
    noted = sa.insert(changes).from_select(CHANGE_COLUMNS, theirs.order_by(added.c.row_id))
    found = sa.select(_text_id(written)).add_cte(noted.cte("noted"))
    return found.add_columns(NOTIFYING) if tells else found


def _update_sent(lines: _Lines) -> sa.Update:
    rows = once(_lock_in_order(json_records("rows", lines.columns, "sent")), "r")
    values = {column.name: rows.c[column.name] for column in lines.columns[1:]}
    return _update(values, rows.c.id, rows.c.version)


def _text_id(written: sa.CTE) -> sa.Label[str]:
    return sa.cast(written.c.id, sa.Text()).label("id")  # for a driver, a UUID costs more


def _lock_in_order(sent: sa.FromClause) -> sa.Select[Any]:
    """The rows `sent` that were not written since, locked in the order of their ids.

    So concurrent writers do not deadlock. Each row is looked up by its key, and no plan reads the
    whole table instead: a subquery that locks is not merged into a join.
    """
    ordered = sa.select(*sent.c).order_by(sent.c.id).subquery("ordered")
    stored = sa.select(assets.c.version).where(assets.c.id == ordered.c.id)
    locked = stored.with_for_update().lateral("locked")
    return (
        sa.select(*ordered.c)
        .join(locked, sa.true())
        .where(_is_unread(locked.c.version, ordered.c.version))
    )


@cache
def _write_rows(lines: _Lines) -> sa.Update:
    rows = once(sa.select(json_table("rows", "sent").c.value), "r")
    values: dict[str, Any] = {c.name: json_field(rows, c) for c in lines.columns[1:]}
    return _update(values, json_field(rows, assets.c.id), values["version"])


@cache
def add_changes() -> sa.Insert:
    """Adds the changes `rows` on SQLite."""
    added = once(sa.select(json_table("rows", "sent").c.value), "r")
    lines = sa.select(*(json_field(added, column) for column in _CHANGE_SENT))
    return sa.insert(changes).from_select(CHANGE_COLUMNS, lines)


def changes_as_text(added: Sequence[Change]) -> str:
    """The parameter of `add_changes`."""
    lines = [dict(zip(CHANGE_COLUMNS, change_columns(c), strict=True)) for c in added]
    return json_parameter(lines, changes)


def _as_json(values: Sequence[Any]) -> str:
    try:
        return to_json(values)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InvalidValue(f"a value is no JSON ({type(error).__name__})") from None
