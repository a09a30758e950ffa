"""Stores webhook events as they come in, on a connection that is kept for nothing else.

One statement stores all events that came together, and is its own transaction on PostgreSQL: in one
round trip, and without a setting of the session. On SQLite the connection syncs each commit to the
disk, as PostgreSQL does by itself.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence, Set
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import timedelta
from functools import cache
from operator import attrgetter
from typing import Any, Final, cast

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from rindle_sync.domain import UNTRACKED, EventStatus, JobKind, WebhookEvent, replace
from rindle_sync.errors import DatabaseUnavailable, InvalidValue
from rindle_sync.store.app_connections import RawConnection, inner
from rindle_sync.store.connection_kinds import connection_of
from rindle_sync.store.driver_errors import named_errors, retried
from rindle_sync.store.group_commit import GroupCommit
from rindle_sync.store.notifications import NOTIFYING, Notifications
from rindle_sync.store.raw_statements import RawStatement, dialect_of, insert_into
from rindle_sync.store.schema.core_engine import CoreConnection, CoreEngine
from rindle_sync.store.schema.engine import NoConnections
from rindle_sync.store.schema.json_rows import json_field, json_table, to_json
from rindle_sync.store.schema.sessions import STATEMENT_SECONDS
from rindle_sync.store.schema.tables import webhook_events

Turn = Callable[[], AbstractAsyncContextManager[Callable[[], None]]]

COLUMNS: Final = tuple(
    column.name for column in webhook_events.c if column.name not in {"lease_token", "lease_until"}
)
_read_columns: Final = attrgetter(*COLUMNS)
_KEY: Final = ("provider_name", "environment", "event_id")
_NAMES: Final = ("provider_asset_id", "provider_upload_id", "passthrough", "object_id")

SYNC_EACH_COMMIT: Final = "PRAGMA synchronous=FULL"
"""Else a commit to a write-ahead log reaches the disk at the next checkpoint.

