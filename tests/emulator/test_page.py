"""The emulator's page: in a real browser, beside the API that it must not disturb."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from playwright.async_api import Browser, expect

from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.emulator.lifecycle import Life
from tests.support.browsers import Screen, a_screen, browser, keep, patient
from tests.support.processes import serving

__all__ = ["browser", "patient"]

pytestmark = pytest.mark.usefixtures("patient")


@asynccontextmanager
async def opened(browser: Browser) -> AsyncIterator[Screen]:
    context = await browser.new_context(viewport={"width": 1100, "height": 800})
    async with a_screen(context) as screen:
        yield screen


async def test_a_person_makes_an_asset_sees_it_and_ends_it(browser: Browser) -> None:
    emulator = MuxEmulator()
    with serving(emulator) as far_end:
        async with opened(browser) as screen:
            tab = screen.tab
            await tab.goto(far_end.url)
            await expect(tab.get_by_text("There is no asset yet.")).to_be_visible()
            await tab.get_by_label("after").fill("3600")
            await tab.get_by_label("passthrough").fill("<b>film-1</b>")
            await tab.get_by_role("button", name="Make it").click()

            row = tab.get_by_role("row").filter(has_text="<b>film-1</b>")
            await expect(row).to_contain_text("preparing")
            await row.get_by_role("button", name="ready").click()
            await expect(row).to_contain_text("ready")
            await keep(tab, "emulator")
            await row.get_by_role("button", name="deleted").click()
            await expect(row.get_by_role("button")).to_have_count(0)
            await expect(tab.get_by_role("status")).to_have_text(re.compile("is deleted now"))

    [truth] = emulator.truths().values()
    assert (truth.state, truth.passthrough) == ("deleted", "<b>film-1</b>")


async def test_a_wrong_value_is_explained(browser: Browser) -> None:
    with serving(MuxEmulator()) as far_end:
        async with opened(browser) as screen:
            tab = screen.tab
            await tab.goto(far_end.url)
            # what the browser lets through, the emulator refuses
            await tab.get_by_label("passthrough").evaluate("field => field.maxLength = 9999")
            await tab.get_by_label("passthrough").fill("x" * 256)
            await tab.get_by_role("button", name="Make it").click()
            await expect(tab.get_by_role("status")).to_contain_text("passthrough")
            # the browser notes the refusal, as a line and as an answer
            assert len(screen.complaints) == 2
            screen.complaints.clear()


async def test_the_page_counts_as_no_call_and_shows_the_newest_only() -> None:
    emulator = MuxEmulator()
    emulator.create_assets(250, life=Life(after=0))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=emulator.app), base_url="http://mux"
    ) as client:
        page = await client.get("/")
        overview = (await client.get("/_emulator/overview")).json()
        unknown = await client.get("/nothing")

    assert (page.status_code, unknown.status_code) == (200, 401)
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert (overview["total"], len(overview["assets"]), overview["calls"]) == (250, 200, 0)
    assert overview["assets"][0]["id"] == list(emulator.truths())[-1]
    assert emulator.calls.total() == 1
