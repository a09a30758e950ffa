"""The coordinator: every row that is due is checked once, by list page or by id."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

from msgspec import Struct

from rindle_sync.domain import Outcome, Trigger, is_due, lasts, needs_fetch
from rindle_sync.reconcile.apply import Applied, Observed
from rindle_sync.reconcile.context import Context
from rindle_sync.reconcile.list_pages import sweep_pages
from rindle_sync.reconcile.page_planner import PageCandidate
from rindle_sync.reconcile.sweep_run import SweepResult, SweepRun, how_it_ended, noting_outcome
from rindle_sync.telemetry import Swept, milliseconds

SURVEY: Final = 10_000
"""How many due rows are planned for at once."""

PLAN_FOR: Final = timedelta(seconds=60)
"""After this long a run plans again: what is due by then may stand on one page with the rest."""

UNCALLED_BATCH: Final = 100
"""How many rows that need no call are applied at once."""

AHEAD: Final = 5
"""How many rows are claimed, and then written, together for each that is fetched at once."""

LATEST_TURN: Final = timedelta(seconds=30)
"""A claimed row whose turn to be fetched has not come by then stays due: leases end."""


async def sweep(
    context: Context,
    *,
    keep_going: Callable[[], bool] = lambda: True,
    on_applied: Callable[[Applied], None] | None = None,
) -> SweepResult:
    """Check every row that is due as the run begins, inside the rate limit, and apply it.

    `keep_going` is asked between steps. `on_applied` gets all that is applied; of a dry run, all
    that would be. Raises `AuthenticationFailed` (the rows not yet checked stay due, untouched) and
    `DatabaseUnavailable`.
    """
    began, run = context.now(), SweepRun(context, keep_going, on_applied)
    try:
        with noting_outcome(run.result):
            run.result.outcome = await _run(run, began)
    finally:
        try:
            await run.end()
        finally:
            result = run.result
            context.telemetry.emit(
                Swept(
                    outcome=result.outcome.value,
                    looked=result.checked,
                    changed=result.changed,
                    unanswered=result.unanswered,
                    calls=result.calls,
                    pages=result.pages,
                    duration_ms=milliseconds(context.now() - began),
                )
            )
    return run.result


async def check_first(context: Context, row_ids: Sequence[str]) -> None:
    """Check ambiguous rows before all others that are due. Raises as `sweep` does."""
    run, rest = SweepRun(context, lambda: True, trigger=Trigger.SYNC), list(row_ids)
    try:
        while rest:
            granted = await run.take(min(len(rest), context.batch))
            if not granted:
                break
            batch, rest = rest[:granted], rest[granted:]
            await _check(run, batch, granted)
    finally:
        await run.end()


async def _run(run: SweepRun, began: datetime) -> Outcome:
    gateway = run.context.gateway
    while run.keep_going() and gateway.circuit.room(1):
        before, plan = run.result.checked, await _plan(run, began)
        if plan is None:
            break
        if not await run.hold():
            return Outcome.ALREADY_RUNNING
        await _check_by_id(run, plan, await sweep_pages(run, plan.candidates))
        if run.is_limited:
            return Outcome.RATE_LIMITED
        if run.context.dry_run or run.result.checked == before:
            break
    if run.failed and run.failed == run.result.checked - run.result.uncalled:
        return Outcome.UNREACHABLE
    return how_it_ended(gateway, run.keep_going)


class _Plan(Struct, frozen=True):
    """The rows of one survey, no more of each than its check needs: there may be many."""

    candidates: list[PageCandidate]
    """What a page may answer, among it rows that come due soon."""
    uncalled: list[str]
    """The due rows that need no call."""
    by_id: list[str]
    """The others, the longest due first: each is fetched by id where no page answers it."""


async def _plan(run: SweepRun, began: datetime) -> _Plan | None:
    """Plan for what is due now or soon; None where nothing is left that was due as it `began`."""
    context, longest = run.context, run.context.longest_gaps
    now, has_due = context.now(), False
    found = await context.store.queries.due(
        due=now + context.schedule.soon,
        touched_before=now - context.schedule.floor,
        now=now,
        longest=longest,
        limit=SURVEY,
    )
    rows = [row for row in found if row.id not in run.deferred]
    uncalled: list[str] = []
    by_id: list[str] = []
    for row in rows:
        if is_due(row, now, longest):
            has_due = has_due or is_due(row, began, longest)
            if needs_fetch(row, now, context.policy):
                by_id.append(row.id)
            else:
                uncalled.append(row.id)
    if not has_due:
        return None
    candidates = context.list_index.candidates(rows, now, context.policy, longest)
    return _Plan(candidates, sorted(uncalled), by_id)


async def _check_by_id(run: SweepRun, plan: _Plan, found: Collection[str]) -> None:
    """Apply the rows that need no call, then fetch the others by id, the longest due first.

    Not those that pages have `found`.
    """
    context, began = run.context, run.context.now()
    uncalled = [row_id for row_id in plan.uncalled if row_id not in found]
    fetched = [row_id for row_id in plan.by_id if row_id not in found]
    for start in range(0, len(uncalled), UNCALLED_BATCH):
        await _check(run, uncalled[start : start + UNCALLED_BATCH])
    has_failed = False

    async def check_in_turn() -> None:
        nonlocal fetched, has_failed
        try:
            while fetched and not has_failed and context.now() - began < PLAN_FOR:
                affordable = run.allowance.rows_by_id(len(fetched))
                if affordable <= 0:
                    run.deferred.update(fetched)
                    break
                most = min(affordable, context.batch * AHEAD)
                batch, fetched = fetched[:most], fetched[most:]
                granted = await run.take(len(batch))
                batch, fetched = batch[:granted], batch[granted:] + fetched
                if not granted:
                    break
                await _check(run, batch, granted)
        except BaseException:
            has_failed = True
            raise

    # while one claims rows and writes them, the rows of the other are fetched
    ended = await asyncio.gather(check_in_turn(), check_in_turn(), return_exceptions=True)
    for error in ended:
        if error:
            raise error


async def _check(run: SweepRun, row_ids: Sequence[str], granted: int = 0) -> None:
    """Check rows side by side and apply them, within the granted calls.

    A row that was not asked about after all is left untouched: it is not its fault.
    """
    context, token, applied = run.context, str(uuid4()), 0
    rows = await run.claim(row_ids, token)
    now = context.now()
    to_fetch = [row for row in rows if needs_fetch(row, now, context.policy)]

    def is_in_time() -> bool:
        return run.keep_going() and lasts(now + LATEST_TURN, context.now(), LATEST_TURN)

    try:
        fetched = await context.gateway.fetch_all(to_fetch, is_in_time)
        run.result.calls += fetched.calls
        asked = {row.id for row in to_fetch}
        observed = [Observed(row, None) for row in rows if row.id not in asked]
        observed += [Observed(row, observation) for row, observation in fetched.observed]
        if observed:
            run.result.checked += len(observed)
            applied = await run.apply(observed, {seen.row.id for seen in observed})
    finally:
        # a write ends the lease of its row; left are rows not fetched, or not to be written
        if applied < len(rows) and not context.dry_run:
            await context.store.assets.release(token)
    if fetched.error:
        raise fetched.error
    if granted:
        # rows that others took meanwhile needed no call
        await context.gateway.reads.give_back(granted - fetched.calls)
