"""The rows beside the provider's list: which are due, on a page, or should be on it."""

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from rindle_sync.domain import (
    Due,
    LongestGaps,
    ProviderAsset,
    RowFilter,
    RowPage,
    State,
    check_limit,
    cursor_of,
    place_of,
    question_of,
)
from rindle_sync.errors import InvalidValue
from rindle_sync.store.assets import HAS_COME, PLANNED_WRONGLY
from rindle_sync.store.lines import DUE, ROW, read_due, read_row
from rindle_sync.store.repository import Repository, clock, in_environment, is_ahead, is_free
from rindle_sync.store.schema.json_rows import any_of, line, to_json
from rindle_sync.store.schema.tables import assets
from rindle_sync.store.schema.types import RowId, UtcTime

READ_AT_ONCE: Final = 2_000
"""How many of the due rows are read at once."""

_EARLIEST: Final = datetime(1, 1, 1, tzinfo=UTC)
_FIRST_ID: Final = str(UUID(int=0))

_ROWS: Final = sa.select(ROW).where(in_environment(assets))
_BETWEEN: Final = (
    assets.c.provider_created_at > sa.bindparam("after"),
    assets.c.provider_created_at <= sa.bindparam("until"),
)
_SETTLED: Final = (
    assets.c.provider_asset_id.is_not(None),
    assets.c.state.in_([State.READY.value, State.ERRORED.value]),
)


def _due_statement() -> sa.Select[Any]:
    is_untouched = assets.c.updated_at <= sa.bindparam("touched_before")
    after = sa.tuple_(
        sa.bindparam("after", type_=UtcTime()), sa.bindparam("after_id", type_=RowId())
    )
    is_later = sa.tuple_(assets.c.check_at, assets.c.id) > after
    free = sa.select(*DUE).where(
        in_environment(assets),
        is_untouched | is_ahead(assets.c.updated_at),
        is_free(assets),
        is_later,
    )
    # ranges of an index, each read in order: cheaper than one condition with an `or`
    due = sa.union_all(*(free.where(is_due) for is_due in (HAS_COME, *PLANNED_WRONGLY)))
    check_at, row_id = due.selected_columns["check_at"], due.selected_columns["id"]
    first = due.order_by(check_at, row_id).limit(sa.bindparam("most")).subquery("first")
    return sa.select(line(first.c)).order_by(first.c.check_at, first.c.id)


_DUE: Final = _due_statement()
_LISTED: Final = sa.union_all(
    _ROWS.where(any_of(assets.c.provider_asset_id, "listed")),
    _ROWS.where(
        assets.c.provider_asset_id.is_(None), any_of(assets.c.provider_upload_id, "uploads")
    ),
)
_NEWEST: Final = (
    _ROWS.with_only_columns(assets.c.provider_created_at)
    .order_by(assets.c.provider_created_at.desc())
    .offset(sa.bindparam("newer"))
    .limit(1)
)
_IDS: Final = _ROWS.with_only_columns(assets.c.id)
_COUNT_SETTLED: Final = sa.select(sa.func.count()).select_from(_IDS.where(*_SETTLED).subquery())
_MADE_BETWEEN: Final = _ROWS.with_only_columns(line(DUE)).where(*_SETTLED, *_BETWEEN)


