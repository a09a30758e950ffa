"""The test helpers: what they do, and what they say where they cannot."""

import time
import unittest
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connection, transaction
from django.test import TestCase, TransactionTestCase, override_settings
from films.models import Film

from rindle_sync.errors import ConfigurationError, DatabaseUnavailable
from rindle_sync.integrations.django import conf, rindle
from rindle_sync.integrations.django.models import ProviderAsset, WebhookEvent
from rindle_sync.integrations.django.signals import video_ready
from rindle_sync.testing import WebhookRefused
from rindle_sync.testing.django import AppMux, RindleTestCase, RindleTestMixin, app_mux, check

pytest_plugins = ["tests.django_site.fixtures"]


@pytest.fixture
def heard() -> Any:
    """The references of the videos that are said to be ready."""
    references: list[str] = []

    def hear(reference: str, **_: object) -> None:
        references.append(reference)

    video_ready.connect(hear)
    yield references
    video_ready.disconnect(hear)


def test_a_webhook_goes_to_the_apps_own_address_and_signals_are_sent(
    mux: AppMux, video: Any, heard: list[str]
) -> None:
    made = video("film-1")
    mux.finish(made)
    mux.deliver()

    assert heard == ["film-1"]
    assert {event.type for event in WebhookEvent.objects.all()} == {
        "video.asset.created",
        "video.asset.ready",
    }


def test_a_webhook_that_comes_twice_is_heard_of_once(
    mux: AppMux, video: Any, heard: list[str]
) -> None:
    made = video("film-1")
    mux.finish_asset(made.provider_asset_id)
    mux.repeat_webhooks()
    mux.deliver()

    assert heard == ["film-1"]


def test_a_lost_webhook_is_made_up_for_by_a_check(
    mux: AppMux, video: Any, heard: list[str]
) -> None:
    made = video("film-1")
    mux.finish_asset(made.provider_asset_id)
    lost = mux.lose_webhooks()
    sent = mux.deliver()
    before = list(heard)
    check(made)

    assert (lost, sent) == (2, 0)
    assert before == []
    assert heard == ["film-1"]


def test_a_check_that_gets_no_answer_moves_the_clock_and_waits_for_nothing(
    mux: AppMux, video: Any
) -> None:
    made = video("film-1")
    began, began_for_real = mux.clock.now(), time.monotonic()
    with mux.throttle() as throttled:
        check(made)

    assert throttled.calls > 1
    assert mux.clock.now() - began > timedelta(seconds=10)
    assert time.monotonic() - began_for_real < 10


def test_the_file_of_an_upload_arrives_and_its_video_is_ready(
    mux: AppMux, heard: list[str]
) -> None:
    link = rindle.begin_upload(reference="film-1", cors_origin="*")
    mux.finish(mux.receive_file(link))
    mux.deliver()

    assert heard == ["film-1"]


def test_a_video_may_fail_and_be_deleted_at_the_provider(mux: AppMux, video: Any) -> None:
    failed, deleted = video("film-1"), video("film-2")
    mux.finish(deleted)
    mux.deliver()
    mux.fail(failed, "the file is no video")
    mux.deliver()
    mux.delete(deleted)
    mux.deliver()

    assert ProviderAsset.objects.get(pk=failed.pk).last_sync_error.endswith("no video")
    assert ProviderAsset.objects.get(pk=deleted.pk).state == "deleted"


def test_no_variable_of_the_developer_counts(
    monkeypatch: pytest.MonkeyPatch, transactional_db: None
) -> None:
    for name in ("environment", "mux_token_id", "mux_webhook_secrets", "stuck_policy"):
        value = "ask-first" if name == "stuck_policy" else f"the-developers-{name}"
        monkeypatch.setenv(f"RINDLE_{name.upper()}", value)
    conf.forget()

    with app_mux(provider_stuck_threshold_seconds=77) as mux:
        [own] = conf.environments()
        row = rindle.track(reference="film-1", provider_asset_id=mux.create_asset())
        mux.finish(row)
        mux.deliver()

        assert own.environment == row.environment == "default"
        assert own.stuck_policy == "declare"
        assert own.provider_stuck_threshold_seconds == 77
        assert ProviderAsset.objects.get().is_ready
    conf.forget()


