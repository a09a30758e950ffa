"""One round of the sweep under way: what it holds, what it settles, and what it has done so far."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import uuid4

from rindle_sync.domain import FailureKind, FetchFailure, Outcome, ProviderAsset, Trigger
from rindle_sync.reconcile.apply import Applied, Observed, apply, preview
from rindle_sync.reconcile.circuit_breaker import Reason
from rindle_sync.reconcile.context import Context
from rindle_sync.store import JobKey

SWEEP: Final = "sweep"


def how_it_ended(
    context: Context, keep_going: Callable[[], bool], otherwise: Outcome = Outcome.DONE
) -> Outcome:
    """Why a pass that needs no more calls, or may make none, has ended."""
    opened = context.circuit_breaker.opened
    if opened and not context.circuit_breaker.room(1):
        return Outcome.UNREACHABLE if opened.reason is Reason.UNREACHABLE else Outcome.REFUSED
    return otherwise if keep_going() else Outcome.STOPPED


@dataclass(slots=True)
class SweepResult:
    """What a pass did. `checked` counts rows that were due and settled; `uncalled` are those that needed no call."""

    outcome: Outcome = Outcome.FAILED
    checked: int = 0
    changed: int = 0
    unanswered: int = 0
    uncalled: int = 0
    calls: int = 0
    pages: int = 0
    """How many of the calls were for list pages."""

    @property
    def saved(self) -> int:
        """How many calls pages have saved so far, against one for each row."""
        return self.checked - self.uncalled - self.calls


@dataclass(slots=True)
class SweepRun:
    """A rehearsal asks the provider, but writes nothing and tells nothing but `dry_run`."""

    context: Context
    keep_going: Callable[[], bool]
    dry_run: Callable[[Applied], None] | None = None
    trigger: Trigger = Trigger.SWEEP
    token: str = field(default_factory=lambda: str(uuid4()))
    result: SweepResult = field(default_factory=SweepResult)
    left: set[str] = field(default_factory=set)
    """Rows that are left to the next round: their calls were spent on pages."""
    most_lost: int = 1
    """How many calls may be lost on pages: as many rows are left to the next round."""
    silent: int = 0
    """Rows for which the provider was asked and did not answer."""
    not_listed: set[str] = field(default_factory=set)
    """Rows that did not stand on the page where they should: they are asked about by id."""
    _hold_until: datetime | None = None

    async def hold(self) -> bool:
        """Keep others from asking for the same pages; False if another process is making this round.

        That is all it is for: where the hold is lost, in a long pause, two may ask for one page, and no harm is done.
        """
        context, now = self.context, self.context.now()
        if (
            self.dry_run
            or self.trigger is not Trigger.SWEEP
            or (self._hold_until and self._hold_until - now > context.sweep_lease / 2)
        ):
            return True
        key = JobKey(context.provider.name, context.environment, SWEEP)
        held, self._hold_until = self._hold_until, now + context.sweep_lease
        if held:
            await context.job_runs.renew(self.token, self._hold_until)
            return True
        return (
            await context.job_runs.take(key, now=now, token=self.token, until=self._hold_until)
            is not None
        )

    @property
    def to_spare(self) -> int:
        """How many pages may be asked for in vain, beside one that is not."""
        return self.result.saved + self.most_lost - 1

    async def take_page(self) -> int:
        """Wait until a list page may be asked for, and hold the round meanwhile; 0 where none may.

        None may where pages without an answer have cost more calls than rows can be left to the next round.
        """
        granted = await self.take(1) if self.to_spare >= 0 else 0
        self.result.calls += granted
        self.result.pages += granted
        return granted

    async def take(self, most: int) -> int:
        """Wait until calls may be made; how many of `most`, 0 where none may."""
        room = self.context.circuit_breaker.room(most)
        granted = (
            await self.context.rate_limiter.take(room, self.keep_going, trigger=self.trigger)
            if room
            else 0
        )
        await self.hold()
        return granted

    async def claim(self, row_ids: Sequence[str]) -> list[ProviderAsset]:
        """Those of these rows that are still due and nobody else's, leased unless this is a rehearsal."""
        context, now = self.context, self.context.now()
        if self.dry_run:
            return list((await context.store.get_many(row_ids)).values())
        here = context.provider.name, context.environment
        return await context.store.claim(
            *here, row_ids, due=now, now=now, token=self.token, until=now + context.lease
        )

    async def apply(self, observed: Sequence[Observed], due: Collection[str]) -> list[Applied]:
        """Settle, or foresee it; `due` are the rows among the findings that were due."""
        self.result.checked += len(due)
        return await self._apply(observed, due)

    async def _apply(self, observed: Sequence[Observed], due: Collection[str]) -> list[Applied]:
        """Settle rows that are counted as looked at already, and take back that of those which were not settled."""
        result = self.result
        if self.dry_run is None:
            applied = await apply(self.context, observed, self.trigger)
        else:
            applied = preview(self.context, observed, self.trigger, self.context.now())
            for one in applied:
                self.dry_run(one)
        result.checked -= len(due) - sum(s.row.id in due for s in applied)
        result.changed += sum(s.changed for s in applied)
        failures = [s.observation for s in applied if isinstance(s.observation, FetchFailure)]
        result.unanswered += len(failures)
        self.silent += sum(failure.kind is FailureKind.UNREACHABLE for failure in failures)
        result.uncalled += sum(s.observation is None for s in applied)
        return applied

    @asynccontextmanager
    async def behind(
        self,
    ) -> AsyncIterator[Callable[[Sequence[Observed], Collection[str]], Awaitable[None]]]:
        """Settle while the provider is asked for more: each time what came before is waited for first."""
        under_way: asyncio.Task[list[Applied]] | None = None

        async def settle_behind(observed: Sequence[Observed], due: Collection[str]) -> None:
            nonlocal under_way
            if under_way:
                await under_way
            self.result.checked += len(due)
            under_way = asyncio.create_task(self._apply(observed, due)) if observed else None

        try:
            yield settle_behind
        except BaseException:
            if under_way:
                under_way.cancel()
                await asyncio.wait({under_way})
            raise
        if under_way:
            await under_way

    async def give_back(self) -> None:
        """End every lease of this round."""
        if self._hold_until:
            try:
                await self.context.store.release(self.token)
            finally:
                await self.context.job_runs.release(self.token)
