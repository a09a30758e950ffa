"""Calls the app's callbacks with real changes: after the commit, each in the order of the row.

At least once; exactly once for what a transactional callback writes through its connection.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, TypeVar
from uuid import uuid4

from rindle_sync.domain import LONGEST_WAIT
from rindle_sync.reconcile import Context
from rindle_sync.runtime.callbacks import (
    CALL_LIMIT,
    GRACE,
    ChangeCallback,
    ChangeEvent,
    LeaseLost,
    TimeLimit,
    retry_at,
)
from rindle_sync.store import (
    AnyConnection,
    AsyncConnection,
    Claimed,
    NewCall,
    NotRecorded,
    Outcomes,
    PendingCall,
    PendingChange,
)
from rindle_sync.telemetry import CallbackException, scrub_traceback

Leased = TypeVar("Leased", PendingChange, PendingCall)
Result = TypeVar("Result")

BATCH: Final = 100

LONGEST_GROUP: Final = 0.1
"""Seconds after which no other call begins in a transaction of several: the app's locks wait."""


class _CallbackFailed(Exception):
    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


@dataclass(slots=True)
class _Dispatched:
    """How the dispatch of one change to every callback went."""

    new_calls: list[NewCall] = field(default_factory=list)
    is_marked: bool = False
    """Whether some callback has marked it as handled."""
    is_recorded: bool = False
    """Whether the transaction of the last callback has ended it."""


@dataclass(frozen=True, slots=True)
class _Group:
    """What was handed over in one transaction."""

    recorded: set[int]
    """The ids of the changes."""
    number: int
    """How many of those that waited were tried, with those whose lease was lost."""


async def dispatch(
    context: Context,
    callbacks: Sequence[ChangeCallback],
    *,
    call_limit: timedelta = CALL_LIMIT,
    grace: timedelta = GRACE,
) -> int:
    """Call every callback with each change that is due; how many changes and calls were tried.

    A callback gets the changes of a row in their order. One that fails is called again with growing
    gaps: that holds back no other callback, and of its own calls only those of the same row.
    """
    if not callbacks:
        return 0
    outbox, token, now = context.store.outbox, str(uuid4()), context.now()
    limit = TimeLimit(call_limit, grace)
    # long enough for every callback: meanwhile no other process may dispatch these changes
    until = now + min(context.lease + limit.longest * len(callbacks), LONGEST_WAIT)
    names = [callback.name for callback in callbacks]
    claimed = await outbox.claim(now=now, token=token, until=until, limit=BATCH, callbacks=names)
    if not (claimed.changes or claimed.calls):
        return 0
    try:
        await _Dispatch(context, callbacks, limit, token).run(claimed)
    except BaseException:
        await outbox.release(token)
        raise
    return len(claimed.changes) + len(claimed.calls)


