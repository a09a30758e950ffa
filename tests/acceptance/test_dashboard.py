"""The dashboard and the alerts, over a real Prometheus beside a real service with troubles."""

import shutil
import time
from xml.etree import ElementTree

import httpx
import pytest

from docs.scripts.dashboard import Panel, Prometheus, Series, panels
from docs.scripts.dashboard_run import ALL_AT_ONCE, a_watched_service
from docs.scripts.dashboard_svg import Window, picture
from tests.support.processes import PATIENCE, eventually

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.skipif(
        shutil.which("prometheus") is None,
        reason="prometheus is not installed; Debian has it in the package of that name",
    ),
]

Found = list[tuple[Panel, list[list[Series]]]]


async def found_by(client: httpx.AsyncClient, begins: float) -> Found:
    prometheus = Prometheus(client, begins, time.time(), rate_interval="10s")
    return [(panel, await prometheus.series_of(panel)) for panel in panels()]


def without_data(found: Found) -> list[str]:
    """The queries that find nothing."""
    return [
        f"{panel.title}: {target['expr']}"
        for panel, answers in found
        for target, series in zip(panel.targets, answers, strict=True)
        if not any(line.has_data for line in series)
    ]


async def test_every_panel_has_data_and_every_rule_is_evaluated() -> None:
    began, found = time.time(), Found()
    async with (
        a_watched_service(3600, pause=0.3, every="1s", troubles=ALL_AT_ONCE) as address,
        httpx.AsyncClient(base_url=address, timeout=PATIENCE) as client,
    ):

        async def have_data() -> None:
            found[:] = await found_by(client, began)
            assert without_data(found) == []

        await eventually(have_data, within=2 * PATIENCE)
        groups = (await client.get("/api/v1/rules")).json()["data"]["groups"]

    rules = [rule for group in groups for rule in group["rules"]]
    assert {group["name"] for group in groups} == {"rindle-sync-recorded", "rindle-sync-alerts"}
    assert [rule for rule in rules if rule["health"] != "ok"] == []
    drawn = ElementTree.fromstring(picture(found, Window(began, time.time())))
    texts = {"".join(text.itertext()) for text in drawn.iter("{http://www.w3.org/2000/svg}text")}
    titles = {panel.title for panel in panels() if panel.type != "row"}
    assert titles <= texts
