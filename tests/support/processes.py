"""The command line with its settings in the environment, and the emulator on a port.

A command that ends by itself runs inside the process of the tests, any other in one of its own.
"""

import asyncio
import json
import os
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

import uvicorn
from sqlalchemy import text
from starlette.types import Receive, Scope, Send

from rindle_sync.domain import ProviderAsset, State
from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.store import Database, Store
from rindle_sync.store.migrations import upgrade
from rindle_sync.store.schema import open_engine
from tests.support import commands
from tests.support.rows import a_row
from tests.support.starter import Order, Process, current

UNWANTED = ("RINDLE_", "PG", "PY_COLORS", "FORCE_COLOR", "GITHUB_ACTIONS", "COLUMNS", "TERM")
"""What a child must not inherit: settings, and whatever makes a terminal of a file."""

ASSET_PATH = "/video/v1/assets/"

PATIENCE = 90.0
"""Seconds that a busy machine may take to start a process, to let it answer, or to end it.

A test waits no longer.
"""

SERVING = {"run", "worker", "receive", "emulator", "demo"}
"""The commands that serve until a signal comes: only the main thread of a process has signals."""

HELD = 86_400.0
"""How long an answer would be late that a gate holds back: by this a gate knows its own."""


@dataclass
class FarEnd:
    """An emulator on a port of this machine, and how often each asset was asked for."""

    emulator: MuxEmulator
    url: str = ""
    looks: Counter[str] = field(default_factory=Counter)
    looked_at: dict[str, list[float]] = field(default_factory=dict)

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(ASSET_PATH):
            asset = scope["path"].removeprefix(ASSET_PATH)
            self.looks[asset] += 1
            self.looked_at.setdefault(asset, []).append(time.monotonic())
        await self.emulator.app(scope, receive, send)


@contextmanager
def serving(emulator: MuxEmulator) -> Iterator[FarEnd]:
    """The emulator behind uvicorn, in a thread, for as long as the block lasts."""
    far_end = FarEnd(emulator)
    config = uvicorn.Config(
        far_end.app,
        port=0,
        interface="asgi3",
        log_level="critical",
        access_log=False,
        ws="none",
        lifespan="off",
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        thread.join(0.01)
    far_end.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield far_end
    finally:
        server.should_exit = server.force_exit = True
        thread.join(10)


@dataclass
class Gate:
    """Lets `free` answers pass, and holds the others back until it is opened."""

    free: int
    sleep: Callable[[float], Awaitable[None]]
    held: int = 0
    _opened: asyncio.Event = field(default_factory=asyncio.Event)
    _loop: asyncio.AbstractEventLoop | None = None

    async def __call__(self, seconds: float) -> None:
        """The emulator's way to wait."""
        if seconds != HELD:
            await self.sleep(seconds)
        elif self.free:
            self.free -= 1
        else:
            self.held += 1
            self._loop = asyncio.get_running_loop()
            await self._opened.wait()

    async def holds(self) -> None:
        assert self.held, "no answer is held back"

    def open(self) -> None:
        """Give all answers that were held back, and hold no more.

        The emulator may be in another thread.
        """
        if self._loop is None:
            self._opened.set()
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._opened.set)


@contextmanager
def holding(emulator: MuxEmulator, operation: str, *, after: int = 0) -> Iterator[Gate]:
    """Answers `after` calls, and holds the next ones back until the end of the block.

    Whoever is to wait so long needs a `provider_timeout_seconds` to match.
    """
    before = emulator.sleep
    emulator.sleep = gate = Gate(after, before)
    rule = emulator.add_fault("late_answer", operation=operation, seconds=HELD)
    try:
        yield gate
    finally:
        emulator.remove_fault(rule)
        emulator.sleep = before
        gate.open()


