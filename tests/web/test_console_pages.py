"""The console's lists, charts, videos, and what is done to several at once; through HTTP."""

import asyncio
import re
from datetime import timedelta
from enum import Enum
from html import unescape
from typing import Final

import httpx
import pytest

from rindle_sync.domain import ErrorKind, EventStatus, PlaybackId, ProviderAsset, State, Trigger
from rindle_sync.providers.mux import Mux, MuxPlayback
from rindle_sync.reconcile import sync_row
from rindle_sync.runtime import Heartbeat
from rindle_sync.web.console import words
from rindle_sync.web.console.app import Console
from rindle_sync.web.console.bulk import MOST_SELECTED
from rindle_sync.web.console.searches import Only, Sort
from rindle_sync.web.console.words import TRIGGERS
from rindle_sync.webhooks import process_webhook_events
from tests.support.console_library import a_library
from tests.support.processes import eventually
from tests.support.slow_counts import slow_counts
from tests.support.webhooks import an_event, deliver, with_secrets
from tests.support.world import READY, World, a_job_runner
from tests.web.test_console import (
    TOKEN,
    OfConsole,
    a_browser,
    acts,
    counted,
    key_in,
    signed_in,
    text_of,
)

BOXES: Final = re.compile(r'name="(?:row|event)" value="([\w-]+)"')


def names_in(answer: httpx.Response) -> list[str]:
    """The references of the videos in a table."""
    return re.findall(r'<th scope="row"[^>]*><a href="/rows/[\w-]+">([^<]+)</a>', answer.text)


def links_in(answer: httpx.Response) -> list[str]:
    return [unescape(link) for link in re.findall(r'href="([^"]+)"', answer.text)]


# lists


async def test_every_figure_of_the_overview_leads_to_exactly_what_it_counts(world: World) -> None:
    await a_library(world)
    world.clock.move(timedelta(minutes=30))  # some checks are overdue now
    async with a_browser(world, token=None) as reader:
        overview = await counted(reader)
        figures = {
            unescape(link): int(number.replace(",", ""))
            for link, number in re.findall(
                r'href="(/(?:rows|changes|webhook-events)\?[^"]+)"><?b?>?([\d,]+)', overview.text
            )
            if "hour=" not in link and "sort=" not in link
        }
        shown = {}
        for link in figures:
            number, following = 0, link
            while following:
                page = await reader.get(following)
                number += len(re.findall("<tr", page.text.partition("<tbody>")[2]))
                found = re.search(r'href="([^"]+)" rel="next"', page.text)
                following = unescape(found[1]) if found else ""
            shown[link] = number

    assert shown == figures
    assert len(figures) >= 14
    assert sum(map(bool, figures.values())) >= 10


async def test_each_warning_about_videos_leads_to_them(world: World) -> None:
    await a_library(world)
    world.clock.move(timedelta(minutes=30))
    async with a_browser(world, token=None) as reader:
        overview = await counted(reader)
        links = re.findall(r'<a href="([^"]+)">(show the [^<]+)</a>', overview.text)
        pages = {text: await reader.get(unescape(link)) for link, text in links}

    assert "1 row was in flight for too long" in text_of(overview)
    assert names_in(pages["show the stuck videos"]) == ["errored-stuck"]
    due = names_in(pages["show the videos that are due"])
    assert sorted(due) == ["new-pending", "new-processing", "new-uploading"]
    assert f"{len(due)} rows are due" in text_of(overview)
    assert "1 webhook event:" in text_of(pages["show the dead webhook events"])
    assert "never came" in text_of(pages["show the changes without a webhook"])


async def test_filters_and_orders_combine_in_an_address(world: World) -> None:
    now = world.clock.now()
    for place, profile in enumerate(("default", "trailer", "trailer")):
        await world.track(
            State.PROCESSING,
            reference=f"video-{place}",
            profile=profile,
            provider_created_at=now - timedelta(hours=place),
            check_at=now - timedelta(minutes=place),
            check_failures=place,
        )
    async with a_browser(world, token=None) as reader:
        shown = {
            query: names_in(await reader.get(f"/rows?{query}"))
            for query in (
                "profile=trailer",
                "profile=trailer&sort=created",
                "only=due",
                "only=due&sort=-next_check&state=processing",
                "only=failing&profile=trailer&state=processing",
                "only=overdue",
                "state=ready&profile=trailer",
                "name=video-1&profile=default",
            )
        }

    assert list(shown.values()) == [
        ["video-1", "video-2"],
        ["video-2", "video-1"],
        ["video-2", "video-1", "video-0"],
        ["video-0", "video-1", "video-2"],
        ["video-1", "video-2"],
        [],
        [],
        [],
    ]


