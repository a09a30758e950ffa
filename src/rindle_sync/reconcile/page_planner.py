"""Which list pages are worth a call, by what is known of the provider's list. Pure.

A list page answers up to a hundred rows for one call, but only from the newest asset downwards, and
nobody can say beforehand how many of its entries are tracked. So a page is asked for only where it
should answer more rows than it costs calls.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from rindle_sync.domain import Due, ErrorKind, Policy, Schedule, lasts, needs_fetch

MOST_BOOKMARKS: Final = 1000
"""How many places in the list are remembered."""

LIST_RESTS: Final = timedelta(minutes=1)
"""How long no page is asked for after one that could not be had."""

RISK: Final = 0.25
"""How much of what the rest would cost by id may be spent on pages in vain."""

_AHEAD: Final = timedelta(minutes=5)
"""How far the provider's clock may be ahead of ours."""

_SHORTEST: Final = timedelta(milliseconds=1)

_RECOVERY: Final = timedelta(hours=1)

_WEIGHT_OF_FIRST: Final = 20


@dataclass(frozen=True, slots=True)
class Bookmark:
    """A place in the list: the page at `cursor` goes down from `reach`, by about `span`."""

    reach: datetime
    span: timedelta
    cursor: str | None = field(default=None, repr=False)

    def following(self, newest: datetime, oldest: datetime, cursor: str) -> "Bookmark":
        """The place after this page, whose entries were made from `oldest` to `newest`.

        Many untracked assets of one moment make a page that spans next to nothing. The page after
        it is expected to span more, but less with every such page.
        """
        spanned = max(min(newest, self.reach) - oldest, _SHORTEST)
        return Bookmark(oldest, max(spanned, self.span / 2) if self.cursor else spanned, cursor)


@dataclass(frozen=True, slots=True)
class PageCandidate:
    """A due row that a page may answer, and the chance that it stands where its age says."""

    id: str
    created_at: datetime
    chance: float
    is_linked: bool
    """Whether it has an asset; else it waits for that of its upload."""


@dataclass(slots=True)
class DecayingRate:
    """A learned share; where nothing more is learned, it doubles every hour up to `resting`."""

    resting: float
    value: float = field(default=0.0, init=False)
    """What it was at `at`; not read before something is learned."""
    at: datetime | None = None

    def value_at(self, now: datetime) -> float:
        """What it is by now."""
        # a time to come is that of a clock that was set back since: what was learned then is old
        if self.at is None or now < self.at:
            return self.resting
        hours = max(0.0, (now - self.at) / _RECOVERY)
        return float(min(self.resting, max(self.value, 0.01) * 2.0 ** min(hours, 60)))

    def learn(self, found: int, of: int, now: datetime) -> None:
        """`found` out of `of` is what was seen just now; the more of them, the more it counts."""
        if of:
            before, weight = self.value_at(now), of / (of + _WEIGHT_OF_FIRST)
            self.value, self.at = before + (found / of - before) * weight, now