class AssetQueries(Repository):
    """Reads rows, page by page."""

    table = assets

    async def due(
        self,
        *,
        due: datetime,
        touched_before: datetime,
        now: datetime,
        longest: LongestGaps,
        limit: int,
    ) -> list[Due]:
        """Up to `limit` rows that are due by `due` and not leased, the longest due first.

        Last come those whose check a wrong clock has planned, for later than `longest` allows.
        """
        values = clock(now) | longest.latest(now) | {"due": due, "touched_before": touched_before}
        found: list[Due] = []
        after, after_id, most = _EARLIEST, _FIRST_ID, min(limit, READ_AT_ONCE)
        # a part at a time: what a driver holds of a row is three times what the plan needs
        while most:
            part = {"after": after, "after_id": after_id, "most": most}
            rows = await self._dues(_DUE, values | part)
            found += rows
            if len(rows) < most:
                break
            after, after_id = rows[-1].check_at or _EARLIEST, rows[-1].id
            most = min(limit - len(found), READ_AT_ONCE)
        return found

    async def listed(
        self, *, asset_ids: Collection[str], upload_ids: Collection[str]
    ) -> list[ProviderAsset]:
        """The rows with these assets, and those without an asset that have these uploads."""
        named = {"listed": to_json(asset_ids), "uploads": to_json(upload_ids)}
        try:
            found = await self.read(_LISTED, self.parameters | named)
            return [read_row(row.document) for row in found]
        except InvalidValue:
            rows: list[ProviderAsset] = []
        # a value that the database cannot hold stands in no row, and must not hide the others
        if len(asset_ids) + len(upload_ids) > 1:
            for asset_id in asset_ids:
                rows += await self.listed(asset_ids=[asset_id], upload_ids=())
            for upload_id in upload_ids:
                rows += await self.listed(asset_ids=(), upload_ids=[upload_id])
        return rows

    async def newest_created(self, place: int) -> datetime | None:
        """When the asset of the `place`th newest row was created; None if there are fewer rows."""
        found = await self.read(_NEWEST, self.parameters | {"newer": place - 1})
        return found[0][0] if found else None

    async def made_between(self, after: datetime, until: datetime) -> list[Due]:
        """The settled rows whose assets were created after `after` and not after `until`."""
        return await self._dues(_MADE_BETWEEN, {"after": after, "until": until})

    async def count_settled(self) -> int:
        """The number of rows with an asset that the provider has finished with."""
        return int((await self.read(_COUNT_SETTLED, self.parameters))[0][0])

    async def page(
        self, wanted: RowFilter, *, limit: int, after: str | None = None, newest_first: bool = True
    ) -> RowPage:
        """Up to `limit` rows in the order in which their assets were made, behind a cursor.

        Raises `ConfigurationError` for a limit or a cursor that is none.
        """
        scope = f"{self.provider}/{self.environment}"
        question = question_of(wanted, newest_first=newest_first, scope=scope)
        check_limit(limit)
        created_at, row_id = assets.c.provider_created_at, assets.c.id
        chosen = sa.select(ROW).where(*self._conditions(wanted))
        if after is not None:
            at, last_id = place_of(after, question)
            # rows of one moment are told apart by their id, so that no page repeats or skips one
            ended = sa.tuple_(sa.literal(at, UtcTime()), sa.literal(last_id, RowId()))
            place = sa.tuple_(created_at, row_id)
            chosen = chosen.where(place < ended if newest_first else place > ended)
        order = (created_at.desc(), row_id.desc()) if newest_first else (created_at, row_id)
        # one more tells whether there is a next page
        chosen = chosen.order_by(*order).limit(limit + 1)
        found = await self.read(chosen, self._values(wanted))
        rows = [read_row(row.document) for row in found]
        following = cursor_of(rows[limit - 1], question) if len(rows) > limit else None
        return RowPage(tuple(rows[:limit]), following)

    async def count(self, wanted: RowFilter) -> int:
        """The number of rows that `page` would list."""
        counted = sa.select(sa.func.count()).select_from(assets).where(*self._conditions(wanted))
        return int((await self.read(counted, self._values(wanted)))[0][0])

    def _conditions(self, wanted: RowFilter) -> list[sa.ColumnElement[bool]]:
        conditions = [*(self.here if wanted.references is None else self.here_by_another_index)]
        if wanted.states is not None:
            conditions.append(assets.c.state.in_([state.value for state in wanted.states]))
        if wanted.error_kinds is not None:
            kinds = [kind.value for kind in wanted.error_kinds]
            conditions.append(assets.c.error_kind.in_(kinds))
        if wanted.references is not None:
            conditions.append(any_of(assets.c.reference, "references"))
        if wanted.profile is not None:
            conditions.append(assets.c.profile == wanted.profile)
        if wanted.since is not None:
            conditions.append(assets.c.provider_created_at >= wanted.since)
        return conditions

    def _values(self, wanted: RowFilter) -> dict[str, Any]:
        if wanted.references is None:
            return {}
        # one parameter for any number: a database takes only so many
        return {"references": to_json(wanted.references)}

    async def _dues(self, statement: sa.Executable, values: dict[str, Any]) -> list[Due]:
        found = await self.read(statement, self.parameters | values)
        return [read_due(row.line) for row in found]