async def test_the_order_is_told_and_turned_by_the_head_of_a_column(world: World) -> None:
    await world.track(State.READY, checked_at=world.clock.now())
    async with a_browser(world, token=None) as reader:
        page = await reader.get("/rows?state=ready&sort=-checked")

    assert re.findall(r'aria-sort="(\w+)"', page.text) == ["descending"]
    assert "/rows?environment=default&state=ready&sort=checked" in links_in(page)
    assert "/rows?environment=default&state=ready&sort=-created" in links_in(page)
    assert "only those that were checked" in text_of(page)


async def test_a_reference_that_holds_a_provider_id_is_shown_without_it(world: World) -> None:
    asset_id = world.emulator.create_asset(life=READY)
    row = await world.track(reference=f"copy-of-{asset_id}", provider_asset_id=asset_id)
    await world.sync(row)
    async with a_browser(world) as browser:
        await signed_in(browser)
        key = key_in((await browser.get("/rows")).text)
        confirmed = {"key": key, "row": row.id, "action": "untrack"}
        answers = [
            *[await browser.get(path) for path in ("/rows", f"/rows/{row.id}", "/changes")],
            await browser.post("/rows/selected", data=confirmed),
        ]

    assert [answer.status_code for answer in answers] == [200] * 4
    assert not any(asset_id in answer.text for answer in answers)


# charts


async def test_the_charts_are_pictures_with_words_and_a_table(world: World) -> None:
    await a_library(world)
    async with a_browser(world, token=None) as reader:

        async def has_charts() -> None:
            assert "<svg" in (await reader.get("/activity")).text

        await eventually(has_charts)
        page = await reader.get("/activity")

    titles = re.findall(r'<title id="[\w-]+">([^<]+)</title>', page.text)
    assert titles == [
        "Changes, by what found them",
        "How late changes were found",
        "Webhooks that never came",
        "Calls to the provider",
    ]
    assert page.text.count('role="img" aria-labelledby=') == 4
    assert page.text.count("<details><summary>") == 4
    assert re.search(r"<desc[^>]*>\d+ calls?; the busiest hour took \d+% of the limit", page.text)
    assert re.search(r"<desc[^>]*>\d+ by webhook, ", page.text)
    hours = [link for link in links_in(page) if "hour=" in link]
    assert len(hours) == 2 * 4 * 24


@pytest.mark.parametrize("trigger", list(Trigger))
async def test_a_change_is_shown_whatever_found_it(world: World, trigger: Trigger) -> None:
    row = await world.track(life=READY)
    await sync_row(world.context, row, trigger=trigger, ask_first=True)
    async with a_browser(world, token=None) as reader:
        changes = await reader.get("/changes")
        shown = await reader.get(f"/rows/{row.id}")

        async def has_charts() -> None:
            assert f"1 by {TRIGGERS[trigger]}" in (await reader.get("/activity")).text

        await eventually(has_charts)
        style = (await reader.get("/static/console.css")).text

    assert (changes.status_code, shown.status_code) == (200, 200)
    assert TRIGGERS[trigger] in text_of(changes)
    assert f".legend .{trigger.value} " in style


@pytest.mark.parametrize(
    ("texts", "of"),
    [
        (words.STATES, State),
        (words.ERRORS, ErrorKind),
        (TRIGGERS, Trigger),
        (words.STATUSES, EventStatus),
        (words.ONLY, Only),
        (words.SORTS, Sort),
    ],
)
def test_there_are_words_for_each(texts: dict[Enum, str], of: type[Enum]) -> None:
    assert set(texts) == set(of)


async def test_the_bar_of_an_hour_leads_to_its_changes(world: World) -> None:
    await a_library(world)
    async with a_browser(world, token=None) as reader:
        hour = f"{world.clock.now() - timedelta(hours=2):%Y-%m-%dT%H}"
        page = await reader.get(f"/changes?hour={hour}")
        figures = await world.context.store.activity.hours(
            [(world.clock.now() - timedelta(hours=2)).replace(minute=0, second=0, microsecond=0)],
            final_before=world.clock.now(),
        )

    number = sum(figures[0].by_trigger.values())
    assert number > 0
    assert f"{number} changes of the hour" in text_of(page)


