"""The coordinator's pass: every row that is due is looked at once, by list page or by id, and settled."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from rindle_sync.domain import Due, FetchFailure, Outcome, ProviderAsset, Trigger, needs_fetch
from rindle_sync.errors import AuthenticationFailed
from rindle_sync.reconcile.apply import Applied, Observed
from rindle_sync.reconcile.context import Context
from rindle_sync.reconcile.fetch import fetch_granted, is_about_row, raise_if_authentication_failed
from rindle_sync.reconcile.list_pages import sweep_pages
from rindle_sync.reconcile.sweep_run import SweepResult, SweepRun, how_it_ended
from rindle_sync.telemetry import Swept, milliseconds, nanoseconds

SURVEY: Final = 10_000
"""How many due rows are planned for at once."""

PLAN_FOR: Final = timedelta(seconds=60)
"""After this long a pass plans anew: what has come due meanwhile may stand on one page with what is left."""

ROWS_FOR_A_LOSS: Final = 25
MOST_LOST: Final = 5
"""One call may be lost on pages, and one more for so many due rows, but never more than this."""

UNCALLED_BATCH: Final = 100
"""How many rows that need no call are settled at once."""


async def sweep(
    context: Context,
    *,
    keep_going: Callable[[], bool] = lambda: True,
    dry_run: Callable[[Applied], None] | None = None,
) -> SweepResult:
    """Look at every row that is due as the pass begins, inside the budget, and settle it.

    `keep_going` is asked between steps. With `dry_run` the provider is asked, but nothing is written or told: it is
    called with all that would be settled. Raises `AuthenticationFailed` when the provider does not accept our credentials (the rows
    not yet looked at stay due, untouched), `DatabaseUnavailable`.
    """
    context = context.for_dry_run() if dry_run else context
    began, one = context.now(), SweepRun(context, keep_going, dry_run)
    try:
        one.result.outcome = await _outcome(one, began)
    except AuthenticationFailed:
        one.result.outcome = Outcome.REFUSED
        raise
    except asyncio.CancelledError:
        one.result.outcome = Outcome.STOPPED
        raise
    finally:
        await _end(one, began)
    return one.result


async def check_first(context: Context, row_ids: Sequence[str]) -> None:
    """Look at rows that a webhook left in doubt, before all others that are due. Raises as `sweep` does."""
    one, rest = SweepRun(context, lambda: True, trigger=Trigger.SYNC), list(row_ids)
    try:
        while rest and (granted := await one.take(min(len(rest), context.batch))):
            batch, rest = rest[:granted], rest[granted:]
            await context.rate_limiter.give_back(
                granted - await _check_claimed(one, await one.claim(batch))
            )
    finally:
        await context.store.release(one.token)


async def _outcome(one: SweepRun, began: datetime) -> Outcome:
    while one.keep_going() and one.context.circuit_breaker.room(1):
        due, before = await _survey(one), one.result.checked
        if not any(row.check_at and row.check_at <= began for row in due):
            break
        if not await one.hold():
            return Outcome.ALREADY_RUNNING
        one.most_lost = min(1 + len(due) // ROWS_FOR_A_LOSS, MOST_LOST)
        await _check(one, await sweep_pages(one, due))
        if one.dry_run or one.result.checked == before:
            break
    if one.silent and one.silent == one.result.checked - one.result.uncalled:
        return Outcome.UNREACHABLE
    return how_it_ended(one.context, one.keep_going)


async def _survey(one: SweepRun) -> list[Due]:
    context, now = one.context, one.context.now()
    here, floor = (context.provider.name, context.environment), now - context.schedule.floor
    due = await context.asset_queries.due(
        *here, due=now, touched_before=floor, now=now, limit=SURVEY
    )
    return [row for row in due if row.id not in one.left]


async def _check(one: SweepRun, due: Sequence[Due]) -> None:
    """Settle the rows that need no call, then ask about the others by id, the longest due first."""
    context, began = one.context, one.context.now()
    asked = [row.id for row in due if needs_fetch(row, began, context.policy)]
    uncalled = sorted({row.id for row in due} - set(asked))
    for start in range(0, len(uncalled), UNCALLED_BATCH):
        await _check_claimed(one, await one.claim(uncalled[start : start + UNCALLED_BATCH]))
    while asked and context.now() - began < PLAN_FOR:
        affordable = len(asked) + min(0, one.result.saved)
        if affordable <= 0:
            one.left.update(asked)
            break
        granted = await one.take(min(affordable, context.batch))
        if not granted:
            break
        batch, asked = asked[:granted], asked[granted:]
        made = await _check_claimed(one, await one.claim(batch))
        await context.rate_limiter.give_back(granted - made)


async def _check_claimed(one: SweepRun, rows: Sequence[ProviderAsset]) -> int:
    """Look at claimed rows side by side and settle them; how many calls that took.

    A row that was refused, or not asked about after all, is left untouched: it is not its fault.
    """
    observed = await asyncio.gather(*(_observed(one.context, row) for row in rows))
    failures = [f.observation for f in observed if isinstance(f.observation, FetchFailure)]
    calls = sum(f.observation is not None for f in observed) - sum(not s.called for s in failures)
    one.result.calls += calls
    told = [f for f in observed if is_about_row(f.observation)]
    if told:
        await one.apply(told, {f.row.id for f in told})
    for failure in failures:
        raise_if_authentication_failed(failure)
    return calls


async def _observed(context: Context, row: ProviderAsset) -> Observed:
    return Observed(
        row,
        await fetch_granted(context, row)
        if needs_fetch(row, context.now(), context.policy)
        else None,
    )


async def _end(one: SweepRun, began: datetime) -> None:
    try:
        await one.give_back()
    finally:
        if not one.dry_run:
            _emit(one.context, one.result, began)


def _emit(context: Context, result: SweepResult, began: datetime) -> None:
    now = context.now()
    context.telemetry.emit(
        Swept(
            system_time=nanoseconds(now),
            provider=context.provider.name,
            outcome=result.outcome.value,
            looked=result.checked,
            changed=result.changed,
            unanswered=result.unanswered,
            calls=result.calls,
            pages=result.pages,
            duration_ms=milliseconds(now - began),
        )
    )
