"""The rows and their changes: reads them, claims what is due, writes under compare-and-swap. Decides nothing."""

from collections.abc import AsyncIterator, Collection, Sequence, Set
from dataclasses import dataclass, fields, replace
from datetime import datetime
from enum import StrEnum
from operator import attrgetter
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Row,
    Select,
    Update,
    bindparam,
    case,
    insert,
    inspect,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from rindle_sync.domain import (
    ROW_FIELDS,
    ErrorKind,
    PlaybackId,
    ProviderAsset,
    State,
    Trigger,
    as_row_id,
)
from rindle_sync.errors import AlreadyTracked, InvalidValue
from rindle_sync.store.database import Database, claim_statement
from rindle_sync.store.schema.json_rows import json_field, json_parameter, json_table, once
from rindle_sync.store.schema.tables import assets, changes


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One real change of a row, as `provider_asset_changes` keeps it."""

    row_id: str
    provider_name: str
    environment: str
    version: int
    """The row's version after it: changes of one row in their order."""
    from_state: State
    to_state: State
    error_kind: ErrorKind | None
    trigger: Trigger
    reason: str
    at: datetime
    late_ms: int
    """How late it was found: since the event, or at most since we last knew."""
    webhook_at: datetime | None = None
    """When a webhook came in that told of it, too, where something else had found it first."""


@dataclass(frozen=True, slots=True)
class Write:
    """A row as it should become, one version above the one that it must still have, and the change to keep with it."""

    row: ProviderAsset
    change: Change | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """The ids of the rows that were written, and of those that a unique key of another row kept out."""

    ids: Set[str]
    clashes: Set[str] = frozenset()


_WRITTEN: Final = (
    "provider_asset_id",
    "provider_upload_id",
    "passthrough",
    "playback_ids",
    "playback_policy",
    "ingest_mode",
    "state",
    "error_kind",
    "last_sync_error",
    "last_event_id",
    "last_event_at",
    "raw_provider_metadata",
    "provider_created_at",
    "updated_at",
    "observed_at",
    "checked_at",
    "check_at",
    "check_failures",
    "missing_since",
    "decision_log",
    "version",
)
_CHANGE_FIELDS: Final = tuple(f.name for f in fields(Change))
_KEPT: Final = (*_CHANGE_FIELDS, "dispatch_at")
_SENT: Final = ("id", "lease_token", *_WRITTEN)
_read_sent: Final = attrgetter(*_SENT)
_read_change: Final = attrgetter(*_CHANGE_FIELDS)


def _write_statement() -> Update:
    rows = _held()
    ours = json_field(rows, assets.c.lease_token) == assets.c.lease_token
    values: dict[str, Any] = {name: json_field(rows, assets.c[name]) for name in _WRITTEN}
    for name in ("lease_token", "lease_until"):
        values[name] = case((ours, null()), else_=assets.c[name])
    return update(assets).where(*_unread(rows)).values(values).returning(assets.c.id)


def _held() -> FromClause:
    """The sent rows that nobody wrote since, locked in the order of their ids: writers at once do not deadlock."""
    sent = json_table("rows", "sent")
    found = select(sent.c.value).where(*_unread(sent)).order_by(assets.c.id)
    return once(found.with_for_update(of=assets), "r")


def _unread(rows: FromClause) -> tuple[ColumnElement[bool], ...]:
    return (
        assets.c.id == json_field(rows, assets.c.id),
        assets.c.version == json_field(rows, assets.c.version) - 1,
    )


def _change_statement() -> Any:
    sent = json_table("rows", "sent")
    rows = once(select(sent.c.value), "r")
    return insert(changes).from_select(
        _KEPT, select(*(json_field(rows, changes.c[name]) for name in _KEPT))
    )


_WRITE: Final = _write_statement()
_WANTED: Final = json_table("wanted", "w")
_CLAIM: Final = claim_statement(
    assets,
    assets.c.provider_name == bindparam("provider"),
    assets.c.environment == bindparam("in_environment"),
    assets.c.check_at <= bindparam("due"),
    assets.c.id.in_(select(json_field(_WANTED, assets.c.id))),
    first=[assets.c.id],
)
_KEEP_CHANGES: Final = _change_statement()