async def test_without_changes_the_charts_say_so(world: World) -> None:
    async with a_browser(world, token=None) as reader:
        told = text_of(await counted(reader))

    assert "No video has changed in the last 24 hours." in told
    assert "No webhook was expected in the last 24 hours." in told
    assert "No call was made in the last 24 hours." in told
    assert "No video is tracked yet." in told


async def test_no_page_waits_for_the_count_of_a_day_or_claims_what_it_may_show(
    world: World,
) -> None:
    await a_library(world)
    ends = slow_counts(world)
    async with a_browser(world, token=None) as reader:
        early = [await reader.get("/") for _ in range(2)]
        others = await asyncio.gather(*(reader.get("/rows") for _ in range(8)))
        ends.set()
        late = await counted(reader)

    assert [answer.status_code for answer in (*early, *others)] == [200] * 10
    for answer in early:
        assert re.search(r"<h1>\d problems so far</h1>", answer.text)
        assert "Still being counted: the webhooks of the last 24 hours" in text_of(answer)
        assert "webhooks that never came, 24 h being counted" in text_of(answer)
        assert "webhooks of 24 hours never came" not in text_of(answer)
        assert '<noscript><meta http-equiv="refresh"' in answer.text
    assert re.search(r"<h1>\d problems</h1>", late.text)
    assert "webhooks of 24 hours never came" in text_of(late)
    assert "http-equiv" not in late.text


async def test_where_all_is_well_that_is_said_once_the_day_is_counted(world: World) -> None:
    with_secrets(world)
    store = world.context.store
    await Heartbeat(store.database, store.provider).beat(world.clock.now())
    ends = slow_counts(world)
    async with a_browser(world, token=None) as reader:
        early = text_of(await reader.get("/"))
        ends.set()
        late = text_of(await counted(reader))

    assert "All is well so far" in early
    assert "Nothing is overdue, stuck or refused." in early
    assert "All is well so far" not in late
    assert "Nothing is overdue, stuck or refused; few or no webhooks are missed." in late


# several at once


async def some_rows(world: World, number: int) -> list[ProviderAsset]:
    return [await world.track(life=READY, reference=f"video-{place}") for place in range(number)]


async def test_selected_videos_are_synced_once_that_is_confirmed(world: World) -> None:
    rows = await some_rows(world, 7)
    async with a_browser(world) as browser:
        await signed_in(browser)
        html = (await browser.get("/rows")).text
        assert sorted(BOXES.findall(html)) == sorted(row.id for row in rows)
        chosen = {"key": key_in(html), "row": [row.id for row in rows[:6]]}
        asked = await browser.post("/rows/selected", data=chosen | {"action": "sync"})
        assert world.calls == 0
        done = await browser.post("/rows/sync-selected", data=chosen)

    assert "Sync 6 videos?" in text_of(asked)
    assert sorted(BOXES.findall(asked.text)) == sorted(row.id for row in rows[:6])
    assert "Synced 6 of 6 videos" in text_of(done)
    states = [(await world.now_is(row)).state for row in rows]
    assert states == [State.READY] * 6 + [State.PROCESSING]
    assert sorted(acts(world)[1:]) == sorted(("sync", "changed", row.id) for row in rows[:6])


async def test_what_came_of_each_video_is_told(world: World) -> None:
    good, bad = await some_rows(world, 2)
    world.emulator.delete_asset(bad.provider_asset_id or "")
    async with a_browser(world) as browser:
        await signed_in(browser)
        key = key_in((await browser.get("/rows")).text)
        gone = "00000000-0000-4000-8000-000000000001"
        data = {"key": key, "row": [good.id, bad.id, gone, "made up", good.id]}
        done = await browser.post("/rows/sync-selected", data=data)
        world.emulator.add_fault("unauthorized")
        refused = await browser.post("/rows/sync-selected", data={"key": key, "row": good.id})

    assert "Synced 2 of 2 videos" in text_of(done)
    assert (await world.now_is(bad)).error_kind is ErrorKind.NOT_FOUND
    assert "Synced 0 of 1 video" in text_of(refused)
    assert "Not done:" in text_of(refused)
    assert acts(world)[-1] == ("sync", "refused", good.id)


