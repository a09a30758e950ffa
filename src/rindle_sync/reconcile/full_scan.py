"""A resumable scan of the provider's whole list, page by page, in spare calls."""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar
from uuid import uuid4

import msgspec

from rindle_sync.domain import FailureKind, Outcome, Trigger, lasts
from rindle_sync.errors import InvalidValue, RateLimited
from rindle_sync.providers import Page
from rindle_sync.reconcile.context import Context
from rindle_sync.reconcile.list_pages import next_bookmark
from rindle_sync.reconcile.page_planner import Bookmark
from rindle_sync.reconcile.sweep_run import how_it_ended

LEASE: Final = timedelta(seconds=60)
"""How long a scan is leased, renewed at every step; after that another process resumes it."""

PATIENCE: Final = timedelta(seconds=20)
"""How long it waits for spare calls before it renews its lease and waits again."""


@dataclass(slots=True)
class FullScan:
    """One scan; a dry run reads the list but holds and saves nothing."""

    context: Context
    kind: str
    keep_going: Callable[[], bool]
    outcome: Outcome = Outcome.FAILED
    calls: int = 0
    pages: int = 0
    token: str = field(default_factory=lambda: str(uuid4()))
    began_at: datetime | None = None
    cursor: str | None = field(default=None, repr=False)
    """The cursor of the next page; None for the top of the list."""
    _bookmark: Bookmark | None = None
    retry_after: float | None = None
    """Seconds until the next call is allowed, where the rate limit ended the scan."""
    _wait_until: datetime | None = None
    _is_lost: bool = False
    """Another process has taken the scan over."""

    async def begin(self) -> Mapping[str, Any] | None:
        """Hold this kind of scan; the progress of one that was interrupted, empty for a new one.

        None where another process is at it, or where the identity of the provider is not known.
        """
        now = self.context.now()
        self.began_at = now
        progress: Mapping[str, Any] = {}
        if not self.context.dry_run:
            job_run = await self.context.store.job_runs.take(
                self.kind, now=now, token=self.token, until=now + LEASE
            )
            if job_run is None:
                self.outcome = Outcome.ALREADY_RUNNING
                return None
            if job_run.began_at and job_run.progress:
                progress = job_run.progress
                self.began_at, self.cursor = job_run.began_at, progress.get("cursor")
        failure = await self.context.gateway.verify_identity()
        if failure:
            if failure.kind is FailureKind.THROTTLED and failure.wait:
                self.retry_after = failure.wait.total_seconds()
            self.interrupt()
            return None
        return progress

    async def each(self) -> AsyncIterator[Page]:
        """Every page that is left; afterwards `outcome` says why there are no more."""
        seen: set[str | None] = set()
        while self.cursor not in seen and (page := await self._fetch()):
            seen.add(self.cursor)
            self.cursor = page.cursor
            yield page
            if self._is_lost:
                break
            if not page.cursor:
                self.outcome = Outcome.DONE
                return
        if self._is_lost or self.cursor not in seen:
            self.interrupt()

    async def take(self, most: int) -> int:
        """Wait for spare calls; how many of `most` may be made, none when the scan is to end."""
        gateway, now = self.context.gateway, self.context.now
        since = now()
        while self.keep_going() and not self._is_lost and (room := gateway.circuit.room(most)):
            self._wait_until = now() + PATIENCE
            try:
                granted = await gateway.reads.take(
                    room, self._may_wait, trigger=Trigger.AUDIT, since=since
                )
            except RateLimited as error:
                self.retry_after = error.retry_after
                return 0
            if granted:
                return granted
            await self._renew()
        return 0

    def _may_wait(self) -> bool:
        return self.keep_going() and lasts(self._wait_until, self.context.now(), PATIENCE)

    async def save(self, progress: Mapping[str, Any]) -> None:
        """Write down how far the scan is."""
        if self.context.dry_run or not self.began_at:
            return
        # the cursor is that of the next page: a resumed scan begins with it
        try:
            is_held = await self.context.store.job_runs.save(
                self.token,
                began_at=self.began_at,
                progress={**progress, "cursor": self.cursor},
                until=self.context.now() + LEASE,
            )
        except InvalidValue:  # the scan goes on; one that is interrupted now begins anew
            await self._renew()
        else:
            self._is_lost = not is_held

    async def _renew(self) -> None:
        if not self.context.dry_run:
            until = self.context.now() + LEASE
            await self.context.store.job_runs.renew(self.token, until)

    def interrupt(self) -> None:
        """End the scan before the page in hand is done; a resumed scan asks for it again."""
        self.outcome = Outcome.ALREADY_RUNNING
        if not self._is_lost:
            gateway = self.context.gateway
            is_limited = self.retry_after is not None
            otherwise = Outcome.RATE_LIMITED if is_limited else Outcome.UNREACHABLE
            self.outcome = how_it_ended(gateway, self.keep_going, otherwise)

    async def end(self, report: Mapping[str, Any]) -> None:
        """The scan is complete."""
        if not self.context.dry_run:
            await self.context.store.job_runs.end(self.token, self.context.now(), report)

    async def release(self) -> None:
        """Let another process scan."""
        if not self.context.dry_run:
            await self.context.store.job_runs.release(self.token)

    async def _fetch(self) -> Page | None:
        """The page at the cursor; None where it cannot be had."""
        gateway = self.context.gateway
        was_resumed = self.pages == 0 and self.cursor is not None
        page = await gateway.fetch_page(self.cursor, self._take_one)
        if isinstance(page, Page):
            self.pages += 1
            # sweeps can go on from here later
            now, cap = self.context.now(), self.context.schedule.cap
            bookmark = self._bookmark or Bookmark(now, cap, self.cursor)
            self._bookmark = next_bookmark(bookmark, page)
            self.context.list_index.follow([], bookmark, self._bookmark)
            return page
        if was_resumed and page:
            top = await gateway.fetch_page(None, self._take_one)
            # the list is there, but not this place: begin at the top next time
            if isinstance(top, Page):
                self.cursor = None
                await self.save({})
        return None

    async def _take_one(self) -> int:
        granted = await self.take(1)
        self.calls += granted
        await self._renew()
        return granted


ReportType = TypeVar("ReportType")


def read_report(saved: object, report: type[ReportType]) -> ReportType | None:
    """A saved report; fields of another version are ignored, None where it is unreadable."""
    try:
        return msgspec.convert(saved, report)
    except msgspec.ValidationError:
        return None