class AssetStore(Database):
    """The rows and their changes. Every method raises `DatabaseUnavailable` when the database does not answer."""

    table = assets

    async def add(self, row: ProviderAsset) -> None:
        """Insert a new row; raises `AlreadyTracked` when one of its keys is taken."""
        values = {name: _plain(row, name) for name in ROW_FIELDS}
        try:
            async with self.writing() as connection:
                await connection.execute(insert(assets), values)
        except IntegrityError:
            raise AlreadyTracked(
                "a row with this provider id, upload id or passthrough, or (in any environment) with this asset id and "
                "profile, exists"
            ) from None

    async def add_all(self, rows: Sequence[ProviderAsset]) -> list[ProviderAsset]:
        """Insert new rows, at once or, where a key of one of them is taken, one by one; those that were inserted."""
        if not rows:
            return []
        values = [{name: _plain(row, name) for name in ROW_FIELDS} for row in rows]
        try:
            async with self.writing() as connection:
                await connection.execute(insert(assets), values)
        except IntegrityError:
            pass
        else:
            return list(rows)
        return [row for row in rows if await self._added(row)]

    async def _added(self, row: ProviderAsset) -> bool:
        try:
            await self.add(row)
        except AlreadyTracked:
            return False
        return True

    async def rename(self, row_id: str, names: ProviderAsset) -> None:
        """Give a row the app's own names, as `names` has them; raises `AlreadyTracked` where they are taken."""
        values: dict[str, Any] = {
            name: getattr(names, name)
            for name in ("reference", "profile", "playback_policy", "ingest_mode")
        }
        told = {name: getattr(names, name) for name in ("passthrough", "provider_upload_id")}
        values |= {name: value for name, value in told.items() if value is not None}
        values["version"] = (
            assets.c.version + 1
        )  # whoever has read the row under its old names must read it again
        try:
            async with self.writing() as connection:
                await connection.execute(update(assets).where(assets.c.id == row_id).values(values))
        except IntegrityError:
            raise AlreadyTracked(
                "another row has this asset id and profile, passthrough or upload id"
            ) from None

    async def find_by_provider_asset_id(
        self, provider: str, environment: str, provider_asset_id: str
    ) -> ProviderAsset | None:
        """The row with this provider id."""
        return await self._one(
            select(*assets.c).where(
                assets.c.provider_name == provider,
                assets.c.environment == environment,
                assets.c.provider_asset_id == provider_asset_id,
            )
        )

    async def find_by_reference(
        self, provider: str, reference: str, profile: str
    ) -> ProviderAsset | None:
        """The row of the app's own asset and profile."""
        return await self._one(
            select(*assets.c).where(
                assets.c.provider_name == provider,
                assets.c.reference == reference,
                assets.c.profile == profile,
            )
        )

    async def find_by_id_or_reference(
        self, provider: str, environment: str, name: str
    ) -> list[ProviderAsset]:
        """The row with this id of ours, and those of the app's own asset with this id, of every profile."""
        if not name.isprintable():
            return []
        called = assets.c.reference == name
        if row_id := as_row_id(name):
            called |= assets.c.id == row_id
        return await self._all(provider, environment, called)

    async def find_by_provider_id(
        self, provider: str, environment: str, provider_id: str
    ) -> list[ProviderAsset]:
        """The rows whose asset or whose upload has this id at the provider."""
        if not provider_id.isprintable():
            return []
        its = or_(
            assets.c.provider_asset_id == provider_id, assets.c.provider_upload_id == provider_id
        )
        return await self._all(provider, environment, its)

    async def make_due(self, row_id: str, now: datetime) -> None:
        """Have a row looked at by the next sweep of its environment, unless it is due already."""
        late = or_(assets.c.check_at.is_(None), assets.c.check_at > now)
        async with self.writing() as connection:
            await connection.execute(
                update(assets).where(assets.c.id == row_id, late).values(check_at=now)
            )

    async def match(
        self,
        provider: str,
        environment: str,
        *,
        provider_asset_ids: Collection[str],
        provider_upload_ids: Collection[str],
        passthroughs: Collection[str],
    ) -> list[ProviderAsset]:
        """The rows that hold any of these ids."""
        keys = (
            assets.c.provider_asset_id.in_(provider_asset_ids),
            assets.c.provider_upload_id.in_(provider_upload_ids),
            assets.c.passthrough.in_(passthroughs),
        )
        here = (assets.c.provider_name == provider, assets.c.environment == environment)
        async with self.reading() as connection:
            return [
                read_row(found)
                for found in await connection.execute(select(*assets.c).where(*here, or_(*keys)))
            ]

    async def get(self, row_id: str) -> ProviderAsset | None:
        """The row with this id of ours."""
        return (await self.get_many([row_id])).get(row_id)

    async def get_many(self, row_ids: Collection[str]) -> dict[str, ProviderAsset]:
        """The rows with these ids of ours that exist."""
        async with self.reading() as connection:
            found = await connection.execute(select(*assets.c).where(assets.c.id.in_(row_ids)))
            return {row.id: row for row in map(read_row, found)}

    async def claim(
        self,
        provider: str,
        environment: str,
        row_ids: Collection[str],
        *,
        due: datetime,
        now: datetime,
        token: str,
        until: datetime,
    ) -> list[ProviderAsset]:
        """Lease those of these rows that are due by `due` and that nobody else holds, in one statement."""
        values = {
            "provider": provider,
            "in_environment": environment,
            "wanted": json_parameter([{"id": row_id} for row_id in row_ids], assets),
            "due": due,
            "now": now,
            "token": token,
            "until": until,
            "most": len(row_ids),
        }
        async with self.leasing(token) as connection:
            return [
                replace(read_row(r), lease_token=token)
                for r in await connection.execute(_CLAIM, values)
            ]

    async def write(self, writes: Sequence[Write]) -> Written:
        """Write the rows that nobody wrote since they were read, and their changes, in one transaction.

        Two statements, however many rows. When a unique key of another row keeps one of them out, the others are
        written one by one.
        """
        try:
            return Written(await self._write(writes))
        except (IntegrityError, InvalidValue):
            if len(writes) == 1:
                return Written(frozenset(), frozenset({writes[0].row.id}))
        apart = [await self.write([write]) for write in writes]
        return Written(
            frozenset().union(*(w.ids for w in apart)),
            frozenset().union(*(w.clashes for w in apart)),
        )

    async def _write(self, writes: Sequence[Write]) -> Set[str]:
        rows = [_written(write.row) for write in writes]
        async with self.writing() as connection:
            found = await connection.execute(_WRITE, {"rows": json_parameter(rows, assets)})
            ids = frozenset(found.scalars())
            kept = [_change(w.change) for w in writes if w.change and w.row.id in ids]
            if kept:
                await connection.execute(_KEEP_CHANGES, {"rows": json_parameter(kept, changes)})
        return ids

    async def changes_of(self, row_id: str) -> list[Change]:
        """The real changes of a row, in their order."""
        async with self.reading() as connection:
            found = await connection.execute(
                select(*changes.c).where(changes.c.row_id == row_id).order_by(changes.c.version)
            )
            return [read_change(row) for row in found]

    async def rows(self, provider: str, environment: str) -> AsyncIterator[ProviderAsset]:
        """Every row of an environment, streamed."""
        wanted = select(*assets.c).where(
            assets.c.provider_name == provider, assets.c.environment == environment
        )
        async with self.reading() as connection:
            async for row in await connection.stream(wanted.order_by(assets.c.id)):
                yield read_row(row)

    async def ping(self) -> None:
        """Check that the database answers and has our tables."""
        async with self.reading() as connection:
            await connection.execute(select(assets.c.id).limit(1))

    async def has_table(self, name: str) -> bool:
        """Whether the database has a table of this name, ours or another's."""
        async with self.reading() as connection:
            return await connection.run_sync(lambda session: inspect(session).has_table(name))

    async def _all(
        self, provider: str, environment: str, which: ColumnElement[bool]
    ) -> list[ProviderAsset]:
        here = (assets.c.provider_name == provider, assets.c.environment == environment)
        wanted = (
            select(*assets.c).where(*here, which).order_by(assets.c.reference, assets.c.profile)
        )
        async with self.reading() as connection:
            return [read_row(found) for found in await connection.execute(wanted)]

    async def _one(self, wanted: Select[Any]) -> ProviderAsset | None:
        async with self.reading() as connection:
            found = (await connection.execute(wanted)).one_or_none()
            return read_row(found) if found else None


