"""Rows that the app tracks: any number of them inserted, or taken over, in a few statements."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from rindle_sync.domain import ROW_FIELDS, ProviderAsset
from rindle_sync.errors import ConfigurationError, InvalidValue
from rindle_sync.store.assets import Added
from rindle_sync.store.lines import ROW, columns_of, read_row
from rindle_sync.store.raw_statements import RawStatement, dialect_of, insert_into
from rindle_sync.store.repository import Repository
from rindle_sync.store.schema.json_rows import json_field, json_parameter, json_table, once
from rindle_sync.store.schema.tables import assets

PARAMSTYLES: Final = ("pyformat", "format", "named", "qmark", "numeric_dollar")
"""How a driver marks a parameter: `%(id)s`, `%s`, `:id`, `?`, `$1`."""

_CONSTRAINT: Final = "a constraint of the database refuses it"
_NAMES: Final = ("reference", "profile", "playback_policy", "ingest_mode")
_KEPT: Final = ("passthrough", "provider_upload_id")


@cache
def _insert_statement(dialect: str) -> sa.Executable:
    sent = once(sa.select(json_table("rows", "sent").c.value), "r")
    fields = [json_field(sent, assets.c[name]) for name in ROW_FIELDS]
    # without a condition SQLite takes ON CONFLICT for the one of a join
    rows = sa.select(*fields).where(sa.true())
    new = insert_into(assets, dialect)
    added: sa.Executable = (
        new.from_select(ROW_FIELDS, rows).on_conflict_do_nothing().returning(assets.c.id)
    )
    return added


def _take_over_statement() -> sa.Update:
    rows = once(sa.select(json_table("rows", "sent").c.value), "r")
    sent = {name: json_field(rows, assets.c[name]) for name in (*_NAMES, *_KEPT)}
    # the provider's ids in a row never change hands
    upload_id = sa.func.coalesce(assets.c.provider_upload_id, sent.pop("provider_upload_id"))
    passthrough = sa.func.coalesce(sent.pop("passthrough"), assets.c.passthrough)
    kept: dict[str, Any] = {"provider_upload_id": upload_id, "passthrough": passthrough}
    # a process that has read the row under its old names must read it again
    taken = sa.update(assets).values(sent | kept | {"version": assets.c.version + 1})
    return taken.where(assets.c.id == json_field(rows, assets.c.id)).returning(ROW)


_TAKE_OVER: Final = _take_over_statement()


@dataclass(frozen=True, slots=True)
class Tracking:
    """A row that is not stored, and the statement that inserts it, for the app to run.

    The statement does nothing where a row has one of its keys.
    """

    row: ProviderAsset
    statement: sa.Executable = field(repr=False)
    """For SQLAlchemy."""
    sql: str = field(repr=False)
    """For a driver, in the paramstyle that was asked for."""
    parameters: Mapping[str, Any] | Sequence[Any] = field(repr=False)
    """Those of `sql`: by name, or in their order."""


class NewRows(Repository):
    """How the app's rows get into the table."""

    table = assets

    def tracking(self, row: ProviderAsset, paramstyle: str | None = None) -> Tracking:
        """A row, and its insert for others to run; raises `ConfigurationError`."""
        if paramstyle is not None and paramstyle not in PARAMSTYLES:
            raise ConfigurationError("paramstyle", f"must be one of {', '.join(PARAMSTYLES)}")
        new: Any = self.insert_once()
        schema = {None: self.database.schema} if self.database.schema else None
        statement = new.values(columns_of(row)).execution_options(schema_translate_map=schema)
        dialect = dialect_of(self.database.engine.dialect.name, paramstyle)
        raw = RawStatement(statement, None, dialect, self.database.schema)
        return Tracking(row, statement, raw.sql, raw.parameters[0])

    async def add(self, rows: Sequence[ProviderAsset]) -> Added:
        """Insert the rows whose keys are free; one statement, unless a value is refused."""
        if not rows:
            return Added(())
        try:
            sent = json_parameter([columns_of(row) for row in rows], assets)
            ids = await self._returned(_insert_statement(self.database.engine.dialect.name), sent)
            return Added([row for row in rows if row.id in ids])
        except IntegrityError:
            reason = _CONSTRAINT
        except InvalidValue as error:
            reason = str(error)
        if len(rows) == 1:
            return Added((), {rows[0].id: reason})
        # the database does not say whose value it is: each half alone, until it is found
        middle = len(rows) // 2
        first, second = await self.add(rows[:middle]), await self.add(rows[middle:])
        return Added([*first.rows, *second.rows], {**first.refused, **second.refused})

    async def sharing(self, rows: Sequence[ProviderAsset]) -> list[ProviderAsset]:
        """The stored rows with the reference, the asset or the upload of any of these."""
        if not rows:
            return []
        asset_ids = {row.provider_asset_id for row in rows} - {None}
        upload_ids = {row.provider_upload_id for row in rows} - {None}
        named = assets.c.reference.in_({row.reference for row in rows})
        shared = sa.or_(
            sa.and_(assets.c.provider_name == self.provider, named),
            sa.and_(*self.here, assets.c.provider_asset_id.in_(asset_ids)),
            sa.and_(*self.here, assets.c.provider_upload_id.in_(upload_ids)),
        )
        found = await self.read(sa.select(ROW).where(shared))
        return [read_row(row.document) for row in found]

    async def take_over(self, names: Mapping[str, ProviderAsset]) -> dict[str, ProviderAsset]:
        """Give stored rows the app's names, by the ids of the rows; the rows as they then stand.

        Those are left out that another row keeps from it, by a reference or an upload.
        """
        if not names:
            return {}
        sent = [
            {"id": row_id} | {name: getattr(row, name) for name in (*_NAMES, *_KEPT)}
            for row_id, row in names.items()
        ]
        try:
            async with self.writing() as connection:
                values = {"rows": json_parameter(sent, assets)}
                found = (await connection.execute(_TAKE_OVER, values)).all()
            return {row.id: row for row in (read_row(line.document) for line in found)}
        except IntegrityError:
            if len(names) == 1:
                return {}
        taken: dict[str, ProviderAsset] = {}
        for row_id, row in names.items():
            taken |= await self.take_over({row_id: row})
        return taken

    async def _returned(self, statement: sa.Executable, sent: str) -> set[str]:
        async with self.writing() as connection:
            return set((await connection.execute(statement, {"rows": sent})).scalars())