@dataclass(frozen=True, slots=True)
class _Dispatch:
    """What was leased under one token, and its calls."""

    context: Context
    callbacks: Sequence[ChangeCallback]
    limit: TimeLimit
    token: str

    async def run(self, claimed: Claimed) -> None:
        """Call for all side by side, and write what became of them.

        Raises `DatabaseUnavailable`, once all the others have ended.
        """
        events = await self._events(claimed)
        recorded = await self._hand_over_in_groups(claimed.changes, events)
        changes = [
            (pending, asyncio.create_task(self._change(pending, events[pending.id])))
            for pending in claimed.changes
            if pending.id not in recorded
        ]
        calls = [
            (call, asyncio.create_task(self._call_again(call, events))) for call in claimed.calls
        ]
        tasks: list[asyncio.Task[Any]] = [task for _, task in (*changes, *calls)]
        try:
            # all have ended before the first error is raised
            results = await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            # also after a cancellation: what a callback has handled must not be dispatched again
            outcomes = _outcomes(_well_ended(changes), _well_ended(calls))
            await self.context.store.outbox.end(outcomes, self.token)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, LeaseLost):
                raise result

    async def _events(self, claimed: Claimed) -> dict[int, ChangeEvent]:
        """The events by the ids of their changes."""
        changes = {pending.id: pending.change for pending in claimed.changes}
        for call in claimed.calls:
            if call.change:
                changes[call.change_id] = call.change
        rows = await self.context.store.assets.get_many([c.row_id for c in changes.values()])
        return {
            change_id: ChangeEvent(change_id, change, rows.get(change.row_id))
            for change_id, change in changes.items()
        }

    async def _hand_over_in_groups(
        self, changes: Sequence[PendingChange], events: Mapping[int, ChangeEvent]
    ) -> set[int]:
        """Hand over what one transactional callback alone wants, several in a transaction.

        The ids of what is recorded. Where anything fails in such a transaction, nothing of it is,
        and the rest is left: each change then gets a transaction of its own.
        """
        recorded = set[int]()
        for callback in self.callbacks:
            waiting = []
            for pending in changes:
                is_alone = self._left(pending, events[pending.id]) == [callback]
                if is_alone and callback.transactional and not (pending.handled or pending.behind):
                    waiting.append(pending)
            while len(waiting) > 1:
                try:
                    tried = await self._hand_over_group(callback, waiting, events)
                except (_CallbackFailed, NotRecorded):
                    break
                recorded |= tried.recorded
                waiting = waiting[tried.number :]
        return recorded

    async def _hand_over_group(
        self,
        callback: ChangeCallback,
        waiting: Sequence[PendingChange],
        events: Mapping[int, ChangeEvent],
    ) -> _Group:
        """Hand over the first of these. Raises `_CallbackFailed`, `NotRecorded`."""
        clock = asyncio.get_running_loop().time
        recorded = set[int]()
        until = clock() + LONGEST_GROUP
        async with self.context.store.outbox.handing_over_many(waiting, self.token) as group:
            for pending in group.changes:
                async with group.turn(pending, callback.name) as connection:
                    call = partial(callback.function, events[pending.id], connection)
                    error = await self.limit.error_of(call, is_last=False)
                    if error is not None:
                        raise _CallbackFailed(error)
                recorded.add(pending.id)
                if clock() >= until:
                    return _Group(recorded, waiting.index(pending) + 1)
        return _Group(recorded, len(waiting))

    def _left(self, pending: PendingChange, event: ChangeEvent) -> list[ChangeCallback]:
        """The callbacks that have not handled a change that they select."""
        return [c for c in self.callbacks if c.name not in pending.handled and c.selects(event)]

    async def _change(self, pending: PendingChange, event: ChangeEvent) -> _Dispatched:
        """Call every callback that has not handled the change; what is left of it."""
        dispatched = _Dispatched(is_marked=bool(pending.handled))
        left = self._left(pending, event)
        for number, callback in enumerate(left, start=1):
            if callback.name in pending.behind:
                at = self.context.now()
                new = NewCall(pending=pending, callback=callback.name, at=at, attempts=0)
                dispatched.new_calls.append(new)
                continue
            is_last = number == len(left)
            ends = is_last and not (dispatched.new_calls or dispatched.is_marked)
            error = await self._error_of(callback, event, pending, is_last=is_last, ends=ends)
            if error is not None:
                self._emit_failure(callback, event, error, attempt=1)
                at = retry_at(self.context.now(), 1)
                new = NewCall(pending=pending, callback=callback.name, at=at, attempts=1)
                dispatched.new_calls.append(new)
            elif callback.transactional or callback.owns_transaction:
                dispatched.is_recorded = ends
                dispatched.is_marked |= not ends
        return dispatched

    async def _call_again(
        self, call: PendingCall, events: Mapping[int, ChangeEvent]
    ) -> datetime | None:
        """Call one callback; when to try again, and None where it has handled the change."""
        event = events.get(call.change_id)
        callback = next(c for c in self.callbacks if c.name == call.callback)
        if event is None or not callback.selects(event):
            return None
        error = await self._error_of(callback, event, call, is_last=True, ends=True)
        if error is None:
            return None
        self._emit_failure(callback, event, error, attempt=call.attempts + 1)
        return retry_at(self.context.now(), call.attempts + 1)

    async def _error_of(
        self,
        callback: ChangeCallback,
        event: ChangeEvent,
        leased: PendingChange | PendingCall,
        *,
        is_last: bool,
        ends: bool,
    ) -> BaseException | None:
        """What a callback fails with. Raises `LeaseLost`, `DatabaseUnavailable`."""
        if callback.owns_transaction:
            return await self._error_of_owner(callback, event, leased, is_last=is_last, ends=ends)
        if not callback.transactional:
            return await self.limit.error_of(partial(callback.function, event), is_last=is_last)
        handing_over = self.context.store.outbox.handing_over
        try:
            async with handing_over(leased, callback.name, self.token, ends=ends) as connection:
                await self._call_in(connection, callback, event, is_last=is_last)
        except (_CallbackFailed, NotRecorded) as failed:
            return failed.error
        return None

    async def _error_of_owner(
        self,
        callback: ChangeCallback,
        event: ChangeEvent,
        leased: PendingChange | PendingCall,
        *,
        is_last: bool,
        ends: bool,
    ) -> BaseException | None:
        """What a callback with a transaction of its own fails with. Raises `LeaseLost`."""
        store = self.context.store

        async def record(connection: AnyConnection) -> None:
            outbox = store.within(connection).outbox
            if not await outbox.record(leased, callback.name, self.token, ends=ends):
                raise LeaseLost

        async with store.database.few_at_once():
            call = partial(callback.function, event, record)
            error = await self.limit.error_of(call, is_last=is_last)
        if isinstance(error, LeaseLost):
            raise error
        return error

    async def _call_in(
        self,
        connection: AsyncConnection | None,
        callback: ChangeCallback,
        event: ChangeEvent,
        *,
        is_last: bool,
    ) -> None:
        """Call a callback in its transaction. Raises `LeaseLost`, `_CallbackFailed`."""
        if connection is None:
            raise LeaseLost
        call = partial(callback.function, event, connection)
        error = await self.limit.error_of(call, is_last=is_last)
        if error is not None:
            raise _CallbackFailed(error)

    def _emit_failure(
        self, callback: ChangeCallback, event: ChangeEvent, error: BaseException, *, attempt: int
    ) -> None:
        secrets = event.row.secrets if event.row else ()
        failure = CallbackException(
            row_id=event.change.row_id,
            reference=event.reference if event.row is None else None,
            callback=callback.name,
            error=type(error).__name__,
            attempt=attempt,
            traceback=scrub_traceback(error, *secrets),
        )
        self.context.telemetry.emit(failure, event.row)


def _well_ended(
    tasks: Sequence[tuple[Leased, "asyncio.Task[Result]"]],
) -> list[tuple[Leased, Result]]:
    """What was leased, with the result of its task, where that has one."""
    ended = []
    for leased, task in tasks:
        if task.done() and not task.cancelled() and task.exception() is None:
            ended.append((leased, task.result()))
    return ended


def _outcomes(
    changes: Sequence[tuple[PendingChange, _Dispatched]],
    calls: Sequence[tuple[PendingCall, datetime | None]],
) -> Outcomes:
    outcomes = Outcomes()
    for pending, dispatched in changes:
        if dispatched.is_recorded:
            continue
        outcomes.changes.append(pending)
        outcomes.new_calls.extend(dispatched.new_calls)
        if dispatched.is_marked:
            outcomes.marked.append(pending.id)
    for call, again in calls:
        if again is None:
            outcomes.calls.append(call)
        else:
            outcomes.put_off.append((call, again))
    return outcomes
