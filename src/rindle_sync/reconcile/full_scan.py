"""A walk through the provider's whole list, page by page, in spare budget; it can be broken off and gone on with."""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import uuid4

from rindle_sync.domain import Outcome, Trigger
from rindle_sync.providers import Page
from rindle_sync.reconcile.context import Context
from rindle_sync.reconcile.fetch import fetch_page
from rindle_sync.reconcile.list_pages import next_bookmark
from rindle_sync.reconcile.page_planner import Bookmark
from rindle_sync.reconcile.sweep_run import how_it_ended
from rindle_sync.store import JobKey

HELD: Final = timedelta(seconds=60)
"""How long a walk is held, renewed at every step: after so long another process goes on where a dead one was."""

PATIENCE: Final = timedelta(seconds=20)
"""How long it waits for spare budget before it holds the walk longer and waits again."""


@dataclass(slots=True)
class FullScan:
    """One walk; a rehearsal reads the list but holds and keeps nothing."""

    context: Context
    kind: str
    keep_going: Callable[[], bool]
    dry_run: bool = False
    outcome: Outcome = Outcome.FAILED
    calls: int = 0
    pages: int = 0
    token: str = field(default_factory=lambda: str(uuid4()))
    began_at: datetime | None = None
    _cursor: str | None = field(default=None, repr=False)
    _bookmark: Bookmark | None = None
    _patient_until: datetime | None = None
    _is_lost: bool = False
    """Another process has taken the walk over."""

    @property
    def key(self) -> JobKey:
        """What this walk is called in the database."""
        return JobKey(self.context.provider.name, self.context.environment, self.kind)

    async def begin(self) -> Mapping[str, Any] | None:
        """Hold this kind of walk; what one that was broken off has left behind, empty for a new one.

        None where another process is walking.
        """
        now = self.context.now()
        self.began_at = now
        if self.dry_run:
            return {}
        standing = await self.context.job_runs.take(
            self.key, now=now, token=self.token, until=self._until()
        )
        if standing is None:
            return None
        if standing.began_at is None or not standing.progress:
            return {}
        self.began_at, self._cursor = standing.began_at, standing.progress.get("cursor")
        return standing.progress

    async def each(self) -> AsyncIterator[Page]:
        """Every page that is left; afterwards `outcome` says why there are no more."""
        seen: set[str | None] = set()
        while self._cursor not in seen and (page := await self._fetch()):
            seen.add(self._cursor)
            self._cursor = page.cursor
            yield page
            if self._is_lost:
                break
            if not page.cursor:
                self.outcome = Outcome.DONE
                return
        if self._is_lost:
            self.outcome = Outcome.ALREADY_RUNNING
        elif self._cursor not in seen:
            self.outcome = how_it_ended(
                self.context, self.keep_going, otherwise=Outcome.UNREACHABLE
            )

    async def take(self, most: int) -> int:
        """Wait for spare budget; how many of `most` calls may be made, none when the walk is to end."""
        context = self.context
        while (
            self.keep_going() and not self._is_lost and (room := context.circuit_breaker.room(most))
        ):
            self._patient_until = context.now() + PATIENCE
            if granted := await context.rate_limiter.take(
                room, self._is_patient, trigger=Trigger.AUDIT
            ):
                return granted
            await self._hold()
        return 0

    def _is_patient(self) -> bool:
        return self.keep_going() and (
            self._patient_until is None or self.context.now() < self._patient_until
        )

    async def keep(self, progress: Mapping[str, Any]) -> None:
        """Write down how far the walk is."""
        if not self.dry_run and self.began_at:
            kept = dict(progress) | {"cursor": self._cursor}
            held = await self.context.job_runs.keep(
                self.token, began_at=self.began_at, progress=kept, until=self._until()
            )
            self._is_lost = not held

    async def _hold(self) -> None:
        if not self.dry_run:
            await self.context.job_runs.renew(self.token, self._until())

    def break_off(self) -> None:
        """End the walk before the page that is in hand is done; it is asked for again when the walk is gone on with."""
        self.outcome = (
            Outcome.ALREADY_RUNNING
            if self._is_lost
            else how_it_ended(self.context, self.keep_going, otherwise=Outcome.UNREACHABLE)
        )

    async def end(self, report: Mapping[str, Any]) -> None:
        """The walk is complete."""
        if not self.dry_run:
            await self.context.job_runs.end(self.token, self.context.now(), report)

    async def give_back(self) -> None:
        """Let another process walk."""
        if not self.dry_run:
            await self.context.job_runs.release(self.token)

    def _until(self) -> datetime:
        return self.context.now() + HELD

    async def _fetch(self) -> Page | None:
        """The page at the cursor; None where it cannot be had."""
        was_resumed = self.pages == 0 and self._cursor is not None
        page = await fetch_page(self.context, self._cursor, self._take_one)
        if isinstance(page, Page):
            self.pages += 1
            self._note(page)
            return page
        if (
            was_resumed
            and page
            and isinstance(await fetch_page(self.context, None, self._take_one), Page)
        ):
            self._cursor = (
                None  # the list is there, but not this place: the next walk begins at the top
            )
            await self.keep({})
        return None

    async def _take_one(self) -> int:
        granted = await self.take(1)
        self.calls += granted
        await self._hold()
        return granted

    def _note(self, page: Page) -> None:
        """What sweeps can go on from later."""
        bookmark = self._bookmark or Bookmark(
            self.context.now(), self.context.schedule.cap, self._cursor
        )
        self._bookmark = next_bookmark(bookmark, page)
        self.context.list_index.follow([], bookmark, self._bookmark)
