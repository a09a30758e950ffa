"""Records what people and programs do to rows; an app's own calls, without an actor, are not."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final, TypeVar

from rindle_sync.domain import Action, ProviderAsset, RowAction
from rindle_sync.errors import RindleSyncError
from rindle_sync.reconcile.context import Context
from rindle_sync.store import Store

T = TypeVar("T")

DONE: Final = "done"

_CANCELLED: Final = "cancelled"
_RECORDS_WITHIN: Final = 5.0
"""Seconds for the record of an action that was cancelled: whoever cancelled it waits."""

_log: Final = logging.getLogger("rindle_sync")


async def act(
    context: Context,
    action: Action,
    row: ProviderAsset,
    work: Callable[[Store], Awaitable[T]],
    *,
    outcome: Callable[[T], str | None] = lambda _: DONE,
) -> T:
    """What `work` returns, which writes to a store, and the record of it in one transaction.

    There is no record where the outcome is None, or `work` raises.
    """
    if context.actor is None:
        return await work(context.store)

    async def recorded(store: Store) -> T:
        result = await work(store)
        said = outcome(result)
        if said is not None:
            await record(context, store, action, [row], said)
        return result

    return await context.store.together(recorded)


async def act_outside(
    context: Context,
    action: Action,
    row: ProviderAsset,
    work: Callable[[], Awaitable[T]],
    *,
    outcome: Callable[[T], str],
) -> T:
    """What `work` returns, which calls the provider, and right after it the record of it."""
    if context.actor is None:
        return await work()
    # as it began: in a history the cause stands before its effects
    at = context.now()
    try:
        result = await work()
    except RindleSyncError as error:
        await record_afterwards(context, action, row, type(error).__name__, at)
        raise
    except asyncio.CancelledError:
        with suppress(TimeoutError):
            async with asyncio.timeout(_RECORDS_WITHIN):
                await record_afterwards(context, action, row, _CANCELLED, at)
        raise
    await record_afterwards(context, action, row, outcome(result), at)
    return result


async def record(
    context: Context,
    store: Store,
    action: Action,
    rows: Sequence[ProviderAsset],
    outcome: str = DONE,
    *,
    at: datetime | None = None,
    names_it: bool = True,
) -> None:
    """Record an action on rows, now or `at` a time, in the transaction of `store`.

    Nothing without an actor. With `names_it` the record has the row's reference.
    """
    if context.actor is None:
        return
    at = at or context.now()
    actions = [
        RowAction(
            row_id=row.id,
            reference=row.shown_reference if names_it else None,
            action=action,
            actor=context.actor,
            outcome=outcome,
            at=at,
        )
        for row in rows
    ]
    await store.row_actions.add(actions)


async def record_afterwards(
    context: Context, action: Action, row: ProviderAsset, outcome: str, at: datetime | None = None
) -> None:
    """Record what has been done already; where the database fails, the log has it."""
    try:
        await record(context, context.store, action, [row], outcome, at=at)
    except RindleSyncError as error:
        text = "%s of row %s by %s (%s) was not recorded: %s"
        _log.warning(text, action, row.id, context.actor, outcome, error)
