"""The rows and their changes: reads, leases and writes them, under compare-and-swap."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence, Set
from datetime import datetime
from functools import cache
from typing import Any, Final

import sqlalchemy as sa
from msgspec import Struct, field
from sqlalchemy.exc import IntegrityError

from rindle_sync.domain import JobKind, LongestGaps, ProviderAsset, as_row_id, is_text, replace
from rindle_sync.errors import AlreadyTracked, InvalidValue
from rindle_sync.store.driver_errors import retried
from rindle_sync.store.lines import ROW, Change, columns_of, read_change, read_row
from rindle_sync.store.repository import Repository, claim_statement, clock, in_environment
from rindle_sync.store.row_writes import (
    Write,
    add_changes,
    changes_as_text,
    write_on_postgresql,
    write_on_sqlite,
)
from rindle_sync.store.schema.core_engine import CoreConnection
from rindle_sync.store.schema.json_rows import any_of, to_json
from rindle_sync.store.schema.tables import IS_UNWATCHED, assets, changes
from rindle_sync.store.superseded import supersede


class Written(Struct, frozen=True):
    """The ids of the rows that were written, and of those that the database refused, and why."""

    ids: Set[str]
    refused: Mapping[str, str] = field(default_factory=dict)


class Added(Struct, frozen=True):
    """The rows that were added, and the ids of those that hold a value it refused, and why."""

    rows: Sequence[ProviderAsset]
    refused: Mapping[str, str] = field(default_factory=dict)


READ_AT_ONCE: Final = 500
"""How many rows are read at once where all of them are."""

WRITTEN_AT_ONCE: Final = 100
"""How many rows one statement writes on SQLite."""

_TAKEN: Final = "another row holds its asset already, or a constraint refuses it"

HAS_COME: Final = assets.c.check_at <= sa.bindparam("due")
PLANNED_WRONGLY: Final = (
    IS_UNWATCHED & (assets.c.check_at > sa.bindparam("latest_check")),
    ~IS_UNWATCHED & (assets.c.check_at > sa.bindparam("latest_watched_check")),
)
"""Either is a range of an index."""

IS_PLANNED_WRONGLY: Final = sa.or_(*PLANNED_WRONGLY)
"""Whether a check is planned for later than any can be: a wrong clock has planned it.

The parameters are those of `LongestGaps.latest`.
"""

_BY_ID: Final = sa.select(ROW).where(assets.c.id == sa.bindparam("wanted"))
_CLAIM: Final = claim_statement(
    assets,
    HAS_COME | IS_PLANNED_WRONGLY,
    any_of(assets.c.id, "wanted"),
    first=[assets.c.id],
    returning=[ROW],
)

_NAMES: Final = ("provider_asset_id", "provider_upload_id", "passthrough")
"""The columns by which an observation finds its row."""


def _is_meant(name: str) -> sa.ColumnElement[bool]:
    """Whether a row may be found by this column: by passthrough one without the provider's ids."""
    if name != "passthrough":
        return sa.true()
    return assets.c.provider_asset_id.is_(None) & assets.c.provider_upload_id.is_(None)


@cache
def _match(names: Sequence[str]) -> sa.CompoundSelect[Any]:
    """The rows that have one of the given values in any of these columns."""
    # each key by its own index: of several in one condition SQLite uses none
    parts = []
    for name in names:
        # by the environment's index SQLite would read all rows that have no upload
        here = in_environment(assets, by_another_index=name == "passthrough")
        is_it = any_of(assets.c[name], f"any_{name}")
        parts.append(sa.select(ROW).where(here, is_it, _is_meant(name)))
    return sa.union_all(*parts)


