"""Rows by list page: one call, and whatever of ours stands on the page is brought into step."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from rindle_sync.asset import Due, ProviderAsset, Seen
from rindle_sync.decide import CHANGES, decide
from rindle_sync.look import look_at_page, note_identity
from rindle_sync.plan import Mark, Wanted, next_page, place_above, standing_on
from rindle_sync.providers.base import Page
from rindle_sync.round import Round
from rindle_sync.settle import Finding
from rindle_sync.tools import Tools

WORTHWHILE: Final = 10
"""Where a page has answered so many rows, and as many are left, the next one is asked for: they may stand together."""

ROWS_FOR_A_MARCH: Final = 10
"""For so many old rows, one page may be asked for in vain on the way to them."""


async def browse(one: Round, due: Sequence[Due]) -> list[Due]:
    """Settle what pages answer for less than a call a row; the due rows that are left to be asked about by id."""
    tools, found, now = one.tools, set[str](), one.tools.now()
    wanted = tools.atlas.wanted((d for d in due if d.id not in one.passed), now, tools.policy, tools.schedule)
    marks = tools.atlas.marks(now, await _end_of_first_page(tools, now) if len(wanted) > 1 else None)
    mark, goal = await _next(one, wanted, marks)
    async with one.behind() as settle_behind:
        while mark:
            page = await look_at_page(tools, mark.cursor, one.take_page)
            if not isinstance(page, Page):
                if page:
                    tools.atlas.fail(mark, now)
                break
            findings, answered, listed = await _findings(tools, page)
            await settle_behind(findings, answered)
            found |= answered
            following = follow(mark, page)
            wanted = _still_wanted(one, mark, page, wanted, listed)
            marks = tools.atlas.follow(marks, mark, following)
            is_on_the_way = goal is not None and following is not None and following.reach > goal
            if following and (is_on_the_way or min(len(answered), len(due) - len(found)) >= WORTHWHILE):
                mark = following
            else:
                mark, goal = await _next(one, wanted, marks)
    return [row for row in due if row.id not in found]


async def _next(one: Round, wanted: Sequence[Wanted], marks: Sequence[Mark]) -> tuple[Mark | None, datetime | None]:
    """Where to ask for a page, and down to when for one after the other, whatever they bring."""
    if mark := next_page(wanted, marks, one.to_spare):
        return mark, None
    return await _march(one, wanted, marks) or (None, None)


async def _march(one: Round, wanted: Sequence[Wanted], marks: Sequence[Mark]) -> tuple[Mark, datetime] | None:
    """Where to begin, and down to when to go, to where many old rows stand together.

    How many pages that takes is known from how many rows of ours stand above them. They are asked for in vain: as many
    rows may be left to the next round, so that it has to be few of them, and what they lead to has to be worth it.
    """
    hoped = sum(row.chance for row in wanted)
    most = int(hoped) // ROWS_FOR_A_MARCH
    if not marks or most < 1 or one.to_spare < 0:
        return None
    per_page = one.tools.provider.page_size * one.tools.atlas.ours.by(one.tools.now())
    newest, middle = wanted[0].created_at, wanted[len(wanted) // 2].created_at
    begin = place_above(marks, newest)
    count, here = one.tools.library.count_between, (one.tools.provider.name, one.tools.environment)
    above = await count(*here, newest, begin.reach, most=round(most * per_page) + 1)
    if above > most * per_page:
        return None
    worth = hoped / 4 * per_page
    if above + await count(*here, middle, newest, most=round(worth) + 1) > worth:
        return None
    one.most_lost = max(one.most_lost, most)
    return begin, newest


async def _end_of_first_page(tools: Tools, now: datetime) -> datetime | None:
    """When the oldest asset of the first page was made, by our own rows and their share of what pages held so far."""
    place = max(1, round(tools.provider.page_size * tools.atlas.ours.by(now)))
    return await tools.library.newest_created(tools.provider.name, tools.environment, place)


async def _findings(tools: Tools, page: Page) -> tuple[list[Finding], set[str], set[str]]:
    """What the page tells of our rows that is to be settled, which of these were due, and all rows that it lists."""
    matched, now = await match(tools, page), tools.now()
    tools.atlas.ours.learn(len(matched), len(page.entries), now)
    if matched:
        await note_identity(tools)
    findings = [Finding(row, seen) for row, seen in matched if _is_news(tools, row, seen, now)]
    due = {f.row.id for f in findings if f.row.check_at and f.row.check_at <= now}
    return findings, due, {row.id for row, _ in matched}


async def match(tools: Tools, page: Page) -> list[tuple[ProviderAsset, Seen]]:
    """The rows that stand on the page, each with its entry; an entry that is repeated counts once."""
    by_asset = {seen.provider_asset_id: seen for seen in page.entries if seen.provider_asset_id}
    by_upload = {seen.provider_upload_id: seen for seen in page.entries if seen.provider_upload_id}
    here = tools.provider.name, tools.environment
    rows = await tools.library.listed(*here, asset_ids=list(by_asset), upload_ids=list(by_upload))
    return [(row, seen) for row in rows if (seen := _entry(row, by_asset, by_upload))]


async def strangers(tools: Tools, page: Page, matched: Sequence[tuple[ProviderAsset, Seen]]) -> list[Seen]:
    """The assets of the page that no row knows, and that no row waits for under their passthrough."""
    known = {seen.provider_asset_id for _, seen in matched}
    unknown = {seen.provider_asset_id: seen for seen in page.entries if seen.provider_asset_id not in known}
    passed = {seen.passthrough for seen in unknown.values() if seen.passthrough}
    if not passed:
        return list(unknown.values())
    here = tools.provider.name, tools.environment
    rows = await tools.store.match(*here, provider_asset_ids=(), provider_upload_ids=(), passthroughs=passed)
    awaited = {row.passthrough for row in rows if row.provider_asset_id is None}
    return [seen for seen in unknown.values() if seen.passthrough is None or seen.passthrough not in awaited]


def _entry(row: ProviderAsset, by_asset: Mapping[str, Seen], by_upload: Mapping[str, Seen]) -> Seen | None:
    if row.provider_asset_id:
        return by_asset.get(row.provider_asset_id)
    return by_upload.get(row.provider_upload_id or "")


def _is_news(tools: Tools, row: ProviderAsset, seen: Seen, now: datetime) -> bool:
    """Whether to settle: a row that is due, or one that the page shows to be out of step before its time.

    Left alone is a row that was only just changed, and one that somebody else is looking at.
    """
    if row.updated_at > now - tools.schedule.floor or (row.lease_until and row.lease_until >= now):
        return False
    is_due = row.check_at is not None and row.check_at <= now
    return is_due or decide(row, seen, now, tools.policy).verdict in CHANGES


def follow(mark: Mark, page: Page) -> Mark | None:
    """The place after this page; None at the end, and where the list is not in order."""
    made = [seen.created_at for seen in page.entries if seen.created_at]
    if not page.cursor or not made or max(made) > mark.reach:
        return None
    return mark.following(max(made), min(made), page.cursor)


def _still_wanted(one: Round, mark: Mark, page: Page, wanted: list[Wanted], listed: set[str]) -> list[Wanted]:
    """What is still wanted of other pages: not what this one lists, nor what it should have."""
    oldest = min((seen.created_at for seen in page.entries if seen.created_at), default=mark.reach)
    first, last = standing_on(wanted, mark, oldest if page.cursor else None)
    expected = wanted[first:last]
    one.tools.atlas.learn(expected, listed, one.tools.now())
    ids = {w.id for w in expected}
    one.passed |= ids - listed
    rest = [*wanted[:first], *wanted[last:]]
    return rest if listed <= ids else [w for w in rest if w.id not in listed]