@dataclass(frozen=True)
class Ended:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its standard output, which must be JSON and nothing else."""
        return json.loads(self.out)

    @property
    def complaint(self) -> str:
        """Its standard error in one line, however it was wrapped."""
        return " ".join(self.err.split())


@dataclass
class Running:
    """A command that has not ended, and its output so far."""

    process: Process
    out_file: Path
    err_file: Path

    @property
    def out(self) -> str:
        return self.out_file.read_text(errors="replace")

    @property
    def err(self) -> str:
        return self.err_file.read_text(errors="replace")

    async def says(self, text: str) -> None:
        """Wait until `text` stands on its standard error."""

        async def said() -> None:
            assert text in self.err, f"exit code {self.process.returncode}, {self.err!r}"

        await eventually(said)

    async def waits_at(self, gate: Gate) -> None:
        """Wait until it waits for an answer that is held back."""

        async def held() -> None:
            assert gate.held, f"exit code {self.process.returncode}, {self.err!r}"

        await eventually(held)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ended(self, within: float = PATIENCE) -> Ended:
        """What it came to; fails if that takes longer than `within` seconds."""
        async with asyncio.timeout(within):
            code = await self.process.wait()
        return _checked(Ended(code, self.out, self.err))


@dataclass(frozen=True)
class Shell:
    """Where commands run: a folder, and settings as variables; `prelude` is Python to run first.

    One that is alone begins with a new interpreter, others that need a process are forked off one
    that has imported the libraries.
    """

    folder: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    prelude: str = ""
    program: Sequence[str] = ("-m", "rindle_sync")
    is_alone: bool = False

    def alone(self) -> "Shell":
        """The same, in which each command begins with a new interpreter."""
        return replace(self, is_alone=True)

    def but(self, **settings: object) -> "Shell":
        """The same with other settings; None takes one away."""
        merged = {**self.settings, **settings}
        return replace(
            self, settings={name: str(value) for name, value in merged.items() if value is not None}
        )

    async def run(self, *arguments: str | bytes, within: float = PATIENCE) -> Ended:
        """Run one command to its end, in a process of its own only if it needs one."""
        if self._needs_a_process(arguments):
            async with self.started(*arguments) as running:
                return await running.ended(within)
        words = [os.fsdecode(argument) for argument in arguments]
        async with asyncio.timeout(within):
            ended = await asyncio.to_thread(commands.run, words, self.folder, self._environment())
        return _checked(Ended(*ended))

    def _needs_a_process(self, arguments: Sequence[str | bytes]) -> bool:
        is_plain = all(isinstance(argument, str) for argument in arguments)
        is_own = bool(self.prelude) or self.is_alone
        return is_own or not is_plain or not SERVING.isdisjoint(arguments)

    async def run_all(self, *commands: Sequence[str | bytes]) -> list[Ended]:
        """Run commands side by side."""
        return await asyncio.gather(*(self.run(*command) for command in commands))

    @asynccontextmanager
    async def started(self, *arguments: str | bytes) -> AsyncIterator[Running]:
        """A command that runs; it is killed if it still does at the end of the block."""
        stem = uuid4().hex
        out_file, err_file = self.folder / f"{stem}.out", self.folder / f"{stem}.err"
        with out_file.open("wb") as out, err_file.open("wb") as err:
            process = await self._start(arguments, out, err)
        try:
            yield Running(process, out_file, err_file)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def _start(
        self, arguments: Sequence[str | bytes], out: BinaryIO, err: BinaryIO
    ) -> Process:
        if (starter := current()) and not self.prelude and not self.is_alone:
            words = [os.fsdecode(argument) for argument in arguments]
            return await starter.start(
                Order(words, str(self.folder), self._environment(), out.name, err.name)
            )
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *self._program(),
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            cwd=self.folder,
            env=self._environment(),
        )

    def _program(self) -> tuple[str, ...]:
        if not self.prelude:
            return tuple(self.program)
        return ("-c", f"{self.prelude}\nfrom rindle_sync.cli import main\nmain()")

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(UNWANTED)}
        settings = {"console_port": "0"} | dict(
            self.settings
        )  # many at once would fight over one port
        return kept | {f"RINDLE_{name.upper()}": value for name, value in settings.items()}


def _checked(ended: Ended) -> Ended:
    """What holds for every command, whatever befell it.

    No traceback, and no colours where there is no terminal.
    """
    assert "Traceback" not in ended.err + ended.out, ended.err
    assert "\x1b" not in ended.err + ended.out
    return ended


def settings_for(database_url: str, far_end: FarEnd, **others: object) -> dict[str, str]:
    """Settings with which everything works, and fast."""
    told: dict[str, object] = {
        "database_url": database_url,
        "mux_base_url": far_end.url,
        "mux_token_id": far_end.emulator.token_id,
        "mux_token_secret": far_end.emulator.token_secret,
        "provider_retry_seconds": 0.05,
        "provider_read_burst": 1000,
        "provider_reads_per_second": 1000,
        "sweep_interval_seconds": 0.1,
    }
    return {name: str(value) for name, value in (told | others).items()}


@asynccontextmanager
async def a_store(url: str) -> AsyncIterator[Store]:
    """The default environment in the database at `url`, with our tables."""
    database = Database(open_engine(url))
    await upgrade(database.engine)
    try:
        yield Store(database, "mux", "default")
    finally:
        await database.close()


LEASED = ("media_provider_assets", "provider_webhook_events", "provider_job_runs")
"""The tables whose lines a killed process may hold."""


async def end_leases(store: Store) -> None:
    """As if the time had passed for which killed processes hold what they took."""
    for table in LEASED:
        async with store.database.writing() as connection:
            ended = (
                f"UPDATE {table} SET lease_until = now() - interval '1 second' "
                "WHERE lease_until IS NOT NULL"
            )
            await connection.execute(text(ended))


async def all_rows(store: Store) -> list[ProviderAsset]:
    """Every row of the default environment."""
    return [row async for row in store.assets.rows()]


async def add_due(
    store: Store, *provider_asset_ids: str, state: State = State.PROCESSING, **values: Any
) -> list[ProviderAsset]:
    """A row that is due for each of the ids."""
    now = datetime.now(UTC)
    hour_ago = now - timedelta(hours=1)
    rows = [
        a_row(state, provider_asset_id=i, updated_at=hour_ago, check_at=now, **values)
        for i in provider_asset_ids
    ]
    for row in rows:
        await store.assets.add(row)
    return rows


async def eventually(holds: Callable[[], Awaitable[None]], within: float = PATIENCE) -> None:
    """Try an assertion until it holds; after `within` seconds its last failure is raised."""
    end = time.monotonic() + within
    while True:
        try:
            return await holds()
        except AssertionError:
            if time.monotonic() > end:
                raise
        await asyncio.sleep(0.03)


def free_port() -> int:
    """A port of this machine on which nobody listens."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def refusing_postgres() -> AsyncIterator[int]:
    """The port of a PostgreSQL that takes nobody's password.

    https://www.postgresql.org/docs/current/protocol.html .
    """

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            while (await _startup(reader))[:4] != b"\x00\x03\x00\x00":
                writer.write(b"N")  # to each request for encryption
            writer.write(_message(b"R", (3).to_bytes(4, "big")))
            await reader.readexactly(1)
            await _startup(reader)
            told = (
                b"SFATAL",
                b"VFATAL",
                b"C28P01",
                b'Mpassword authentication failed for user "app"',
                b"",
            )
            writer.write(_message(b"E", b"".join(part + b"\x00" for part in told)))
            await writer.drain()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _startup(reader: asyncio.StreamReader) -> bytes:
    length = int.from_bytes(await reader.readexactly(4), "big")
    return await reader.readexactly(length - 4)


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + (len(body) + 4).to_bytes(4, "big") + body
