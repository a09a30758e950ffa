"""Somebody who follows a page of the docs: saves its files, runs its commands, reads outputs."""

import asyncio
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.support.processes import UNWANTED, eventually

ROOT: Final = Path(__file__).parents[2]
BLOCK: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

SERVERS: Final = ("rindle-sync emulator ", "uvicorn ")
"""How the commands begin that run until the reader ends them."""

WRITES: Final = re.compile(r" -[Xd] ")
"""What a call with `curl` has that must not be made twice."""

LONGEST_WAIT: Final = 60.0
"""Seconds that an output may take which a page announces for ten or twenty seconds later."""

VARIES: Final = (
    (re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "<row>"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"), "<time>"),
    (re.compile(r"\b\d+ s late"), "<seconds> late"),
    (re.compile(r"(?<=the tables are at )\S+"), "<revision>"),
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
    """Somebody with a shell in one folder."""

    folder: Path
    ports: Mapping[str, str] = field(default_factory=dict)
    """A free port for each port of the page."""
    files: Mapping[str, str] = field(default_factory=dict)
    """The file that the page has its reader save a block of a language as."""
    settings: dict[str, str] = field(default_factory=dict)
    """What the shell has as variables."""
    servers: list[asyncio.subprocess.Process] = field(default_factory=list)

    def on_free_ports(self, text: str) -> str:
        for port, free in self.ports.items():
            text = text.replace(port, free)
        return text

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(UNWANTED)}
        programs = str(Path(sys.executable).parent)
        return (
            kept
            | self.settings
            | {
                "PATH": os.pathsep.join([programs, kept["PATH"]]),
                "PYTHONPATH": os.pathsep.join(
                    filter(None, [str(ROOT / "src"), kept.get("PYTHONPATH")])
                ),
            }
        )

    async def run(self, command: str, *, code: int = 0) -> str:
        """What a command prints, which must end with this exit code."""
        process = await asyncio.create_subprocess_exec(
            "bash", "-c", command,
            cwd=self.folder, env=self.environment(),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        async with asyncio.timeout(LONGEST_WAIT):
            out, _ = await process.communicate()
        assert process.returncode == code, f"{command}\n{out.decode()}"
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

    async def stop(self) -> None:
        for server in self.servers:
            if server.returncode is None:
                server.kill()
            await server.wait()

    async def follow(self, language: str, block: str) -> None:
        block = self.on_free_ports(block)
        if language in self.files:
            (self.folder / self.files[language]).write_text(block)
        elif language == "text":  # what the page says of the terminal of the newest server
            await self.reads(block, terminal=len(self.servers) - 1)
        for command, output in transcript(block) if language == "console" else ():
            await self.follow_command(command, output)

    async def follow_command(self, command: str, output: str) -> None:
        if command.startswith("export "):
            name, _, value = command.removeprefix("export ").partition("=")
            self.settings[name] = value
        elif command.startswith(SERVERS):
            await self.start(command)
            await self.reads(output, terminal=len(self.servers) - 1)
        elif command.startswith("curl ") and not WRITES.search(command):
            await eventually(lambda: self.sees(command, output), LONGEST_WAIT)
        else:
            await self.sees(command, output)

    async def sees(self, command: str, output: str) -> None:
        """Run a command, which must print what the page says."""
        shown = masked(await self.run(command))
        assert expected(output).fullmatch(shown), f"{command}\n{shown}"


def blocks_of(page: str) -> list[tuple[str, str]]:
    """Every block of a page of `docs/`, with its language."""
    return BLOCK.findall((ROOT / "docs" / page).read_text(encoding="utf-8"))