async def test_selected_videos_are_untracked_and_their_assets_stay(world: World) -> None:
    rows = await some_rows(world, 3)
    async with a_browser(world) as browser:
        await signed_in(browser)
        key = key_in((await browser.get("/rows")).text)
        chosen = {"key": key, "row": [row.id for row in rows[:2]], "back": "/rows?state=ready"}
        asked = await browser.post("/rows/selected", data=chosen | {"action": "untrack"})
        done = await browser.post("/rows/untrack-selected", data=chosen)
        again = await browser.post("/rows/untrack-selected", data=chosen)

    assert "The assets stay at Mux." in text_of(asked)
    assert 'class="danger"' in asked.text
    assert "Untracked 2 of 2 videos" in text_of(done)
    assert "/rows?state=ready" in links_in(done)
    assert await world.context.store.assets.get_many([row.id for row in rows]) == {
        rows[2].id: rows[2]
    }
    assert world.emulator.truth(rows[0].provider_asset_id or "").state.value == "ready"
    assert acts(world)[1:] == [("untrack", "done", row.id) for row in rows[:2]]
    assert again.status_code == 404


@pytest.mark.parametrize(
    ("path", "data", "status", "text"),
    [
        ("/rows/selected", {"action": "sync"}, 400, "nothing is selected"),
        ("/rows/selected", {"action": "delete", "row": "ROW"}, 400, "neither sync nor untrack"),
        ("/rows/sync-selected", {}, 400, "nothing is selected"),
        ("/rows/untrack-selected", {"row": "made up"}, 400, "nothing is selected"),
        ("/webhook-events/selected", {"event": "ROW"}, 404, "is there any more"),
        ("/webhook-events/replay-selected", {}, 400, "nothing is selected"),
    ],
)
async def test_a_selection_that_is_none_is_refused(
    world: World, path: str, data: dict[str, str], status: int, text: str
) -> None:
    [row] = await some_rows(world, 1)
    async with a_browser(world) as browser:
        await signed_in(browser)
        key = key_in((await browser.get("/rows")).text)
        given = {name: value.replace("ROW", row.id) for name, value in data.items()}
        answer = await browser.post(path, data={"key": key, **given})

    assert (answer.status_code, text in text_of(answer)) == (status, True)
    assert await world.now_is(row) == row


async def test_no_more_are_acted_on_at_once_than_a_form_takes(world: World) -> None:
    ids = [f"00000000-0000-4000-8000-{place:012}" for place in range(MOST_SELECTED + 1)]
    async with a_browser(world) as browser:
        await signed_in(browser)
        key = key_in((await browser.get("/")).text)
        answers = [
            await browser.post("/rows/sync-selected", data={"key": key, "row": ids[:number]})
            for number in (MOST_SELECTED, MOST_SELECTED + 1)
        ]

    assert [answer.status_code for answer in answers] == [404, 413]


@pytest.mark.parametrize(
    "path",
    [
        "/rows/selected",
        "/rows/sync-selected",
        "/rows/untrack-selected",
        "/webhook-events/selected",
        "/webhook-events/replay-selected",
    ],
)
async def test_nobody_acts_on_several_without_signing_in_or_from_another_sites_form(
    world: World, path: str
) -> None:
    [row] = await some_rows(world, 1)
    async with a_browser(world) as browser:
        data = {"row": row.id, "event": row.id, "action": "untrack"}
        stranger = await browser.post(path, data={**data, "key": "x"})
        await signed_in(browser)
        forged = await browser.post(path, data={**data, "key": "x"})

    assert (stranger.status_code, forged.status_code) == (401, 403)
    assert await world.now_is(row) == row
    assert world.calls == 0


@pytest.mark.parametrize("back", ["//evil.example/", "https://evil.example/", "/rows\\..", "/x"])
async def test_a_form_leads_back_to_pages_of_the_console_alone(world: World, back: str) -> None:
    [row] = await some_rows(world, 1)
    async with a_browser(world) as browser:
        await signed_in(browser)
        key = key_in((await browser.get("/")).text)
        data = {"key": key, "row": row.id, "action": "sync", "back": back}
        answer = await browser.post("/rows/selected", data=data)

    assert answer.status_code == 200
    assert not any("evil" in link or "\\" in link for link in links_in(answer))


async def test_selected_webhook_events_are_replayed_once_that_is_confirmed(world: World) -> None:
    with_secrets(world)
    for _ in range(3):
        await deliver(world, an_event("nobody") | {"data": {}, "object": None})
    await process_webhook_events(world.context)
    async with a_browser(world) as browser:
        await signed_in(browser)
        html = (await browser.get("/webhook-events?status=dead")).text
        ids = BOXES.findall(html)
        chosen = {"key": key_in(html), "event": ids[:2]}
        asked = await browser.post("/webhook-events/selected", data=chosen)
        all_dead = await browser.get("/webhook-events/replay-dead")
        done = await browser.post("/webhook-events/replay-selected", data=chosen)

    assert "Replay 2 webhook events?" in text_of(asked)
    assert "Replay all dead webhook events of default?" in text_of(all_dead)
    assert done.headers["location"].endswith("done=replayed&number=2")
    events = await world.context.store.inbox.list()
    statuses = sorted(event.status for event in events)
    assert statuses == [EventStatus.DEAD, EventStatus.PENDING, EventStatus.PENDING]
    assert acts(world)[-1] == ("replay", "done", None)