class ListIndex:
    """What the pages so far brought: places to go on from, and how far a guess is to be trusted.

    `trust` is what a list is trusted at most: 0 has every row asked about by id.
    """

    def __init__(self, trust: float = 1.0) -> None:
        self._bookmarks: list[Bookmark] = []
        self._rests_until: datetime | None = None
        self.tracked_rate = DecayingRate(1.0)
        """The share of entries that are rows of ours."""
        self.linked_rate = DecayingRate(trust)
        """How often a row that has an asset stands where it should."""
        self.upload_rate = DecayingRate(0.25 * trust)
        """How often the upload that a row waits for has become an asset."""

    def candidates(
        self, due: Iterable[Due], now: datetime, policy: Policy, schedule: Schedule
    ) -> list[PageCandidate]:
        """The rows that a page may answer, newest first.

        Not among them are rows that the provider did not find before, and rows that need no call.
        After an outage of ours a row past the stuck threshold is a candidate, too.
        """
        if lasts(self._rests_until, now, LIST_RESTS):
            return []
        linked, uploads = self.linked_rate.value_at(now), self.upload_rate.value_at(now)
        candidates = []
        for row in due:
            was_missing = row.missing_since or row.error_kind is ErrorKind.NOT_FOUND
            is_late = now - (row.check_at or now) > schedule.cap
            if row.is_fetchable and not was_missing and (is_late or needs_fetch(row, now, policy)):
                is_linked = bool(row.provider_asset_id)
                chance = linked if is_linked else uploads
                candidates.append(PageCandidate(row.id, row.provider_created_at, chance, is_linked))
        return sorted(candidates, key=lambda candidate: candidate.created_at, reverse=True)

    def bookmarks(self, now: datetime, end_of_first: datetime | None) -> list[Bookmark]:
        """The places to go on from, newest first; the first page reaches down to `end_of_first`."""
        reach = now + _AHEAD
        span = max(reach - end_of_first, _SHORTEST) if end_of_first else timedelta(days=36_500)
        known = [bookmark for bookmark in self._bookmarks if bookmark.reach < now]
        return [Bookmark(reach, span), *known]

    def learn(self, expected: Collection[PageCandidate], found: Set[str], now: datetime) -> None:
        """Note which of the rows that should have stood on a page were `found` there."""
        for estimate, is_linked in ((self.linked_rate, True), (self.upload_rate, False)):
            ids = {row.id for row in expected if row.is_linked is is_linked}
            estimate.learn(len(ids & found), len(ids), now)

    def follow(
        self, bookmarks: Sequence[Bookmark], used: Bookmark, following: Bookmark | None
    ) -> list[Bookmark]:
        """The places left once the page at `used` was asked for; `following` is remembered."""
        left = [bookmark for bookmark in bookmarks if bookmark is not used]
        if following is None:
            self._forget(used)
            return left
        others = [known for known in self._bookmarks if known.reach != following.reach]
        self._bookmarks = _in_order([*others, following])
        if len(self._bookmarks) > MOST_BOOKMARKS:
            self._bookmarks = self._bookmarks[::2]
        return _in_order([*left, following])

    def fail(self, used: Bookmark, now: datetime) -> None:
        """The page at `used` failed: forget the place, and ask for no page for a while."""
        self._forget(used)
        self._rests_until = now + LIST_RESTS

    def _forget(self, used: Bookmark) -> None:
        self._bookmarks = [
            bookmark for bookmark in self._bookmarks if bookmark.cursor != used.cursor
        ]


def _in_order(bookmarks: Sequence[Bookmark]) -> list[Bookmark]:
    return sorted(bookmarks, key=lambda bookmark: bookmark.reach, reverse=True)


def next_page(
    candidates: Sequence[PageCandidate], bookmarks: Sequence[Bookmark], to_spare: int
) -> Bookmark | None:
    """Where to ask for a page; None where the other candidates are better fetched by id.

    `candidates` are in order, newest first. `to_spare` is how many pages may be asked for in
    vain on the way to one that pays.
    """
    if to_spare < 0 or not bookmarks:
        return None
    most_in_vain, tried = min(to_spare, RISK * len(candidates)), None
    reaches = [-bookmark.reach.timestamp() for bookmark in bookmarks]
    for place, candidate in enumerate(candidates):
        nearest = bisect_right(reaches, -candidate.created_at.timestamp()) - 1
        bookmark = bookmarks[max(0, nearest)]
        if bookmark is not tried and _pays(bookmark, candidates, place, most_in_vain):
            return bookmark
        tried = bookmark
    return None


def standing_on(
    candidates: Sequence[PageCandidate], bookmark: Bookmark, oldest: datetime | None
) -> tuple[int, int]:
    """The range of `candidates` that should stand on a page down to `oldest`, None for the end."""

    def place(moment: datetime) -> int:
        return bisect_left(
            candidates, -moment.timestamp(), key=lambda row: -row.created_at.timestamp()
        )

    first = place(bookmark.reach)
    return first, max(first, len(candidates) if oldest is None else place(oldest))


def place_above(bookmarks: Sequence[Bookmark], created_at: datetime) -> Bookmark:
    """The nearest place from which a page on the way holds an asset that was made at this time."""
    reaches = [-bookmark.reach.timestamp() for bookmark in bookmarks]
    return bookmarks[max(0, bisect_right(reaches, -created_at.timestamp()) - 1)]


def _pays(
    bookmark: Bookmark, candidates: Sequence[PageCandidate], place: int, most_in_vain: float
) -> bool:
    """Whether pages from `bookmark` on should answer more rows than they cost calls."""
    found = 0.0
    for index in range(place, len(candidates)):
        pages = max(1, -((candidates[index].created_at - bookmark.reach) // bookmark.span))
        if pages - 1 - found > most_in_vain:
            return False
        found += candidates[index].chance
        if found > pages:
            return True
    return False
