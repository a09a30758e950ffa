"""The example's pages and the admin in a real browser, on a server in a process of its own."""

import asyncio
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Browser, Route, expect
from playwright.async_api import Page as Tab

from rindle_sync.domain import State
from rindle_sync.emulator import Life, MuxEmulator
from rindle_sync.store import Store
from tests.support.browsers import a_screen, browser, keep, patient
from tests.support.processes import (
    FarEnd,
    a_store,
    all_rows,
    eventually,
    free_port,
    serving,
    settings_for,
)
from tests.support.webhooks import SECRET

pytest.importorskip("django")
from tests.support.django_example import APP, environment, manage

pytestmark = pytest.mark.usefixtures("patient")

PIXEL = bytes.fromhex(
    "47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b"
)
"""A picture; no test asks the network for one."""

PEOPLE = """
from django.contrib.auth.models import Permission, User
User.objects.create_superuser("operator", password="a long password")
looks = User.objects.create_user("viewer", password="a long password", is_staff=True)
looks.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
"""


@dataclass
class Site:
    """The example at work: its address, its provider, and its database."""

    address: str
    far_end: FarEnd
    env: dict[str, str]
    store: Store

    async def run(self, code: str) -> None:
        await asyncio.to_thread(manage, "shell", "-v", "0", "-c", code, env=self.env)

    async def track(self, reference: str, **life: object) -> str:
        """A tracked video; the id of its asset."""
        asset_id = self.far_end.emulator.create_asset(life=Life(**life))  # type: ignore[arg-type]
        code = "from rindle_sync.integrations.django import rindle; rindle.track("
        await self.run(f"{code}reference={reference!r}, provider_asset_id={asset_id!r})")
        return asset_id


@asynccontextmanager
async def a_process(*command: str, env: dict[str, str]) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(sys.executable, *command, cwd=APP, env=env)
    try:
        yield
        assert process.returncode is None
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        await process.wait()


@pytest.fixture
async def site(database_url: str) -> AsyncIterator[Site]:
    with serving(MuxEmulator(prepare_seconds=1)) as far_end:
        settings = settings_for(database_url, far_end, mux_webhook_secrets=SECRET)
        del settings["database_url"]
        given = {f"RINDLE_{name.upper()}": value for name, value in settings.items()}
        env = environment(database_url, **given)
        await asyncio.to_thread(manage, "migrate", "-v", "0", env=env)
        await asyncio.to_thread(manage, "shell", "-v", "0", "-c", PEOPLE, env=env)
        address = f"127.0.0.1:{free_port()}"
        server = a_process("manage.py", "runserver", "--noreload", address, env=env)
        async with server, a_store(database_url) as store:
            await eventually(lambda: answers(f"http://{address}/"))
            yield Site(f"http://{address}", far_end, env, store)


async def answers(url: str) -> None:
    async with httpx.AsyncClient() as client:
        try:
            assert (await client.get(url)).status_code == 200
        except httpx.TransportError:
            raise AssertionError("it does not listen yet") from None


@asynccontextmanager
async def a_tab(browser: Browser) -> AsyncIterator[Tab]:
    """A tab without a network: what the provider serves is a pixel."""

    async def pixel(route: Route) -> None:
        await route.fulfill(status=200, content_type="image/gif", body=PIXEL)

    async with a_screen(await browser.new_context()) as screen:
        await screen.tab.route("https://*.mux.com/**", pixel)
        yield screen.tab


async def sign_in(tab: Tab, site: Site, name: str = "operator") -> None:
    await tab.goto(f"{site.address}/admin/")
    await tab.get_by_label("Username").fill(name)
    await tab.get_by_label("Password").fill("a long password")
    await tab.get_by_role("button", name="Log in").click()
    await expect(tab.get_by_role("link", name="Videos", exact=True)).to_be_visible()


async def choose(tab: Tab, action: str, *rows: str) -> None:
    for row in rows:
        await tab.get_by_role("row", name=row).get_by_role("checkbox").check()
    await tab.get_by_label("Action:").select_option(label=action)
    await tab.get_by_role("button", name="Go").click()


async def test_a_film_is_uploaded_in_the_browser_and_played_once_it_is_ready(
    site: Site, browser: Browser, tmp_path: Path
) -> None:
    emulator, stop = site.far_end.emulator, asyncio.Event()
    emulator.add_webhook(f"{site.address}/webhooks/mux", SECRET)
    (tmp_path / "holidays.mp4").write_bytes(b"a video")
    jobs = a_process("manage.py", "rindle", "run", env=site.env)
    async with jobs, a_tab(browser) as tab, asyncio.TaskGroup() as group:
        group.create_task(emulator.run_webhooks(stop))
        await tab.goto(site.address)
        await tab.get_by_label("Title").fill("Holidays")
        await tab.get_by_label("File").set_input_files(tmp_path / "holidays.mp4")
        await tab.get_by_role("button", name="Upload").click()

        await expect(tab.get_by_role("heading", level=1)).to_have_text("Holidays")
        await expect(tab.locator("video")).to_have_attribute(
            "src", re.compile("^https://stream.mux.com/")
        )
        await keep(tab, "django-player")
        await tab.get_by_role("link", name="All films").click()
        await expect(tab.get_by_role("row", name="Holidays")).to_contain_text("Ready")
        stop.set()

    [row] = await all_rows(site.store)
    assert row.state is State.READY
    assert emulator.deliveries.answers[202] > 0


