"""Rows by list page: one call, and every row of ours that stands on the page is brought in sync."""

from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from typing import Final

from msgspec import Struct

from rindle_sync.domain import (
    CHANGES,
    LONGEST_WAIT,
    FetchFailure,
    Observation,
    ProviderAsset,
    decide,
    has_come,
    is_due,
    is_nearly_due,
    is_refreshed,
)
from rindle_sync.providers import Page
from rindle_sync.reconcile.apply import Observed
from rindle_sync.reconcile.context import Context
from rindle_sync.reconcile.page_planner import (
    Bookmark,
    PageCandidate,
    Stake,
    next_page,
    pays,
    standing_on,
)
from rindle_sync.reconcile.pipeline import ApplyBehind, FetchAhead
from rindle_sync.reconcile.sweep_run import SweepRun

WORTHWHILE: Final = 10
"""Where a page has answered so many rows, and as many are left, the next one is asked for."""

ROWS_FOR_A_PAGE_IN_VAIN: Final = 20
"""For so many due rows, one page may be asked for in vain, beside one for any number of them."""

STRETCHES_IN_VAIN: Final = 3
"""In how many stretches of the list as many pages may be asked for in vain."""


async def sweep_pages(run: SweepRun, candidates: Sequence[PageCandidate]) -> Set[str]:
    """Apply what pages answer for less than a call a row; the ids of the due rows among it."""
    walk = await _begin_walk(run, candidates)
    gateway = run.context.gateway

    async def fetch(bookmark: Bookmark) -> Page | FetchFailure | None:
        return await gateway.fetch_page(bookmark.cursor, lambda: run.take_page(walk.pages_expected))

    async with ApplyBehind(run.apply) as behind, FetchAhead(fetch) as ahead:
        bookmark = walk.next()
        while bookmark:
            page = await ahead.get(bookmark)
            if not isinstance(page, Page):
                # after a failure no page is asked for during a while: the rows are fetched by id
                if page:
                    run.context.list_index.fail(bookmark, run.context.now())
                break
            following = next_bookmark(bookmark, page)
            goes_on = following is not None and walk.goes_on(following)
            if following and goes_on:
                await ahead.begin(following)
            seen = await _observe(run.context, page)
            # counted at once: what pages have saved decides about the next, before this is written
            run.result.checked += len(seen.due)
            await behind.add(seen.observed, seen.due, is_more_coming=goes_on)
            bookmark = walk.after(bookmark, page, seen, following, goes_on=goes_on)
    walk.end_stretch()
    return walk.found


class _Seen(Struct, frozen=True):
    """What to apply of a page, which of these rows were due, or checked all the same."""

    observed: list[Observed]
    due: set[str]
    soon: set[str]
    listed: set[str]
    """All rows that it lists."""


@dataclass(slots=True)
class _Walk:
    """From page to page: what they may answer yet, and from where."""

    run: SweepRun
    candidates: list[PageCandidate]
    """Newest first, those that are `left`."""
    bookmarks: list[Bookmark]
    due: int
    """How many of the candidates were due."""
    found: set[str] = field(default_factory=set)
    """The rows that were due and stood on a page."""
    pages: int = 0
    """Of the stretch in hand, as all that follows."""
    checked: int = 0
    answered: int = 0
    """How many of the checked rows were due."""
    follows: bool = False
    """Whether the page before the one in hand was read, too."""
    left: dict[str, PageCandidate] = field(init=False)
    """The candidates that no page has ruled out, by id."""

    def __post_init__(self) -> None:
        self.left = {candidate.id: candidate for candidate in self.candidates}

    @property
    def pages_expected(self) -> int:
        """How many pages are needed at least for the rows that are left."""
        return len(self.candidates) // self.run.context.gateway.provider.page_size

    def stake(self, in_hand: int = 0) -> Stake:
        """What may be risked, with so many pages in hand of which nothing is known."""
        in_vain, saved = self.due // ROWS_FOR_A_PAGE_IN_VAIN, self.answered - self.pages - in_hand
        to_spare = min(in_vain + min(saved, 0), self.run.allowance.to_spare)
        return Stake(to_spare, self.run.context.list_index.doubt(self.run.context.now()))

    def next(self) -> Bookmark | None:
        """The page to begin with, or to go on with anywhere else."""
        self.end_stretch()
        return next_page(self.candidates, self.bookmarks, self.stake())

    def goes_on(self, following: Bookmark) -> bool:
        """Whether the page at `following` pays, whatever the one before it brings."""
        return pays(following, self.candidates, self.stake(in_hand=1))

    def after(
        self,
        bookmark: Bookmark,
        page: Page,
        seen: _Seen,
        following: Bookmark | None,
        *,
        goes_on: bool,
    ) -> Bookmark | None:
        """The page after this one, which brought what was `seen`."""
        self.pages += 1
        self.checked += len(seen.due) + len(seen.soon)
        self.answered += len(seen.due)
        self.found |= seen.due
        self._rule_out(bookmark, page, seen.listed)
        self.bookmarks = self.run.context.list_index.follow(self.bookmarks, bookmark, following)
        if following:
            is_worthwhile = min(len(seen.due), self.due - len(self.found)) >= WORTHWHILE
            if goes_on or is_worthwhile or pays(following, self.candidates, self.stake()):
                self.follows = True
                return following
        return self.next()

    def end_stretch(self) -> None:
        """Remember whether its pages have paid."""
        if self.pages:
            has_paid, now = self.checked > self.pages, self.run.context.now()
            self.run.context.list_index.learn(now, has_paid=has_paid)
        self.pages = self.checked = self.answered = 0
        self.follows = False

    def _rule_out(self, bookmark: Bookmark, page: Page, listed: set[str]) -> None:
        """Leave out what this page lists, and what it should have listed: that is asked by id."""
        oldest = min(page.created, default=bookmark.reach) if page.cursor else None
        first, last = standing_on(self.candidates, bookmark, oldest, follows=self.follows)
        ids = {candidate.id for candidate in self.candidates[first:last]}
        self.run.not_listed |= ids - listed
        for row_id in ids | listed:
            self.left.pop(row_id, None)
        self.candidates = list(self.left.values())


