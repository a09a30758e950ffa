"""The log of events: one line each, and no more than one a minute that a stranger can cause."""

import logging

import pytest
from msgspec.structs import replace

from rindle_sync.telemetry import (
    CallbackException,
    Event,
    EventLog,
    OutgoingEndpointDisabled,
    OutgoingWebhookFailed,
    WebhookException,
    WebhookIgnored,
    WebhookRejected,
    WebhookVerified,
)

SECOND = 10**9


def a_rejection(second: float, reason: str = "signature_mismatch") -> WebhookRejected:
    return WebhookRejected(system_time=int(second * SECOND), reason=reason, ack_ms=1)


def levels(caplog: pytest.LogCaptureFixture, log: EventLog, *events: Event) -> list[str]:
    caplog.set_level(logging.DEBUG, "rindle_sync")
    caplog.clear()
    for event in events:
        log(event)
    return [record.levelname for record in caplog.records]


def test_of_rejected_webhooks_one_a_minute_is_logged_and_the_others_are_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = EventLog()

    flood = levels(caplog, log, *(a_rejection(number / 1000) for number in range(1000)))
    later = levels(caplog, log, a_rejection(61))

    assert flood == ["WARNING"] + 999 * ["DEBUG"]
    assert later == ["WARNING"]
    assert "more_since_last=999" in caplog.text
    assert caplog.records[0].rindle_event["more_since_last"] == 999  # type: ignore[attr-defined]


def test_each_reason_and_environment_has_a_minute_of_its_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    elsewhere = WebhookRejected(reason="signature_mismatch", ack_ms=1, environment="staging")

    logged = levels(caplog, EventLog(), a_rejection(0), a_rejection(0, "too_large"), elsewhere)

    assert logged == ["WARNING", "INFO", "WARNING"]


def test_outgoing_webhooks_that_fail_are_logged_and_dead_ones_as_warnings(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failed = OutgoingWebhookFailed(
        endpoint="crm",
        type="asset.ready",
        status=500,
        reason="",
        attempt=1,
        duration_ms=1,
        dead=False,
    )
    disabled = OutgoingEndpointDisabled(endpoint="crm", reason="it answered 410")

    logged = levels(caplog, EventLog(), failed, replace(failed, dead=True), disabled)

    assert logged == ["INFO", "WARNING", "WARNING"]


def test_a_clock_that_was_set_back_does_not_silence_rejections(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert levels(caplog, EventLog(), a_rejection(1e9), a_rejection(0)) == ["WARNING", "WARNING"]


def test_a_delivery_is_one_line_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    plain = {"type": "video.asset.warning", "secret": 0, "ack_ms": 2, "delivery_ms": 20}
    verified = WebhookVerified(**plain, duplicate=False, acted_on=False)  # type: ignore[arg-type]

    ignored = WebhookIgnored(type="video.asset.warning", reason="not_acted_on")
    logged = levels(caplog, EventLog(), verified, ignored)

    assert logged == ["DEBUG"]


def test_an_event_of_an_asset_that_nobody_tracks_is_no_news(
    caplog: pytest.LogCaptureFixture,
) -> None:
    plain = {"type": "video.asset.ready", "attempt": 1, "dead": False}
    foreign = WebhookException(reason="no_row", **plain)  # type: ignore[arg-type]
    failed = WebhookException(reason="clash", **plain)  # type: ignore[arg-type]

    assert levels(caplog, EventLog(), foreign, failed) == ["DEBUG", "INFO"]


def test_the_traceback_of_a_callback_follows_its_line(caplog: pytest.LogCaptureFixture) -> None:
    failure = CallbackException(
        callback="notify", error="KeyError", attempt=1, traceback="Traceback:\nKeyError: 'a'"
    )

    levels(caplog, EventLog(), failure)

    text = caplog.records[0].getMessage()
    assert text.endswith("callback=notify error=KeyError attempt=1\nTraceback:\nKeyError: 'a'")
    assert caplog.records[0].rindle_event["traceback"] == failure.traceback  # type: ignore[attr-defined]
