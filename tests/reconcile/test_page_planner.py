"""Which list pages are worth a call."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rindle_sync.domain import Due, ErrorKind, Policy, Schedule, State, longest_gaps
from rindle_sync.reconcile import (
    LIST_RESTS,
    MOST_BOOKMARKS,
    Bookmark,
    ListIndex,
    PageCandidate,
    Stake,
    next_page,
    pays,
    place_above,
    standing_on,
)
from tests.support.rows import NOW

POLICY = Policy()
LONGEST = longest_gaps(POLICY, Schedule())
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)


def wanted(*ages: float, chance: float = 1.0, due_at: datetime | None = NOW) -> list[PageCandidate]:
    """Rows whose assets were made so many minutes ago."""
    rows = (
        PageCandidate(f"row-{place}", NOW - age * MINUTE, due_at, chance)
        for place, age in enumerate(ages)
    )
    return in_order(rows)


def in_order(rows: Any) -> list[PageCandidate]:
    return sorted(rows, key=lambda candidate: candidate.created_at, reverse=True)


def first_page(*, down_to: float) -> Bookmark:
    return Bookmark(NOW, down_to * MINUTE)


def asked(
    rows: Sequence[PageCandidate], *bookmarks: Bookmark, to_spare: int = 0, doubt: int = 1
) -> Bookmark | None:
    return next_page(rows, bookmarks, Stake(to_spare, doubt))


def known_to(rows: Sequence[Due], list_index: ListIndex | None = None) -> list[PageCandidate]:
    return (list_index or ListIndex()).candidates(rows, NOW, POLICY, LONGEST)


def a_due(age: float, state: State = State.PROCESSING, **values: Any) -> Due:
    made = NOW - age * MINUTE
    return Due(
        id=f"row-{age}",
        state=state,
        error_kind=values.pop("error_kind", None),
        provider_created_at=made,
        updated_at=values.pop("updated_at", made),
        check_at=values.pop("check_at", NOW),
        provider_asset_id=values.pop("provider_asset_id", f"asset-{age}"),
        **values,
    )


# where a page pays


def test_a_page_that_should_answer_two_rows_is_worth_its_call() -> None:
    assert asked(wanted(1, 9), first_page(down_to=10)) == first_page(down_to=10)


@pytest.mark.parametrize("rows", [wanted(), wanted(1), wanted(1, 11), wanted(11, 12)])
def test_a_page_that_should_answer_no_more_than_one_is_not(rows: list[PageCandidate]) -> None:
    assert asked(rows, first_page(down_to=10)) is None


def test_a_row_at_the_very_end_of_a_page_stands_on_it() -> None:
    assert asked(wanted(10, 10), first_page(down_to=10))


def test_a_row_that_comes_due_soon_makes_a_page_worth_the_call_of_one_that_is_due() -> None:
    soon = wanted(1, 2, 3, due_at=None)

    assert asked(in_order([*soon, *wanted(4)]), first_page(down_to=10))
    assert asked(soon, first_page(down_to=10)) is None
    assert not pays(first_page(down_to=10), soon, Stake(9))


def test_what_pages_have_saved_may_be_spent_on_the_way_to_more_rows() -> None:
    far = wanted(*(35 + n / 10 for n in range(20)))

    assert asked(far, first_page(down_to=10), to_spare=2) is None
    assert asked(far, first_page(down_to=10), to_spare=3)


def test_no_more_is_spent_on_the_way_than_a_share_of_what_the_rows_would_cost_by_id() -> None:
    few = wanted(*(55 + n / 10 for n in range(12)))

    assert asked(few, first_page(down_to=10), to_spare=1000) is None


def test_what_was_lost_is_not_gambled_with_again() -> None:
    assert asked(wanted(1, 2, 3), first_page(down_to=10), to_spare=-1) is None
    assert not pays(first_page(down_to=10), wanted(1, 2, 3), Stake(-1))


def test_uploads_that_may_be_no_assets_yet_count_less() -> None:
    assert asked(wanted(*range(7), chance=0.25), first_page(down_to=10)) is None
    assert asked(wanted(*range(8), chance=0.25), first_page(down_to=10))


def test_without_any_place_no_page_is_asked_for() -> None:
    assert asked(wanted(1, 2)) is None


def test_a_page_is_begun_at_the_nearest_place_above_the_rows() -> None:
    far = Bookmark(NOW - 600 * MINUTE, 10 * MINUTE, "far")
    farther = Bookmark(NOW - 700 * MINUTE, 10 * MINUTE, "farther")
    places = first_page(down_to=10), far, farther

    assert asked(wanted(701, 702), *places) == farther
    assert asked(wanted(601, 602), *places) == far
    assert asked(wanted(1, 2, 701, 702), *places) == first_page(down_to=10)
    assert asked(wanted(1, 605, 701, 702), *places) == farther


def test_the_stretch_whose_row_is_due_for_longest_comes_first() -> None:
    far = Bookmark(NOW - 600 * MINUTE, 10 * MINUTE, "far")
    old = wanted(601, 602, due_at=NOW - MINUTE)

    assert asked(in_order([*wanted(1, 2), *old]), first_page(down_to=10), far) == far


def test_a_row_whose_asset_was_made_ahead_of_our_clock_stands_on_the_first_page() -> None:
    [first] = ListIndex().bookmarks(NOW, None)

    assert asked(wanted(-3, -2), first) == first


@given(
    st.lists(st.floats(-5, 100_000), max_size=60),
    st.lists(st.tuples(st.floats(0, 100_000), st.floats(0.1, 5000)), max_size=10),
    st.integers(-5, 200),
    st.integers(1, 64),
)
def test_a_page_is_only_ever_asked_for_where_it_may_pay(
    ages: list[float], places: list[tuple[float, float]], bank: int, doubt: int
) -> None:
    bookmarks = [
        Bookmark(NOW - age * MINUTE, span * MINUTE, f"{age}") for age, span in sorted(places)
    ]

    bookmark = asked(wanted(*ages), first_page(down_to=60), *bookmarks, to_spare=bank, doubt=doubt)

    assert bookmark is None or (bank >= 0 and len(ages) > doubt)


# what must stand on a page


@pytest.mark.parametrize(
    ("reach", "oldest", "span"),
    [
        (5, 20, (2, 3)),
        (0, 20, (0, 3)),
        (5, None, (2, 4)),
        (6, 2, (2, 2)),
        (5, 4, (2, 2)),
        (30, None, (4, 4)),
    ],
)
def test_the_rows_that_must_stand_on_a_page_are_those_between_its_ends(
    reach: float, oldest: float | None, span: tuple[int, int]
) -> None:
    down_to = None if oldest is None else NOW - oldest * MINUTE
    bookmark = Bookmark(NOW - reach * MINUTE, MINUTE)

    assert standing_on(wanted(1, 5, 10, 20), bookmark, down_to, follows=False) == span


def test_a_row_of_the_moment_between_two_pages_is_missed_when_both_were_read() -> None:
    bookmark, rows = Bookmark(NOW - 5 * MINUTE, MINUTE), wanted(5, 10)

    assert standing_on(rows, bookmark, NOW - 9 * MINUTE, follows=False) == (1, 1)
    assert standing_on(rows, bookmark, NOW - 9 * MINUTE, follows=True) == (0, 1)


@pytest.mark.parametrize(
    ("age", "place"), [(-1, 0), (0, 0), (9, 0), (10, 0), (11, 1), (15, 1), (20, 1), (99, 2)]
)
def test_an_asset_is_looked_for_from_the_nearest_place_above_it(age: float, place: int) -> None:
    """Of many assets of one moment, some stand before the place that begins with it."""
    bookmarks = [Bookmark(NOW - reach * MINUTE, MINUTE, f"{reach}") for reach in (0, 10, 20)]

    assert place_above(bookmarks, NOW - age * MINUTE) == bookmarks[place]


# what is remembered


def test_each_time_that_pages_have_not_paid_the_next_ones_are_doubted_more() -> None:
    list_index, doubts = ListIndex(), []
    for _ in range(8):
        doubts.append(list_index.doubt(NOW))
        list_index.learn(NOW, has_paid=False)

    assert doubts == [1, 2, 4, 8, 16, 32, 64, 64]


def test_doubt_ends_with_a_page_that_pays_and_after_an_hour() -> None:
    list_index = ListIndex()
    list_index.learn(NOW, has_paid=False)
    assert list_index.doubt(NOW + timedelta(minutes=59)) == 2
    assert list_index.doubt(NOW + timedelta(minutes=60)) == 1

    list_index.learn(NOW, has_paid=True)
    assert list_index.doubt(NOW) == 1


def test_a_page_that_is_doubted_must_promise_more_rows() -> None:
    assert asked(wanted(*range(8)), first_page(down_to=10), doubt=8) is None
    assert asked(wanted(*range(9)), first_page(down_to=10), doubt=8)


@pytest.mark.parametrize(
    ("cursor", "newest", "oldest", "span"),
    [(None, 1, 3, 2), (None, -7, 3, 3), ("c", 1, 3, 30), ("c", 1, 91, 90), (None, 3, 3, 1 / 60)],
)
def test_the_place_after_a_page_goes_on_where_the_page_ended(
    cursor: str | None, newest: float, oldest: float, span: float
) -> None:
    page = Bookmark(NOW, 60 * MINUTE, cursor)

    made = [NOW - newest * MINUTE, NOW - oldest * MINUTE]
    following = page.following(made, "next")

    assert (following.reach, following.span) == (NOW - oldest * MINUTE, span * MINUTE)


def test_of_the_places_of_one_moment_the_deepest_is_kept() -> None:
    list_index = ListIndex()
    [top] = list_index.bookmarks(NOW, None)
    moment = NOW - MINUTE
    first = top.following([NOW, *[moment] * 99], "first")
    second = first.following([moment] * 100, "second")

    list_index.follow([top], top, first)
    list_index.follow([first], first, second)
    assert list_index.follow([first], top, first) == [first]

    assert (first.depth, second.depth) == (99, 199)
    assert list_index.bookmarks(NOW, None)[1:] == [second]


def test_the_first_place_is_ahead_of_our_clock_and_reaches_to_where_the_last_first_page_ended() -> (
    None
):
    ahead, list_index = NOW + 5 * MINUTE, ListIndex()

    assert list_index.bookmarks(NOW, None) == [Bookmark(ahead, timedelta(days=36_500))]
    assert list_index.bookmarks(NOW, NOW - 60 * MINUTE) == [Bookmark(ahead, 65 * MINUTE)]
    assert list_index.bookmarks(NOW, ahead + MINUTE) == [Bookmark(ahead, SECOND)]


def test_a_place_that_leads_nowhere_is_forgotten_and_the_list_rests_a_while() -> None:
    list_index, due = ListIndex(), [a_due(place) for place in range(5)]
    bookmark = Bookmark(NOW - MINUTE, MINUTE, "cursor")
    list_index.follow([], list_index.bookmarks(NOW, None)[0], bookmark)

    list_index.fail(bookmark, NOW)

    assert [known.cursor for known in list_index.bookmarks(NOW, None)] == [None]
    assert list_index.candidates(due, NOW, POLICY, LONGEST) == []
    assert len(list_index.candidates(due, NOW + LIST_RESTS, POLICY, LONGEST)) == 5


# which rows a page may answer


def test_rows_that_no_page_can_answer_are_not_wanted_of_one() -> None:
    none = [
        a_due(1, State.ERRORED, error_kind=ErrorKind.NOT_FOUND),
        a_due(2, State.READY, missing_since=NOW),
        a_due(3, provider_asset_id=None),
    ]

    assert known_to(none) == []


def test_a_row_past_the_threshold_never_asks_for_a_page() -> None:
    late = a_due(1, updated_at=NOW - timedelta(hours=3), check_at=NOW - timedelta(hours=1))

    assert known_to([late]) == []


def test_a_list_that_is_not_to_be_trusted_is_not_asked() -> None:
    assert known_to([a_due(1), a_due(2)], ListIndex(trust=False)) == []


def test_what_a_page_may_answer_comes_newest_first_with_what_it_counts() -> None:
    older, newer = a_due(20, check_at=NOW - MINUTE), a_due(10, check_at=NOW + SECOND)
    upload = a_due(15, State.UPLOADING, provider_asset_id=None, provider_upload_id="upload-1")

    assert known_to([older, upload, newer]) == [
        PageCandidate(newer.id, newer.provider_created_at, None, 1.0),
        PageCandidate(upload.id, upload.provider_created_at, NOW, 0.25),
        PageCandidate(older.id, older.provider_created_at, NOW - MINUTE, 1.0),
    ]


def test_a_row_whose_check_a_wrong_clock_has_planned_is_due_now() -> None:
    [candidate] = known_to([a_due(1, check_at=NOW + timedelta(days=400))])

    assert candidate.due_at == NOW


# places in the list


def test_a_page_of_strangers_at_one_moment_lets_us_hope_less_with_each() -> None:
    bookmark = Bookmark(NOW, 60 * MINUTE, "cursor")
    spans = []
    for _ in range(3):
        made = [bookmark.reach, bookmark.reach - SECOND]
        bookmark = bookmark.following(made, "cursor")
        spans.append(bookmark.span)

    assert spans == [30 * MINUTE, 15 * MINUTE, 7.5 * MINUTE]


def test_no_more_places_are_remembered_than_needed() -> None:
    list_index = ListIndex()
    for place in range(3 * MOST_BOOKMARKS):
        top = list_index.bookmarks(NOW, None)[0]
        list_index.follow([], top, Bookmark(NOW - place * MINUTE, MINUTE, f"{place}"))

    known = list_index.bookmarks(NOW + MINUTE, None)
    assert MOST_BOOKMARKS / 2 < len(known) <= MOST_BOOKMARKS + 1
    assert [bookmark.reach for bookmark in known] == sorted(
        (bookmark.reach for bookmark in known), reverse=True
    )


def test_a_place_that_is_reached_is_kept_once_and_in_its_order() -> None:
    list_index = ListIndex()
    first = list_index.bookmarks(NOW, None)[0]
    near, far = Bookmark(NOW - MINUTE, MINUTE, "near"), Bookmark(NOW - 9 * MINUTE, MINUTE, "far")
    again = Bookmark(near.reach, MINUTE, "again")

    assert list_index.follow([first], first, far) == [far]
    assert list_index.follow([far, near], far, near) == [near]
    list_index.follow([first], first, again)

    assert list_index.bookmarks(NOW, None) == [first, again, far]
    assert list_index.bookmarks(near.reach, None)[1:] == [far]


def test_the_last_place_is_forgotten_when_nothing_follows_it() -> None:
    list_index = ListIndex()
    first = list_index.bookmarks(NOW, None)[0]
    near, far = Bookmark(NOW - MINUTE, MINUTE, "near"), Bookmark(NOW - 9 * MINUTE, MINUTE, "far")
    list_index.follow([first], first, near)
    list_index.follow([near], near, far)

    assert list_index.follow([near, far], far, None) == [near]
    assert list_index.bookmarks(NOW, None) == [first, near]


def test_when_there_are_too_many_places_every_second_one_is_kept() -> None:
    list_index = ListIndex()
    first = list_index.bookmarks(NOW, None)[0]
    for place in range(MOST_BOOKMARKS):
        list_index.follow([], first, Bookmark(NOW - (place + 1) * MINUTE, MINUTE, f"{place}"))
    assert len(list_index.bookmarks(NOW, None)) == 1 + MOST_BOOKMARKS

    list_index.follow(
        [], first, Bookmark(NOW - (MOST_BOOKMARKS + 1) * MINUTE, MINUTE, "one too many")
    )

    assert [bookmark.cursor for bookmark in list_index.bookmarks(NOW, None)[1:4]] == ["0", "2", "4"]
    assert len(list_index.bookmarks(NOW, None)) == 2 + MOST_BOOKMARKS // 2
