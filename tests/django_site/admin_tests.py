"""The admin, by the requests that a browser makes."""

import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.core.handlers.base import BaseHandler
from django.db import connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import resolve, reverse
from django.utils import timezone

from rindle_sync.integrations.django import rindle
from rindle_sync.integrations.django.admin_lists import MOST_LISTED
from rindle_sync.integrations.django.conf import database_alias
from rindle_sync.integrations.django.models import EventStatus, ProviderAsset, WebhookEvent
from rindle_sync.integrations.django.operating import UNTRACKED
from rindle_sync.testing.django import AppMux, app_mux

pytest_plugins = ["tests.django_site.fixtures"]

MakeVideo = Callable[..., ProviderAsset]
SignIn = Callable[..., Client]

LIST = "/admin/rindle_sync/providerasset/"
EVENTS = "/admin/rindle_sync/webhookevent/"


def page_of(video: ProviderAsset, what: str = "change") -> str:
    return reverse(f"admin:rindle_sync_providerasset_{what}", args=[video.pk])


def act(client: Client, action: str, *rows: Any, at: str = LIST, **more: str) -> str:
    chosen = {"action": action, "_selected_action": [str(row.pk) for row in rows], "index": "0"}
    answer = client.post(at, chosen | more, follow=True)
    assert answer.status_code == 200
    return answer.content.decode()


def told_by(html: str) -> list[str]:
    """The messages of a page."""
    return [unescape(text) for text in re.findall(r'<li class="\w+">(.*?)</li>', html)]


def text_of(client: Client, path: str, status: int = 200) -> str:
    answer = client.get(path, follow=True)
    assert answer.status_code == status
    return answer.content.decode()


def secrets_of(video: ProviderAsset) -> list[str]:
    row = rindle.get(video.pk)
    assert row
    return [secret for secret in row.secrets if secret]


