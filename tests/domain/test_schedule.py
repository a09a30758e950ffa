"""Which rows are looked at by list page, and when a row is looked at again."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rindle_sync.domain import (
    ATTEMPTS,
    Due,
    ErrorKind,
    FailureKind,
    FetchFailure,
    Observation,
    Policy,
    ProviderAsset,
    Schedule,
    State,
    decide,
    next_check,
    regular_check,
    replace,
    retry_gap,
)
from rindle_sync.reconcile import (
    LIST_RESTS,
    MOST_BOOKMARKS,
    Bookmark,
    DecayingRate,
    ListIndex,
    PageCandidate,
    next_page,
    place_above,
    standing_on,
)
from tests.support.rows import NOW, a_404, a_look, a_row, a_webhook

POLICY = Policy()
SCHEDULE = Schedule()
MINUTE = timedelta(minutes=1)


def gap(row: ProviderAsset, observation: Observation | FetchFailure | None) -> timedelta | None:
    decision = decide(row, observation, NOW, POLICY)
    at = next_check(decision, observation, NOW, POLICY, SCHEDULE)
    return None if at is None else at - NOW


def failure(
    kind: FailureKind = FailureKind.UNREACHABLE, wait: timedelta | None = None
) -> FetchFailure:
    return FetchFailure(kind=kind, at=NOW, text="mux answered 500", wait=wait)


def jittered(span: timedelta) -> tuple[timedelta, timedelta]:
    return span, span * (1 + SCHEDULE.jitter)


def test_a_new_row_is_looked_at_after_the_floor() -> None:
    row = a_row(updated_at=NOW)
    low, high = jittered(SCHEDULE.floor)

    assert low <= (regular_check(row, NOW, POLICY, SCHEDULE) or NOW) - NOW <= high


def test_a_row_without_any_id_cannot_be_looked_at() -> None:
    assert regular_check(a_row(provider_asset_id=None), NOW, POLICY, SCHEDULE) is None


def test_the_gap_grows_with_the_age_of_a_row_in_flight() -> None:
    young, older = (
        gap(a_row(updated_at=NOW - n * MINUTE), a_look(State.PROCESSING)) for n in (4, 20)
    )
    assert young
    assert older
    assert young < older <= SCHEDULE.cap * (1 + SCHEDULE.jitter)


def test_a_row_is_looked_at_as_soon_as_it_passes_the_threshold() -> None:
    row = a_row(updated_at=NOW - POLICY.stuck_threshold + MINUTE)

    assert gap(row, a_look(State.PROCESSING)) == MINUTE + timedelta(microseconds=1)


@pytest.mark.parametrize("state", [State.READY, State.ERRORED])
def test_a_row_at_rest_is_left_alone(state: State) -> None:
    assert gap(a_row(), a_look(state)) is None


def test_a_tombstone_is_left_alone() -> None:
    assert gap(a_row(check_at=NOW), a_webhook(State.DELETED)) is None


@pytest.mark.parametrize("kind", [ErrorKind.STUCK, ErrorKind.NOT_FOUND])
def test_a_watched_row_is_looked_at_with_growing_gaps_until_the_recovery_days_are_over(
    kind: ErrorKind,
) -> None:
    def watched(age: timedelta) -> timedelta | None:
        observation = a_look(State.PROCESSING) if kind is ErrorKind.STUCK else a_404()
        return gap(a_row(State.ERRORED, error_kind=kind, updated_at=NOW - age), observation)

    fresh, later = watched(timedelta(0)), watched(timedelta(hours=10))
    assert fresh
    assert later
    assert SCHEDULE.watch_floor <= fresh < later
    assert watched(SCHEDULE.recovery) is not None
    assert watched(SCHEDULE.recovery + timedelta(microseconds=1)) is None


def test_a_suspected_row_is_looked_at_when_the_second_404_counts() -> None:
    assert gap(a_row(State.READY), a_404()) == POLICY.confirm


def test_a_row_in_doubt_is_due_now() -> None:
    assert gap(a_row(State.READY), a_webhook(State.ERRORED)) == timedelta(0)


def test_a_stale_webhook_does_not_put_off_a_look() -> None:
    row = a_row(State.READY, check_at=NOW - MINUTE)

    assert gap(row, a_webhook(State.PROCESSING)) == -MINUTE


def test_a_stale_look_is_followed_by_another() -> None:
    row = a_row(observed_at=NOW, check_at=NOW - MINUTE)

    assert gap(row, a_look(at=NOW - MINUTE)) == SCHEDULE.floor


def test_a_look_without_an_answer_is_tried_again_soon_and_the_third_time_like_any_other() -> None:
    row = a_row(updated_at=NOW - 60 * MINUTE)
    gaps = [gap(replace(row, check_failures=n), failure()) for n in range(ATTEMPTS)]

    assert gaps[:2] == [SCHEDULE.retry, 2 * SCHEDULE.retry]
    assert gaps[2] is not None
    assert gaps[2] >= SCHEDULE.cap


def test_a_row_at_rest_in_doubt_is_not_forgotten_when_the_provider_is_silent() -> None:
    assert gap(a_row(State.READY, check_failures=5), failure()) is not None


def test_a_throttled_look_waits_as_long_as_the_provider_asks() -> None:
    assert gap(a_row(), failure(FailureKind.THROTTLED, 7 * MINUTE)) == 7 * MINUTE


@given(st.uuids().map(str), st.integers(1, 1000))
def test_the_jitter_is_the_same_for_the_same_row_and_version_and_within_its_share(
    row_id: str, version: int
) -> None:
    row = a_row(id=row_id, version=version, updated_at=NOW - 8 * MINUTE)
    low, high = jittered(2 * MINUTE)

    first, second = gap(row, a_look(State.PROCESSING)), gap(row, a_look(State.PROCESSING))
    assert first == second
    assert first
    assert low <= first <= high


# to the second, without jitter


def exactly(row: ProviderAsset, observation: Observation | FetchFailure | None) -> timedelta | None:
    decision = decide(row, observation, NOW, POLICY)
    at = next_check(decision, observation, NOW, POLICY, Schedule(jitter=0))
    return None if at is None else at - NOW


@pytest.mark.parametrize(
    ("failures", "seconds"), [(0, 5), (1, 5), (2, 10), (3, 20), (11, 5120), (12, 5120)]
)
def test_the_wait_after_a_look_without_an_answer_doubles_ten_times(
    failures: int, seconds: int
) -> None:
    assert retry_gap(failures, SCHEDULE) == timedelta(seconds=seconds)


@pytest.mark.parametrize(("age", "minutes"), [(0, 0.5), (2, 0.5), (20, 5), (90, 10), (119.8, 0.5)])
def test_a_row_in_flight_waits_a_quarter_of_its_age(age: float, minutes: float) -> None:
    assert (
        exactly(a_row(updated_at=NOW - age * MINUTE), a_look(State.PROCESSING)) == minutes * MINUTE
    )


@pytest.mark.parametrize(("age", "minutes"), [(0, 5), (60, 15), (6 * 24 * 60, 6 * 60)])
def test_a_watched_row_waits_a_quarter_of_its_age_within_bounds_of_its_own(
    age: float, minutes: float
) -> None:
    row = a_row(State.ERRORED, error_kind=ErrorKind.STUCK, updated_at=NOW - age * MINUTE)

    assert exactly(row, a_look(State.PROCESSING)) == minutes * MINUTE


@pytest.mark.parametrize("state", [State.PENDING, State.UPLOADING])
def test_a_row_whose_upload_is_known_is_looked_at_like_any_other_in_flight(state: State) -> None:
    row = a_row(
        state, provider_asset_id=None, provider_upload_id="upload-1", updated_at=NOW - 20 * MINUTE
    )

    assert regular_check(row, NOW, POLICY, Schedule(jitter=0)) == NOW + 5 * MINUTE


def test_a_row_that_waits_for_its_upload_is_looked_at_when_the_upload_should_have_begun() -> None:
    row = a_row(State.PENDING, provider_asset_id=None, updated_at=NOW - MINUTE)

    assert regular_check(row, NOW, POLICY, SCHEDULE) == NOW - MINUTE + POLICY.begin_grace
    assert gap(row, None) == POLICY.begin_grace - MINUTE


def test_a_tombstone_that_comes_from_a_second_404_is_left_alone() -> None:
    assert (
        gap(a_row(State.READY, missing_since=NOW - timedelta(hours=1), check_at=NOW), a_404())
        is None
    )


def test_a_webhook_that_changes_a_row_sets_its_next_look_anew() -> None:
    row = a_row(State.UPLOADING, check_at=NOW - MINUTE, updated_at=NOW - 20 * MINUTE)

    assert exactly(row, a_webhook(State.PROCESSING)) == SCHEDULE.floor


def test_a_webhook_that_says_what_we_know_does_not_put_off_a_look() -> None:
    assert (
        gap(a_row(State.PROCESSING, check_at=NOW - MINUTE), a_webhook(State.PROCESSING)) == -MINUTE
    )


def test_a_stale_look_at_a_row_at_rest_is_followed_by_none() -> None:
    assert gap(a_row(State.READY, observed_at=NOW), a_look(at=NOW - MINUTE)) is None


@pytest.mark.parametrize(
    ("since", "wait"), [(4 * MINUTE, 6 * MINUTE), (POLICY.confirm - MINUTE / 6, MINUTE / 2)]
)
def test_a_suspected_row_that_is_found_missing_too_soon_is_looked_at_when_it_counts_but_not_at_once(
    since: timedelta, wait: timedelta
) -> None:
    assert gap(a_row(State.READY, missing_since=NOW - since), a_404()) == wait


def test_a_refused_look_leaves_the_row_due_as_it_was() -> None:
    assert gap(a_row(check_at=NOW - MINUTE), failure(FailureKind.REFUSED)) == -MINUTE
    assert gap(a_row(check_at=None), failure(FailureKind.REFUSED)) == timedelta(0)


def test_a_throttled_look_that_names_no_wait_waits_for_the_floor() -> None:
    assert gap(a_row(), failure(FailureKind.THROTTLED)) == SCHEDULE.floor


def test_a_row_that_would_be_looked_at_sooner_anyway_does_not_wait_for_a_retry() -> None:
    young = a_row(updated_at=NOW, check_failures=3)

    assert retry_gap(4, SCHEDULE) > SCHEDULE.floor
    assert exactly(young, failure()) == SCHEDULE.floor


@pytest.mark.parametrize(("failures", "wait"), [(2, 4 * SCHEDULE.retry), (9, SCHEDULE.cap)])
def test_a_row_at_rest_that_gets_no_answer_is_retried_with_gaps_up_to_the_cap(
    failures: int, wait: timedelta
) -> None:
    assert gap(a_row(State.READY, check_failures=failures), failure()) == wait


def test_a_row_at_rest_whose_answer_the_database_refuses_is_retried_ever_more_seldom() -> None:
    row = a_row(State.READY, check_failures=9)

    assert gap(row, failure(FailureKind.CLASH)) == retry_gap(10, SCHEDULE) > SCHEDULE.cap


def test_rows_of_one_age_are_drawn_apart_over_the_whole_jitter() -> None:
    rows = [a_row(id=f"row-{n}", updated_at=NOW - 8 * MINUTE) for n in range(200)]
    low, high = jittered(2 * MINUTE)

    drawn = sorted(
        ((gap(row, a_look(State.PROCESSING)) or low) - low) / (high - low) for row in rows
    )

    assert drawn[0] < 0.05
    assert drawn[-1] > 0.95
    assert 0.4 < sum(drawn) / len(drawn) < 0.6


@pytest.mark.parametrize(
    ("row_id", "days"),  # the CRC of the first is 0, that of the second has every bit set
    [("21331012-0020-4002-8010-000000000000", 100), ("21100021-2232-4123-8110-000000000000", 110)],
)
def test_the_jitter_goes_from_nothing_to_its_whole_share(row_id: str, days: int) -> None:
    updated_at = NOW - timedelta(days=400)
    row = a_row(State.ERRORED, error_kind=ErrorKind.STUCK, id=row_id, updated_at=updated_at)
    schedule = Schedule(watch_cap=timedelta(days=365), recovery=timedelta(days=365 * 2))

    assert regular_check(row, NOW, POLICY, schedule) == NOW + timedelta(days=days)


def test_a_row_is_drawn_anew_with_each_version() -> None:
    gaps = {
        gap(a_row(id="row-1", version=n, updated_at=NOW - 8 * MINUTE), a_look(State.PROCESSING))
        for n in range(9)
    }

    assert len(gaps) == 9


# by list page or by id


def wanted(*ages: float, chance: float = 1.0) -> list[PageCandidate]:
    """Rows whose assets were made so many minutes ago."""
    rows = (
        PageCandidate(f"row-{place}", NOW - age * MINUTE, chance, is_linked=True)
        for place, age in enumerate(ages)
    )
    return sorted(rows, key=lambda candidate: candidate.created_at, reverse=True)


def first_page(*, down_to: float) -> Bookmark:
    return Bookmark(NOW, down_to * MINUTE)


def test_a_page_that_should_answer_two_rows_is_worth_its_call() -> None:
    assert next_page(wanted(1, 9), [first_page(down_to=10)], 0) == first_page(down_to=10)


@pytest.mark.parametrize("rows", [wanted(), wanted(1), wanted(1, 11), wanted(11, 12)])
def test_a_page_that_should_answer_no_more_than_one_is_not(rows: list[PageCandidate]) -> None:
    assert next_page(rows, [first_page(down_to=10)], 0) is None


def test_a_row_at_the_very_end_of_a_page_stands_on_it() -> None:
    assert next_page(wanted(10, 10), [first_page(down_to=10)], 0)


def test_what_pages_have_saved_may_be_spent_on_the_way_to_more_rows() -> None:
    far = wanted(*(35 + n / 10 for n in range(20)))

    assert next_page(far, [first_page(down_to=10)], 2) is None
    assert next_page(far, [first_page(down_to=10)], 3)


def test_no_more_is_spent_on_the_way_than_a_share_of_what_the_rows_would_cost_by_id() -> None:
    few = wanted(*(55 + n / 10 for n in range(12)))

    assert next_page(few, [first_page(down_to=10)], 1000) is None


def test_what_was_lost_is_not_gambled_with_again() -> None:
    assert next_page(wanted(1, 2, 3), [first_page(down_to=10)], -1) is None


def test_a_list_that_never_holds_what_it_should_is_not_asked() -> None:
    assert next_page(wanted(*range(20), chance=0.04), [first_page(down_to=10)], 0) is None
    assert next_page(wanted(*range(20)), [first_page(down_to=10)], 0)


def test_rows_that_make_no_page_pay_are_gone_through_once_for_each_place() -> None:
    class Counted(Sequence[PageCandidate]):
        """Rows that count how often they are read by their place."""

        def __init__(self, rows: list[PageCandidate]) -> None:
            self.rows, self.reads = rows, 0

        def __len__(self) -> int:
            return len(self.rows)

        def __iter__(self) -> Iterator[PageCandidate]:
            return iter(self.rows)

        def __getitem__(self, place: Any) -> Any:
            self.reads += 1
            return self.rows[place]

    rows = Counted(wanted(*range(100), chance=0))

    assert next_page(rows, [first_page(down_to=100)], 1000) is None
    assert rows.reads <= 2 * len(rows)


def test_a_page_is_begun_at_the_nearest_place_above_the_rows() -> None:
    far = Bookmark(NOW - 600 * MINUTE, 10 * MINUTE, "far")
    farther = Bookmark(NOW - 700 * MINUTE, 10 * MINUTE, "farther")

    assert next_page(wanted(701, 702), [first_page(down_to=10), far, farther], 0) == farther
    assert next_page(wanted(601, 602), [first_page(down_to=10), far, farther], 0) == far
    assert next_page(
        wanted(1, 2, 701, 702), [first_page(down_to=10), far, farther], 0
    ) == first_page(down_to=10)
    assert next_page(wanted(1, 605, 701, 702), [first_page(down_to=10), far, farther], 0) == farther


def test_a_row_whose_asset_was_made_ahead_of_our_clock_stands_on_the_first_page() -> None:
    assert next_page(wanted(-3, -2), [first_page(down_to=10)], 0)


@given(
    st.lists(st.floats(-5, 100_000), max_size=60),
    st.lists(st.tuples(st.floats(0, 100_000), st.floats(0.001, 5000)), max_size=10),
    st.integers(-5, 200),
)
def test_a_page_is_only_ever_asked_for_where_it_may_pay(
    ages: list[float], places: list[tuple[float, float]], bank: int
) -> None:
    bookmarks = [
        Bookmark(NOW - age * MINUTE, span * MINUTE, f"{age}") for age, span in sorted(places)
    ]

    bookmark = next_page(wanted(*ages), [first_page(down_to=60), *bookmarks], bank)

    assert bookmark is None or (bank >= 0 and len(ages) >= 2)


def test_a_page_of_strangers_at_one_moment_lets_us_hope_less_with_each() -> None:
    bookmark = Bookmark(NOW, 60 * MINUTE, "cursor")
    spans = []
    for _ in range(3):
        bookmark = bookmark.following(
            bookmark.reach, bookmark.reach - timedelta(seconds=1), "cursor"
        )
        spans.append(bookmark.span)

    assert spans == [30 * MINUTE, 15 * MINUTE, 7.5 * MINUTE]


def test_an_estimate_moves_with_what_is_seen_and_recovers_with_time() -> None:
    estimate = DecayingRate(1.0)
    for _ in range(20):
        estimate.learn(0, 100, NOW)

    low = estimate.value_at(NOW)
    assert low < 0.05
    assert (
        low
        < estimate.value_at(NOW + timedelta(hours=2))
        < estimate.value_at(NOW + timedelta(hours=4))
    )
    assert estimate.value_at(NOW + timedelta(days=1)) == 1.0


def test_few_sightings_move_an_estimate_little() -> None:
    estimate = DecayingRate(1.0)
    estimate.learn(0, 1, NOW)

    assert estimate.value_at(NOW) > 0.9


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


def test_a_place_that_leads_nowhere_is_forgotten_and_the_list_rests_a_while() -> None:
    list_index, due = ListIndex(), [a_due(place) for place in range(5)]
    bookmark = Bookmark(NOW - MINUTE, MINUTE, "cursor")
    list_index.follow([], list_index.bookmarks(NOW, None)[0], bookmark)

    list_index.fail(bookmark, NOW)

    assert [known.cursor for known in list_index.bookmarks(NOW, None)] == [None]
    assert list_index.candidates(due, NOW, POLICY, SCHEDULE) == []
    assert len(list_index.candidates(due, NOW + LIST_RESTS, POLICY, SCHEDULE)) == 5


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


def test_rows_that_no_page_can_answer_are_not_wanted_of_one() -> None:
    list_index = ListIndex()
    none = [
        a_due(1, State.ERRORED, error_kind=ErrorKind.NOT_FOUND),
        a_due(2, State.READY, missing_since=NOW),
        a_due(3, provider_asset_id=None),
        a_due(4, updated_at=NOW - timedelta(hours=3)),
    ]

    assert list_index.candidates(none, NOW, POLICY, SCHEDULE) == []


def test_a_row_past_the_threshold_is_wanted_when_we_are_to_blame() -> None:
    late = a_due(1, updated_at=NOW - timedelta(hours=3), check_at=NOW - timedelta(hours=1))

    assert [
        candidate.id for candidate in ListIndex().candidates([late], NOW, POLICY, SCHEDULE)
    ] == [late.id]


def test_an_upload_is_less_likely_to_be_listed_than_an_asset() -> None:
    upload = a_due(1, provider_asset_id=None, provider_upload_id="upload")
    [asked] = ListIndex().candidates([upload], NOW, POLICY, SCHEDULE)

    assert (asked.is_linked, asked.chance) == (False, 0.25)


def test_what_a_page_may_answer_comes_newest_first_with_the_chance_of_each() -> None:
    list_index = ListIndex()
    list_index.learn(
        [PageCandidate(f"{n}", NOW, 1.0, is_linked=True) for n in range(60)], set(), NOW
    )
    list_index.learn(
        [PageCandidate(f"{n}", NOW, 1.0, is_linked=False) for n in range(60)], set(), NOW
    )
    older, newer = a_due(20), a_due(10)
    upload = a_due(15, State.UPLOADING, provider_asset_id=None, provider_upload_id="upload-1")
    later = NOW + timedelta(hours=1)

    assert list_index.candidates([older, upload, newer], later, POLICY, SCHEDULE) == [
        PageCandidate(newer.id, newer.provider_created_at, 0.5, is_linked=True),
        PageCandidate(upload.id, upload.provider_created_at, 0.125, is_linked=False),
        PageCandidate(older.id, older.provider_created_at, 0.5, is_linked=True),
    ]


@pytest.mark.parametrize(
    ("check_at", "count"),
    [(NOW - SCHEDULE.cap, 0), (NOW - SCHEDULE.cap - timedelta(microseconds=1), 1), (None, 0)],
)
def test_we_are_to_blame_for_a_row_past_the_threshold_only_when_it_was_due_for_longer_than_the_cap(
    check_at: datetime | None, count: int
) -> None:
    late = a_due(1, updated_at=NOW - timedelta(hours=3), check_at=check_at)

    assert len(ListIndex().candidates([late], NOW, POLICY, SCHEDULE)) == count


def test_assets_and_uploads_are_learned_of_apart() -> None:
    list_index, linked, uploads = ListIndex(), DecayingRate(1.0), DecayingRate(0.25)
    expected = [
        PageCandidate("asset-1", NOW, 1.0, is_linked=True),
        PageCandidate("asset-2", NOW, 1.0, is_linked=True),
        PageCandidate("asset-3", NOW, 1.0, is_linked=True),
        PageCandidate("upload-1", NOW, 1.0, is_linked=False),
    ]

    list_index.learn(expected, {"asset-1", "upload-1", "a stranger"}, NOW)

    linked.learn(1, 3, NOW)
    uploads.learn(1, 1, NOW)
    assert (list_index.linked_rate, list_index.upload_rate) == (linked, uploads)


def test_before_anything_is_learned_every_entry_is_thought_to_be_ours() -> None:
    assert ListIndex().tracked_rate == DecayingRate(1.0)


def test_a_list_that_is_not_to_be_trusted_promises_nothing() -> None:
    assert [
        candidate.chance
        for candidate in ListIndex(trust=0).candidates([a_due(1)], NOW, POLICY, SCHEDULE)
    ] == [0]


def test_what_is_learned_counts_by_how_much_was_seen() -> None:
    estimate = DecayingRate(1.0)

    estimate.learn(15, 60, NOW)
    assert estimate.value_at(NOW) == pytest.approx(1 - 0.75 * 0.75)
    estimate.learn(0, 0, NOW + timedelta(hours=1))
    assert estimate.value == pytest.approx(0.4375)
    assert estimate.at == NOW


@pytest.mark.parametrize(
    ("value", "hours", "by_then"),
    [
        (0.1, 0, 0.1),
        (0.1, -1, 1.0),  # a clock was set back: nothing is known
        (0.1, 0.5, 0.1 * 2**0.5),
        (0.1, 1, 0.2),
        (0.1, 2, 0.4),
        (0.1, 4, 1.0),
        (0, 1, 0.02),
    ],
)
def test_a_share_of_which_nothing_more_is_learned_doubles_every_hour(
    value: float, hours: float, by_then: float
) -> None:
    estimate = DecayingRate(1.0, at=NOW)
    estimate.value = value

    assert estimate.value_at(NOW + timedelta(hours=hours)) == pytest.approx(by_then)


def test_a_share_that_recovers_without_end_is_that_at_rest() -> None:
    estimate = DecayingRate(0.5, at=NOW - timedelta(days=36_500))
    estimate.value = 0

    assert estimate.value_at(NOW) == 0.5


@pytest.mark.parametrize(
    ("cursor", "newest", "oldest", "span"),
    [
        (None, 1, 3, 2),
        (None, -7, 3, 3),
        ("c", 1, 3, 30),
        ("c", 1, 91, 90),
        (None, 3, 3, 1 / 60_000),
    ],
)
def test_the_place_after_a_page_goes_on_where_the_page_ended(
    cursor: str | None, newest: float, oldest: float, span: float
) -> None:
    page = Bookmark(NOW, 60 * MINUTE, cursor)

    following = page.following(NOW - newest * MINUTE, NOW - oldest * MINUTE, "next")

    assert following == Bookmark(NOW - oldest * MINUTE, span * MINUTE, "next")


def test_the_first_place_is_ahead_of_our_clock_and_reaches_to_where_the_last_first_page_ended() -> (
    None
):
    ahead, list_index = NOW + 5 * MINUTE, ListIndex()

    assert list_index.bookmarks(NOW, None) == [Bookmark(ahead, timedelta(days=36_500))]
    assert list_index.bookmarks(NOW, NOW - 60 * MINUTE) == [Bookmark(ahead, 65 * MINUTE)]
    assert list_index.bookmarks(NOW, ahead + MINUTE) == [Bookmark(ahead, timedelta(milliseconds=1))]


def test_a_place_that_is_reached_is_kept_once_and_in_its_order() -> None:
    list_index = ListIndex()
    first = list_index.bookmarks(NOW, None)[0]
    near, far = Bookmark(NOW - MINUTE, MINUTE, "near"), Bookmark(NOW - 9 * MINUTE, MINUTE, "far")
    again = Bookmark(near.reach, MINUTE, "again")

    assert list_index.follow([first], first, far) == [far]
    assert list_index.follow([far, near], far, near) == [near, near]
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


def test_without_any_place_no_page_is_asked_for() -> None:
    assert next_page(wanted(1, 2), [], 0) is None


@pytest.mark.parametrize(
    ("reach", "oldest", "span"),
    [
        (5, 20, (1, 3)),
        (0, 20, (0, 3)),
        (5, None, (1, 4)),
        (6, 2, (2, 2)),
        (5, 4, (1, 1)),
        (30, None, (4, 4)),
    ],
)
def test_the_rows_that_should_stand_on_a_page_are_those_between_its_ends(
    reach: float, oldest: float | None, span: tuple[int, int]
) -> None:
    down_to = None if oldest is None else NOW - oldest * MINUTE

    assert (
        standing_on(wanted(1, 5, 10, 20), Bookmark(NOW - reach * MINUTE, MINUTE), down_to) == span
    )


@pytest.mark.parametrize(
    ("age", "place"), [(-1, 0), (0, 0), (9, 0), (10, 1), (15, 1), (20, 2), (99, 2)]
)
def test_an_asset_is_looked_for_from_the_nearest_place_above_it(age: float, place: int) -> None:
    bookmarks = [Bookmark(NOW - reach * MINUTE, MINUTE, f"{reach}") for reach in (0, 10, 20)]

    assert place_above(bookmarks, NOW - age * MINUTE) == bookmarks[place]