async def test_an_operator_filters_opens_syncs_and_untracks_a_video(
    site: Site, browser: Browser
) -> None:
    asset_id = await site.track("film-1", ends="ready", after=0)
    await site.track("film-2", ends="never")
    async with a_tab(browser) as tab:
        await sign_in(tab, site)
        await tab.get_by_role("link", name="Videos", exact=True).click()
        await expect(tab.get_by_role("link", name="film-1")).to_be_visible()
        await keep(tab, "django-list")
        filters = tab.locator("#changelist-filter")
        await filters.get_by_role("link", name="ready", exact=True).click()
        await expect(tab.get_by_role("link", name="film-1")).to_have_count(0)

        await filters.get_by_role("link", name="processing", exact=True).click()
        await tab.locator("#searchbar").fill(asset_id)
        await tab.keyboard.press("Enter")
        await expect(tab.get_by_role("link", name="film-2")).to_have_count(0)
        await tab.get_by_role("link", name="film-1").click()
        await expect(tab.get_by_role("heading", name="History")).to_be_visible()
        await expect(tab.get_by_text(asset_id)).to_have_count(0)
        await tab.get_by_role("button", name="Sync now").click()
        await expect(tab.get_by_text("Checked: the row has changed. (film-1)")).to_be_visible()
        await expect(tab.get_by_text("processing -> ready")).to_be_visible()
        await tab.get_by_role("link", name="Show provider ids").click()
        await expect(tab.get_by_text(asset_id)).to_be_visible()
        await keep(tab, "django-row")

        await tab.get_by_role("link", name="Untrack …").click()
        await expect(tab.get_by_role("heading", name="Untrack 1 row?")).to_be_visible()
        await keep(tab, "django-untrack")
        await tab.get_by_role("button", name="Untrack").click()
        await expect(tab.get_by_text("Not tracked any more.")).to_be_visible()

    assert [row.reference for row in await all_rows(site.store)] == ["film-2"]


async def test_actions_of_the_list_are_confirmed_and_told_about(
    site: Site, browser: Browser
) -> None:
    for reference in ("film-1", "film-2", "film-3"):
        await site.track(reference, ends="ready", after=0)
    async with a_tab(browser) as tab:
        await sign_in(tab, site)
        await tab.get_by_role("link", name="Videos", exact=True).click()
        await choose(tab, "Sync now (asks the provider)", "film-1", "film-2")
        await expect(
            tab.get_by_text("Checked: the row has changed. (film-2, film-1)")
        ).to_be_visible()
        await choose(tab, "Untrack …", "film-2", "film-3")
        await expect(tab.get_by_role("heading", name="Untrack 2 rows?")).to_be_visible()
        await tab.get_by_role("link", name="Keep them").click()
        await expect(tab.get_by_role("link", name="film-3")).to_be_visible()
        await choose(tab, "Untrack …", "film-2", "film-3")
        await tab.get_by_role("button", name="Untrack").click()
        await expect(tab.get_by_text("Not tracked any more.")).to_be_visible()

    rows = {row.reference: row.state for row in await all_rows(site.store)}
    assert rows == {"film-1": State.READY}


async def test_a_webhook_event_is_replayed_and_a_viewer_has_no_buttons(
    site: Site, browser: Browser
) -> None:
    emulator = site.far_end.emulator
    emulator.add_webhook(f"{site.address}/webhooks/mux", SECRET)
    await site.track("film-1", ends="never")
    await emulator.deliver_due()
    await site.run(
        "from rindle_sync.integrations.django import rindle; rindle.process_webhook_events()"
    )
    async with a_tab(browser) as tab:
        await sign_in(tab, site)
        await tab.get_by_role("link", name="Webhook events", exact=True).click()
        await expect(tab.get_by_role("row", name="video.asset.created")).to_contain_text("Applied")
        await keep(tab, "django-events")
        await choose(tab, "Replay selected webhook events", "video.asset.created")
        await expect(tab.get_by_text("Will be applied again.")).to_be_visible()
        await expect(tab.get_by_role("row", name="video.asset.created")).to_contain_text("Pending")
    async with a_tab(browser) as tab:
        await sign_in(tab, site, "viewer")
        await tab.get_by_role("link", name="Videos", exact=True).click()
        await expect(tab.get_by_label("Action:")).to_have_count(0)
        await tab.get_by_role("link", name="film-1").click()
        await expect(tab.get_by_role("heading", name="History")).to_be_visible()
        await expect(tab.get_by_role("button", name="Sync now")).to_have_count(0)
        await expect(tab.get_by_text("Show provider ids")).to_have_count(0)
        await expect(tab.get_by_text("Untrack")).to_have_count(0)
