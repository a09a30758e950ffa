"""The coordinator's pass: every row that is due is looked at once, by list page or by id, and settled."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from rindle_sync.asset import By, Due, ProviderAsset, Silence
from rindle_sync.browse import browse
from rindle_sync.decide import must_ask
from rindle_sync.errors import Refused
from rindle_sync.look import ask, is_about_row, stop_if_refused
from rindle_sync.round import Outcome, Round, Tally, how_it_ended
from rindle_sync.settle import Finding, Settled
from rindle_sync.telemetry import Swept, milliseconds, nanoseconds
from rindle_sync.tools import Tools

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
    tools: Tools,
    *,
    keep_going: Callable[[], bool] = lambda: True,
    rehearse: Callable[[Settled], None] | None = None,
) -> Tally:
    """Look at every row that is due as the pass begins, inside the budget, and settle it.

    `keep_going` is asked between steps. With `rehearse` the provider is asked, but nothing is written or told: it is
    called with all that would be settled. Raises `Refused` when the provider does not accept our credentials (the rows
    not yet looked at stay due, untouched), `StoreUnavailable`.
    """
    tools = tools.rehearsing() if rehearse else tools
    began, one = tools.now(), Round(tools, keep_going, rehearse)
    try:
        one.tally.outcome = await _outcome(one, began)
    except Refused:
        one.tally.outcome = Outcome.REFUSED
        raise
    except asyncio.CancelledError:
        one.tally.outcome = Outcome.STOPPED
        raise
    finally:
        await _end(one, began)
    return one.tally


async def look_first(tools: Tools, row_ids: Sequence[str]) -> None:
    """Look at rows that a webhook left in doubt, before all others that are due. Raises as `sweep` does."""
    one, rest = Round(tools, lambda: True, by=By.SYNC), list(row_ids)
    try:
        while rest and (granted := await one.take(min(len(rest), tools.batch))):
            batch, rest = rest[:granted], rest[granted:]
            await tools.budget.give_back(granted - await _settle(one, await one.claim(batch)))
    finally:
        await tools.store.release(one.token)


async def _outcome(one: Round, began: datetime) -> Outcome:
    while one.keep_going() and one.tools.breaker.room(1):
        due, before = await _survey(one), one.tally.looked
        if not any(row.check_at and row.check_at <= began for row in due):
            break
        if not await one.hold():
            return Outcome.ELSEWHERE
        one.most_lost = min(1 + len(due) // ROWS_FOR_A_LOSS, MOST_LOST)
        await _look_at(one, await browse(one, due))
        if one.rehearse or one.tally.looked == before:
            break
    if one.silent and one.silent == one.tally.looked - one.tally.uncalled:
        return Outcome.UNREACHABLE
    return how_it_ended(one.tools, one.keep_going)


async def _survey(one: Round) -> list[Due]:
    tools, now = one.tools, one.tools.now()
    here, floor = (tools.provider.name, tools.environment), now - tools.schedule.floor
    due = await tools.library.due(*here, due=now, touched_before=floor, now=now, limit=SURVEY)
    return [row for row in due if row.id not in one.left]


async def _look_at(one: Round, due: Sequence[Due]) -> None:
    """Settle the rows that need no call, then ask about the others by id, the longest due first."""
    tools, began = one.tools, one.tools.now()
    asked = [row.id for row in due if must_ask(row, began, tools.policy)]
    uncalled = sorted({row.id for row in due} - set(asked))
    for start in range(0, len(uncalled), UNCALLED_BATCH):
        await _settle(one, await one.claim(uncalled[start : start + UNCALLED_BATCH]))
    while asked and tools.now() - began < PLAN_FOR:
        affordable = len(asked) + min(0, one.tally.saved)
        if affordable <= 0:
            one.left.update(asked)
            break
        granted = await one.take(min(affordable, tools.batch))
        if not granted:
            break
        batch, asked = asked[:granted], asked[granted:]
        made = await _settle(one, await one.claim(batch))
        await tools.budget.give_back(granted - made)


async def _settle(one: Round, rows: Sequence[ProviderAsset]) -> int:
    """Look at claimed rows side by side and settle them; how many calls that took.

    A row that was refused, or not asked about after all, is left untouched: it is not its fault.
    """
    findings = await asyncio.gather(*(_finding(one.tools, row) for row in rows))
    silences = [f.seen for f in findings if isinstance(f.seen, Silence)]
    calls = sum(f.seen is not None for f in findings) - sum(not s.asked for s in silences)
    one.tally.calls += calls
    told = [f for f in findings if is_about_row(f.seen)]
    if told:
        await one.settle(told, {f.row.id for f in told})
    for silence in silences:
        stop_if_refused(silence)
    return calls


async def _finding(tools: Tools, row: ProviderAsset) -> Finding:
    return Finding(row, await ask(tools, row) if must_ask(row, tools.now(), tools.policy) else None)


async def _end(one: Round, began: datetime) -> None:
    try:
        await one.give_back()
    finally:
        if not one.rehearse:
            _tell(one.tools, one.tally, began)


def _tell(tools: Tools, tally: Tally, began: datetime) -> None:
    now = tools.now()
    tools.telemetry.tell(
        Swept(
            system_time=nanoseconds(now),
            provider=tools.provider.name,
            outcome=tally.outcome.value,
            looked=tally.looked,
            changed=tally.changed,
            unanswered=tally.unanswered,
            calls=tally.calls,
            pages=tally.pages,
            duration_ms=milliseconds(now - began),
        )
    )
