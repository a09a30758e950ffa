"""`--against mux-sync-engine`: webhook intake side by side with @mux/sync-engine, in one run.

All get the same kinds of signed deliveries over 16 connections from one sender, by turns: one runs
while the others are stopped. Theirs applies a delivery before it answers; ours stores it, answers,
and applies it in the same process. Both write to one PostgreSQL with fsync.
"""

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from signal import SIGCONT, SIGSTOP
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

import psycopg

from benchmarks.bench import Progress
from benchmarks.sender import (
    PER_SECOND,
    SECRET,
    Answer,
    Event,
    an_event_stream,
    flood,
    lines_to,
    steady,
)
from benchmarks.webhooks import all_applied, check, listening, p99, service, track
from rindle_sync.store import Store
from tests.support import postgres
from tests.support.processes import Running, a_store, free_port

PEERS: Final = ("mux-sync-engine",)
VERSION: Final = "0.0.5"
SOURCES: Final = Path(__file__).parent / "mux_sync_engine"
SUPABASE_ROLES: Final = ("anon", "authenticated", "service_role")
ROUNDS: Final = 3
STEADILY: Final = PER_SECOND * 3
FLOOD_SECONDS: Final = 2.0
MOST: Final = 10_000
"""Deliveries of one flood; after so many it ends early."""
CATCH_UP_SECONDS: Final = 30.0
INSTALL_SECONDS: Final = 300


class CannotRace(Exception):
    """What is missing, and what to do about it."""


@dataclass(slots=True)
class Figures:
    """What one contestant came to, one entry a round."""

    answered: list[float] = field(default_factory=list)
    """A second."""
    applied: list[float] = field(default_factory=list)
    """A second, until none waited."""
    flood_ms: list[float] = field(default_factory=list)
    """CPU a delivery of server and database, while as many came as it takes."""
    steady_ms: list[float] = field(default_factory=list)
    """The same at 200 a second."""
    sender_ms: list[float] = field(default_factory=list)
    """CPU a delivery of the sender, in the flood: more than a third of all, and it is the limit."""
    answers: list[Answer] = field(default_factory=list)
    """Those at 200 a second."""

    @property
    def medians(self) -> dict[str, float]:
        """The median of the rounds of each figure, and the times of the answers at 200 a second."""
        rounds = ("answered", "applied", "flood_ms", "steady_ms", "sender_ms")
        values = {of: median(getattr(self, of)) for of in rounds}
        values["median_ms"] = median(answer.seconds for answer in self.answers) * 1000
        values["p99_ms"] = p99(self.answers)
        return values


class Contestant:
    """Theirs: a server that has applied what it has answered."""

    def __init__(
        self, name: str, running: Running, port: int, database: "Cpu", url: str | None = None
    ) -> None:
        self.url = url
        self.name = name
        self.port = port
        self.running = running
        self.pid = running.process.pid
        self.cpu = database.with_server(self.pid)
        self.figures = Figures()
        self.answered: list[Answer] = []

    async def prepare(self, events: Sequence[Event]) -> None:
        """Whatever must be there before these events come."""

    def analyze(self) -> None:
        """Give PostgreSQL the statistics that it has made by itself on a database a minute old."""
        if self.url:
            with psycopg.connect(self.url, autocommit=True) as connection:
                connection.execute("ANALYZE")

    async def until_applied(self) -> None:
        """Wait until nothing is left to apply."""

    async def check(self) -> None:
        """That all that was answered is there."""
        assert {answer.status for answer in self.answered} == {200}, self.running.err


class Ours(Contestant):
    """Ours: a server that stores, answers, and then applies."""

    store: Store

    async def prepare(self, events: Sequence[Event]) -> None:
        await track(self.store, events)

    async def until_applied(self) -> None:
        assert await all_applied(self.store, within=CATCH_UP_SECONDS)

    async def check(self) -> None:
        await check(self.store, self.answered)


