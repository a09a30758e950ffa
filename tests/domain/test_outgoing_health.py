"""When an endpoint of outgoing webhooks is disabled: after days of failures, by right clocks."""

from datetime import timedelta

from rindle_sync.domain import Attempt, EndpointHealth, health_after
from tests.support.rows import NOW

FAILED = Attempt(500)


def after_failures(*days: float) -> EndpointHealth:
    health = EndpointHealth()
    for day in days:
        health = health_after(health, [FAILED], NOW + timedelta(days=day))
    return health


def test_an_endpoint_that_fails_for_five_days_is_disabled() -> None:
    assert after_failures(0, 1, 2, 3, 4).disabled_at is None
    assert after_failures(0, 1, 2, 3, 4, 5).disabled_at == NOW + timedelta(days=5)


def test_a_success_begins_the_count_anew() -> None:
    health = health_after(after_failures(0, 1, 2), [Attempt(204)], NOW + timedelta(days=3))

    assert (health.failing_since, health.failures) == (None, 0)
    assert health_after(health, [FAILED], NOW + timedelta(days=6)).disabled_at is None


def test_a_clock_that_is_wrong_for_a_moment_disables_nothing() -> None:
    health = after_failures(0, 0.1, 365, 0.2, 0.3)

    assert health.disabled_at is None
    assert health.failing_since == NOW + timedelta(days=0.2)


def test_failures_with_weeks_between_them_say_nothing_of_these() -> None:
    assert after_failures(0, 7, 14, 21).disabled_at is None
