"""Rows by list page: one call, and every row of ours that stands on the page is brought in sync."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from rindle_sync.domain import (
    CHANGES,
    LONGEST_WAIT,
    Due,
    Observation,
    ProviderAsset,
    decide,
    has_come,
    is_due,
    is_refreshed,
)
from rindle_sync.providers import Page
from rindle_sync.reconcile.apply import Observed
from rindle_sync.reconcile.context import Context
from rindle_sync.reconcile.page_planner import (
    Bookmark,
    PageCandidate,
    next_page,
    place_above,
    standing_on,
)
from rindle_sync.reconcile.sweep_run import SweepRun

WORTHWHILE: Final = 10
"""Where a page has answered so many rows, and as many are left, the next one is asked for."""

ROWS_FOR_A_PAGE_RUN: Final = 10
"""For so many old rows, one page may be asked for in vain on the way to them."""


async def sweep_pages(run: SweepRun, due: Sequence[Due]) -> list[Due]:
    """Apply what pages answer for less than a call a row; the due rows left to be fetched by id."""
    context, index, now = run.context, run.context.list_index, run.context.now()
    listable = [row for row in due if row.id not in run.not_listed]
    candidates = index.candidates(listable, now, context.policy, context.schedule)
    end_of_first = None
    if len(candidates) > 1:
        # when the oldest asset of the first page was made, by our rows and their share of pages
        per_page = context.gateway.provider.page_size * index.tracked_rate.value_at(now)
        end_of_first = await context.store.queries.newest_created(max(1, round(per_page)))
    bookmarks = index.bookmarks(now, end_of_first)
    found: set[str] = set()
    bookmark, goal = await _next(run, candidates, bookmarks)
    async with run.apply_behind() as apply_next:
        while bookmark:
            page = await context.gateway.fetch_page(bookmark.cursor, run.take_page)
            if not isinstance(page, Page):
                # after a failure no page is asked for during a while: the rows are fetched by id
                if page:
                    index.fail(bookmark, now)
                break
            observed, answered, listed = await _observe(context, page)
            await apply_next(observed, answered)
            found |= answered
            candidates = _still_candidates(run, bookmark, page, candidates, listed)
            following = next_bookmark(bookmark, page)
            bookmarks = index.follow(bookmarks, bookmark, following)
            is_on_the_way = goal is not None and following is not None and following.reach > goal
            is_worthwhile = min(len(answered), len(due) - len(found)) >= WORTHWHILE
            if following and (is_on_the_way or is_worthwhile):
                bookmark = following
            else:
                bookmark, goal = await _next(run, candidates, bookmarks)
    return [row for row in due if row.id not in found]


async def _next(
    run: SweepRun, candidates: Sequence[PageCandidate], bookmarks: Sequence[Bookmark]
) -> tuple[Bookmark | None, datetime | None]:
    """The page to ask for, and down to when to go on page by page, whatever they bring."""
    bookmark = next_page(candidates, bookmarks, run.allowance.to_spare)
    if bookmark:
        return bookmark, None
    # Else many old rows may stand together further down. How many pages lead there is known from
    # how many rows of ours stand above them. They are asked for in vain, and as many rows may be
    # deferred: so it has to be few pages, and what they lead to has to be worth it.
    expected = sum(row.chance for row in candidates)
    most = int(expected) // ROWS_FOR_A_PAGE_RUN
    if not bookmarks or most < 1 or run.allowance.to_spare < 0:
        return None, None
    context, queries = run.context, run.context.store.queries
    tracked_share = context.list_index.tracked_rate.value_at(context.now())
    per_page = context.gateway.provider.page_size * tracked_share
    newest, middle = candidates[0].created_at, candidates[len(candidates) // 2].created_at
    begin = place_above(bookmarks, newest)
    limit = most * per_page
    above = await queries.count_between(newest, begin.reach, most=round(limit) + 1)
    if above > limit:
        return None, None
    worth = expected / 4 * per_page
    among = await queries.count_between(middle, newest, most=round(worth) + 1)
    if above + among > worth:
        return None, None
    run.allowance.most_lost = max(run.allowance.most_lost, most)
    return begin, newest


async def _observe(context: Context, page: Page) -> tuple[list[Observed], set[str], set[str]]:
    """What to apply of the page, which of these rows were due, and all rows that it lists."""
    matched, now = await match(context, page), context.now()
    context.list_index.tracked_rate.learn(len(matched), len(page.entries), now)
    if matched:
        await context.gateway.identity.learn()
    observed, due = [], set()
    floor, longest = now - context.schedule.floor, context.longest_gaps
    for row, observation in matched:
        # left alone is a row that was only just changed, and one that somebody else is checking
        is_leased = row.lease_until and not has_come(row.lease_until, now, LONGEST_WAIT)
        if is_leased or row.has_changed_since(floor, now):
            continue
        if is_due(row, now, longest):
            due.add(row.id)
            observed.append(Observed(row, observation))
            continue
        decision = decide(row, observation, now, context.policy)
        # the page shows it to be out of sync before its time, or says more of it than is stored
        if decision.verdict in CHANGES or is_refreshed(row, decision.row):
            observed.append(Observed(row, observation))
    return observed, due, {row.id for row, _ in matched}


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
    created = [entry.created_at for entry in page.entries if entry.created_at]
    if not page.cursor or not created or max(created) > bookmark.reach:
        return None
    return bookmark.following(max(created), min(created), page.cursor)


def _still_candidates(
    run: SweepRun,
    bookmark: Bookmark,
    page: Page,
    candidates: Sequence[PageCandidate],
    listed: set[str],
) -> list[PageCandidate]:
    """What other pages may answer: not what this one lists, nor what it should have listed."""
    created = [entry.created_at for entry in page.entries if entry.created_at]
    oldest = min(created, default=bookmark.reach) if page.cursor else None
    first, last = standing_on(candidates, bookmark, oldest)
    expected = candidates[first:last]
    run.context.list_index.learn(expected, listed, run.context.now())
    ids = {candidate.id for candidate in expected}
    run.not_listed |= ids - listed
    rest = [*candidates[:first], *candidates[last:]]
    if listed <= ids:
        return rest
    return [candidate for candidate in rest if candidate.id not in listed]
