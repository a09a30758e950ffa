"""The coordinator's pass: the rows that are due, the longest due first, each looked at once and settled."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import uuid4

from rindle_sync.asset import By, Lack, ProviderAsset, Silence
from rindle_sync.errors import Refused
from rindle_sync.settle import Finding, Settled, settle
from rindle_sync.sync import ask, must_ask, stop_if_refused
from rindle_sync.telemetry import Swept, milliseconds, nanoseconds
from rindle_sync.tools import Tools

GIVE_UP_AFTER: Final = 3
"""After this many batches in a row without one answer, a pass leaves the rest of the rows to the next one."""


class Outcome(StrEnum):
    """How a pass ended."""

    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"


@dataclass(slots=True)
class Tally:
    """What a pass did. `looked` counts settled rows; those that needed no call are `uncalled` too."""

    outcome: Outcome = Outcome.FAILED
    looked: int = 0
    changed: int = 0
    unanswered: int = 0
    uncalled: int = 0
    silent_batches: int = 0

    def add(self, settled: list[Settled]) -> None:
        """Count one batch."""
        unanswered = sum(isinstance(s.seen, Silence) for s in settled)
        throttled = any(isinstance(s.seen, Silence) and s.seen.lack is Lack.THROTTLED for s in settled)
        self.looked += len(settled)
        self.changed += sum(s.changed for s in settled)
        self.unanswered += unanswered
        self.uncalled += sum(s.seen is None for s in settled)
        silent = 0 < unanswered == len(settled) and not throttled
        self.silent_batches = self.silent_batches + 1 if silent else 0


async def sweep(tools: Tools, *, keep_going: Callable[[], bool] = lambda: True) -> Tally:
    """Look at every row that is due as the pass begins, inside the budget, and settle it.

    `keep_going` is asked between batches. Raises `Refused` when the provider does not accept our credentials (the
    rows not yet looked at stay due), `StoreUnavailable`.
    """
    began, tally, token = tools.now(), Tally(), str(uuid4())
    try:
        while tally.silent_batches < GIVE_UP_AFTER and (rows := await _claim(tools, began, token, keep_going)):
            settled = await _look_at(tools, rows)
            tally.add(settled)
            for one in settled:
                stop_if_refused(one.seen)
        tally.outcome = _outcome(tally, keep_going)
    except Refused:
        tally.outcome = Outcome.REFUSED
        raise
    except asyncio.CancelledError:
        tally.outcome = Outcome.STOPPED
        raise
    finally:
        await _end(tools, tally, began, token)
    return tally


def _outcome(tally: Tally, keep_going: Callable[[], bool]) -> Outcome:
    if tally.silent_batches:
        return Outcome.UNREACHABLE
    return Outcome.DONE if keep_going() else Outcome.STOPPED


async def _claim(tools: Tools, began: datetime, token: str, keep_going: Callable[[], bool]) -> list[ProviderAsset]:
    """The next due rows, as many as we may look at now: a row is leased only with its call in hand."""
    granted = await tools.budget.take(tools.batch, keep_going)
    if not granted:
        return []
    now = tools.now()
    rows = await tools.store.claim(
        tools.provider.name,
        tools.environment,
        due=began,
        touched_before=now - tools.schedule.floor,
        now=now,
        token=token,
        until=now + tools.lease,
        limit=granted,
    )
    tools.budget.give_back(granted - sum(must_ask(tools, row) for row in rows))
    return rows


async def _look_at(tools: Tools, rows: list[ProviderAsset]) -> list[Settled]:
    findings = await asyncio.gather(*(_finding(tools, row) for row in rows))
    return await settle(tools, findings, By.SWEEP)


async def _finding(tools: Tools, row: ProviderAsset) -> Finding:
    return Finding(row, await ask(tools, row) if must_ask(tools, row) else None)


async def _end(tools: Tools, tally: Tally, began: datetime, token: str) -> None:
    try:
        await tools.store.release(token)
    finally:
        _tell(tools, tally, began)


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
            duration_ms=milliseconds(now - began),
        )
    )
