"""A real browser, in which no script fails, and nothing is refused or not found."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, Playwright, async_playwright, expect
from playwright.async_api import Page as Tab

from tests.support.processes import PATIENCE

KEPT = os.environ.get("RINDLE_SCREENSHOTS", "")
"""A folder where what the browser showed is kept, to be looked at."""


@pytest.fixture
def patient() -> None:
    """A slow machine has its time."""
    expect.set_options(timeout=1000 * PATIENCE)


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Chromium; a test is skipped where there is none."""
    if not shutil.which("chromium"):
        pytest.skip("chromium is not installed")
    async with async_playwright() as play:
        browser = await launch(play)
        try:
            yield browser
        finally:
            await browser.close()


async def launch(play: Playwright) -> Browser:
    """The machine's Chromium."""
    return await play.chromium.launch(
        executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
    )


@dataclass
class Screen:
    """One tab, and all that went wrong in it."""

    tab: Tab
    complaints: list[str]


@asynccontextmanager
async def a_screen(context: BrowserContext) -> AsyncIterator[Screen]:
    """A tab in which no script fails, and nothing is refused or not found."""
    complaints: list[str] = []
    context.set_default_timeout(1000 * PATIENCE)
    tab = await context.new_page()
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on(
        "console",
        lambda line: complaints.append(line.text) if line.type in {"error", "warning"} else None,
    )
    tab.on(
        "response", lambda answer: complaints.append(answer.url) if answer.status >= 400 else None
    )
    try:
        yield Screen(tab, complaints)
    finally:
        await context.close()
    assert complaints == []


async def keep(tab: Tab, name: str) -> None:
    """Keep what the browser shows, if there is a folder for that."""
    if KEPT:
        await tab.screenshot(path=Path(KEPT) / f"{name}.png", full_page=True)
