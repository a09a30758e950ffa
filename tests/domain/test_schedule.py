"""When a row is checked again."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rindle_sync.domain import (
    ATTEMPTS,
    ErrorKind,
    FailureKind,
    FetchFailure,
    Observation,
    Policy,
    ProviderAsset,
    Schedule,
    State,
    decide,
    is_nearly_due,
    next_check,
    regular_check,
    replace,
    retry_gap,
)
from tests.support.rows import NOW, a_404, a_look, a_row, a_webhook

POLICY = Policy()
SCHEDULE = Schedule()
MINUTE = timedelta(minutes=1)
PREPARING = a_look(State.PROCESSING)


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


@given(st.integers(0, 100_000), st.text("abc", min_size=1, max_size=3))
def test_the_jitter_is_within_its_share(hours: int, environment: str) -> None:
    created_at = NOW - timedelta(hours=hours)
    row = a_row(
        environment=environment, provider_created_at=created_at, updated_at=NOW - 8 * MINUTE
    )
    low, high = jittered(2 * MINUTE)

    assert low <= (gap(row, a_look(State.PROCESSING)) or low - MINUTE) <= high


def test_neighbours_in_the_list_come_due_together() -> None:
    gaps = {gap(made(minutes, id=f"row-{minutes}"), PREPARING) for minutes in range(60)}

    assert len(gaps) == 1


def test_pages_and_environments_are_drawn_apart_over_the_whole_jitter() -> None:
    rows = [made(60 * hours) for hours in range(200)]
    rows += [made(0, environment=f"env-{number}") for number in range(200)]
    low, high = jittered(2 * MINUTE)

    drawn = sorted(((gap(row, PREPARING) or low) - low) / (high - low) for row in rows)

    assert drawn[0] < 0.05
    assert drawn[-1] > 0.95
    assert 0.4 < sum(drawn) / len(drawn) < 0.6


def made(minutes: int, **values: Any) -> ProviderAsset:
    """A row whose asset was made so many minutes after some full hour."""
    at = NOW.replace(minute=0, second=0, microsecond=0) - timedelta(days=30)
    created_at = at + minutes * MINUTE
    return a_row(provider_created_at=created_at, updated_at=NOW - 8 * MINUTE, **values)


# what a page shows before the time


@pytest.mark.parametrize(("checked", "due_in"), [(15, 15), (29, 1), (300, 300)])
def test_a_page_that_shows_a_row_when_half_of_its_time_is_over_counts_as_its_check(
    checked: int, due_in: int
) -> None:
    assert is_nearly_due(checked_and_due(checked, due_in), NOW)


@pytest.mark.parametrize(("checked", "due_in"), [(14, 16), (0, 30), (1, 600)])
def test_a_page_that_shows_a_row_sooner_does_not(checked: int, due_in: int) -> None:
    assert not is_nearly_due(checked_and_due(checked, due_in), NOW)


def checked_and_due(checked: int, due_in: int) -> ProviderAsset:
    """A row that was checked, and will be due, so many seconds from now."""
    return a_row(
        updated_at=NOW - timedelta(hours=1),
        checked_at=NOW - timedelta(seconds=checked),
        check_at=NOW + timedelta(seconds=due_in),
    )


def test_a_row_that_is_never_to_be_checked_is_not_nearly_due() -> None:
    assert not is_nearly_due(a_row(State.READY, check_at=None), NOW)


def test_a_row_that_was_not_checked_since_it_changed_is_nearly_due_by_its_change() -> None:
    row = a_row(
        updated_at=NOW - timedelta(seconds=10),
        checked_at=NOW - timedelta(hours=1),
        check_at=NOW + timedelta(seconds=20),
    )

    assert not is_nearly_due(row, NOW)


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
