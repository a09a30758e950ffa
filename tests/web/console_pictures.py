"""`python -m tests.web.console_pictures`: makes the pictures of the console in the docs."""

import asyncio
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from playwright.async_api import Browser, async_playwright

from tests.support.browsers import launch
from tests.support.console_library import a_library
from tests.support.world import a_world
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
            row = await a_library(world)
            browser = await launch(play)
            async with a_console(world) as address:
                pages = {"overview": "/", "rows": "/rows", "row": f"/rows/{row.id}"}
                for look in SCREENS:
                    await _keep(browser, address, pages, look)
            await browser.close()


async def _keep(browser: Browser, address: str, pages: dict[str, str], look: str) -> None:
    context = await browser.new_context(**SCREENS[look])
    tab = await context.new_page()
    await tab.goto(f"{address}/sign-in")
    await sign_in(tab)
    for name, path in pages.items():
        await tab.goto(address + path)
        await tab.screenshot(path=FOLDER / f"console-{name}-{look}.png")
    await context.close()


if __name__ == "__main__":
    asyncio.run(main())