@dataclass(frozen=True, slots=True)
class Cpu:
    """The CPU seconds of processes and of all that they have started, as Linux counts them."""

    roots: tuple[int, ...] = ()

    def with_server(self, pid: int) -> "Cpu":
        return Cpu((*self.roots, pid))

    def seconds(self) -> float:
        ticks = 0
        for pid in self._all():
            fields = _stat(pid)
            # of its own, and of its children that have ended
            ticks += sum(map(int, fields[11:15])) if fields else 0
        return ticks / os.sysconf("SC_CLK_TCK")

    def _all(self) -> set[int]:
        parents = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal() and (fields := _stat(int(entry.name))):
                parents[int(entry.name)] = int(fields[1])
        found, new = set[int](), set(self.roots)
        while new:
            found |= new
            new = {pid for pid, parent in parents.items() if parent in new} - found
        return found


def _stat(pid: int) -> list[str]:
    """The fields of a process from its state on, which is the third."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:  # it has ended
        return []
    return text.rpartition(")")[2].split()


async def race(progress: Progress) -> list[tuple[str, Figures]]:
    """The figures of each; raises `CannotRace` where Node, npm or Linux is missing."""
    if not _stat(os.getpid()):
        raise CannotRace("the race reads the CPU of processes in /proc, which only Linux has")
    folder = _installed(progress)
    with _server_with_fsync() as server, TemporaryDirectory(prefix="rindle-race-") as temporary:
        postmaster = int((server.folder / "data" / "postmaster.pid").read_text().split()[0])
        async with AsyncExitStack() as stack:
            progress("the servers are started")
            contestants = [
                await stack.enter_async_context(_theirs(server, Cpu((postmaster,)), folder)),
                await stack.enter_async_context(
                    _ours("rindle-sync, PostgreSQL", server, Cpu((postmaster,)))
                ),
                await stack.enter_async_context(
                    _ours("rindle-sync, SQLite", Path(temporary) / "race.sqlite3", Cpu())
                ),
            ]
            await _run(contestants, progress)
    return [(contestant.name, contestant.figures) for contestant in contestants]


def _installed(progress: Progress) -> Path:
    """The folder outside the tree that has the peer, in exactly the versions of our lock file."""
    for program in ("node", "npm"):
        if not shutil.which(program):
            raise CannotRace(
                f"the race needs Node 18 or newer and npm, and there is no `{program}`: install "
                "them, or leave out --against"
            )
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "rindle-sync-benchmarks" / f"mux-sync-engine-{VERSION}"
    folder.mkdir(parents=True, exist_ok=True)
    for source in SOURCES.iterdir():
        shutil.copy(source, folder)
    if not (folder / "node_modules" / ".package-lock.json").is_file():
        progress(f"@mux/sync-engine {VERSION} is installed into {folder}")
        command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        try:
            subprocess.run(
                command, cwd=folder, check=True, timeout=INSTALL_SECONDS, stdout=sys.stderr
            )
        except (subprocess.SubprocessError, OSError) as error:
            raise CannotRace(f"npm cannot install @mux/sync-engine: {error}") from None
    return folder


@contextmanager
def _server_with_fsync() -> Iterator[postgres.Server]:
    """A server of our own that syncs each commit; those of the tests do not."""
    with postgres.own_server() as server:
        with psycopg.connect(server.url, autocommit=True) as connection:
            for setting in ("fsync", "full_page_writes", "synchronous_commit", "autovacuum"):
                connection.execute(f"ALTER SYSTEM SET {setting} = on")
        server.stop("fast")
        server.start()
        yield server


@asynccontextmanager
async def _theirs(server: postgres.Server, cpu: Cpu, folder: Path) -> AsyncIterator[Contestant]:
    port = free_port()
    with postgres.new_database(server.url) as url:
        with psycopg.connect(url) as connection:
            for role in SUPABASE_ROLES:  # its migrations grant them rights
                connection.execute(f"CREATE ROLE {role}")
        variables = {"DATABASE_URL": url, "WEBHOOK_SECRET": SECRET, "PORT": str(port)}
        async with _node(folder, variables) as running:
            await listening(running, port)
            yield Contestant(f"@mux/sync-engine {VERSION}", running, port, cpu, url)


@asynccontextmanager
async def _node(folder: Path, variables: Mapping[str, str]) -> AsyncIterator[Running]:
    out_file, err_file = folder / "server.out", folder / "server.err"
    with out_file.open("wb") as out, err_file.open("wb") as err:
        process = await asyncio.create_subprocess_exec(
            "node",
            "server.cjs",
            cwd=folder,
            env={**os.environ, **variables},
            stdout=out,
            stderr=err,
        )
    try:
        yield Running(process, out_file, err_file)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@asynccontextmanager
async def _ours(name: str, place: Any, cpu: Cpu) -> AsyncIterator[Contestant]:
    with _database(place) as url:
        async with a_store(url) as store, service(url) as (running, port):
            is_file = isinstance(place, Path)
            ours = Ours(name, running, port, cpu, None if is_file else url)
            ours.store = store
            yield ours


@contextmanager
def _database(place: postgres.Server | Path) -> Iterator[str]:
    if isinstance(place, Path):
        yield f"sqlite:///{place}"
        return
    with postgres.new_database(place.url) as url:
        yield url


async def _run(contestants: Sequence[Contestant], progress: Progress) -> None:
    for contestant in contestants:
        os.kill(contestant.pid, SIGSTOP)
    try:
        # first: what no row is there for is tried again, and a flood leaves much of that
        for number in range(ROUNDS):
            for contestant in contestants:
                progress(f"round {number + 1}: {contestant.name}, {PER_SECOND} a second")
                await _steadily(contestant)
        for number in range(ROUNDS):
            for contestant in contestants:
                progress(f"round {number + 1}: {contestant.name}, as many as it takes")
                await _flooded(contestant)
        for contestant in contestants:
            await contestant.check()
    finally:
        for contestant in contestants:
            os.kill(contestant.pid, SIGCONT)


async def _steadily(contestant: Contestant) -> None:
    events = list(islice(an_event_stream(), STEADILY))
    with _awake(contestant):
        # stopped, it might hold the lock of its SQLite file
        await contestant.prepare(events)
        contestant.analyze()
        async with lines_to(contestant.port) as lines:
            before = contestant.cpu.seconds()
            answers = await steady(lines, events)
            await contestant.until_applied()
    spent = contestant.cpu.seconds() - before
    contestant.answered += answers
    contestant.figures.answers += answers
    contestant.figures.steady_ms.append(spent / len(answers) * 1000)


async def _flooded(contestant: Contestant) -> None:
    events = list(islice(an_event_stream(), MOST))
    with _awake(contestant):
        # stopped, it might hold the lock of its SQLite file
        await contestant.prepare(events)
        contestant.analyze()
        async with lines_to(contestant.port) as lines:
            before, began, sender = (
                contestant.cpu.seconds(),
                time.perf_counter(),
                time.process_time(),
            )
            answers = await flood(lines, events, FLOOD_SECONDS)
            flooded, sent = time.perf_counter() - began, time.process_time() - sender
            await contestant.until_applied()
            seconds = time.perf_counter() - began
    spent = contestant.cpu.seconds() - before
    contestant.answered += answers
    figures, stored = contestant.figures, sum(answer.status != 503 for answer in answers)
    figures.answered.append(stored / flooded)
    figures.applied.append(stored / seconds)
    figures.flood_ms.append(spent / len(answers) * 1000)
    figures.sender_ms.append(sent / len(answers) * 1000)


@contextmanager
def _awake(contestant: Contestant) -> Iterator[None]:
    os.kill(contestant.pid, SIGCONT)
    try:
        yield
    finally:
        os.kill(contestant.pid, SIGSTOP)