async def _begin_walk(run: SweepRun, planned: Sequence[PageCandidate]) -> _Walk:
    context, index, now = run.context, run.context.list_index, run.context.now()
    candidates = [candidate for candidate in planned if candidate.id not in run.not_listed]
    due = sum(candidate.due_at is not None for candidate in candidates)
    run.allowance.most_lost = 1 + STRETCHES_IN_VAIN * (due // ROWS_FOR_A_PAGE_IN_VAIN)
    end_of_first = None
    if len(candidates) > 1:
        # as far down as the first page reaches, where it holds nothing but rows of ours
        end_of_first = await context.store.queries.newest_created(
            context.gateway.provider.page_size
        )
    return _Walk(run, candidates, index.bookmarks(now, end_of_first), due)


async def _observe(context: Context, page: Page) -> _Seen:
    """What the page says of rows that are due or soon will be, or that are not as it shows them."""
    matched, now = await match(context, page), context.now()
    if matched:
        await context.gateway.identity.learn()
    seen = _Seen([], set(), set(), {row.id for row, _ in matched})
    floor, longest = now - context.schedule.floor, context.longest_gaps
    for row, observation in matched:
        # left alone is a row that was only just changed, and one that somebody else is checking
        is_leased = row.lease_until and not has_come(row.lease_until, now, LONGEST_WAIT)
        if is_leased or row.has_changed_since(floor, now):
            continue
        if is_due(row, now, longest):
            seen.due.add(row.id)
        elif is_nearly_due(row, now):
            seen.soon.add(row.id)
        else:
            decision = decide(row, observation, now, context.policy)
            # the page shows it to be out of sync before its time, or says more than is stored
            if decision.verdict not in CHANGES and not is_refreshed(row, decision.row):
                continue
        seen.observed.append(Observed(row, observation))
    return seen


async def match(context: Context, page: Page) -> list[tuple[ProviderAsset, Observation]]:
    """The rows that stand on the page, each with its entry; a repeated entry counts once."""
    by_asset, by_upload = {}, {}
    for entry in page.entries:
        if entry.provider_asset_id:
            by_asset[entry.provider_asset_id] = entry
        if entry.provider_upload_id:
            by_upload[entry.provider_upload_id] = entry
    rows = await context.store.queries.listed(asset_ids=list(by_asset), upload_ids=list(by_upload))
    matched = []
    for row in rows:
        if row.provider_asset_id:
            listed = by_asset.get(row.provider_asset_id)
        else:
            listed = by_upload.get(row.provider_upload_id or "")
        if listed:
            matched.append((row, listed))
    return matched


async def untracked(
    context: Context, page: Page, matched: Sequence[tuple[ProviderAsset, Observation]]
) -> list[Observation]:
    """The assets of the page that no row knows or waits for, or had before.

    By its passthrough a row waits for an asset only as long as it has no id of the provider.
    """
    known = {entry.provider_asset_id for _, entry in matched}
    unknown = {}
    for entry in page.entries:
        if entry.provider_asset_id not in known:
            unknown[entry.provider_asset_id] = entry
    passthroughs = {entry.passthrough for entry in unknown.values() if entry.passthrough}
    rows: Sequence[ProviderAsset] = ()
    if passthroughs:
        rows = await context.store.assets.match(
            provider_asset_ids=(), provider_upload_ids=(), passthroughs=passthroughs
        )
    awaited = {row.passthrough for row in rows}
    found = [entry for entry in unknown.values() if entry.passthrough not in awaited]
    if not found:
        return found
    names_former = await context.store.superseded.known(found)
    return [entry for entry in found if not names_former(entry)]


def next_bookmark(bookmark: Bookmark, page: Page) -> Bookmark | None:
    """The place after this page; None at the end, and where the list is not in order."""
    if not page.cursor or not page.created or max(page.created) > bookmark.reach:
        return None
    return bookmark.following(page.created, page.cursor)