def read_row(found: Row[Any]) -> ProviderAsset:
    """A line of the rows table."""
    values = dict(zip(ROW_FIELDS, found, strict=True))
    values["state"] = State(values["state"])
    values["error_kind"] = values["error_kind"] and ErrorKind(values["error_kind"])
    values["playback_ids"] = tuple(PlaybackId(p["id"], p["policy"]) for p in values["playback_ids"])
    values["lease_token"] = None
    return ProviderAsset(**values)


def read_change(found: Row[Any]) -> Change:
    """A line of the changes table."""
    values = {name: getattr(found, name) for name in _CHANGE_FIELDS}
    values["from_state"], values["to_state"] = (
        State(values["from_state"]),
        State(values["to_state"]),
    )
    values["error_kind"] = values["error_kind"] and ErrorKind(values["error_kind"])
    return Change(**values | {"trigger": Trigger(values["trigger"])})


def _plain(row: ProviderAsset, name: str) -> Any:
    value = getattr(row, name)
    if name == "playback_ids":
        return [{"id": p.id, "policy": p.policy} for p in value]
    return value.value if isinstance(value, StrEnum) else value


def _written(row: ProviderAsset) -> dict[str, Any]:
    return dict(zip(_SENT, _read_sent(row), strict=True))


def _change(change: Change) -> dict[str, Any]:
    return dict(zip(_KEPT, (*_read_change(change), change.at), strict=True))
