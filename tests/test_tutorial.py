"""The tutorial does what it says: each block of the page is run, by real processes, in order."""

import asyncio
import os
import re
import sys
import tomllib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from tests.support.processes import UNWANTED, eventually, free_port

pytestmark = pytest.mark.acceptance

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
BLOCK: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS: Final = BLOCK.findall(PAGE)

FILES: Final = {"toml": "rindle-sync.toml", "python": "app.py"}
"""The file that the page has its reader save a block of this language as."""

SERVERS: Final = ("rindle-sync emulator ", "uvicorn ")
"""How the commands begin that run until the reader ends them."""

LONGEST_WAIT: Final = 60.0
"""Seconds that an output may take which the page announces for ten or twenty seconds later."""

VARIES: Final = (
    (re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "<row>"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"), "<time>"),
    (re.compile(r"\b\d+ s late"), "<seconds> late"),
    (re.compile(r"[ \t]+$", re.MULTILINE), ""),
)
"""What differs from run to run."""


def transcript(block: str) -> list[tuple[str, str]]:
    """The commands of a console block, each with the output that follows it."""
    parts = re.split(r"^\$ (.+)\n", block, flags=re.MULTILINE)
    return list(zip(parts[1::2], parts[2::2], strict=True))


def masked(text: str) -> str:
    for pattern, instead in VARIES:
        text = pattern.sub(instead, text)
    return text.strip()


def expected(text: str) -> re.Pattern[str]:
    """What the page says, where `...` is anything within a line."""
    return re.compile(re.escape(masked(text)).replace(re.escape("..."), ".*"))


@dataclass
class Reader:
    """Somebody who follows the page in one folder; the ports of the page are free ones instead."""

    folder: Path
    ports: dict[str, str] = field(
        default_factory=lambda: {"8010": str(free_port()), "8000": str(free_port())}
    )
    servers: list[asyncio.subprocess.Process] = field(default_factory=list)

    def on_free_ports(self, text: str) -> str:
        for port, free in self.ports.items():
            text = text.replace(port, free)
        return text

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(UNWANTED)}
        programs = str(Path(sys.executable).parent)
        return kept | {
            "PATH": os.pathsep.join([programs, kept["PATH"]]),
            "PYTHONPATH": os.pathsep.join(
                filter(None, [str(ROOT / "src"), kept.get("PYTHONPATH")])
            ),
        }

    async def run(self, command: str) -> str:
        process = await asyncio.create_subprocess_exec(
            "bash", "-c", command,
            cwd=self.folder, env=self.environment(),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        async with asyncio.timeout(LONGEST_WAIT):
            out, _ = await process.communicate()
        return out.decode()

    async def start(self, command: str) -> None:
        """Start a server whose output is kept in a file, as a terminal keeps it."""
        with self.terminal(len(self.servers)).open("wb") as out:
            server = await asyncio.create_subprocess_exec(
                "bash", "-c", f"exec {command}",
                cwd=self.folder, env=self.environment(),
                stdout=out, stderr=asyncio.subprocess.STDOUT,
            )  # fmt: skip
        self.servers.append(server)

    def terminal(self, number: int) -> Path:
        return self.folder / f"terminal-{number}.out"

    async def reads(self, text: str, *, terminal: int) -> None:
        """Wait until each of these lines stands in a terminal."""

        async def shown() -> None:
            seen = self.terminal(terminal).read_text().splitlines()
            assert [line for line in text.splitlines() if line not in seen] == [], seen

        await eventually(shown, LONGEST_WAIT)

    async def follow(self, language: str, block: str) -> None:
        block = self.on_free_ports(block)
        if language in FILES:
            (self.folder / FILES[language]).write_text(block)
        elif language == "text":  # what the page says of the app's terminal
            await self.reads(block, terminal=1)
        for command, output in transcript(block) if language == "console" else ():
            await self.follow_command(command, output)

    async def follow_command(self, command: str, output: str) -> None:
        if command.startswith(SERVERS):
            await self.start(command)
            await self.reads(output, terminal=len(self.servers) - 1)
        elif " -X " in command or " -d " in command:
            assert expected(output).fullmatch(masked(await self.run(command))), command
        else:

            async def answered() -> None:
                shown = masked(await self.run(command))
                assert expected(output).fullmatch(shown), f"{command}\n{shown}"

            await eventually(answered, LONGEST_WAIT)


@pytest.fixture
async def reader(tmp_path: Path) -> AsyncIterator[Reader]:
    reader = Reader(tmp_path)
    try:
        yield reader
    finally:
        for server in reader.servers:
            if server.returncode is None:
                server.kill()
            await server.wait()


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
