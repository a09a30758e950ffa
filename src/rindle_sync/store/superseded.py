"""The provider's ids that rows had before: what no event is about, and no scan adopts."""

from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from rindle_sync.domain import HasProviderIds, ProviderAsset
from rindle_sync.errors import InvalidValue
from rindle_sync.store.repository import Repository, in_environment
from rindle_sync.store.schema.core_engine import CoreConnection
from rindle_sync.store.schema.json_rows import any_of, to_json
from rindle_sync.store.schema.tables import deletion_candidates, superseded

REPLACED: Final = "replaced"
FORGOTTEN: Final = "untracked"
"""The reasons of ids: their row has others by now, or there is no row any more."""

_COLUMNS: Final = superseded.c.provider_asset_id, superseded.c.provider_upload_id
_OF_THESE: Final = any_of(_COLUMNS[0], "asset_ids"), any_of(_COLUMNS[1], "upload_ids")
# each by its own index: of both in one condition SQLite uses none
_KNOWN: Final = sa.union_all(
    *(sa.select(*_COLUMNS).where(in_environment(superseded), is_it) for is_it in _OF_THESE)
)
_FORGET: Final = sa.delete(superseded).where(
    in_environment(superseded),
    _COLUMNS[0].in_(sa.bindparam("asset_ids", expanding=True))
    | _COLUMNS[1].in_(sa.bindparam("upload_ids", expanding=True)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SupersededIds:
    """What a row had until `at`, and why it has it no longer."""

    row_id: str
    provider_asset_id: str | None = field(repr=False)
    provider_upload_id: str | None = field(repr=False)
    reason: str
    at: datetime


async def supersede(
    connection: CoreConnection, here: dict[str, Any], left: Collection[SupersededIds]
) -> None:
    """Remember these ids, in the transaction that takes them from their rows."""
    lines = []
    for ids in left:
        if ids.provider_asset_id or ids.provider_upload_id:
            names = "row_id", "provider_asset_id", "provider_upload_id", "reason", "at"
            lines.append(here | {name: getattr(ids, name) for name in names})
    if lines:
        # inline: a driver's own connection must not be asked for the new numbers
        await connection.execute(sa.insert(superseded).inline(), lines)
    # what an audit missed was the asset that the row had then
    row_ids = [ids.row_id for ids in left]
    await connection.execute(
        sa.delete(deletion_candidates).where(deletion_candidates.c.row_id.in_(row_ids))
    )


class Superseded(Repository):
    """The ids that rows had before."""

    table = superseded

    async def known(self, entries: Collection[HasProviderIds]) -> Callable[[HasProviderIds], bool]:
        """Tells of each of these entries whether it names an id that a row had before."""
        given = _ids(entries)
        try:
            wanted = {"asset_ids": to_json(given[0]), "upload_ids": to_json(given[1])}
            found = list(await self.read(_KNOWN, self.parameters | wanted))
        except (InvalidValue, UnicodeEncodeError):
            found = []
            # a value that the database cannot hold was no row's, and must not hide the others
            for column, ids in zip(_COLUMNS, given, strict=True):
                for provider_id in ids:
                    with suppress(InvalidValue):
                        found += await self.read(
                            sa.select(*_COLUMNS).where(*self.here, column == provider_id)
                        )
        asset_ids = {line.provider_asset_id for line in found} - {None}
        upload_ids = {line.provider_upload_id for line in found} - {None}

        def names_former(entry: HasProviderIds) -> bool:
            return entry.provider_asset_id in asset_ids or entry.provider_upload_id in upload_ids

        return names_former

    async def add(self, ids: SupersededIds) -> None:
        """Remember ids that no row has had."""
        async with self.writing() as connection:
            await supersede(connection, self.key, [ids])

    async def forget(self, rows: Collection[ProviderAsset]) -> None:
        """Forget the ids of these rows, which have them again at the app's request."""
        asset_ids, upload_ids = _ids(rows)
        again = {"asset_ids": list(asset_ids), "upload_ids": list(upload_ids)}
        await self.execute(_FORGET, self.parameters | again)


def _ids(entries: Collection[HasProviderIds]) -> tuple[set[str], set[str]]:
    """The ids of assets and of uploads that these entries name."""
    asset_ids = {entry.provider_asset_id for entry in entries if entry.provider_asset_id}
    return asset_ids, {entry.provider_upload_id for entry in entries if entry.provider_upload_id}