# one video


async def a_playable_row(world: World) -> ProviderAsset:
    provider = world.context.gateway.provider
    assert isinstance(provider, Mux)
    provider.playback = MuxPlayback()
    await world.context.store.environments.identify("environment-1")
    row = await world.track(life=READY)
    await world.sync(row)
    return await world.now_is(row)


async def test_a_video_is_shown_on_demand_and_only_its_page_loads_of_the_provider(
    world: World,
) -> None:
    row = await a_playable_row(world)
    [playback_id] = [playback.id for playback in row.playback_ids]
    async with a_browser(world) as browser:
        await signed_in(browser)
        page = await browser.get(f"/rows/{row.id}")
        video = await browser.get(f"/rows/{row.id}/video")
        player = await browser.get(f"/rows/{row.id}/video?play=yes")

    assert f"/rows/{row.id}/video" in links_in(page)
    assert playback_id not in page.text
    assert "mux.com" not in page.text + page.headers["content-security-policy"]
    assert f'src="https://image.mux.com/{playback_id}/thumbnail.jpg"' in video.text
    assert "img-src 'self' https://image.mux.com;" in video.headers["content-security-policy"]
    assert "frame-src" not in video.headers["content-security-policy"]
    assert f'<iframe src="https://player.mux.com/{playback_id}"' in player.text
    assert player.headers["content-security-policy"].endswith("frame-src https://player.mux.com")
    assert "img-src 'self';" in player.headers["content-security-policy"]
    assert str(row.provider_asset_id) in video.text
    address = "https://dashboard.mux.com/environments/environment-1/video/assets/"
    assert f"{address}{row.provider_asset_id}" in links_in(video)


async def test_the_ids_of_a_video_are_for_whoever_may_act(world: World) -> None:
    row = await a_playable_row(world)
    async with a_browser(world) as stranger, a_browser(world, token=None) as reader:
        answers = [await browser.get(f"/rows/{row.id}/video") for browser in (stranger, reader)]

    assert [answer.status_code for answer in answers] == [401, 401]
    secrets = [secret for secret in row.secrets if secret]
    assert not any(secret in answer.text for secret in secrets for answer in answers)


async def test_a_video_that_cannot_be_played_says_why(world: World) -> None:
    row = await a_playable_row(world)
    errored = await world.track(State.ERRORED)
    signed = await world.track(State.READY, playback_ids=(PlaybackId("signed-id", "signed"),))
    async with a_browser(world) as browser:
        await signed_in(browser)
        pages = [await browser.get(f"/rows/{each.id}/video") for each in (errored, signed)]

    assert "is errored, not ready" in text_of(pages[0])
    assert "signer: is needed: the playback id is not public" in text_of(pages[1])
    assert all("mux.com" not in page.headers["content-security-policy"] for page in pages)
    assert row.state is State.READY


async def test_every_address_on_every_page_stands_below_the_path_of_the_proxy(world: World) -> None:
    await a_library(world, videos=60)
    console = Console([a_job_runner(world)], TOKEN, "https://ops.example.com/ops/rindle")
    browser = httpx.AsyncClient(
        transport=OfConsole(console), base_url="https://ops.example.com/ops/rindle/"
    )
    async with browser:
        await signed_in(browser)
        videos = await browser.get("rows")
        data = {"key": key_in(videos.text), "row": BOXES.findall(videos.text)[:2]}
        back = {"back": "/rows?state=ready", "action": "sync"}
        pages = [
            videos,
            *[await browser.get(path) for path in ("", "activity", "changes", "webhook-events")],
            await browser.get("webhook-events/replay-dead"),
            await browser.post("rows/selected", data=data | back),
            await browser.post("rows/sync-selected", data=data | back),
        ]

    assert [page.status_code for page in pages] == [200] * len(pages)
    addresses = re.findall(r' (?:href|action|src)="([^"]+)"', "".join(page.text for page in pages))
    assert {a for a in addresses if not a.startswith("/ops/rindle/")} == {"#main"}
