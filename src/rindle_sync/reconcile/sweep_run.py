"""One run of the sweep under way: what it holds, what it applies, and what it has done so far."""

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol
from uuid import uuid4

from msgspec import Struct

from rindle_sync.domain import FailureKind, FetchFailure, Outcome, ProviderAsset, Trigger, lasts
from rindle_sync.errors import AuthenticationFailed, RateLimited
from rindle_sync.gateway import ProviderGateway, Reason
from rindle_sync.reconcile.apply import Applied, Observed, apply
from rindle_sync.reconcile.context import Context

SWEEP: Final = "sweep"

SWEEP_LEASE: Final = timedelta(seconds=30)
"""How long a sweep keeps others from asking for the same pages; it is renewed as it goes."""

PAGES_AT_ONCE: Final = 20
"""For how many pages calls are taken at once."""


def how_it_ended(
    gateway: ProviderGateway, keep_going: Callable[[], bool], otherwise: Outcome = Outcome.DONE
) -> Outcome:
    """Why a run that needs no more calls, or may make none, has ended."""
    opened = gateway.circuit.opened
    if opened and not gateway.circuit.room(1):
        return Outcome.UNREACHABLE if opened.reason is Reason.UNREACHABLE else Outcome.REFUSED
    return otherwise if keep_going() else Outcome.STOPPED


class HasOutcome(Protocol):
    """Something that says how it ended."""

    outcome: Outcome


@contextmanager
def noting_outcome(run: HasOutcome) -> Iterator[None]:
    """Where the block raises, `run` says how it ended."""
    try:
        yield
    except AuthenticationFailed:
        run.outcome = Outcome.REFUSED
        raise
    except asyncio.CancelledError:
        run.outcome = Outcome.STOPPED
        raise


class SweepResult(Struct):
    """What a run did."""

    outcome: Outcome = Outcome.FAILED
    checked: int = 0
    """Due rows that were processed."""
    changed: int = 0
    """Rows that really changed."""
    unanswered: int = 0
    """Rows whose check had no answer."""
    uncalled: int = 0
    """Due rows that needed no call."""
    calls: int = 0
    pages: int = 0
    """How many of the calls were for list pages."""
    retry_after: float | None = None
    """Seconds until the next call is allowed, where the rate limit ended the run."""


class CallAllowance(Struct):
    """How many calls may be lost on pages: what pages have saved so far, and `most_lost` more.

    A call is saved where a page answers a row that would have needed one of its own.
    """

    result: SweepResult
    most_lost: int = 1

    @property
    def saved(self) -> int:
        """How many calls pages have saved, against one a row; below 0 where they lost some."""
        return self.result.checked - self.result.uncalled - self.result.calls

    @property
    def to_spare(self) -> int:
        """How many pages may be asked for in vain, beside one that is not."""
        return self.saved + self.most_lost - 1

    def rows_by_id(self, rows: int) -> int:
        """How many of so many rows may be fetched by id: calls lost on pages are made up for."""
        return rows + min(0, self.saved)


@dataclass(slots=True)
class SweepRun:
    """`on_applied` gets all that is applied, or would be by a dry run."""

    context: Context
    keep_going: Callable[[], bool]
    on_applied: Callable[[Applied], None] | None = None
    trigger: Trigger = Trigger.SWEEP
    token: str = field(default_factory=lambda: str(uuid4()))
    result: SweepResult = field(default_factory=SweepResult)
    allowance: CallAllowance = field(init=False)
    deferred: set[str] = field(default_factory=set)
    """Rows that are left to the next run: their calls were spent on pages."""
    failed: int = 0
    """Rows for which the provider was called and did not answer."""
    not_listed: set[str] = field(default_factory=set)
    """Rows that did not stand on the page where they should: they are fetched by id."""
    _leased_until: datetime | None = None
    _page_calls: int = 0
    """Calls for pages that were taken and not made yet."""

    def __post_init__(self) -> None:
        self.allowance = CallAllowance(self.result)

    async def hold(self) -> bool:
        """Keep others from asking for the same pages; False if another process is sweeping.

        Where the lease is lost, in a long pause, two may ask for one page, and no harm is done.
        """
        context, now = self.context, self.context.now()
        if context.dry_run or self.trigger is not Trigger.SWEEP:
            return True
        if lasts(self._leased_until, now + SWEEP_LEASE / 2, SWEEP_LEASE / 2):
            return True
        is_held, self._leased_until = self._leased_until is not None, now + SWEEP_LEASE
        job_runs = context.store.job_runs
        if is_held:
            await job_runs.renew(self.token, self._leased_until)
            return True
        taken = await job_runs.take(SWEEP, now=now, token=self.token, until=self._leased_until)
        return taken is not None

    @property
    def is_limited(self) -> bool:
        """Whether the rate limit has ended this run."""
        return self.result.retry_after is not None

    async def take_page(self, expected: int) -> int:
        """Wait until a list page may be asked for, and hold the run meanwhile; 0 where none may.

        None may where pages without an answer have cost more calls than rows can be deferred. Where
        more pages are `expected`, their calls are taken with this one's.
        """
        if self.allowance.to_spare < 0 or not self.keep_going():
            return 0
        if self._page_calls and self.context.gateway.circuit.room(1):
            await self.hold()
        else:
            self._page_calls += await self.take(max(1, min(expected, PAGES_AT_ONCE)))
        if not self._page_calls:
            return 0
        self._page_calls -= 1
        self.result.calls += 1
        self.result.pages += 1
        return 1

    async def take(self, most: int) -> int:
        """Wait until calls may be made; how many of `most`, 0 where none may."""
        gateway = self.context.gateway
        room = gateway.circuit.room(most)
        granted = 0
        if room and not self.is_limited:
            try:
                granted = await gateway.reads.take(room, self.keep_going, trigger=self.trigger)
            except RateLimited as error:
                self.result.retry_after = error.retry_after
        await self.hold()
        return granted

    async def claim(self, row_ids: Sequence[str], token: str) -> list[ProviderAsset]:
        """Those of these rows that are still due and free, leased unless this is a dry run."""
        assets, now = self.context.store.assets, self.context.now()
        if self.context.dry_run:
            return list((await assets.get_many(row_ids)).values())
        longest, until = self.context.longest_gaps, now + self.context.lease
        return await assets.claim(
            row_ids, due=now, now=now, longest=longest, token=token, until=until
        )

    async def apply(self, observed: Sequence[Observed], due: Collection[str]) -> int:
        """Apply what was observed, and how much was; `due` are the rows among it that were due.

        These are counted as checked already; those that were not applied no longer are.
        """
        result = self.result
        all_applied = await apply(self.context, observed, self.trigger)
        result.checked -= len(due)
        for applied in all_applied:
            if self.on_applied:
                self.on_applied(applied)
            result.checked += applied.row.id in due
            result.changed += applied.changed
            result.uncalled += applied.observation is None
            if isinstance(applied.observation, FetchFailure):
                result.unanswered += 1
                self.failed += applied.observation.kind is FailureKind.UNREACHABLE
        return len(all_applied)

    async def end(self) -> None:
        """Let others sweep, and return the calls that were not made."""
        unused, self._page_calls = self._page_calls, 0
        try:
            if unused:
                await self.context.gateway.reads.give_back(unused)
        finally:
            if self._leased_until:
                await self.context.store.job_runs.release(self.token)
