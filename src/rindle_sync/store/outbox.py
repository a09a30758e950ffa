"""The changes to dispatch to the app: leases them in row order, writes the outcomes.

A change waits in its own line until every callback was called once. What a callback failed on, or
has to wait with, goes on as a call of that callback alone, in `provider_change_deliveries`.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, InvalidRequestError

from rindle_sync.errors import InvalidValue, TransactionEnded, WriteInsideCallback
from rindle_sync.store.driver_errors import check_transaction, retried
from rindle_sync.store.lent import is_lent_here, lend, take_back
from rindle_sync.store.lines import read_change
from rindle_sync.store.pending import Claimed, NotRecorded, Outcomes, PendingCall, PendingChange
from rindle_sync.store.repository import (
    Repository,
    claim_statement,
    clock,
    has_come,
    outcome_statement,
)
from rindle_sync.store.schema.core_engine import CoreConnection
from rindle_sync.store.schema.json_rows import json_field, json_parameter, json_table
from rindle_sync.store.schema.tables import change_deliveries, changes

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection


def _claim_statement() -> sa.Update:
    earlier = changes.alias("earlier")
    # the app gets the changes of a row in their order: a later one waits for the callbacks of it
    waits = sa.exists().where(
        earlier.c.row_id == changes.c.row_id,
        earlier.c.version < changes.c.version,
        earlier.c.dispatch_at.is_not(None),
    )
    is_due = has_come(changes.c.dispatch_at)
    return claim_statement(changes, is_due, ~waits, first=[changes.c.dispatch_at, changes.c.id])


def _call_claim_statement() -> sa.Update:
    calls, earlier = change_deliveries, change_deliveries.alias("earlier")
    waits = sa.exists().where(
        earlier.c.row_id == calls.c.row_id,
        earlier.c.callback == calls.c.callback,
        earlier.c.version < calls.c.version,
        earlier.c.dispatch_at.is_not(None),
    )
    names = sa.select(json_field(json_table("callbacks", "named"), calls.c.callback))
    is_due = has_come(calls.c.dispatch_at), calls.c.callback.in_(names)
    return claim_statement(calls, *is_due, ~waits, first=[calls.c.dispatch_at, calls.c.id])


def _given(column: sa.Column[Any]) -> sa.Select[Any]:
    return sa.select(json_field(json_table("rows", "r"), column))


_CLAIM: Final = _claim_statement()
_CLAIM_CALLS: Final = _call_claim_statement()
_OF_ROWS: Final = sa.select(*change_deliveries.c).where(
    change_deliveries.c.row_id.in_(_given(change_deliveries.c.row_id))
)
_CHANGES: Final = sa.select(*changes.c).where(changes.c.id.in_(_given(changes.c.id)))
_END: Final = outcome_statement(changes, ("dispatch_at",)).returning(changes.c.id)
_END_ONE: Final = (
    sa.update(changes)
    .where(changes.c.id == sa.bindparam("held_id"), changes.c.lease_token == sa.bindparam("held"))
    .values(dispatch_at=None, lease_token=None, lease_until=None)
)
_PUT_OFF: Final = outcome_statement(change_deliveries, ("dispatch_at", "dispatch_attempts"))
_IS_MINE: Final = change_deliveries.c.lease_token == sa.bindparam("held")
_END_CALLS: Final = sa.delete(change_deliveries).where(
    change_deliveries.c.id.in_(_given(change_deliveries.c.id)), _IS_MINE
)
_UNMARK: Final = sa.delete(change_deliveries).where(
    change_deliveries.c.change_id.in_(_given(change_deliveries.c.change_id)),
    change_deliveries.c.dispatch_at.is_(None),
)


def _hold(table: sa.Table) -> sa.Select[Any]:
    """Keep a leased line from everybody who would lease it, and from nobody who writes to it."""
    is_held = table.c.id == sa.bindparam("held_id"), table.c.lease_token == sa.bindparam("held")
    return sa.select(table.c.id).where(*is_held).with_for_update(read=True, key_share=True)


_HOLD: Final = {table.name: _hold(table) for table in (changes, change_deliveries)}
_HOLD_MANY: Final = (
    sa.select(changes.c.id)
    .where(changes.c.id.in_(_given(changes.c.id)), changes.c.lease_token == sa.bindparam("held"))
    .with_for_update(read=True, key_share=True)
)


class Outbox(Repository):
    """The changes, and the calls of single callbacks, that are not dispatched yet."""

    table = changes

    @retried
    async def claim(
        self, *, now: datetime, token: str, until: datetime, limit: int, callbacks: Collection[str]
    ) -> Claimed:
        """Lease up to `limit` due changes, and as many calls of `callbacks`, in one transaction.

        Of each row only the earliest change, and of each row and callback the earliest call. Raises
        `WriteInsideCallback` in a transactional callback.
        """
        if is_lent_here(self.database):
            raise WriteInsideCallback  # the few transactions would wait for each other
        values = self.parameters | clock(now)
        values |= {"token": token, "until": until, "most": limit}
        names = json_parameter([{"callback": name} for name in callbacks], change_deliveries)
        async with self.database.leasing(token, changes, change_deliveries) as connection:
            lines = (await connection.execute(_CLAIM, values)).all()
            # read after the lease, which waited for whoever marked one of them
            standing = await _of_rows(connection, {line.row_id for line in lines})
            calls = await connection.execute(_CLAIM_CALLS, values | {"callbacks": names})
            pending_calls = await _with_changes(connection, calls.all())
        pending = [_pending(line, standing) for line in lines]
        return Claimed(
            sorted(pending, key=lambda change: change.id),
            sorted(pending_calls, key=lambda call: call.change_id),
        )

    async def release(self, token: str) -> None:
        """Release what is leased under `token`, or leave it to a later call on a database error."""
        self.database.release_later(change_deliveries, token)
        await super().release(token)

    @asynccontextmanager
    async def handing_over(
        self, leased: PendingChange | PendingCall, callback: str, token: str, *, ends: bool
    ) -> AsyncIterator["AsyncConnection | None"]:
        """A transaction for one callback, which also notes that it has handled the change.

        `ends` says that no other callback is left. None where the lease was lost: nobody may be
        called. Raises `NotRecorded` where the app's part cannot be committed.
        """
        line = changes if isinstance(leased, PendingChange) else change_deliveries
        held = {"held_id": leased.id, "held": token}
        row_id = leased.change.row_id if leased.change else None
        has_returned = False
        try:
            async with self.database.lending(row_id) as connection:
                if (await connection.execute(_HOLD[line.name], held)).first() is None:
                    yield None
                    return
                # a schema of ours is not where the tables of the app are
                yield await connection.execution_options(schema_translate_map=None)
                has_returned = True
                take_back()
                await check_transaction(connection)
                ours = {None: self.database.schema} if self.database.schema else None
                mine = await connection.execution_options(schema_translate_map=ours)
                await self.note_handled(mine, leased, callback, token, ends=ends)
        except InvalidRequestError:  # SQLAlchemy's word for a transaction that is over
            raise NotRecorded(TransactionEnded()) from None
        except (TransactionEnded, IntegrityError, InvalidValue) as error:
            # a constraint of the app that is checked at the commit
            if not has_returned:
                raise
            raise NotRecorded(error) from None

    @asynccontextmanager
    async def handing_over_many(
        self, leased: Sequence[PendingChange], token: str
    ) -> AsyncIterator["HandedOver"]:
        """One transaction for the calls of one callback, each with the last call of its change.

        All are recorded, or none: also where one of them ends the transaction. Raises `NotRecorded`
        then.
        """
        ids = json_parameter([{"id": pending.id} for pending in leased], changes)
        try:
            async with self.database.lending() as connection:
                held = set(
                    (await connection.execute(_HOLD_MANY, {"rows": ids, "held": token})).scalars()
                )
                found = [pending for pending in leased if pending.id in held]
                yield HandedOver(found, self, connection, token)
        except InvalidRequestError:
            raise NotRecorded(TransactionEnded()) from None
        except (TransactionEnded, IntegrityError, InvalidValue) as error:
            raise NotRecorded(error) from None

    async def record(
        self, leased: PendingChange | PendingCall, callback: str, token: str, *, ends: bool
    ) -> bool:
        """Note in a transaction of the app's own that a callback handles a change.

        False where the lease was lost: then the transaction is not to be committed.
        """
        async with self.database.writing() as connection:
            # a write first: SQLite may refuse to let a transaction write that has read before
            ended = await self.note_handled(connection, leased, callback, token, ends=ends)
            if ended is not None:
                return ended > 0
            held = {"held_id": leased.id, "held": token}
            return (await connection.execute(_HOLD[changes.name], held)).first() is not None

    async def note_handled(
        self,
        connection: "AsyncConnection | CoreConnection",
        leased: PendingChange | PendingCall,
        callback: str,
        token: str,
        *,
        ends: bool,
    ) -> int | None:
        """Note that a callback has handled a change; `ends` says that no other one is left.

        The number of lines under this token that have ended; None where others are left.
        """
        if isinstance(leased, PendingCall):
            rows = json_parameter([{"id": leased.id}], change_deliveries)
            ended = await connection.execute(_END_CALLS, {"rows": rows, "held": token})
        elif ends:
            ended = await connection.execute(_END_ONE, {"held_id": leased.id, "held": token})
        else:
            marker = self.key | _call_columns(leased, callback)
            await connection.execute(sa.insert(change_deliveries), marker)
            return None
        return ended.rowcount

    @retried
    async def end(self, outcomes: Outcomes, token: str) -> None:
        """Write what became of all that is leased under `token`, in one transaction."""
        held = {"held": token}
        ended = [{"id": pending.id, "dispatch_at": None} for pending in outcomes.changes]
        called = [{"id": call.id} for call in outcomes.calls]
        put_off = [
            {"id": call.id, "dispatch_at": at, "dispatch_attempts": call.attempts + 1}
            for call, at in outcomes.put_off
        ]
        if not (ended or called or put_off):
            return
        async with self.writing() as connection:
            if ended:
                rows = {"rows": json_parameter(ended, changes)}
                ids = set((await connection.execute(_END, rows | held)).scalars())
                await self._keep_calls(connection, outcomes, ids)
            if called:
                rows = {"rows": json_parameter(called, change_deliveries)}
                await connection.execute(_END_CALLS, rows | held)
            if put_off:
                rows = {"rows": json_parameter(put_off, change_deliveries)}
                await connection.execute(_PUT_OFF, rows | held)

    async def _keep_calls(
        self, connection: CoreConnection, outcomes: Outcomes, ended: Collection[int]
    ) -> None:
        """Write the calls that are left of changes that have ended, and drop their markers."""
        new = [
            self.key
            | _call_columns(call.pending, call.callback)
            | {"dispatch_at": call.at, "dispatch_attempts": call.attempts}
            for call in outcomes.new_calls
            if call.pending.id in ended
        ]
        marked = [{"change_id": number} for number in outcomes.marked if number in ended]
        if marked:
            await connection.execute(_UNMARK, {"rows": json_parameter(marked, change_deliveries)})
        if new:
            await connection.execute(sa.insert(change_deliveries), new)

    async def forget(self, before: datetime) -> int:
        """Stop dispatching changes older than `before`, to any callback; the number of changes."""
        calls = change_deliveries
        is_old = changes.c.at < before
        waiting = sa.select(calls.c.id).outerjoin(changes, changes.c.id == calls.c.change_id)
        waiting = waiting.where(*self.here_in(calls), sa.or_(is_old, changes.c.id.is_(None)))
        # what a callback is being called with is left for the next time
        free = waiting.with_for_update(of=calls, skip_locked=True)
        old_calls = sa.delete(calls).where(calls.c.id.in_(free))
        await self.execute(old_calls)
        old = changes.c.dispatch_at.is_not(None), is_old
        return await self.execute(
            sa.update(changes).where(*self.here, *old).values(dispatch_at=None)
        )


@dataclass(frozen=True, slots=True)
class HandedOver:
    """Changes that are handed over in one transaction, one after the other."""

    changes: list[PendingChange]
    """Those whose lease is still held."""
    _outbox: Outbox
    _connection: "AsyncConnection"
    _token: str

    @asynccontextmanager
    async def turn(self, pending: PendingChange, callback: str) -> AsyncIterator["AsyncConnection"]:
        """The transaction for the call with one change, which is noted at the end."""
        database, connection = self._outbox.database, self._connection
        lend(database, connection, pending.change.row_id)
        try:
            if database.schema:  # that is not where the tables of the app are
                connection = await connection.execution_options(schema_translate_map=None)
            yield connection
        finally:
            take_back()
        await check_transaction(connection)
        if database.schema:
            ours = {None: database.schema}
            connection = await connection.execution_options(schema_translate_map=ours)
        await self._outbox.note_handled(connection, pending, callback, self._token, ends=True)


def _call_columns(pending: PendingChange, callback: str) -> dict[str, Any]:
    change = pending.change
    named = {"change_id": pending.id, "callback": callback}
    return named | {"row_id": change.row_id, "version": change.version}


async def _of_rows(connection: CoreConnection, row_ids: Collection[str]) -> Sequence[sa.Row[Any]]:
    """The calls that are left for the changes of these rows, and the markers of these changes."""
    if not row_ids:
        return []
    rows = json_parameter([{"row_id": row_id} for row_id in row_ids], change_deliveries)
    return (await connection.execute(_OF_ROWS, {"rows": rows})).all()


def _pending(line: sa.Row[Any], standing: Sequence[sa.Row[Any]]) -> PendingChange:
    handled, behind = set(), set()
    for call in standing:
        if call.change_id == line.id:
            handled.add(call.callback)
        elif call.row_id == line.row_id and call.dispatch_at and call.version < line.version:
            behind.add(call.callback)
    return PendingChange(line.id, read_change(line), frozenset(handled), frozenset(behind))


async def _with_changes(
    connection: CoreConnection, lines: Sequence[sa.Row[Any]]
) -> list[PendingCall]:
    if not lines:
        return []
    ids = json_parameter([{"id": line.change_id} for line in lines], changes)
    found = await connection.execute(_CHANGES, {"rows": ids})
    by_id = {change.id: read_change(change) for change in found}
    pending = []
    for line in lines:
        change = by_id.get(line.change_id)
        about = line.id, line.callback, line.dispatch_attempts, line.change_id
        pending.append(PendingCall(*about, change))
    return pending
