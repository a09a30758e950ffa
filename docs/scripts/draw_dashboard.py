"""Draws `docs/pictures/dashboard.svg`: every panel of the dashboard as a real Prometheus has it.

`python -m docs.scripts.draw_dashboard [minutes]`, by default 20. A service runs so long, with lost
webhooks, throttled calls, and a provider that is down. It needs `prometheus` on the PATH.
"""

import asyncio
import sys
import time
from pathlib import Path
from typing import Final

import httpx

from docs.scripts.dashboard import Prometheus, panels
from docs.scripts.dashboard_run import a_watched_service
from docs.scripts.dashboard_svg import Window, picture

PICTURE: Final = Path(__file__).parents[1] / "pictures/dashboard.svg"


async def drawn(address: str, begins: float, ends: float) -> str:
    """The dashboard for that time; raises `ValueError` for a panel without data."""
    async with httpx.AsyncClient(base_url=address, timeout=60) as client:
        prometheus = Prometheus(client, begins, ends)
        found = [(panel, await prometheus.series_of(panel)) for panel in panels()]
    empty = [
        panel.title
        for panel, answers in found
        if not all(any(series.has_data for series in answer) for answer in answers)
    ]
    if empty:
        raise ValueError(f"without data: {', '.join(empty)}")
    return picture(found, Window(begins, ends))


async def main(minutes: float) -> None:
    """Let the service run, and draw what Prometheus has."""
    began = time.time()
    async with a_watched_service(60 * minutes) as address:
        await asyncio.sleep(began + 60 * minutes - time.time())
        svg = await drawn(address, began, time.time())
    PICTURE.write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 20.0))
