"""The tutorial does what it says: each block of the page is run, by real processes, in order."""

import re
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.processes import free_port
from tests.support.readers import ROOT, Reader, blocks_of

pytestmark = pytest.mark.acceptance

BLOCKS: Final = blocks_of("tutorial.md")


@pytest.fixture
async def reader(tmp_path: Path) -> AsyncIterator[Reader]:
    ports = {"8010": str(free_port()), "8000": str(free_port())}
    reader = Reader(tmp_path, ports, files={"toml": "rindle-sync.toml", "python": "app.py"})
    try:
        yield reader
    finally:
        await reader.stop()


def test_the_first_block_installs_extras_that_there_are() -> None:
    language, block = BLOCKS[0]
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    named = re.search(r'^\$ pip install "rindle-sync\[([a-z,]+)\] @ ', block, re.MULTILINE)

    assert language == "console"
    assert named
    assert set(named[1].split(",")) <= set(extras)


async def test_each_step_of_the_tutorial_does_what_the_page_says(reader: Reader) -> None:
    for language, block in BLOCKS[1:]:
        await reader.follow(language, block)

    assert [server.returncode for server in reader.servers] == [None, None]
