"""One round of the sweep under way: what it holds, what it settles, and what it has done so far."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import uuid4

from rindle_sync.asset import By, Lack, ProviderAsset, Silence
from rindle_sync.breaker import Reason
from rindle_sync.settle import Finding, Settled, foresee, settle
from rindle_sync.store import PassKey
from rindle_sync.tools import Tools

SWEEP: Final = "sweep"


class Outcome(StrEnum):
    """How a pass ended."""

    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    ELSEWHERE = "elsewhere"
    """Another process is making this pass."""
    ALARM = "alarm"
    """So many rows would have ended that none was."""


def how_it_ended(tools: Tools, keep_going: Callable[[], bool], otherwise: Outcome = Outcome.DONE) -> Outcome:
    """Why a pass that needs no more calls, or may make none, has ended."""
    opened = tools.breaker.opened
    if opened and not tools.breaker.room(1):
        return Outcome.UNREACHABLE if opened.reason is Reason.UNREACHABLE else Outcome.REFUSED
    return otherwise if keep_going() else Outcome.STOPPED


@dataclass(slots=True)
class Tally:
    """What a pass did. `looked` counts rows that were due and settled; `uncalled` are those that needed no call."""

    outcome: Outcome = Outcome.FAILED
    looked: int = 0
    changed: int = 0
    unanswered: int = 0
    uncalled: int = 0
    calls: int = 0
    pages: int = 0
    """How many of the calls were for list pages."""

    @property
    def saved(self) -> int:
        """How many calls pages have saved so far, against one for each row."""
        return self.looked - self.uncalled - self.calls


@dataclass(slots=True)
class Round:
    """A rehearsal asks the provider, but writes nothing and tells nothing but `rehearse`."""

    tools: Tools
    keep_going: Callable[[], bool]
    rehearse: Callable[[Settled], None] | None = None
    by: By = By.SWEEP
    token: str = field(default_factory=lambda: str(uuid4()))
    tally: Tally = field(default_factory=Tally)
    left: set[str] = field(default_factory=set)
    """Rows that are left to the next round: their calls were spent on pages."""
    most_lost: int = 1
    """How many calls may be lost on pages: as many rows are left to the next round."""
    silent: int = 0
    """Rows for which the provider was asked and did not answer."""
    passed: set[str] = field(default_factory=set)
    """Rows that did not stand on the page where they should: they are asked about by id."""
    _hold_until: datetime | None = None

    async def hold(self) -> bool:
        """Keep others from asking for the same pages; False if another process is making this round.

        That is all it is for: where the hold is lost, in a long pause, two may ask for one page, and no harm is done.
        """
        tools, now = self.tools, self.tools.now()
        if (
            self.rehearse
            or self.by is not By.SWEEP
            or (self._hold_until and self._hold_until - now > tools.round_lease / 2)
        ):
            return True
        key = PassKey(tools.provider.name, tools.environment, SWEEP)
        held, self._hold_until = self._hold_until, now + tools.round_lease
        if held:
            await tools.passes.renew(self.token, self._hold_until)
            return True
        return await tools.passes.take(key, now=now, token=self.token, until=self._hold_until) is not None

    @property
    def to_spare(self) -> int:
        """How many pages may be asked for in vain, beside one that is not."""
        return self.tally.saved + self.most_lost - 1

    async def take_page(self) -> int:
        """Wait until a list page may be asked for, and hold the round meanwhile; 0 where none may.

        None may where pages without an answer have cost more calls than rows can be left to the next round.
        """
        granted = await self.take(1) if self.to_spare >= 0 else 0
        self.tally.calls += granted
        self.tally.pages += granted
        return granted

    async def take(self, most: int) -> int:
        """Wait until calls may be made; how many of `most`, 0 where none may."""
        room = self.tools.breaker.room(most)
        granted = await self.tools.budget.take(room, self.keep_going, by=self.by) if room else 0
        await self.hold()
        return granted

    async def claim(self, row_ids: Sequence[str]) -> list[ProviderAsset]:
        """Those of these rows that are still due and nobody else's, leased unless this is a rehearsal."""
        tools, now = self.tools, self.tools.now()
        if self.rehearse:
            return list((await tools.store.get_many(row_ids)).values())
        here = tools.provider.name, tools.environment
        return await tools.store.claim(*here, row_ids, due=now, now=now, token=self.token, until=now + tools.lease)

    async def settle(self, findings: Sequence[Finding], due: Collection[str]) -> list[Settled]:
        """Settle, or foresee it; `due` are the rows among the findings that were due."""
        self.tally.looked += len(due)
        return await self._settle(findings, due)

    async def _settle(self, findings: Sequence[Finding], due: Collection[str]) -> list[Settled]:
        """Settle rows that are counted as looked at already, and take back that of those which were not settled."""
        tally = self.tally
        if self.rehearse is None:
            settled = await settle(self.tools, findings, self.by)
        else:
            settled = foresee(self.tools, findings, self.by, self.tools.now())
            for one in settled:
                self.rehearse(one)
        tally.looked -= len(due) - sum(s.row.id in due for s in settled)
        tally.changed += sum(s.changed for s in settled)
        silences = [s.seen for s in settled if isinstance(s.seen, Silence)]
        tally.unanswered += len(silences)
        self.silent += sum(silence.lack is Lack.UNREACHABLE for silence in silences)
        tally.uncalled += sum(s.seen is None for s in settled)
        return settled

    @asynccontextmanager
    async def behind(self) -> AsyncIterator[Callable[[Sequence[Finding], Collection[str]], Awaitable[None]]]:
        """Settle while the provider is asked for more: each time what came before is waited for first."""
        under_way: asyncio.Task[list[Settled]] | None = None

        async def settle_behind(findings: Sequence[Finding], due: Collection[str]) -> None:
            nonlocal under_way
            if under_way:
                await under_way
            self.tally.looked += len(due)
            under_way = asyncio.create_task(self._settle(findings, due)) if findings else None

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
                await self.tools.store.release(self.token)
            finally:
                await self.tools.passes.release(self.token)
