"""When a row is looked at again."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rindle_sync.asset import ErrorKind, Lack, ProviderAsset, Seen, Silence, State
from rindle_sync.decide import Policy, decide
from rindle_sync.plan import ATTEMPTS, Schedule, first_check, next_check
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
