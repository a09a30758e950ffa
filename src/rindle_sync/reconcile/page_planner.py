"""Which list pages are worth a call, by what is known of the provider's list. Pure.

A list page answers up to a hundred rows for one call, but only from the newest asset downwards, and
nobody can say beforehand how many of its entries are tracked. So a page is asked for only where it
should answer more rows than it costs calls.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from rindle_sync.domain import Due, ErrorKind, LongestGaps, Policy, is_due, lasts, needs_fetch

MOST_BOOKMARKS: Final = 1000
"""How many places in the list are remembered."""

LIST_RESTS: Final = timedelta(minutes=1)
"""How long no page is asked for after one that could not be had."""

CHANCE_OF_UPLOAD: Final = 0.25
"""What a row counts that waits for its upload: nobody knows whether that is an asset yet."""

MOST_DOUBT: Final = 64

DOUBT_LASTS: Final = timedelta(hours=1)

_AHEAD: Final = timedelta(minutes=5)
"""How far the provider's clock may be ahead of ours."""

_MOMENT: Final = timedelta(seconds=1)
"""How exactly it is known when an asset was made; a page spans at least as much."""


@dataclass(frozen=True, slots=True)
class Bookmark:
    """A place in the list: the page at `cursor` goes down from `reach`, by about `span`."""

    reach: datetime
    span: timedelta
    cursor: str | None = field(default=None, repr=False)
    depth: int = 0
    """How many assets made at the moment of `reach` stand above it."""

    def following(self, made: Sequence[datetime], cursor: str) -> "Bookmark":
        """The place after this page, whose entries were made at these times.

        Many untracked assets of one moment make a page that spans next to nothing. The page after
        it is expected to span more, but less with every such page.
        """
        oldest = min(made)
        span = max(min(max(made), self.reach) - oldest, _MOMENT)
        if self.cursor:
            span = max(span, self.span / 2)
        depth = made.count(oldest) + (self.depth if oldest == self.reach else 0)
        return Bookmark(oldest, span, cursor, depth)


class PageCandidate(Struct, frozen=True, gc=False):
    """A row that a page may answer, and what it counts there."""

    id: str
    created_at: datetime
    due_at: datetime | None
    """None where it comes due soon: a page that is read for others counts as its check."""
    chance: float = 1.0


class ListIndex:
    """What the pages so far brought: places to go on from, and how far a page is to be doubted.

    Where it is not to `trust`, every row is asked about by id.
    """

    def __init__(self, *, trust: bool = True) -> None:
        self._trust = trust
        self._bookmarks: list[Bookmark] = []
        self._rests_until: datetime | None = None
        self._doubt = 1
        self._doubted_until: datetime | None = None

    def candidates(
        self, rows: Iterable[Due], now: datetime, policy: Policy, longest: LongestGaps
    ) -> list[PageCandidate]:
        """The rows that a page may answer, newest first.

        Not among them are rows that the provider did not find before, and rows that need no call.
        """
        if not self._trust or lasts(self._rests_until, now, LIST_RESTS):
            return []
        candidates = []
        for row in rows:
            was_missing = row.missing_since or row.error_kind is ErrorKind.NOT_FOUND
            if row.is_fetchable and not was_missing and needs_fetch(row, now, policy):
                due_at = now if is_due(row, now, longest) else None
                candidates.append(
                    PageCandidate(
                        row.id,
                        row.provider_created_at,
                        due_at and min(row.check_at or now, now),
                        1.0 if row.provider_asset_id else CHANCE_OF_UPLOAD,
                    )
                )
        return sorted(candidates, key=lambda candidate: candidate.created_at, reverse=True)

    def bookmarks(self, now: datetime, end_of_first: datetime | None) -> list[Bookmark]:
        """The places to go on from, newest first; the first page reaches down to `end_of_first`."""
        reach = now + _AHEAD
        span = max(reach - end_of_first, _MOMENT) if end_of_first else timedelta(days=36_500)
        known = [bookmark for bookmark in self._bookmarks if bookmark.reach < now]
        return [Bookmark(reach, span), *known]

    def doubt(self, now: datetime) -> int:
        """How many rows more than calls a page must promise."""
        return self._doubt if lasts(self._doubted_until, now, DOUBT_LASTS) else 1

    def learn(self, now: datetime, *, has_paid: bool) -> None:
        """Note whether pages have answered more rows than they cost calls.

        Each time that they have not, the next ones are doubted twice as much.
        """
        self._doubt = 1 if has_paid else min(2 * self.doubt(now), MOST_DOUBT)
        self._doubted_until = now + DOUBT_LASTS

    def follow(
        self, bookmarks: Sequence[Bookmark], used: Bookmark, following: Bookmark | None
    ) -> list[Bookmark]:
        """The places left once the page at `used` was asked for; `following` is remembered."""
        left = [bookmark for bookmark in bookmarks if bookmark is not used]
        if following is None:
            self._forget(used)
            return left
        self._bookmarks = _with(self._bookmarks, following)
        if len(self._bookmarks) > MOST_BOOKMARKS:
            self._bookmarks = self._bookmarks[::2]
        return _with(left, following)

    def fail(self, used: Bookmark, now: datetime) -> None:
        """The page at `used` failed: forget the place, and ask for no page for a while."""
        self._forget(used)
        self._rests_until = now + LIST_RESTS

    def _forget(self, used: Bookmark) -> None:
        self._bookmarks = [
            bookmark for bookmark in self._bookmarks if bookmark.cursor != used.cursor
        ]


