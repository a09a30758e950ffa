"""One run of the sweep under way: what it holds, what it applies, and what it has done so far."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol
from uuid import uuid4

from rindle_sync.domain import FailureKind, FetchFailure, Outcome, ProviderAsset, Trigger, lasts
from rindle_sync.errors import AuthenticationFailed, RateLimited
from rindle_sync.gateway import ProviderGateway, Reason
from rindle_sync.reconcile.apply import Applied, Observed, apply
from rindle_sync.reconcile.context import Context

SWEEP: Final = "sweep"

SWEEP_LEASE: Final = timedelta(seconds=30)
"""How long a sweep keeps others from asking for the same pages; it is renewed as it goes."""


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


@dataclass(slots=True)
class SweepResult:
    """What a run did. `checked` counts due rows that were applied; `uncalled` needed no call."""

    outcome: Outcome = Outcome.FAILED
    checked: int = 0
    changed: int = 0
    unanswered: int = 0
    uncalled: int = 0
    calls: int = 0
    pages: int = 0
    """How many of the calls were for list pages."""
    retry_after: float | None = None
    """Seconds until the next call is allowed, where the rate limit ended the run."""


@dataclass(slots=True)
class CallAllowance:
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

    async def take_page(self) -> int:
        """Wait until a list page may be asked for, and hold the run meanwhile; 0 where none may.

        None may where pages without an answer have cost more calls than rows can be deferred.
        """
        granted = await self.take(1) if self.allowance.to_spare >= 0 else 0
        self.result.calls += granted
        self.result.pages += granted
        return granted

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

    async def claim(self, row_ids: Sequence[str], token: str | None = None) -> list[ProviderAsset]:
        """Those of these rows that are still due and free, leased unless this is a dry run."""
        assets, now = self.context.store.assets, self.context.now()
        if self.context.dry_run:
            return list((await assets.get_many(row_ids)).values())
        longest, until = self.context.longest_gaps, now + self.context.lease
        return await assets.claim(
            row_ids, due=now, now=now, longest=longest, token=token or self.token, until=until
        )

    async def apply(self, observed: Sequence[Observed], due: Collection[str]) -> int:
        """Apply what was observed, and how much was; `due` are the rows among it that were due."""
        self.result.checked += len(due)
        return await self._apply(observed, due)

    async def _apply(self, observed: Sequence[Observed], due: Collection[str]) -> int:
        """Apply rows that are counted as checked already; uncount those that were not applied."""
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

    @asynccontextmanager
    async def apply_behind(
        self,
    ) -> AsyncIterator[Callable[[Sequence[Observed], Collection[str]], Awaitable[None]]]:
        """Apply while the provider is asked for more; each call waits for the one before it."""
        under_way: asyncio.Task[int] | None = None

        async def apply_next(observed: Sequence[Observed], due: Collection[str]) -> None:
            nonlocal under_way
            if under_way:
                await under_way
            # counted at once: what pages have saved decides about the next, before this is written
            self.result.checked += len(due)
            under_way = asyncio.create_task(self._apply(observed, due)) if observed else None

        try:
            yield apply_next
        except BaseException:
            if under_way:
                under_way.cancel()
                await asyncio.wait({under_way})
            raise
        if under_way:
            await under_way

    async def release(self) -> None:
        """End every lease of this run."""
        if self._leased_until:
            try:
                await self.context.store.assets.release(self.token)
            finally:
                await self.context.store.job_runs.release(self.token)
