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
    change: Change | None = None
    superseded: SupersededIds | None = None
    keeps_metadata: bool = False
    """Whether `raw_provider_metadata` is as it is stored, and need not be sent."""


_FIXED: Final = {
    *("id", "reference", "profile", "provider_name", "environment", "inserted_at"),
    *("lease_token", "lease_until"),
}
"""The columns that a write does not set from the row."""
_WRITTEN: Final = tuple(name for name in ROW_FIELDS if name not in _FIXED)
_SENT: Final = ("id", "lease_token", *_WRITTEN)
_read_sent: Final = attrgetter(*_SENT)
_TIMES: Final = tuple(name for name in _SENT if isinstance(assets.c[name].type, UtcTime))
_METADATA: Final = "raw_provider_metadata"
_KEEPS: Final = sa.column("keeps_metadata", sa.Boolean())

_Sent: Any = msgspec.defstruct("_Sent", [*_SENT, (_KEEPS.name, bool, False)], gc=False)

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


@cache
def write_all(*, tells: bool) -> sa.Select[Any]:
    """Writes `rows` and `changes` on PostgreSQL, and returns the ids of the rows that were written.

    With `tells` other processes are told. Made where it is first needed: most commands need none.
    """
    columns = [*(sa.column(name, assets.c[name].type) for name in _SENT), _KEEPS]
    rows = once(_lock_in_order(json_records("rows", columns, "sent")), "r")
    values = {name: rows.c[name] for name in (*_SENT[1:], _KEEPS.name)}
    written = _update(values, rows.c.id, rows.c.version).cte("written")
    added = json_records("changes", [sa.column(c.name, c.type) for c in _CHANGE_SENT], "added")
    theirs = sa.select(*added.c).join(written, written.c.id == added.c.row_id)
    noted = sa.insert(changes).from_select(CHANGE_COLUMNS, theirs.order_by(added.c.row_id))
    written_id = sa.cast(written.c.id, sa.Text()).label("id")  # for a driver, a UUID costs more
    found = sa.select(written_id).add_cte(noted.cte("noted"))
    return found.add_columns(NOTIFYING) if tells else found


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
def write_rows() -> sa.Update:
    """Writes `rows` on SQLite, and returns the ids of those that were written."""
    rows = once(sa.select(json_table("rows", "sent").c.value), "r")
    values: dict[str, Any] = {name: json_field(rows, assets.c[name]) for name in _SENT[1:]}
    values[_KEEPS.name] = json_field(rows, _KEEPS)
    return _update(values, json_field(rows, assets.c.id), values["version"])


@cache
def add_changes() -> sa.Insert:
    """Adds the changes `rows` on SQLite."""
    added = once(sa.select(json_table("rows", "sent").c.value), "r")
    lines = sa.select(*(json_field(added, column) for column in _CHANGE_SENT))
    return sa.insert(changes).from_select(CHANGE_COLUMNS, lines)


def rows_and_changes(writes: Sequence[Write]) -> dict[str, str]:
    """The parameters of `write_all`."""
    added = [_ChangeSent(*change_columns(w.change)) for w in writes if w.change]
    return {"rows": _as_json([_sent(write) for write in writes]), "changes": _as_json(added)}


def rows_as_text(writes: Sequence[Write]) -> str:
    """The parameter of `write_rows`."""
    sent = [_sent(write) for write in writes]
    for line in sent:
        for name in _TIMES:
            moment = getattr(line, name)
            if moment is not None:
                setattr(line, name, utc_text(moment))
    return _as_json(sent)


def changes_as_text(added: Sequence[Change]) -> str:
    """The parameter of `add_changes`."""
    lines = [dict(zip(CHANGE_COLUMNS, change_columns(c), strict=True)) for c in added]
    return json_parameter(lines, changes)


def _sent(write: Write) -> Any:
    sent = _Sent(*_read_sent(write.row))
    if write.keeps_metadata:
        sent.keeps_metadata, sent.raw_provider_metadata = True, None
    return sent


def _as_json(values: Sequence[Any]) -> str:
    try:
        return to_json(values)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InvalidValue(f"a value is no JSON ({type(error).__name__})") from None
