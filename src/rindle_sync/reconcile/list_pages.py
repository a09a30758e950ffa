"""Rows by list page: one call, and whatever of ours stands on the page is brought into step."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from rindle_sync.domain import CHANGES, Due, Observation, ProviderAsset, decide
from rindle_sync.providers import Page
from rindle_sync.reconcile.apply import Observed
from rindle_sync.reconcile.context import Context
from rindle_sync.reconcile.fetch import fetch_page
from rindle_sync.reconcile.identity import note_identity
from rindle_sync.reconcile.page_planner import (
    Bookmark,
    PageCandidate,
    next_page,
    place_above,
    standing_on,
)
from rindle_sync.reconcile.sweep_run import SweepRun

WORTHWHILE: Final = 10
"""Where a page has answered so many rows, and as many are left, the next one is asked for: they may stand together."""

ROWS_FOR_A_PAGE_RUN: Final = 10
"""For so many old rows, one page may be asked for in vain on the way to them."""


async def sweep_pages(one: SweepRun, due: Sequence[Due]) -> list[Due]:
    """Settle what pages answer for less than a call a row; the due rows that are left to be asked about by id."""
    context, found, now = one.context, set[str](), one.context.now()
    candidates = context.list_index.candidates(
        (d for d in due if d.id not in one.not_listed), now, context.policy, context.schedule
    )
    bookmarks = context.list_index.bookmarks(
        now, await _end_of_first_page(context, now) if len(candidates) > 1 else None
    )
    bookmark, goal = await _next(one, candidates, bookmarks)
    async with one.behind() as settle_behind:
        while bookmark:
            page = await fetch_page(context, bookmark.cursor, one.take_page)
            if not isinstance(page, Page):
                if page:
                    context.list_index.fail(bookmark, now)
                break
            observed, answered, listed = await _findings(context, page)
            await settle_behind(observed, answered)
            found |= answered
            following = next_bookmark(bookmark, page)
            candidates = _still_wanted(one, bookmark, page, candidates, listed)
            bookmarks = context.list_index.follow(bookmarks, bookmark, following)
            is_on_the_way = goal is not None and following is not None and following.reach > goal
            if following and (
                is_on_the_way or min(len(answered), len(due) - len(found)) >= WORTHWHILE
            ):
                bookmark = following
            else:
                bookmark, goal = await _next(one, candidates, bookmarks)
    return [row for row in due if row.id not in found]


async def _next(
    one: SweepRun, candidates: Sequence[PageCandidate], bookmarks: Sequence[Bookmark]
) -> tuple[Bookmark | None, datetime | None]:
    """Where to ask for a page, and down to when for one after the other, whatever they bring."""
    if bookmark := next_page(candidates, bookmarks, one.to_spare):
        return bookmark, None
    return await _page_run(one, candidates, bookmarks) or (None, None)


async def _page_run(
    one: SweepRun, candidates: Sequence[PageCandidate], bookmarks: Sequence[Bookmark]
) -> tuple[Bookmark, datetime] | None:
    """Where to begin, and down to when to go, to where many old rows stand together.

    How many pages that takes is known from how many rows of ours stand above them. They are asked for in vain: as many
    rows may be left to the next round, so that it has to be few of them, and what they lead to has to be worth it.
    """
    hoped = sum(row.chance for row in candidates)
    most = int(hoped) // ROWS_FOR_A_PAGE_RUN
    if not bookmarks or most < 1 or one.to_spare < 0:
        return None
    per_page = one.context.provider.page_size * one.context.list_index.tracked_rate.value_at(
        one.context.now()
    )
    newest, middle = candidates[0].created_at, candidates[len(candidates) // 2].created_at
    begin = place_above(bookmarks, newest)
    count, here = (
        one.context.asset_queries.count_between,
        (one.context.provider.name, one.context.environment),
    )
    above = await count(*here, newest, begin.reach, most=round(most * per_page) + 1)
    if above > most * per_page:
        return None
    worth = hoped / 4 * per_page
    if above + await count(*here, middle, newest, most=round(worth) + 1) > worth:
        return None
    one.most_lost = max(one.most_lost, most)
    return begin, newest


async def _end_of_first_page(context: Context, now: datetime) -> datetime | None:
    """When the oldest asset of the first page was made, by our own rows and their share of what pages held so far."""
    place = max(
        1, round(context.provider.page_size * context.list_index.tracked_rate.value_at(now))
    )
    return await context.asset_queries.newest_created(
        context.provider.name, context.environment, place
    )


async def _findings(context: Context, page: Page) -> tuple[list[Observed], set[str], set[str]]:
    """What the page tells of our rows that is to be settled, which of these were due, and all rows that it lists."""
    matched, now = await match(context, page), context.now()
    context.list_index.tracked_rate.learn(len(matched), len(page.entries), now)
    if matched:
        await note_identity(context)
    observed = [
        Observed(row, observation)
        for row, observation in matched
        if _is_news(context, row, observation, now)
    ]
    due = {f.row.id for f in observed if f.row.check_at and f.row.check_at <= now}
    return observed, due, {row.id for row, _ in matched}


async def match(context: Context, page: Page) -> list[tuple[ProviderAsset, Observation]]:
    """The rows that stand on the page, each with its entry; an entry that is repeated counts once."""
    by_asset = {
        observation.provider_asset_id: observation
        for observation in page.entries
        if observation.provider_asset_id
    }
    by_upload = {
        observation.provider_upload_id: observation
        for observation in page.entries
        if observation.provider_upload_id
    }
    here = context.provider.name, context.environment
    rows = await context.asset_queries.listed(
        *here, asset_ids=list(by_asset), upload_ids=list(by_upload)
    )
    return [(row, observation) for row in rows if (observation := _entry(row, by_asset, by_upload))]


async def untracked(
    context: Context, page: Page, matched: Sequence[tuple[ProviderAsset, Observation]]
) -> list[Observation]:
    """The assets of the page that no row knows, and that no row waits for under their passthrough."""
    known = {observation.provider_asset_id for _, observation in matched}
    unknown = {
        observation.provider_asset_id: observation
        for observation in page.entries
        if observation.provider_asset_id not in known
    }
    passed = {
        observation.passthrough for observation in unknown.values() if observation.passthrough
    }
    if not passed:
        return list(unknown.values())
    here = context.provider.name, context.environment
    rows = await context.store.match(
        *here, provider_asset_ids=(), provider_upload_ids=(), passthroughs=passed
    )
    awaited = {row.passthrough for row in rows if row.provider_asset_id is None}
    return [
        observation
        for observation in unknown.values()
        if observation.passthrough is None or observation.passthrough not in awaited
    ]


def _entry(
    row: ProviderAsset, by_asset: Mapping[str, Observation], by_upload: Mapping[str, Observation]
) -> Observation | None:
    if row.provider_asset_id:
        return by_asset.get(row.provider_asset_id)
    return by_upload.get(row.provider_upload_id or "")


def _is_news(context: Context, row: ProviderAsset, observation: Observation, now: datetime) -> bool:
    """Whether to settle: a row that is due, or one that the page shows to be out of step before its time.

    Left alone is a row that was only just changed, and one that somebody else is looking at.
    """
    if row.updated_at > now - context.schedule.floor or (
        row.lease_until and row.lease_until >= now
    ):
        return False
    is_due = row.check_at is not None and row.check_at <= now
    return is_due or decide(row, observation, now, context.policy).verdict in CHANGES


def next_bookmark(bookmark: Bookmark, page: Page) -> Bookmark | None:
    """The place after this page; None at the end, and where the list is not in order."""
    made = [observation.created_at for observation in page.entries if observation.created_at]
    if not page.cursor or not made or max(made) > bookmark.reach:
        return None
    return bookmark.following(max(made), min(made), page.cursor)


def _still_wanted(
    one: SweepRun, bookmark: Bookmark, page: Page, candidates: list[PageCandidate], listed: set[str]
) -> list[PageCandidate]:
    """What is still wanted of other pages: not what this one lists, nor what it should have."""
    oldest = min(
        (observation.created_at for observation in page.entries if observation.created_at),
        default=bookmark.reach,
    )
    first, last = standing_on(candidates, bookmark, oldest if page.cursor else None)
    expected = candidates[first:last]
    one.context.list_index.learn(expected, listed, one.context.now())
    ids = {w.id for w in expected}
    one.not_listed |= ids - listed
    rest = [*candidates[:first], *candidates[last:]]
    return rest if listed <= ids else [w for w in rest if w.id not in listed]
