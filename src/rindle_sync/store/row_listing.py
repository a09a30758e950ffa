"""The rows of an environment as a person looks through them: filtered, in one of some orders."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa

from rindle_sync.domain import ErrorKind, ProviderAsset, State, check_limit, cursor_at, place_of
from rindle_sync.store.bounded_scan import Condition, Scan
from rindle_sync.store.lines import ROW, read_row
from rindle_sync.store.repository import Repository
from rindle_sync.store.schema.tables import IS_FAILING, IS_NOT_READY, assets
from rindle_sync.store.statistics import IS_UNLINKED


class RowOrder(StrEnum):
    """By which time rows are listed: only by those that an index has."""

    CREATED = "created"
    """When the asset was made."""
    CHECKED = "checked"
    """The last answered check; only rows that have had one."""
    NEXT_CHECK = "next_check"
    """The next check; only rows that have one."""


class RowCondition(StrEnum):
    """What a figure of the status counts that is no state and no error kind."""

    DUE = "due"
    """The check has come."""
    FAILING = "failing"
    """The last check had no answer."""
    UNLINKED = "unlinked"
    """The row waits for its file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowQuery:
    """Which rows are listed, and how; None takes all."""

    state: State | None = None
    error_kind: ErrorKind | None = None
    profile: str | None = None
    condition: RowCondition | None = None
    due_by: datetime | None = None
    """By when the check of a row must have come to be due."""
    order: RowOrder = RowOrder.CREATED
    is_descending: bool = True


@dataclass(frozen=True, slots=True)
class ListedRows:
    """Some rows of a list, and the cursor of those behind them."""

    rows: tuple[ProviderAsset, ...]
    next: str | None = field(default=None, repr=False)
    searched: int | None = None
    """How many rows were looked through, where that ended before the page was full."""


_TIMES: Final = {
    RowOrder.CREATED: assets.c.provider_created_at,
    RowOrder.CHECKED: assets.c.checked_at,
    RowOrder.NEXT_CHECK: assets.c.check_at,
}


class RowListing(Repository):
    """Lists rows; each page costs the same, however many rows there are."""

    table = assets

    async def page(self, wanted: RowQuery, *, limit: int, after: str | None = None) -> ListedRows:
        """Up to `limit` rows, behind a cursor.

        Where few rows fit and no index finds them, a page ends after `SEARCHED` rows. Raises
        `ConfigurationError` for a limit or a cursor that is none.
        """
        check_limit(limit)
        question = self._question(wanted)
        place = None if after is None else place_of(after, question)
        found = await self._scan(wanted).page(self, limit, place)
        known = await self.find([row_id for _, row_id in found.lines])
        # one that was just untracked is left out
        rows = tuple(known[row_id] for _, row_id in found.lines if row_id in known)
        following = found.next and cursor_at(found.next, question)
        return ListedRows(rows, following, found.searched)

    async def find(self, row_ids: Collection[str]) -> dict[str, ProviderAsset]:
        """The rows of this environment that have these ids, by id."""
        wanted = sa.select(ROW).where(*self.here_by_another_index, assets.c.id.in_(row_ids))
        rows = {}
        for line in await self.read(wanted) if row_ids else ():
            row = read_row(line.document)
            rows[row.id] = row
        return rows

    def _question(self, wanted: RowQuery) -> str:
        scope = f"{self.provider}/{self.environment}"
        asked = (wanted.state, wanted.error_kind, wanted.profile, wanted.condition)
        return json.dumps([scope, *asked, wanted.order, wanted.is_descending])

    def _scan(self, wanted: RowQuery) -> Scan:
        moment = _TIMES[wanted.order]
        path = _path(wanted)
        if wanted.profile is not None:
            path.others.append(assets.c.profile == wanted.profile)
        here = (*self.here, moment.is_not(None)) if moment.nullable else self.here
        return Scan(
            moment=moment,
            id=assets.c.id,
            ranges=[(*here, *conditions) for conditions in path.ranges],
            constant=path.constant,
            others=path.others,
            is_descending=wanted.is_descending,
        )


@dataclass(frozen=True, slots=True)
class _Path:
    """The ranges of an index that hold the rows, and what else is asked of them."""

    ranges: Sequence[Sequence[Condition]]
    others: list[Condition]
    constant: Sequence[sa.Column[Any]] = ()


def _path(wanted: RowQuery) -> _Path:
    by_state, by_condition = _by_state(wanted), _conditions(wanted)
    if wanted.order is RowOrder.NEXT_CHECK and wanted.condition is RowCondition.DUE:
        return _Path([by_condition], _states(wanted))
    if wanted.order is not RowOrder.CREATED:
        return _Path([()], [*_states(wanted), *by_condition])
    # the indexes of what is failing, and of what is not ready, are in the order of creation
    if wanted.condition is RowCondition.FAILING:
        return _Path([by_condition], _states(wanted))
    if by_state:
        return _Path(by_state, by_condition, [assets.c.error_kind])
    return _Path([()], [*_states(wanted), *by_condition])


def _states(wanted: RowQuery) -> list[Condition]:
    conditions: list[Condition] = []
    if wanted.state:
        conditions.append(assets.c.state == wanted.state.value)
    if wanted.error_kind:
        conditions.append(assets.c.error_kind == wanted.error_kind.value)
    return conditions


def _by_state(wanted: RowQuery) -> list[tuple[Condition, ...]]:
    """A range for each state and error kind; none where rows may be ready."""
    states = [wanted.state] if wanted.state else []
    if wanted.error_kind and not states:
        states = [State.ERRORED]
    elif wanted.condition is RowCondition.UNLINKED and not states:
        states = [State.PENDING, State.UPLOADING]
    ranges: list[tuple[Condition, ...]] = []
    for state in states:
        kinds = [wanted.error_kind] if wanted.error_kind else [None]
        if state is State.ERRORED and not wanted.error_kind:
            kinds += list(ErrorKind)
        for kind in kinds:
            has_kind = assets.c.error_kind == (kind and kind.value)
            ranges.append((IS_NOT_READY, assets.c.state == state.value, has_kind))
    return [] if State.READY in states else ranges


def _conditions(wanted: RowQuery) -> list[Condition]:
    match wanted.condition:
        case None:
            return []
        case RowCondition.DUE:
            return [assets.c.check_at.is_not(None), assets.c.check_at <= wanted.due_by]
        case RowCondition.FAILING:
            return [IS_FAILING]
        case RowCondition.UNLINKED:
            return [IS_UNLINKED]