class AssetStore(Repository):
    """The rows and their changes."""

    table = assets

    async def add(self, row: ProviderAsset) -> None:
        """Insert a new row; raises `AlreadyTracked` when one of its keys is taken."""
        try:
            await self.execute(sa.insert(assets), columns_of(row), makes=[JobKind.SWEEP])
        except IntegrityError:
            raise AlreadyTracked(
                "a row with this provider id or upload id, or (in any environment) with this "
                "reference and profile, exists"
            ) from None

    async def add_all(self, rows: Sequence[ProviderAsset]) -> Added:
        """Insert new rows, but those whose keys are taken or whose values are refused."""
        if not rows:
            return Added(())
        try:
            lines = [columns_of(row) for row in rows]
            await self.execute(sa.insert(assets), lines, makes=[JobKind.SWEEP])
            return Added(rows)
        except (IntegrityError, InvalidValue):
            added, refused = [], {}
        # the database does not say whose key or value it is: one by one
        for row in rows:
            try:
                await self.add(row)
                added.append(row)
            except AlreadyTracked:
                pass
            except InvalidValue as error:
                refused[row.id] = str(error)
        return Added(added, refused)

    async def find_by_provider_asset_id(self, provider_asset_id: str) -> ProviderAsset | None:
        """The row with this provider id of an asset."""
        found = await self._find(*self.here, assets.c.provider_asset_id == provider_asset_id)
        return found[0] if found else None

    async def find_by_reference(self, reference: str, profile: str) -> ProviderAsset | None:
        """The row with this reference and profile, in any environment."""
        found = await self._find(
            assets.c.provider_name == self.provider,
            assets.c.reference == reference,
            assets.c.profile == profile,
        )
        return found[0] if found else None

    async def find_by_id_or_reference(self, name: str) -> list[ProviderAsset]:
        """The row with this id, and the rows with this reference, of every profile."""
        if not is_text(name):
            return []
        called = assets.c.reference == name
        if row_id := as_row_id(name):
            called |= assets.c.id == row_id
        return await self._find(*self.here_by_another_index, called)

    async def find_by_provider_id(self, provider_id: str) -> list[ProviderAsset]:
        """The rows whose asset or upload has this provider id."""
        if not is_text(provider_id):
            return []
        is_asset = assets.c.provider_asset_id == provider_id
        return await self._find(*self.here, is_asset | (assets.c.provider_upload_id == provider_id))

    async def make_due(self, row_id: str, now: datetime) -> None:
        """Have the next sweep check a row."""
        is_later = sa.or_(assets.c.check_at.is_(None), assets.c.check_at > now)
        # a check that is under way must read the row again, or it would plan the next one
        values = {"check_at": now, "version": assets.c.version + 1}
        due = sa.update(assets).where(assets.c.id == row_id, is_later).values(values)
        await self.execute(due, makes=[JobKind.SWEEP])

    async def match(
        self,
        *,
        provider_asset_ids: Collection[str],
        provider_upload_ids: Collection[str],
        passthroughs: Collection[str],
    ) -> list[ProviderAsset]:
        """The rows with any of these ids; by passthrough those without an id of the provider."""
        all_given = provider_asset_ids, provider_upload_ids, passthroughs
        given = {name: ids for name, ids in zip(_NAMES, all_given, strict=True) if ids}
        if not given:
            return []
        found = {}
        try:
            wanted = {f"any_{name}": to_json(list(ids)) for name, ids in given.items()}
            for line in await self.read(_match(tuple(given)), self.parameters | wanted):
                row = read_row(line.document)
                found[row.id] = row
            return list(found.values())
        except (InvalidValue, UnicodeEncodeError):
            pass
        # a value that the database cannot hold stands in no row, and must not hide the others
        for name, ids in given.items():
            for value in ids:
                for row in await self._find(*self.here, assets.c[name] == value, _is_meant(name)):
                    found[row.id] = row
        return list(found.values())

    async def get(self, row_id: str) -> ProviderAsset | None:
        """The row with this id."""
        found = await self.read(_BY_ID, {"wanted": row_id})
        return read_row(found[0].document) if found else None

    async def get_many(self, row_ids: Collection[str]) -> dict[str, ProviderAsset]:
        """The existing rows with these ids, by id."""
        found = await self._rows(sa.select(ROW).where(assets.c.id.in_(row_ids)))
        return {row.id: row for row in found}

    async def claim(
        self,
        row_ids: Collection[str],
        *,
        due: datetime,
        now: datetime,
        longest: LongestGaps,
        token: str,
        until: datetime,
    ) -> list[ProviderAsset]:
        """Lease those of these rows that are due by `due` and free, in one statement.

        Due are also those whose check a wrong clock has planned, for later than `longest` allows.
        """
        values = self.parameters | clock(now) | longest.latest(now)
        values |= {"wanted": to_json(row_ids), "due": due, "until": until, "most": len(row_ids)}
        claimed = await self.lease(_CLAIM, token, values)
        return [replace(read_row(row.document), lease_token=token) for row in claimed]

    async def write(self, writes: Sequence[Write]) -> Written:
        """Write the rows that were not written since they were read, and their changes.

        One transaction, however many rows. When the database refuses it, for a key of another row
        or for a value of any kind, they are written one by one.
        """
        try:
            return Written(await self._write(writes))
        except IntegrityError:
            reason = _TAKEN
        except InvalidValue as error:
            reason = str(error)
        if len(writes) == 1:
            return Written(frozenset(), {writes[0].row.id: reason})
        ids, refused = set[str](), dict[str, str]()
        for write in writes:
            written = await self.write([write])
            ids |= written.ids
            refused |= written.refused
        return Written(ids, refused)

    @retried
    async def _write(self, writes: Sequence[Write]) -> Set[str]:
        is_sqlite = self.database.engine.dialect.name == "sqlite"
        write_all = self._write_apart if is_sqlite else self._write_at_once
        others = any(w.superseded or (w.change and is_sqlite) for w in writes)
        async with self.writing(single=not others) as connection:
            ids = await write_all(connection, writes)
            left = [w.superseded for w in writes if w.superseded and w.row.id in ids]
            if left:
                await supersede(connection, self.key, left)
        return ids

    async def _write_at_once(self, connection: CoreConnection, writes: Sequence[Write]) -> Set[str]:
        has_changes = any(write.change for write in writes)
        is_told = has_changes and self.database.notifications.are_due(JobKind.DISPATCH)
        statement, sent = write_on_postgresql(writes, tells=is_told)
        found = await connection.execute(statement, sent)
        return frozenset(found.scalars())

    async def _write_apart(self, connection: CoreConnection, writes: Sequence[Write]) -> Set[str]:
        written = set[str]()
        # not more at once: SQLite holds the whole JSON, parsed
        for start in range(0, len(writes), WRITTEN_AT_ONCE):
            part = writes[start : start + WRITTEN_AT_ONCE]
            found = await connection.execute(*write_on_sqlite(part))
            ids = frozenset(found.scalars())
            added = [w.change for w in part if w.change and w.row.id in ids]
            if added:
                await connection.execute(add_changes(), {"rows": changes_as_text(added)})
            written |= ids
        return written

    async def changes_of(self, row_id: str) -> list[Change]:
        """The real changes of a row, oldest first."""
        wanted = sa.select(*changes.c).where(changes.c.row_id == row_id).order_by(changes.c.version)
        return [read_change(found) for found in await self.read(wanted)]

    async def rows(self) -> AsyncIterator[ProviderAsset]:
        """Every row of the environment, in the order of their ids."""
        ordered = sa.select(ROW).where(*self.here).order_by(assets.c.id).limit(READ_AT_ONCE)
        wanted = ordered
        while True:
            found = await self._rows(wanted)
            for row in found:
                yield row
            if len(found) < READ_AT_ONCE:
                return
            wanted = ordered.where(assets.c.id > found[-1].id)

    async def _find(self, *which: sa.ColumnElement[bool]) -> list[ProviderAsset]:
        wanted = sa.select(ROW).where(*which).order_by(assets.c.reference, assets.c.profile)
        try:
            return await self._rows(wanted)
        except InvalidValue:  # what the database cannot hold stands in no row
            return []

    async def _rows(self, wanted: sa.Executable) -> list[ProviderAsset]:
        return [read_row(row.document) for row in await self.read(wanted)]
