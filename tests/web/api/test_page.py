"""The commands on the page of the API run, in their order, and get what they ask for."""

import asyncio
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from rindle_sync.web.api import app, bodies, following
from tests.support.api import TOKEN, an_api

PAGE = Path(__file__).parents[3] / "docs" / "http-api.md"
CURL = 'curl() { command curl --silent --show-error --fail-with-body --max-time 60 "$@"; echo; }\n'


def commands() -> list[str]:
    """Every command of the page, each in one piece."""
    found = []
    for block in re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        found += re.findall(r"^curl (?:.*\\\n)*.*\n", block, re.MULTILINE)
    return found


async def test_each_command_of_the_page_is_answered(sqlite_tables_url: str) -> None:
    async with an_api(sqlite_tables_url) as api:
        row = await api.ready("film-0")
        others = {
            "API": str(api.client.base_url).rstrip("/"),
            "TOKEN": TOKEN,
            "ASSET_ID": api.asset(),
            "ID": row["id"],
        }
        # what the page does to the row comes last: a row is not replaced before it plays
        ordered = sorted(
            commands(), key=lambda command: ("replace" in command) + 2 * ("DELETE" in command)
        )
        for command in ordered:
            ended = await asyncio.to_thread(
                subprocess.run,
                ["bash", "-ec", CURL + command],
                env={**os.environ, **others},
                capture_output=True,
                text=True,
                timeout=90,
                check=False,
            )
            assert ended.returncode == 0, f"{command}{ended.stdout}{ended.stderr}"
            assert isinstance(json.loads(ended.stdout), dict)
    assert len(ordered) == 19


@pytest.mark.parametrize("name", ["LARGEST_BODY", "MOST_WAITING", "REQUESTS", "READS"])
def test_the_limits_on_the_page_are_those_of_the_api(name: str) -> None:
    text = " ".join(PAGE.read_text().split())
    said = {
        "LARGEST_BODY": f"up to {bodies.LARGEST_BODY // 1024} KiB",
        "MOST_WAITING": f"At most {following.MOST_WAITING} clients",
        "REQUESTS": f"up to {app.REQUESTS} requests",
        "READS": f"up to {app.READS} database connections",
    }
    assert said[name] in text