@pytest.mark.parametrize(
    "address",
    [*("/webhooks/mux", "/webhooks/mux/", LIST, EVENTS), *(f"{LIST}a/sync/", f"{LIST}a/delete/")],
)
def test_no_transaction_of_any_database_is_held_open_for_what_calls_the_provider(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking = {**connections.settings["default"], "ATOMIC_REQUESTS": True}
    monkeypatch.setitem(connections.settings, "default", asking)
    monkeypatch.setitem(connections.settings, "videos", asking)
    view = resolve(address).func

    assert BaseHandler().make_view_atomic(view) is view


# lists


def test_the_list_shows_how_each_video_stands(
    mux: AppMux, video: MakeVideo, signed_in: SignIn
) -> None:
    ready, failed = video("film-ready"), video("film-failed", profile="trailer")
    mux.finish(ready)
    mux.deliver()
    mux.fail(failed, "the file is no video")
    mux.deliver()

    html = text_of(signed_in(), LIST)

    assert "film-ready" in html
    assert "errored: provider" in html
    assert "the file is no video" in html
    assert "trailer" in html
    assert "none: settled" in html


def test_filters_and_search_find_rows_by_state_error_profile_reference_and_exact_id(
    mux: AppMux, video: MakeVideo, signed_in: SignIn
) -> None:
    ready, failed, waits = video("film-1"), video("film-2", profile="trailer"), video("film-3")
    mux.finish(ready)
    mux.deliver()
    mux.fail(failed)
    mux.deliver()
    client = signed_in()

    def found(query: str) -> set[str]:
        html = text_of(client, f"{LIST}?{query}")
        return {name for name in ("film-1", "film-2", "film-3") if f">{name}</a>" in html}

    assert found("state=ready") == {"film-1"}
    assert found("error_kind=provider") == {"film-2"}
    assert found("profile=trailer") == {"film-2"}
    assert found("environment=default") == {"film-1", "film-2", "film-3"}
    assert found("state=nonsense") == set()
    assert found("q=film-3") == {"film-3"}
    assert found("q=film") == set()
    assert found(f"q={waits.pk}") == {"film-3"}
    assert found(f"q={ready.provider_asset_id}") == {"film-1"}
    assert found(f"q={str(ready.provider_asset_id)[:-1]}") == set()
    assert found("q=%00") == {"film-1", "film-2", "film-3"}


def test_no_address_guesses_at_provider_ids(video: MakeVideo, signed_in: SignIn) -> None:
    start = str(video().provider_asset_id)[:3]

    answer = signed_in().get(f"{LIST}?provider_asset_id__startswith={start}")

    assert answer.status_code == 400


def test_neither_list_counts_all_rows_and_each_statement_is_in_one_environment(
    mux: AppMux, video: MakeVideo, signed_in: SignIn
) -> None:
    for number in range(3):
        mux.finish(video(f"film-{number}"))
        mux.deliver()
    client = signed_in()

    with CaptureQueriesContext(connection) as asked:
        text_of(client, LIST)
        text_of(client, EVENTS)

    ours = [
        query["sql"]
        for query in asked.captured_queries
        if 'FROM "media_provider_assets"' in query["sql"]
        or 'FROM "provider_webhook_events"' in query["sql"]
    ]
    counts = [sql for sql in ours if "COUNT(" in sql]
    assert counts
    for sql in counts:
        assert f"LIMIT {MOST_LISTED}" in sql
    for sql in ours:
        assert '"environment" = ' in sql
        assert "body" not in sql
        assert "decision_log" not in sql
    assert len(ours) < 10


def test_the_list_is_read_by_the_index_of_creation_times(
    mux: AppMux, video: MakeVideo, signed_in: SignIn
) -> None:
    video()
    client = signed_in()
    with CaptureQueriesContext(connection) as asked:
        text_of(client, LIST)
    pages = [
        query["sql"]
        for query in asked.captured_queries
        if 'ORDER BY "media_provider_assets"."provider_created_at" DESC' in query["sql"]
        and "COUNT(" not in query["sql"]
    ]

    plan = ""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute("SET enable_seqscan = off")
        explain = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
        for sql in pages:
            cursor.execute(f"{explain} {sql}")
            plan += str(cursor.fetchall())
        if connection.vendor == "postgresql":
            cursor.execute("RESET enable_seqscan")
    assert pages
    assert "ix_media_provider_assets_created" in plan


def test_each_environment_is_a_list_of_its_own_and_its_rows_are_asked_about_there(
    transactional_db: None, signed_in: SignIn
) -> None:
    tables: dict[str, Any] = {"live": {}, "trial": {}}
    with app_mux(environments=tables, webhook_url="/webhooks/mux/live") as mux:
        for name in tables:
            asset_id = mux.create_asset()
            rindle.of(name).track(reference=f"film-{name}", provider_asset_id=asset_id)
            mux.finish(asset_id)
        mux.lose_webhooks()
        client = signed_in()
        by_default = text_of(client, LIST)
        trial = text_of(client, f"{LIST}?environment=trial")
        row = ProviderAsset.objects.get(environment="trial")
        told = act(client, "sync_now", row, at=f"{LIST}?environment=trial")
        state = ProviderAsset.objects.get(environment="trial").state

    assert "film-live" in by_default
    assert "film-trial" not in by_default
    assert "film-trial" in trial
    assert "film-live" not in trial
    assert told_by(told) == ["Checked: the row has changed. (film-trial)"]
    assert state == "ready"


# the page of one row


def test_the_page_of_a_row_tells_its_history_and_what_to_do(
    mux: AppMux, video: MakeVideo, signed_in: SignIn
) -> None:
    failed = video("film-1")
    mux.fail(failed)
    mux.deliver()

    html = text_of(signed_in(), page_of(failed))

    assert "the row was made" in html
    assert "video.asset.errored received, applied" in html
    assert "processing -&gt; errored (provider)" in html
    assert "ingest it again" in html
    assert 'name="_save"' not in html
    assert not any(secret in html for secret in secrets_of(failed))


def test_provider_ids_are_shown_on_demand_to_somebody_who_may_act_and_that_is_logged(
    mux: AppMux, video: MakeVideo, signed_in: SignIn
) -> None:
    ready = video()
    mux.finish(ready)
    mux.deliver()
    client = signed_in()

    before = text_of(client, page_of(ready)) + text_of(client, LIST) + text_of(client, EVENTS)
    after = text_of(client, f"{page_of(ready)}?show=provider-ids")

    assert not any(secret in before for secret in secrets_of(ready))
    assert all(secret in after for secret in secrets_of(ready))
    assert LogEntry.objects.get().change_message == "Provider ids shown."


def test_somebody_who_may_only_look_sees_no_ids_and_no_buttons(
    mux: AppMux, video: MakeVideo, signed_in: SignIn
) -> None:
    ready = video()
    mux.finish(ready)
    mux.deliver()
    client = signed_in("view_providerasset")

    page = text_of(client, f"{page_of(ready)}?show=provider-ids")
    listed = text_of(client, LIST)

    assert not any(secret in page for secret in secrets_of(ready))
    assert "Sync now" not in page + listed
    assert "Untrack" not in page + listed
    assert client.post(page_of(ready, "sync")).status_code == 403
    assert client.post(page_of(ready, "delete")).status_code == 403
    assert client.get(EVENTS).status_code == 403
    assert client.post(page_of(ready), {}).status_code == 403
    assert client.get("/admin/rindle_sync/providerasset/add/").status_code == 403
    assert rindle.get(ready.pk)


def test_a_reference_that_holds_a_provider_id_is_shown_redacted(
    mux: AppMux, signed_in: SignIn
) -> None:
    asset_id = mux.create_asset()
    row = rindle.track(reference=f"film-{asset_id}", provider_asset_id=asset_id)
    client = signed_in()
    video = ProviderAsset.objects.get(pk=row.id)

    for path in (LIST, page_of(video), page_of(video, "delete")):
        html = text_of(client, path)
        assert f"film-...{asset_id[-4:]}" in html
        assert asset_id not in html


# actions


def test_sync_now_asks_the_provider_whatever_is_due(
    mux: AppMux, video: MakeVideo, signed_in: SignIn
) -> None:
    waits = video("film-1")
    mux.finish_asset(str(waits.provider_asset_id))
    mux.lose_webhooks()
    client = signed_in()

    html = act(client, "sync_now", waits)

    assert told_by(html) == ["Checked: the row has changed. (film-1)"]
    assert ProviderAsset.objects.get(pk=waits.pk).is_ready
    assert LogEntry.objects.get().change_message == "Sync now: Checked: the row has changed."

    again = client.post(page_of(waits, "sync"), follow=True).content.decode()
    assert told_by(again) == ["Checked: the row has not changed. (film-1)"]
    assert recorded() == [("sync", "console", "changed"), ("sync", "console", "unchanged")]


def recorded() -> list[tuple[str, str, str]]:
    """Who did what."""
    with connections[database_alias()].cursor() as cursor:
        cursor.execute("SELECT action, actor, outcome FROM provider_row_actions ORDER BY id")
        return list(cursor.fetchall())


def test_an_upload_without_an_asset_is_asked_about_too(mux: AppMux, signed_in: SignIn) -> None:
    link = rindle.begin_upload(reference="film-1", cors_origin="*")
    upload = ProviderAsset.objects.get(pk=link.row_id)

    html = act(signed_in(), "sync_now", upload)

    assert told_by(html) == ["Checked: the row has not changed. (film-1)"]


def test_a_provider_that_does_not_answer_is_a_message_and_no_traceback(
    mux: AppMux, video: MakeVideo, signed_in: SignIn
) -> None:
    waits = video("film-1")
    mux.add_fault("server_error")
    client = signed_in()

    html = act(client, "sync_now", waits)

    assert told_by(html) == ["The provider did not answer. The row is checked again. (film-1)"]
    assert not any(secret in html for secret in secrets_of(waits))


def test_without_credentials_the_message_names_the_setting(
    transactional_db: None, signed_in: SignIn
) -> None:
    row = rindle.track(reference="film-1", provider_asset_id="an-asset-of-nobody")
    with app_mux(mux_token_id=None, mux_token_secret=None):
        html = act(signed_in(), "sync_now", ProviderAsset.objects.get(pk=row.id))

    assert "mux_token_id" in html


def test_untrack_asks_first_and_forgets_the_row_but_not_the_asset(
    mux: AppMux, video: MakeVideo, signed_in: SignIn
) -> None:
    first, second, kept = video("film-1"), video("film-2"), video("film-3")
    client = signed_in()

    asked = act(client, "untrack", first, second)
    still = ProviderAsset.objects.count()
    told = act(client, "untrack", first, second, confirmed="yes")

    assert "Untrack 2 rows?" in asked
    assert "film-1 (default, processing)" in asked
    assert still == 3
    assert told_by(told) == [f"{UNTRACKED} (film-2, film-1)"]
    assert [row.pk for row in ProviderAsset.objects.all()] == [kept.pk]
    assert mux.truth(str(first.provider_asset_id)).state != "deleted"
    assert LogEntry.objects.count() == 2
    assert recorded() == 2 * [("untrack", "console", "done")]


def test_one_row_is_untracked_from_its_page(
    mux: AppMux, video: MakeVideo, signed_in: SignIn
) -> None:
    row, client = video("film-1"), signed_in()

    asked = text_of(client, page_of(row, "delete"))
    told = client.post(page_of(row, "delete"), follow=True).content.decode()
    gone = text_of(client, page_of(row, "delete"))

    assert "Untrack 1 row?" in asked
    assert told_by(told) == [f"{UNTRACKED} (film-1)"]
    assert not ProviderAsset.objects.exists()
    assert told_by(gone) == ["This row does not exist any more."]


def test_more_rows_than_one_action_takes_are_refused_and_nothing_is_done(
    mux: AppMux, video: MakeVideo, signed_in: SignIn
) -> None:
    rows = [video(f"film-{number}") for number in range(21)]
    mux.reset_calls()

    html = act(signed_in(), "sync_now", *rows)

    assert "Nothing was done: select at most 20 at once." in html
    assert mux.calls.total() == 0


# webhook events


@pytest.fixture
def dead_event(mux: AppMux, video: MakeVideo) -> WebhookEvent:
    """A webhook event that was given up: its asset is not tracked, and time has passed."""
    mux.create_asset(passthrough="nobody")
    mux.deliver()
    untracked = WebhookEvent.objects.get()
    table = WebhookEvent._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET status = 'dead', next_attempt_at = NULL, reason = 'x'")
    untracked.refresh_from_db()
    assert isinstance(untracked, WebhookEvent)
    return untracked


def test_webhook_events_are_listed_by_status_and_replayed(
    dead_event: WebhookEvent, signed_in: SignIn
) -> None:
    client = signed_in()

    dead = text_of(client, f"{EVENTS}?status=dead")
    applied = text_of(client, f"{EVENTS}?status=applied")
    page = text_of(client, f"{EVENTS}{dead_event.pk}/change/")
    told = act(client, "replay", dead_event, at=EVENTS)

    assert "video.asset.created" in dead
    assert "video.asset.created" not in applied
    assert "video.asset.created" in page
    assert str(dead_event.provider_asset_id) not in dead + page
    assert told_by(told) == ["Will be applied again. (video.asset.created)"]
    assert WebhookEvent.objects.get().status == EventStatus.PENDING


def test_an_event_leads_to_the_row_that_it_is_about(
    mux: AppMux, video: MakeVideo, signed_in: SignIn
) -> None:
    ready = video("film-1")
    mux.finish(ready)
    mux.deliver()

    html = text_of(signed_in(), EVENTS)

    assert f'<a href="{page_of(ready)}">film-1</a>' in html


def test_somebody_without_the_permission_replays_nothing(
    dead_event: WebhookEvent, signed_in: SignIn
) -> None:
    client = signed_in("view_webhookevent")

    act(client, "replay", dead_event, at=EVENTS)

    assert WebhookEvent.objects.get().status == EventStatus.DEAD


def test_rows_are_filtered_by_when_their_asset_was_made(
    mux: AppMux, video: MakeVideo, signed_in: SignIn
) -> None:
    old = video("film-1", asset={"created_at": (timezone.now() - timedelta(days=40)).timestamp()})
    mux.finish(old)
    mux.deliver()
    since = (timezone.now() - timedelta(days=7)).date().isoformat()

    html = text_of(signed_in(), f"{LIST}?provider_created_at__gte={since}+00:00:00%2B00:00")

    assert ">film-1</a>" not in html