def test_what_the_project_itself_sets_counts_but_for_its_credentials(
    transactional_db: None,
) -> None:
    own = {"MUX_TOKEN_ID": "real", "MUX_ENVIRONMENT_ID": "real", "AUDIT_DAYS": 3}
    with override_settings(RINDLE=own), app_mux() as mux:
        [used] = conf.environments()
        row = rindle.track(reference="film-1", provider_asset_id=mux.create_asset())
        mux.finish_asset(str(row.provider_asset_id))
        check(row)  # with another token than the emulator's it would have no answer
        mux.deliver()  # for another environment than the emulator's they would be refused

        assert used.audit_days == 3
        assert ProviderAsset.objects.get().is_ready


def test_after_the_block_the_project_is_as_before(transactional_db: None) -> None:
    before = settings.RINDLE
    with app_mux():
        assert before != settings.RINDLE
    assert before == settings.RINDLE


@override_settings(ROOT_URLCONF="films.urls")
def test_a_project_without_the_addresses_is_told_what_to_include(transactional_db: None) -> None:
    text = r"rindle_sync\.integrations\.django\.urls: are not in the addresses"
    with pytest.raises(ConfigurationError, match=text), app_mux():
        pass


def test_an_app_that_refuses_webhooks_fails_the_test_with_its_answer(
    transactional_db: None,
) -> None:
    with app_mux(webhook_url="/nowhere") as mux:
        mux.create_asset()
        with pytest.raises(WebhookRefused, match="/nowhere gave webhooks the answer 404"):
            mux.deliver()


def test_in_a_transaction_the_helpers_say_what_to_use_instead(db: None) -> None:
    with app_mux() as mux:
        asset_id = mux.create_asset()
        row = rindle.track(reference="film-1", provider_asset_id=asset_id)
        film = Film.objects.create(title="Holidays", video=row)

        assert film.video.state == "processing"
        for act in (
            mux.deliver,
            lambda: check(row),
            lambda: rindle.sync(row),
            lambda: rindle.begin_upload(reference="film-2", cors_origin="*"),
            lambda: rindle.track(
                reference="film-3", provider_asset_id=mux.create_asset(), connection=None
            ),
        ):
            with pytest.raises(ConfigurationError, match="RindleTestCase"):
                act()
        assert [found.reference for found in ProviderAsset.objects.all()] == ["film-1"]


def test_an_upload_begun_in_a_transaction_names_what_to_call_instead(mux: AppMux) -> None:
    if connection.vendor == "postgresql":
        return  # where each connection writes for itself
    with transaction.atomic():
        Film.objects.create(title="Holidays")
        with pytest.raises(DatabaseUnavailable, match="prepare_upload within, then start_upload"):
            rindle.begin_upload(reference="film-1", cors_origin="*")


def test_a_receiver_that_failed_is_called_again_once_the_clock_has_moved(
    mux: AppMux, video: Any
) -> None:
    heard: list[str] = []

    def hear(reference: str, **_: object) -> None:
        heard.append(reference)
        if len(heard) == 1:
            raise RuntimeError("a mail server is down")

    video_ready.connect(hear)
    try:
        mux.finish(video("film-1"))
        mux.deliver()
        failed_once = list(heard)
        mux.clock.move(minutes=10)
        mux.deliver()
    finally:
        video_ready.disconnect(hear)

    assert (failed_once, heard) == (["film-1"], ["film-1", "film-1"])


def outcome_of(kind: type[Any]) -> unittest.TestResult:
    """What comes of a test class of Django's."""
    result = unittest.TestResult()
    kind("test")(result)
    return result


def test_the_test_case_of_django_has_the_emulator_and_commits(transactional_db: None) -> None:
    class Films(RindleTestCase):
        rindle_settings = {"audit_days": 5}

        def test(self) -> None:
            row = rindle.track(reference="film-1", provider_asset_id=self.mux.create_asset())
            self.mux.finish(row)
            self.mux.deliver()
            self.assertTrue(ProviderAsset.objects.get().is_ready)
            self.assertEqual(conf.environments()[0].audit_days, 5)
            self.assertFalse(connection.in_atomic_block)

    result = outcome_of(Films)

    assert (result.testsRun, result.errors, result.failures) == (1, [], [])
    assert issubclass(Films, TransactionTestCase)
    assert not ProviderAsset.objects.exists()


def test_a_test_case_in_a_transaction_tracks_and_is_rolled_back(transactional_db: None) -> None:
    class Films(RindleTestMixin, TestCase):
        def test(self) -> None:
            rindle.track(reference="film-1", provider_asset_id=self.mux.create_asset())
            self.assertTrue(ProviderAsset.objects.exists())

    Films.setUpClass()
    result = outcome_of(Films)
    Films.tearDownClass()

    assert (result.errors, result.failures) == ([], [])
    assert not ProviderAsset.objects.exists()