def _with(bookmarks: Sequence[Bookmark], new: Bookmark) -> list[Bookmark]:
    """In order, of those of one moment only the deepest."""
    others = []
    for bookmark in bookmarks:
        if bookmark.reach != new.reach:
            others.append(bookmark)
        elif bookmark.depth > new.depth:
            new = bookmark
    return sorted([*others, new], key=lambda bookmark: bookmark.reach, reverse=True)


class Stake(Struct, frozen=True):
    """What may be risked: pages in vain on the way to one that pays, and the doubt of all pages."""

    to_spare: int
    doubt: int = 1


def next_page(
    candidates: Sequence[PageCandidate], bookmarks: Sequence[Bookmark], stake: Stake
) -> Bookmark | None:
    """Where to ask for a page; None where the other candidates are better fetched by id.

    `candidates` are in order, newest first. Of all places that pay it is the one above the row that
    is due for longest: where calls are few, no stretch of the list waits while another is read
    again and again.
    """
    if stake.to_spare < 0 or not bookmarks:
        return None
    oldest_due: dict[int, datetime] = {}
    reaches = [-bookmark.reach.timestamp() for bookmark in bookmarks]
    for candidate in candidates:
        place, due_at = _above(reaches, candidate.created_at), candidate.due_at
        if due_at and (place not in oldest_due or due_at < oldest_due[place]):
            oldest_due[place] = due_at
    for place in sorted(oldest_due, key=lambda place: oldest_due[place]):
        if pays(bookmarks[place], candidates, stake):
            return bookmarks[place]
    return None


def pays(bookmark: Bookmark, candidates: Sequence[PageCandidate], stake: Stake) -> bool:
    """Whether pages from `bookmark` on should answer more rows than they cost calls.

    The rows that are due pay for them; those that come due soon only count as found.
    """
    if stake.to_spare < 0:
        return False
    found = paid = 0.0
    for index in range(_place(candidates, bookmark.reach), len(candidates)):
        candidate = candidates[index]
        pages = max(1, -((candidate.created_at - bookmark.reach) // bookmark.span))
        if pages - 1 - paid > stake.to_spare:
            return False
        found += candidate.chance
        paid += candidate.chance if candidate.due_at else 0.0
        if found >= pages + stake.doubt and paid >= 1:
            return True
    return False


def standing_on(
    candidates: Sequence[PageCandidate],
    bookmark: Bookmark,
    oldest: datetime | None,
    *,
    follows: bool,
) -> tuple[int, int]:
    """The range of `candidates` that must stand on a page down to `oldest`, None for the end.

    Those of the moment at which it begins may stand on the page before it, unless it `follows` that
    one; those of the moment at which it ends, on the next one.
    """
    first = _place(candidates, bookmark.reach if follows else bookmark.reach - _MOMENT)
    last = len(candidates) if oldest is None else _place(candidates, oldest + _MOMENT)
    return first, max(first, last)


def _above(reaches: Sequence[float], created_at: datetime) -> int:
    # strictly above: of many assets of one moment, some stand before the place that begins with it
    return max(0, bisect_left(reaches, -created_at.timestamp()) - 1)


def _place(candidates: Sequence[PageCandidate], moment: datetime) -> int:
    """How many candidates are newer than `moment`."""
    return bisect_left(candidates, -moment.timestamp(), key=lambda row: -row.created_at.timestamp())