https://www.sqlite.org/pragma.html#pragma_synchronous
"""


@cache
def _insert_many(*, tells: bool) -> sa.Insert:
    rows = json_table("rows", "r")
    fields: dict[str, sa.ColumnElement[Any]] = {}
    for column in webhook_events.c[COLUMNS]:
        fields[column.name] = json_field(rows, column)
    # JSON has no bytes
    text = json_field(rows, sa.Column("body", sa.Text()))
    fields["body"] = sa.func.decode(text, sa.literal_column("'base64'"))
    new = insert_into(webhook_events, "postgresql").from_select(
        COLUMNS, sa.select(*fields.values())
    )
    told = (NOTIFYING,) if tells else ()
    statement: sa.Insert = new.on_conflict_do_nothing().returning(webhook_events.c.id, *told)
    return statement


@cache
def _insert_one() -> sa.Insert:
    new = insert_into(webhook_events, "sqlite").values(
        {name: sa.bindparam(name) for name in COLUMNS}
    )
    statement: sa.Insert = new.on_conflict_do_nothing()
    return statement


@cache
def _revive(*, tells: bool) -> sa.Update:
    """Make an event that was not applied pending, as it was sent now."""
    table = webhook_events.c
    is_dead = table.status == sa.literal_column(f"'{EventStatus.DEAD.value}'")
    is_left = is_dead | (table.reason == sa.literal_column(f"'{UNTRACKED}'"))
    key = [table[name] == sa.bindparam(f"of_{name}") for name in _KEY]
    sent: dict[str, Any] = {name: sa.bindparam(name) for name in COLUMNS if name != "id"}
    revived = sa.update(webhook_events).where(*key, is_left).values(sent)
    return revived.returning(NOTIFYING) if tells else revived


class Intake:
    """Stores webhook events of all environments on one database.

    `turn` is the turn to write, of which SQLite has one. A connection that was used more than
    `trusted` seconds ago is asked before its next use: the server may be gone.
    """

    def __init__(
        self,
        engine: CoreEngine,
        turn: Turn,
        notifications: Notifications,
        schema: str | None = None,
        *,
        trusted: float = 1.0,
    ) -> None:
        self._trusted = trusted
        self._engine = engine
        self._turn = turn
        self._notifications = notifications
        self._schema = schema
        self._commits = GroupCommit[WebhookEvent](self._store)
        self._kept: tuple[CoreConnection, RawConnection] | None = None
        self._used_at = 0.0

    def add(self, event: WebhookEvent) -> "asyncio.Future[bool]":
        """Store an event, or revive one that was not applied; False if nothing is left to do.

        An event id is stored once. One that is dead or untracked becomes as it was sent now. It is
        stored also when its caller stops waiting; `finish` waits for it.
        """
        return self._commits.add(event)

    async def finish(self, within: timedelta) -> None:
        """Wait up to `within` for what is being stored, then give it up."""
        await self._commits.finish(within)

    async def close(self) -> None:
        """Close the connection."""
        with suppress(DatabaseUnavailable), named_errors():
            await self._drop()

    async def _store(self, events: Sequence[WebhookEvent]) -> list[bool | Exception]:
        """What becomes of each event; where a value is refused, they are stored one by one."""
        try:
            new = await self._insert(events)
        except (InvalidValue, IntegrityError) as error:
            if len(events) > 1:
                return [(await self._store([event]))[0] for event in events]
            # a name that the database cannot hold stands in no row; the body has it all the same
            [event] = events
            odd = [name for name in _NAMES if not (getattr(event, name) or "").isascii()]
            return await self._store([replace(event, **dict.fromkeys(odd))]) if odd else [error]
        return [event.id in new or await self._revived(event) for event in events]

    @retried
    async def _insert(self, events: Sequence[WebhookEvent]) -> Set[str]:
        """The ids of those that were not stored before, in one transaction."""
        async with self._turn() as has_begun, self._connected() as connection:
            has_begun()
            if connection.backend == "sqlite":
                inserting = connection.given._execute(  # noqa: SLF001  all on its thread at once
                    _insert_on_sqlite, inner(connection.given), events
                )
                return frozenset(await inserting)
            # PostgreSQL would log a failed statement with what stands in it: never in its text
            is_told = self._notifications.are_due(*_work_of(events))
            sql = _text(_insert_many(tells=is_told), connection.backend, self._schema)
            cursor = await connection.given.execute(sql, {"rows": to_json(events)})
            return frozenset(str(line[0]) for line in await cursor.fetchall())

    async def _revived(self, event: WebhookEvent) -> bool | Exception:
        """Whether an event that is stored already, and was not applied, is pending again."""
        if event.status is not EventStatus.PENDING:
            return False
        sent = {f"of_{name}": getattr(event, name) for name in _KEY}
        sent |= {name: getattr(event, name) for name in COLUMNS if name != "id"}
        try:
            async with self._turn() as has_begun, self._connected() as connection:
                has_begun()
                is_told = self._notifications.are_due(*_work_of([event]))
                raw = RawStatement(
                    _revive(tells=is_told), sent, dialect_of(connection.backend), self._schema
                )
                return (await connection.run(raw.sql, raw.parameters[0])).rowcount > 0
        except (DatabaseUnavailable, InvalidValue) as error:
            return error

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[RawConnection]:
        """The connection; one on which something failed, or was cancelled, is not used again."""
        loop = asyncio.get_running_loop()
        with named_errors():
            async with asyncio.timeout(STATEMENT_SECONDS):
                connection = await self._opened(loop.time())
                try:
                    with connection.wrapped_errors():
                        yield connection
                except BaseException:
                    await self._drop()
                    raise
                if isinstance(self._engine.sync_engine.pool, NoConnections):
                    await self._drop()
        self._used_at = loop.time()

    async def _opened(self, now: float) -> RawConnection:
        if self._kept and now - self._used_at > self._trusted:
            raw = self._kept[1]
            try:
                await raw.run("SELECT 1", {})
            except raw.errors:
                await self._drop()
        if self._kept is None:
            connection = await self._engine.connect()
            driver: Any = (await connection.get_raw_connection()).driver_connection
            raw = cast(RawConnection, connection_of(driver))
            self._kept = connection, raw
            if raw.backend == "sqlite":
                await raw.run(SYNC_EACH_COMMIT, {})
        return self._kept[1]

    async def _drop(self) -> None:
        kept, self._kept = self._kept, None
        if kept:
            # never back to the pool: it has a setting of its own, or fails
            await kept[0].invalidate()
            await kept[0].close()


def _work_of(events: Sequence[WebhookEvent]) -> set[JobKind]:
    """The kinds of jobs that have to do with these events."""
    kinds = set()
    for event in events:
        if event.status is EventStatus.PENDING:
            kinds.add(JobKind.DISPATCH if event.for_app else JobKind.PROCESS_WEBHOOK_EVENTS)
    return kinds


def _insert_on_sqlite(
    connection: sqlite3.Connection, events: Sequence[WebhookEvent]
) -> Sequence[str]:
    """The ids of the events that were not there.

    One statement adds all and is its own transaction: after each step, this thread waits for the
    interpreter, which the event loop has.
    """
    values = [value for event in events for value in _sent(event)]
    ids = [event.id for event in events]
    cursor = connection.cursor()
    try:
        cursor.execute(_insert_rows(len(events)), values)
        if cursor.rowcount < len(events):
            # nobody else has these ids: what is there of them is new
            ids = [found for (found,) in cursor.execute(_ids_there(len(ids)), ids)]
    finally:
        cursor.close()
    return ids


@cache
def _insert_rows(number: int) -> str:
    """The statement that adds as many events; its parameters are their columns, one by one."""
    sql = RawStatement(_insert_one(), dict.fromkeys(COLUMNS), dialect_of("sqlite", "qmark")).sql
    row = f"({', '.join('?' * len(COLUMNS))})"
    return sql.replace(row, ", ".join([row] * number))


@cache
def _ids_there(number: int) -> str:
    """The statement that finds which of as many ids there are."""
    return f"SELECT id FROM {webhook_events.name} WHERE id IN ({', '.join('?' * number)})"  # noqa: S608


@cache
def _text(statement: sa.Executable, backend: str, schema: str | None) -> str:
    """A statement as the driver takes it, whatever its values."""
    return RawStatement(statement, {"rows": None}, dialect_of(backend), schema).sql


@cache
def _processors() -> Sequence[tuple[int, Any]]:
    """The places of the columns whose values the driver of SQLite takes in another form."""
    dialect = dialect_of("sqlite")
    processors = []
    for place, name in enumerate(COLUMNS):
        kind = webhook_events.c[name].type
        processor = kind.dialect_impl(dialect).bind_processor(dialect)
        if processor:
            processors.append((place, processor))
    return processors


def _sent(event: WebhookEvent) -> Sequence[Any]:
    """The columns of an event as the driver of SQLite takes them."""
    values = list(_read_columns(event))
    for place, processor in _processors():
        values[place] = processor(values[place])
    return values
