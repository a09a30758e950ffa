"""Which rows are looked at by list page, and when a row is looked at again."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rindle_sync.asset import Due, ErrorKind, Lack, ProviderAsset, Seen, Silence, State
from rindle_sync.decide import Policy, decide
from rindle_sync.plan import (
    ATTEMPTS,
    LIST_RESTS,
    MOST_MARKS,
    Atlas,
    Estimate,
    Mark,
    Schedule,
    Wanted,
    first_check,
    next_check,
    next_page,
)
from tests.rows import NOW, a_404, a_look, a_row, a_webhook

POLICY = Policy()
SCHEDULE = Schedule()
MINUTE = timedelta(minutes=1)


def gap(row: ProviderAsset, seen: Seen | Silence | None) -> timedelta | None:
    decision = decide(row, seen, NOW, POLICY)
    at = next_check(decision, seen, NOW, POLICY, SCHEDULE)
    return None if at is None else at - NOW


def silence(lack: Lack = Lack.UNREACHABLE, wait: timedelta | None = None) -> Silence:
    return Silence(lack=lack, at=NOW, text="mux answered 500", wait=wait)


def jittered(span: timedelta) -> tuple[timedelta, timedelta]:
    return span, span * (1 + SCHEDULE.jitter)


def test_a_new_row_is_looked_at_after_the_floor() -> None:
    row = a_row(updated_at=NOW)
    low, high = jittered(SCHEDULE.floor)

    assert low <= (first_check(row, NOW, POLICY, SCHEDULE) or NOW) - NOW <= high


def test_a_row_without_any_id_cannot_be_looked_at() -> None:
    assert first_check(a_row(provider_asset_id=None), NOW, POLICY, SCHEDULE) is None


def test_the_gap_grows_with_the_age_of_a_row_in_flight() -> None:
    young, older = (gap(a_row(updated_at=NOW - n * MINUTE), a_look(State.PROCESSING)) for n in (4, 20))
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
def test_a_watched_row_is_looked_at_with_growing_gaps_until_the_recovery_days_are_over(kind: ErrorKind) -> None:
    def watched(age: timedelta) -> timedelta | None:
        seen = a_look(State.PROCESSING) if kind is ErrorKind.STUCK else a_404()
        return gap(a_row(State.ERRORED, error_kind=kind, updated_at=NOW - age), seen)

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
    row = a_row(seen_at=NOW, check_at=NOW - MINUTE)

    assert gap(row, a_look(at=NOW - MINUTE)) == SCHEDULE.floor


def test_a_look_without_an_answer_is_tried_again_soon_and_the_third_time_like_any_other() -> None:
    row = a_row(updated_at=NOW - 60 * MINUTE)
    gaps = [gap(replace(row, check_failures=n), silence()) for n in range(ATTEMPTS)]

    assert gaps[:2] == [SCHEDULE.retry, 2 * SCHEDULE.retry]
    assert gaps[2] is not None
    assert gaps[2] >= SCHEDULE.cap


def test_a_row_at_rest_in_doubt_is_not_forgotten_when_the_provider_is_silent() -> None:
    assert gap(a_row(State.READY, check_failures=5), silence()) is not None


def test_a_throttled_look_waits_as_long_as_the_provider_asks() -> None:
    assert gap(a_row(), silence(Lack.THROTTLED, 7 * MINUTE)) == 7 * MINUTE


@given(st.uuids().map(str), st.integers(1, 1000))
def test_the_jitter_is_the_same_for_the_same_row_and_version_and_within_its_share(row_id: str, version: int) -> None:
    row = a_row(id=row_id, version=version, updated_at=NOW - 8 * MINUTE)
    low, high = jittered(2 * MINUTE)

    first, second = gap(row, a_look(State.PROCESSING)), gap(row, a_look(State.PROCESSING))
    assert first == second
    assert first
    assert low <= first <= high


# by list page or by id


def wanted(*ages: float, chance: float = 1.0) -> list[Wanted]:
    """Rows whose assets were made so many minutes ago."""
    rows = (Wanted(f"row-{place}", NOW - age * MINUTE, chance, is_linked=True) for place, age in enumerate(ages))
    return sorted(rows, key=lambda one: one.created_at, reverse=True)


def first_page(*, down_to: float) -> Mark:
    return Mark(NOW, down_to * MINUTE)


def test_a_page_that_should_answer_two_rows_is_worth_its_call() -> None:
    assert next_page(wanted(1, 9), [first_page(down_to=10)], 0) == first_page(down_to=10)


@pytest.mark.parametrize("rows", [wanted(), wanted(1), wanted(1, 11), wanted(11, 12)])
def test_a_page_that_should_answer_no_more_than_one_is_not(rows: list[Wanted]) -> None:
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


def test_a_page_is_begun_at_the_nearest_place_above_the_rows() -> None:
    far = Mark(NOW - 600 * MINUTE, 10 * MINUTE, "far")
    farther = Mark(NOW - 700 * MINUTE, 10 * MINUTE, "farther")

    assert next_page(wanted(701, 702), [first_page(down_to=10), far, farther], 0) == farther
    assert next_page(wanted(601, 602), [first_page(down_to=10), far, farther], 0) == far
    assert next_page(wanted(1, 2, 701, 702), [first_page(down_to=10), far, farther], 0) == first_page(down_to=10)
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
    marks = [Mark(NOW - age * MINUTE, span * MINUTE, f"{age}") for age, span in sorted(places)]

    mark = next_page(wanted(*ages), [first_page(down_to=60), *marks], bank)

    assert mark is None or (bank >= 0 and len(ages) >= 2)


def test_a_page_of_strangers_at_one_moment_lets_us_hope_less_with_each() -> None:
    mark = Mark(NOW, 60 * MINUTE, "cursor")
    spans = []
    for _ in range(3):
        mark = mark.following(mark.reach, mark.reach - timedelta(seconds=1), "cursor")
        spans.append(mark.span)

    assert spans == [30 * MINUTE, 15 * MINUTE, 7.5 * MINUTE]


def test_an_estimate_moves_with_what_is_seen_and_recovers_with_time() -> None:
    estimate = Estimate(1.0)
    for _ in range(20):
        estimate.learn(0, 100, NOW)

    low = estimate.by(NOW)
    assert low < 0.05
    assert low < estimate.by(NOW + timedelta(hours=2)) < estimate.by(NOW + timedelta(hours=4))
    assert estimate.by(NOW + timedelta(days=1)) == 1.0


def test_few_sightings_move_an_estimate_little() -> None:
    estimate = Estimate(1.0)
    estimate.learn(0, 1, NOW)

    assert estimate.by(NOW) > 0.9


def test_no_more_places_are_remembered_than_needed() -> None:
    atlas = Atlas()
    for place in range(3 * MOST_MARKS):
        top = atlas.marks(NOW, None)[0]
        atlas.follow([], top, Mark(NOW - place * MINUTE, MINUTE, f"{place}"))

    known = atlas.marks(NOW + MINUTE, None)
    assert MOST_MARKS / 2 < len(known) <= MOST_MARKS + 1
    assert [mark.reach for mark in known] == sorted((mark.reach for mark in known), reverse=True)


def test_a_place_that_leads_nowhere_is_forgotten_and_the_list_rests_a_while() -> None:
    atlas, due = Atlas(), [a_due(place) for place in range(5)]
    mark = Mark(NOW - MINUTE, MINUTE, "cursor")
    atlas.follow([], atlas.marks(NOW, None)[0], mark)

    atlas.fail(mark, NOW)

    assert [known.cursor for known in atlas.marks(NOW, None)] == [None]
    assert atlas.wanted(due, NOW, POLICY, SCHEDULE) == []
    assert len(atlas.wanted(due, NOW + LIST_RESTS, POLICY, SCHEDULE)) == 5


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
    atlas = Atlas()
    none = [
        a_due(1, State.ERRORED, error_kind=ErrorKind.NOT_FOUND),
        a_due(2, State.READY, missing_since=NOW),
        a_due(3, provider_asset_id=None),
        a_due(4, updated_at=NOW - timedelta(hours=3)),
    ]

    assert atlas.wanted(none, NOW, POLICY, SCHEDULE) == []


def test_a_row_past_the_threshold_is_wanted_when_we_are_to_blame() -> None:
    late = a_due(1, updated_at=NOW - timedelta(hours=3), check_at=NOW - timedelta(hours=1))

    assert [one.id for one in Atlas().wanted([late], NOW, POLICY, SCHEDULE)] == [late.id]


def test_an_upload_is_less_likely_to_be_listed_than_an_asset() -> None:
    upload = a_due(1, provider_asset_id=None, provider_upload_id="upload")
    [asked] = Atlas().wanted([upload], NOW, POLICY, SCHEDULE)

    assert (asked.is_linked, asked.chance) == (False, 0.25)
