"""Our rows beside the provider's list: which are due, which stand on a page, and which should stand there."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, bindparam, func, literal, select, tuple_

from rindle_sync.domain import Due, ErrorKind, ProviderAsset, State
from rindle_sync.store.assets import read_row
from rindle_sync.store.database import Database, is_free
from rindle_sync.store.schema.json_rows import json_field, json_parameter, json_table
from rindle_sync.store.schema.tables import assets
from rindle_sync.store.schema.types import RowId, UtcTime

_HERE: Final = (
    assets.c.provider_name == bindparam("provider"),
    assets.c.environment == bindparam("in_environment"),
)
_DUE: Final = tuple(assets.c[name] for name in Due.__dataclass_fields__)


def _among(parameter: str, name: str) -> ColumnElement[bool]:
    """Whether the column `name` is among the bound JSON rows `parameter`."""
    rows = json_table(parameter, f"{parameter}_rows")
    return assets.c[name].in_(select(json_field(rows, assets.c[name])))


_SURVEY: Final = (
    select(*_DUE)
    .where(
        *_HERE,
        assets.c.check_at <= bindparam("due"),
        assets.c.updated_at <= bindparam("touched_before"),
        is_free(assets),
    )
    .order_by(assets.c.check_at, assets.c.id)
    .limit(bindparam("most"))
)
_BY_ASSET: Final = select(*assets.c).where(*_HERE, _among("listed", "provider_asset_id"))
_BY_UPLOAD: Final = select(*assets.c).where(
    *_HERE, assets.c.provider_asset_id.is_(None), _among("uploads", "provider_upload_id")
)
_NEWEST: Final = (
    select(assets.c.provider_created_at)
    .where(*_HERE)
    .order_by(assets.c.provider_created_at.desc())
    .offset(bindparam("newer"))
    .limit(1)
)
_SETTLED: Final = (
    *_HERE,
    assets.c.provider_asset_id.is_not(None),
    assets.c.state.in_([State.READY.value, State.ERRORED.value]),
)
_COUNT_SETTLED: Final = select(func.count()).select_from(assets).where(*_SETTLED)
_HOW_MANY: Final = select(func.count()).select_from(
    select(assets.c.id)
    .where(
        *_HERE,
        assets.c.provider_created_at > bindparam("after"),
        assets.c.provider_created_at <= bindparam("until"),
    )
    .limit(bindparam("most"))
    .subquery()
)
_MADE_BETWEEN: Final = select(*_DUE).where(
    *_SETTLED,
    assets.c.provider_created_at > bindparam("after"),
    assets.c.provider_created_at <= bindparam("until"),
)


class AssetQueries(Database):
    """What the rows are, page by page. Every method raises `DatabaseUnavailable` when the database does not answer."""

    table = assets

    async def due(
        self,
        provider: str,
        environment: str,
        *,
        due: datetime,
        touched_before: datetime,
        now: datetime,
        limit: int,
    ) -> list[Due]:
        """Up to `limit` rows that are due by `due` and that nobody is looking at, the longest due first."""
        values = {"due": due, "touched_before": touched_before, "now": now, "most": limit}
        return await self._dues(_SURVEY, provider, environment, values)

    async def listed(
        self,
        provider: str,
        environment: str,
        *,
        asset_ids: Collection[str],
        upload_ids: Collection[str],
    ) -> list[ProviderAsset]:
        """The rows of these assets, and those that still wait for an asset of these uploads."""
        here = {"provider": provider, "in_environment": environment}
        listed = json_parameter([{"provider_asset_id": one} for one in asset_ids], assets)
        uploads = json_parameter([{"provider_upload_id": one} for one in upload_ids], assets)
        async with self.reading() as connection:
            found = [
                read_row(r) for r in await connection.execute(_BY_ASSET, here | {"listed": listed})
            ]
            if upload_ids:
                found += [
                    read_row(r)
                    for r in await connection.execute(_BY_UPLOAD, here | {"uploads": uploads})
                ]
        return found

    async def newest_created(self, provider: str, environment: str, place: int) -> datetime | None:
        """When the asset of the `place`th newest row was made; None where there are fewer rows."""
        values = {"provider": provider, "in_environment": environment, "newer": place - 1}
        async with self.reading() as connection:
            return (await connection.execute(_NEWEST, values)).scalar_one_or_none()

    async def made_between(
        self, provider: str, environment: str, after: datetime, until: datetime
    ) -> list[Due]:
        """The rows that have settled and whose assets were made after `after` and until `until`."""
        return await self._dues(
            _MADE_BETWEEN, provider, environment, {"after": after, "until": until}
        )

    async def count_between(
        self, provider: str, environment: str, after: datetime, until: datetime, *, most: int
    ) -> int:
        """How many rows' assets were made after `after` and until `until`; counts no further than `most`."""
        values = {
            "provider": provider,
            "in_environment": environment,
            "after": after,
            "until": until,
            "most": most,
        }
        async with self.reading() as connection:
            return (await connection.execute(_HOW_MANY, values)).scalar_one()

    async def list_rows(
        self,
        provider: str,
        environment: str,
        *,
        state: State | None,
        error_kind: ErrorKind | None,
        after: tuple[datetime, str] | None,
        limit: int,
    ) -> tuple[list[ProviderAsset], tuple[datetime, str] | None]:
        """Up to `limit` rows, the newest assets first, from the place `after` on; and the place to go on from."""
        place = tuple_(assets.c.provider_created_at, assets.c.id)
        wanted = select(*assets.c).where(
            assets.c.provider_name == provider, assets.c.environment == environment
        )
        if state:
            wanted = wanted.where(assets.c.state == state.value)
        if error_kind:
            wanted = wanted.where(assets.c.error_kind == error_kind.value)
        if after:
            made, row_id = literal(after[0], UtcTime()), literal(after[1], RowId())
            wanted = wanted.where(place < tuple_(made, row_id))
        ordered = wanted.order_by(assets.c.provider_created_at.desc(), assets.c.id.desc()).limit(
            limit
        )
        async with self.reading() as connection:
            rows = [read_row(found) for found in await connection.execute(ordered)]
        return rows, (rows[-1].provider_created_at, rows[-1].id) if len(rows) == limit else None

    async def count_settled(self, provider: str, environment: str) -> int:
        """How many rows have settled, as the provider has said."""
        values = {"provider": provider, "in_environment": environment}
        async with self.reading() as connection:
            return (await connection.execute(_COUNT_SETTLED, values)).scalar_one()

    async def _dues(
        self, wanted: Any, provider: str, environment: str, values: dict[str, Any]
    ) -> list[Due]:
        here = {"provider": provider, "in_environment": environment}
        async with self.reading() as connection:
            return [_due(found) for found in await connection.execute(wanted, here | values)]


def _due(found: Row[Any]) -> Due:
    row_id, state, error_kind, *rest = tuple(found)
    return Due(row_id, State(state), error_kind and ErrorKind(error_kind), *rest)
