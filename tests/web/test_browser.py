"""The console in a real browser, with and without its script, on any screen."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import pytest
import uvicorn
from playwright.async_api import Browser, Route, expect
from playwright.async_api import Page as Tab

from rindle_sync.domain import ErrorKind, EventStatus, ProviderAsset, State
from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.telemetry import OperatorActed
from rindle_sync.web.console.app import Console
from rindle_sync.webhooks import process_webhook_events
from tests.support.browsers import a_screen, browser, keep, patient
from tests.support.console_library import a_library
from tests.support.processes import Shell, eventually, free_port, serving, settings_for
from tests.support.slow_counts import slow_counts
from tests.support.webhooks import an_event, deliver, with_secrets
from tests.support.world import World, a_job_runner

TOKEN = "the-console-token-of-this-test"
FAINT = """() => {
  const lightness = colour => {
    const parts = colour.match(/[\\d.]+/g).map(Number);
    const [red, green, blue] = parts.slice(0, 3).map(part => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const ground = element => {
    for (let here = element; here; here = here.parentElement) {
      const colour = getComputedStyle(here).backgroundColor;
      if (!/, 0\\)$|transparent/.test(colour)) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const texts = [...document.body.querySelectorAll("*")].filter(element =>
    element.checkVisibility() &&
    [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim()));
  return texts.flatMap(element => {
    const [more, less] = [getComputedStyle(element).color, ground(element)]
      .map(lightness).sort((a, b) => b - a);
    const contrast = (more + 0.05) / (less + 0.05);
    const text = element.textContent.trim().slice(0, 30);
    return contrast < 4.5 ? [`${element.tagName} ${text}: ${contrast.toFixed(1)}`] : [];
  });
}"""
"""The texts that have less contrast to what is behind them than WCAG 2 asks for (AA, 4.5 to 1)."""

pytestmark = pytest.mark.usefixtures("patient")
on_sqlite = pytest.mark.parametrize("tables_url", ["sqlite"], indirect=True)


@asynccontextmanager
async def a_console(world: World, token: str | None = TOKEN) -> AsyncIterator[str]:
    """The console on a port of this machine; its address."""
    port = free_port()
    app = Console([a_job_runner(world)], token)
    server = uvicorn.Server(
        uvicorn.Config(app, port=port, log_level="critical", lifespan="off", ws="none")
    )
    running = asyncio.create_task(server.serve())

    async def started() -> None:
        assert server.started

    await eventually(started)
    try:
        yield f"http://localhost:{port}"
    finally:
        server.should_exit = True
        await running
        await app.close()


async def sign_in(tab: Tab) -> None:
    await tab.get_by_label("token").fill(TOKEN)
    await tab.get_by_role("button", name="Sign in").click()
    await expect(tab.get_by_role("button", name="Sign out")).to_be_visible()


async def a_world_with_problems(world: World) -> ProviderAsset:
    """Rows in every state, a dead webhook event, and a row that is due, which is returned."""
    for state in State:
        kind = ErrorKind.PROVIDER if state is State.ERRORED else None
        text = "the file is no video" if kind else None
        await world.track(
            state, reference=f"video-{state}", error_kind=kind, last_sync_error=text, check_at=None
        )
    with_secrets(world)
    await deliver(world, an_event("nobody") | {"data": {}, "object": None})
    await process_webhook_events(world.context)
    world.clock.move(720)
    return await world.track(reference="video-that-waits")


@on_sqlite
async def test_an_operator_signs_in_opens_a_row_and_syncs_it(
    world: World, browser: Browser
) -> None:
    row = await a_world_with_problems(world)
    async with a_console(world) as address, a_screen(await browser.new_context()) as screen:
        tab = screen.tab
        await tab.goto(f"{address}/sign-in")
        await sign_in(tab)
        await tab.get_by_placeholder("reference or row id").fill("video-that-waits")
        await tab.keyboard.press("Enter")
        await tab.get_by_role("link", name="video-that-waits").click()
        await tab.get_by_role("button", name="Sync now").click()

        await expect(tab.get_by_role("status")).to_contain_text("changed")
        await expect(tab.get_by_role("heading", level=1)).to_contain_text("ready")
        await keep(tab, "row-synced")
        await tab.get_by_role("button", name="Sign out").click()
        await expect(tab.get_by_role("link", name="Sign in")).to_be_visible()

    assert (await world.now_is(row)).state is State.READY
    assert [(e.action, e.outcome) for e in world.told if isinstance(e, OperatorActed)] == [
        ("sign_in", "done"),
        ("sync", "changed"),
    ]


@on_sqlite
async def test_a_dead_webhook_event_is_replayed_by_a_click(world: World, browser: Browser) -> None:
    await a_world_with_problems(world)
    async with a_console(world) as address, a_screen(await browser.new_context()) as screen:
        tab = screen.tab
        await tab.goto(f"{address}/sign-in")
        await sign_in(tab)
        await tab.get_by_role("link", name="Webhook events", exact=True).click()
        await tab.get_by_label("status").select_option("dead")
        await tab.get_by_role("button", name="Show").click()
        await tab.get_by_label("Select the video.asset.ready of").check()
        await tab.get_by_role("button", name="Replay selected").click()
        await expect(tab.get_by_role("heading", level=1)).to_have_text("Replay 1 webhook event?")
        await tab.get_by_role("button", name="Replay 1 webhook event").click()

        await expect(tab.get_by_role("status")).to_contain_text("1 webhook event to be replayed")
        await keep(tab, "webhook-event-replayed")

    assert [n.status for n in await world.context.store.inbox.list()] == [EventStatus.PENDING]


@on_sqlite
async def test_everything_works_without_the_script(world: World, browser: Browser) -> None:
    row = await a_world_with_problems(world)
    context = await browser.new_context(java_script_enabled=False)
    async with a_console(world) as address, a_screen(context) as screen:
        tab = screen.tab
        await tab.goto(f"{address}/sign-in")
        await sign_in(tab)
        await tab.get_by_role("link", name="Videos", exact=True).click()
        await tab.get_by_role("link", name="video-that-waits").click()
        await tab.get_by_role("button", name="Sync now").click()

        await expect(tab.get_by_role("heading", level=1)).to_contain_text("ready")

    assert (await world.now_is(row)).state is State.READY


@on_sqlite
async def test_selected_videos_are_untracked_without_the_script(
    world: World, browser: Browser
) -> None:
    row = await a_world_with_problems(world)
    context = await browser.new_context(java_script_enabled=False)
    async with a_console(world) as address, a_screen(context) as screen:
        tab = screen.tab
        await tab.goto(f"{address}/sign-in")
        await sign_in(tab)
        await tab.goto(f"{address}/rows?state=processing")
        await tab.get_by_label("Select video-that-waits").check()
        await tab.get_by_role("button", name="Untrack selected").click()
        await expect(tab.get_by_role("heading", level=1)).to_have_text("Untrack 1 video?")
        await keep(tab, "confirmation")
        await tab.get_by_role("button", name="Untrack 1 video").click()
        await expect(tab.get_by_role("status")).to_have_text("All done.")
        await tab.get_by_role("link", name="Back to the list").click()

        assert tab.url == f"{address}/rows?environment=default&state=processing"
        await expect(tab.get_by_label("Select video-processing")).to_be_visible()
        await expect(tab.get_by_label("Select video-that-waits")).to_have_count(0)

    assert await world.context.store.assets.get(row.id) is None


@on_sqlite
async def test_all_videos_of_a_page_are_selected_by_the_keyboard_and_synced(
    world: World, browser: Browser
) -> None:
    await a_world_with_problems(world)
    async with a_console(world) as address, a_screen(await browser.new_context()) as screen:
        tab = screen.tab
        await tab.goto(f"{address}/sign-in")
        await sign_in(tab)
        await tab.goto(f"{address}/rows?state=processing")
        await tab.get_by_role("button", name="Select all").press("Enter")
        await expect(tab.locator("[data-count=row]")).to_have_text("2 selected")
        await tab.get_by_role("button", name="Sync selected").press("Enter")
        await tab.get_by_role("button", name="Sync 2 videos").press("Enter")

        await expect(tab.get_by_role("heading", level=1)).to_have_text("Synced 2 of 2 videos")
        await expect(tab.get_by_role("row", name="Checked: the row has changed.")).to_have_count(2)
        await keep(tab, "results")


@on_sqlite
async def test_a_slash_leads_to_the_search_and_is_a_slash_in_a_field(
    world: World, browser: Browser
) -> None:
    await a_world_with_problems(world)
    async with a_console(world, None) as address, a_screen(await browser.new_context()) as screen:
        tab = screen.tab
        await tab.goto(f"{address}/rows")
        await tab.keyboard.press("/")
        await tab.keyboard.type("a/b")

        await expect(tab.get_by_placeholder("reference or row id")).to_be_focused()
        await expect(tab.get_by_placeholder("reference or row id")).to_have_value("a/b")


@on_sqlite
async def test_a_warning_leads_to_its_videos_and_a_column_turns_their_order(
    world: World, browser: Browser
) -> None:
    await a_library(world)
    async with a_console(world, None) as address, a_screen(await browser.new_context()) as screen:
        tab = screen.tab
        await tab.goto(address)
        await expect(tab.get_by_role("img", name="Webhooks that never came")).to_be_visible()
        await tab.get_by_text("How late changes were found as a table").click()
        await expect(tab.get_by_role("table", name="How late changes were found")).to_be_visible()
        await tab.get_by_role("link", name="show the stuck videos").click()
        await expect(tab.get_by_role("link", name="errored-stuck")).to_be_visible()
        await tab.get_by_role("link", name="Clear").click()
        await tab.get_by_role("link", name="next check").click()

        head = tab.get_by_role("columnheader", name="next check")
        await expect(head).to_have_attribute("aria-sort", "ascending")
        await expect(tab.get_by_role("rowheader").first).to_have_text("new-pending")


@on_sqlite
async def test_a_video_is_played_in_a_frame_of_the_providers_and_nothing_else_is_loaded(
    world: World, browser: Browser
) -> None:
    row = await a_library(world)
    loaded = list[str]()

    async def answer(route: Route) -> None:
        picture = "<svg xmlns='http://www.w3.org/2000/svg'/>"
        await route.fulfill(content_type="image/svg+xml", body=picture)

    async with a_console(world) as address, a_screen(await browser.new_context()) as screen:
        tab = screen.tab
        # what the policy of the page forbids is a complaint of the browser
        tab.on(
            "request",
            lambda asked: None if asked.url.startswith(address) else loaded.append(asked.url),
        )
        await tab.route("https://image.mux.com/**", answer)
        await tab.goto(f"{address}/sign-in")
        await sign_in(tab)
        await tab.goto(f"{address}/rows/{row.id}")
        await expect(tab.get_by_role("link", name="Show the video")).to_be_visible()
        assert loaded == []
        await tab.get_by_role("link", name="Show the video").click()
        await expect(tab.get_by_role("img", name="Poster of")).to_be_visible()
        await tab.get_by_role("link", name="Play", exact=True).click()
        await expect(tab.locator("iframe[title^='Player of']")).to_be_visible()

        async def asked_for_both() -> None:
            assert len(loaded) == 2

        await eventually(asked_for_both)

    [playback_id] = [playback.id for playback in row.playback_ids]
    assert loaded == [
        f"https://image.mux.com/{playback_id}/thumbnail.jpg",
        f"https://player.mux.com/{playback_id}",
    ]


@on_sqlite
async def test_the_page_is_fresh_while_it_is_visible(world: World, browser: Browser) -> None:
    row = await a_world_with_problems(world)
    async with a_console(world, None) as address, a_screen(await browser.new_context()) as screen:
        tab = screen.tab
        await tab.goto(f"{address}/rows/{row.id}")
        await expect(tab.get_by_role("heading", level=1)).to_contain_text("processing")
        await world.sync(row)

        await expect(tab.get_by_role("heading", level=1)).to_contain_text("ready")
        await expect(tab.locator("#live")).to_have_text("· live")


@on_sqlite
@pytest.mark.parametrize("has_script", [True, False], ids=["with-script", "without-script"])
async def test_the_overview_shows_what_is_counted_by_itself(
    world: World, browser: Browser, *, has_script: bool
) -> None:
    await a_library(world)
    ends = slow_counts(world)
    context = await browser.new_context(java_script_enabled=has_script)
    async with a_console(world, None) as address, a_screen(context) as screen:
        tab = screen.tab
        await tab.goto(address)
        head = tab.get_by_role("heading", level=1)
        await expect(head).to_contain_text("so far")
        await expect(tab.get_by_role("status")).to_contain_text("Still being counted")
        await keep(tab, f"counting-{has_script}")
        ends.set()

        await expect(tab.get_by_role("img", name="Webhooks that never came")).to_be_visible()
        await expect(head).not_to_contain_text("so far")
        await expect(tab.get_by_role("status")).to_have_count(0)


@on_sqlite
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
async def test_no_page_is_wider_than_its_screen_and_every_text_stands_out(
    world: World, browser: Browser, width: int, scheme: Literal["light", "dark"]
) -> None:
    row = await a_library(world)
    context = await browser.new_context(
        viewport={"width": width, "height": 844}, color_scheme=scheme
    )
    async with a_console(world) as address, a_screen(context) as screen:
        tab = screen.tab
        await tab.goto(f"{address}/sign-in")
        await sign_in(tab)
        for name, path in {
            "overview": "/",
            "rows": "/rows",
            "row": f"/rows/{row.id}",
            "webhook-events": "/webhook-events",
            "changes": "/changes",
            "activity": "/activity",
            "replay": "/webhook-events/replay-dead",
            "nothing": "/rows?state=deleted&profile=nobody",
        }.items():
            await tab.goto(address + path)
            await keep(tab, f"{name}-{scheme}-{width}")
            assert await tab.evaluate("document.documentElement.scrollWidth") <= width, name
            assert await tab.evaluate(FAINT) == [], name


@on_sqlite
async def test_the_keyboard_leads_past_the_head_of_the_page(world: World, browser: Browser) -> None:
    async with a_console(world, None) as address, a_screen(await browser.new_context()) as screen:
        await screen.tab.goto(address)
        await screen.tab.keyboard.press("Tab")
        await screen.tab.keyboard.press("Enter")

        assert await screen.tab.evaluate("document.activeElement.id") == "main"


async def test_the_page_of_a_running_service_is_live_and_needs_no_network(
    sqlite_tables_url: str, tmp_path: Path, browser: Browser
) -> None:
    with serving(MuxEmulator()) as far_end:
        shell = Shell(tmp_path, settings_for(sqlite_tables_url, far_end, console_port=free_port()))
        async with shell.started("run") as running, a_screen(await browser.new_context()) as screen:
            await running.says("console, metrics and probes at")
            await screen.tab.goto(f"http://127.0.0.1:{shell.settings['console_port']}/")

            await expect(screen.tab.locator("#live")).to_have_text("· live")
            await expect(screen.tab.get_by_role("heading", level=1)).to_have_text("All is well")
