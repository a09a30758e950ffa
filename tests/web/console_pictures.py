"""`python -m tests.web.console_pictures`: makes the pictures of the console in the docs."""

import asyncio
import os
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from playwright.async_api import Browser, Page, async_playwright

from rindle_sync.domain import Bucket
from rindle_sync.gateway import RateLimiter
from tests.support.browsers import launch
from tests.support.console_library import a_library
from tests.support.world import World, a_world
from tests.web.test_browser import a_console, sign_in

FOLDER: Final = Path(os.environ.get("RINDLE_PICTURES", Path(__file__).parents[2] / "docs/pictures"))

SCREENS: Final[dict[str, dict[str, Any]]] = {
    "light": {"viewport": {"width": 1280, "height": 1000}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 1000}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light"},
}


async def main() -> None:
    """Show each page in each look, and keep the picture."""
    with TemporaryDirectory() as place:
        async with (
            a_world(f"sqlite:///{place}/library.sqlite3") as world,
            async_playwright() as play,
        ):
            await _a_day_of_calls(world)
            row = await a_library(world)
            browser = await launch(play)
            async with a_console(world) as address:
                pages = {"overview": "/", "rows": "/rows", "row": f"/rows/{row.id}"}
                for look in SCREENS:
                    await _keep(browser, address, pages, look)
            await browser.close()


async def _a_day_of_calls(world: World) -> None:
    """Calls within the limits of Mux's lowest plan; some hours are busier than others."""
    gateway, now = world.context.gateway, world.clock.now()
    limits = {
        "reads": Bucket(name="reads", capacity=100, per_second=1),
        "creates": Bucket(name="creates", capacity=20, per_second=1),
    }
    buckets = world.context.store.rate_limits
    for hour in range(24, 0, -1):
        for limit in limits.values():
            share = 0.2 + hour * 5 % 9 / 12
            await buckets.take(
                limit,
                now - timedelta(hours=hour - 0.5),
                most=int(limit.capacity * share),
                reserve=0,
                most_left=limit.capacity,
            )
    for name, limit in limits.items():
        setattr(
            gateway, name, RateLimiter(buckets, limit, now=world.clock.now, sleep=world.clock.sleep)
        )


async def _keep(browser: Browser, address: str, pages: dict[str, str], look: str) -> None:
    context = await browser.new_context(**SCREENS[look])
    tab = await context.new_page()
    await tab.goto(f"{address}/sign-in")
    await sign_in(tab)
    for name, path in pages.items():
        await tab.set_viewport_size(SCREENS[look]["viewport"])
        await tab.goto(address + path)
        if name == "overview" and look != "phone":
            await _make_room_for_charts(tab)
        await tab.screenshot(path=FOLDER / f"console-{name}-{look}.png")
    await context.close()


async def _make_room_for_charts(tab: Page) -> None:
    """Make the screen so high that it ends below the last chart, and cuts none."""
    charts = await tab.locator(".charts").bounding_box()
    assert charts
    width = SCREENS["light"]["viewport"]["width"]
    await tab.set_viewport_size(
        {"width": width, "height": int(charts["y"] + charts["height"]) + 16}
    )


if __name__ == "__main__":
    asyncio.run(main())
