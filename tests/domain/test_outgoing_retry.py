"""When an outgoing webhook is sent again, and when its endpoint is left in peace."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rindle_sync.domain import (
    ANSWERED_GONE,
    DISABLED_AFTER,
    FAILED_FOR_LONG,
    LONGEST_ASKED_PAUSE,
    RETRY_WAITS,
    Attempt,
    EndpointHealth,
    OutgoingStatus,
    OutgoingWebhook,
    after_attempt,
    health_after,
)
from tests.support.fuzz import fuzz
from tests.support.rows import NOW

OK, FAILED, GONE, BUSY = Attempt(204), Attempt(500), Attempt(410), Attempt(503)


def a_webhook(attempts: int = 0, age: timedelta = timedelta(0)) -> OutgoingWebhook:
    return OutgoingWebhook(
        id=1,
        endpoint_id="endpoint",
        change_id=1,
        row_id="row",
        version=2,
        type="asset.ready",
        status=OutgoingStatus.PENDING,
        attempts=attempts,
        next_attempt_at=NOW,
        created_at=NOW - age,
    )


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 404, 422, 500])
def test_what_is_not_2xx_is_tried_again(status: int) -> None:
    after = after_attempt(a_webhook(), Attempt(status), NOW, chance=0)

    assert (after.status, after.attempts) == (OutgoingStatus.PENDING, 1)
    assert after.next_attempt_at == NOW + timedelta(seconds=5)
    assert after.reason == f"answered {status}"


def test_the_schedule_is_that_of_the_specification() -> None:
    webhook, now, elapsed = a_webhook(), NOW, []
    while webhook.next_attempt_at:
        now = webhook.next_attempt_at
        elapsed.append(now - NOW)
        webhook = after_attempt(webhook, FAILED, now, chance=0)

    hours, minutes = timedelta(hours=1), timedelta(minutes=1)
    assert elapsed == [
        timedelta(0),
        timedelta(seconds=5),
        timedelta(minutes=5, seconds=5),
        timedelta(minutes=35, seconds=5),
        2 * hours + timedelta(minutes=35, seconds=5),
        7 * hours + timedelta(minutes=35, seconds=5),
        17 * hours + timedelta(minutes=35, seconds=5),
        31 * hours + timedelta(minutes=35, seconds=5),
        51 * hours + timedelta(minutes=35, seconds=5),
        75 * hours + 35 * minutes + timedelta(seconds=5),
    ]
    assert (webhook.status, webhook.attempts) == (OutgoingStatus.DEAD, 10)


@fuzz(200)
@given(
    attempts=st.integers(0, len(RETRY_WAITS)),
    status=st.none() | st.integers(100, 599),
    asked=st.none() | st.integers(0, 10**9),
    age=st.integers(0, 10**6),
    chance=st.floats(0, 1),
)
def test_a_webhook_ends_or_has_a_time_and_none_is_kept_for_ever(
    attempts: int, status: int | None, asked: int | None, age: int, chance: float
) -> None:
    attempt = Attempt(status, None, None if asked is None else timedelta(seconds=asked))
    before = a_webhook(attempts, timedelta(seconds=age))

    after = after_attempt(before, attempt, NOW, chance=chance)

    assert (after.ended_at is None) == (after.status is OutgoingStatus.PENDING)
    assert (after.next_attempt_at is not None) == (after.status is OutgoingStatus.PENDING)
    if after.next_attempt_at:
        assert NOW <= after.next_attempt_at <= NOW + RETRY_WAITS[-1] * 1.1
    if age > 90 * 3600 and status != 410 and after.status is OutgoingStatus.PENDING:
        assert after.attempts == attempts + 1  # nobody may ask for pauses for ever


def test_ten_failures_in_a_row_pause_an_endpoint_and_a_success_ends_that() -> None:
    health = health_after(EndpointHealth(), [FAILED] * 9, NOW)
    assert not health.is_paused(NOW)

    health = health_after(health, [FAILED] * 5, NOW)
    assert health.paused_until == NOW + timedelta(seconds=5)
    later = NOW + timedelta(seconds=5)
    health = health_after(health, [FAILED], later)
    assert health.paused_until == later + timedelta(seconds=10)
    assert health.failing_since == NOW

    health = health_after(health, [OK], later)
    assert health.is_well


@fuzz(100)
@given(failures=st.integers(0, 10_000))
def test_no_pause_is_longer_than_its_bound(failures: int) -> None:
    health = health_after(EndpointHealth(failures=failures), [BUSY], NOW)
    assert health.paused_until
    assert timedelta(0) < health.paused_until - NOW <= timedelta(minutes=5)

    asked = Attempt(429, retry_after=timedelta(days=400))
    health = health_after(EndpointHealth(failures=failures), [asked], NOW)
    assert health.paused_until == NOW + LONGEST_ASKED_PAUSE


def test_a_pause_that_a_wrong_clock_has_written_is_none() -> None:
    assert not EndpointHealth(paused_until=NOW + timedelta(days=300)).is_paused(NOW)


def test_gone_disables_once_and_so_does_a_long_failure() -> None:
    gone = health_after(EndpointHealth(), [GONE, FAILED, GONE], NOW)
    assert (gone.disabled_at, gone.disabled_reason) == (NOW, ANSWERED_GONE)
    assert health_after(gone, [GONE], NOW + timedelta(days=1)).disabled_at == NOW

    yesterday = NOW - timedelta(days=1)
    failing = EndpointHealth(failures=3, failing_since=NOW - DISABLED_AFTER, failed_at=yesterday)
    assert health_after(failing, [FAILED], NOW).disabled_reason == FAILED_FOR_LONG
    assert health_after(failing, [OK], NOW).disabled_at is None


def test_who_asks_for_no_wait_gets_one_that_grows() -> None:
    now, health, pauses = NOW, EndpointHealth(), list[float]()
    for _ in range(12):
        health = health_after(health, [Attempt(429, retry_after=timedelta(0))] * 3, now)
        assert health.paused_until
        pauses.append((health.paused_until - now).total_seconds())
        now = health.paused_until

    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    assert health_after(health, [OK], now).failures == 0


def test_who_asks_for_a_longer_wait_than_ours_gets_it() -> None:
    asked = Attempt(503, retry_after=timedelta(minutes=10))

    assert health_after(EndpointHealth(), [asked], NOW).paused_until == NOW + timedelta(minutes=10)
