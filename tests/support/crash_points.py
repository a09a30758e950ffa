"""Real processes that die by -9 at one counted point: around each statement, call and commit.

All that a process of ours does is watched from outside, by the events of its engine and by its
transport. Processes are forked off one that has everything imported and neither a thread nor a loop
of its own.
"""

import asyncio
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import httpx
import psycopg
from psycopg import sql
from sqlalchemy import BigInteger, Column, Dialect, Engine, MetaData, Table, Text, event
from sqlalchemy.ext.asyncio import AsyncConnection

from rindle_sync.app import RindleSync
from rindle_sync.config import plain_settings
from rindle_sync.demo import EMULATOR_TOKEN
from rindle_sync.runtime import ChangeEvent
from rindle_sync.store import Database
from rindle_sync.store.schema import metadata, open_engine
from tests.support.processes import UNWANTED
from tests.support.webhooks import SECRET
from tests.support.world import Clock

app_changes = Table(
    "app_changes",
    MetaData(),
    Column("row_id", Text(), nullable=False),
    Column("version", BigInteger(), nullable=False),
)
"""A table of the app, in the same database: the changes that it was called with."""

TABLES = (*metadata.sorted_tables, app_changes)

ENTRIES_ON_A_PAGE = 4
"""The far end lists no more at once, so that a few assets make a list of several pages."""

LONGEST_LIFE = 60
"""Seconds after which a process that hangs is ended."""

FORKED = (
    "import sys; from tests.support.crash_points import fork_for_ever; fork_for_ever(sys.argv[1])"
)
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a process is to do: `act`, an async function that takes a `Living`; time stands still.

    `kill_at` is the number of the point where it dies; at 0 it notes every point and lives.
    """

    act: str
    now: str
    database_url: str
    mux_url: str
    journal: str
    kill_at: int | None = None
    is_first: bool = False
    """Whether it is done without a fork.

    What SQLAlchemy compiles for it is there for all forks that follow.
    """
    given: dict[str, Any] = field(default_factory=dict)


class Journal:
    """What a process notes for those who outlive it.

    A note is written at once and survives any death.
    """

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)

    def note(self, kind: str, **values: Any) -> None:
        os.write(self._file, json.dumps({"kind": kind, **values}).encode() + b"\n")


class Points:
    """Counts the points that a process comes to, and kills it at the one that was asked for."""

    def __init__(self, journal: Journal, clock: Clock, kill_at: int | None) -> None:
        self._journal = journal
        self._clock = clock
        self._kill_at = kill_at
        self._number = 0

    def reach(self, where: str) -> None:
        self._number += 1
        if self._kill_at in {0, self._number}:
            self._journal.note("point", where=where, at=self._clock.now().isoformat())
        if self._number == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(self, engine: Engine) -> None:
        """Count before every statement and every commit, and after the commit."""

        @event.listens_for(engine, "before_cursor_execute")
        def before(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            if not statement.startswith(
                "BEGIN"
            ):  # what is between it and the first statement touches nothing
                self.reach(f"before {_short(statement)}")

        @event.listens_for(engine, "commit")
        def commits(connection: Any) -> None:
            self.reach("before COMMIT")
            connection.info["committed"] = True

        @event.listens_for(engine, "checkin")
        def given_back(_connection: Any, record: Any) -> None:
            if record.info.pop("committed", False):
                self.reach("after COMMIT")


def _short(statement: str) -> str:
    return " ".join(statement.split())[:200]


class WatchedTransport(httpx.AsyncBaseTransport):
    """The network, with a point before and after each call, and with short list pages."""

    def __init__(self, points: Points) -> None:
        self._points = points
        self._network = httpx.AsyncHTTPTransport(verify=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if "limit" in request.url.params:
            request.url = request.url.copy_set_param("limit", str(ENTRIES_ON_A_PAGE))
        self._points.reach(f"before {request.method} {request.url.path}")
        response = await self._network.handle_async_request(request)
        self._points.reach(f"after {request.method} {request.url.path}")
        return response

    async def aclose(self) -> None:
        await self._network.aclose()


@dataclass(frozen=True)
class Living:
    """The service in a process of its own, and what it was given."""

    rindle: RindleSync
    clock: Clock
    points: Points
    journal: Journal
    given: dict[str, Any]

    async def hear(self, changed: ChangeEvent) -> None:
        """The app's callback."""
        self.points.reach("before a callback")
        self.journal.note("announced", row_id=changed.change.row_id, version=changed.change.version)
        self.points.reach("after a callback")

    async def keep(self, changed: ChangeEvent, connection: AsyncConnection) -> None:
        """The app's callback that writes in our transaction."""
        values = {"row_id": changed.change.row_id, "version": changed.version}
        await connection.execute(app_changes.insert(), values)
        self.points.reach("after a transactional callback")


Act = Callable[[Living], Awaitable[None]]


async def live(order: Order, act: Act) -> None:
    """Act as the order says, and end in peace."""
    clock, journal = Clock(), Journal(order.journal)
    clock.time = datetime.fromisoformat(order.now)
    points = Points(journal, clock, order.kill_at)
    engine = open_engine(order.database_url)
    _know_statements(engine.sync_engine)
    if order.kill_at is not None:
        points.watch(engine.sync_engine)
    settings = plain_settings(
        database_url=order.database_url,
        mux_base_url=order.mux_url,
        mux_token_id=EMULATOR_TOKEN[0],
        mux_token_secret=EMULATOR_TOKEN[1],
        mux_webhook_secrets=SECRET,
        provider_read_burst=1000,
        provider_reads_per_second=1000,
    )
    database = Database(engine)
    rindle = RindleSync(settings, database, transport=WatchedTransport(points), clock=clock.now)
    living = Living(rindle, clock, points, journal, order.given)
    rindle.on_change(living.hear)
    try:
        await act(living)
    finally:
        await rindle.close()


_KNOWN: dict[str, Dialect] = {}
_STATEMENTS: dict[str, dict[Any, Any]] = defaultdict(dict)


def _know_statements(engine: Engine) -> None:
    """Compiled statements are kept by dialect.

    With one for all engines, only the first of them compiles.
    """
    engine.dialect = _KNOWN.setdefault(engine.dialect.name, engine.dialect)
    engine.update_execution_options(compiled_cache=_STATEMENTS[engine.dialect.name])


def fork_for_ever(module: str) -> None:
    """Live each order from standard input, most in a fork, and print how that ended."""
    acts = import_module(module)
    for line in sys.stdin:
        order = Order(**json.loads(line))
        act = getattr(acts, order.act)
        code = _first(order, act) if order.is_first else _forked(order, act)
        os.write(1, f"{code}\n".encode())


def _forked(order: Order, act: Act) -> int:
    child = os.fork()
    if child == 0:
        try:
            os._exit(_lived(order, act))
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def _first(order: Order, act: Act) -> int:
    code = _lived(order, act)
    gc.collect()
    gc.freeze()
    return code


def _lived(order: Order, act: Act) -> int:
    signal.alarm(LONGEST_LIFE)
    try:
        asyncio.run(live(order, act))
    except BaseException:  # noqa: BLE001  whatever ends it is told by those who gave the order
        Journal(order.journal).note("failed", text=traceback.format_exc())
        return 1
    while threading.active_count() > 1:  # those of the database driver: a fork would not have them
        time.sleep(0.001)
    signal.alarm(0)
    return 0


@dataclass(frozen=True)
class Ended:
    """How a process ended, and what it had noted by then."""

    code: int
    notes: list[dict[str, Any]]

    def all(self, kind: str) -> list[dict[str, Any]]:
        return [note for note in self.notes if note["kind"] == kind]

    @property
    def at(self) -> datetime:
        """The time at the last point that was noted."""
        return datetime.fromisoformat(self.all("point")[-1]["at"])

    @property
    def was_killed(self) -> bool:
        return self.code == -signal.SIGKILL

    @property
    def trouble(self) -> str:
        return (
            "\n".join(note["text"] for note in self.all("failed")) or f"it ended with {self.code}"
        )


class Forks:
    """The process that has everything imported; it forks for one order at a time."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def run(self, order: Order) -> Ended:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(asdict(order)) + "\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline() or self._process.wait())
        with suppress(FileNotFoundError):
            return Ended(
                code, [json.loads(line) for line in Path(order.journal).read_text().splitlines()]
            )
        return Ended(code, [])


@contextmanager
def forking(module: str) -> Iterator[Forks]:
    """Forks with the acts of `module`, for as long as the block lasts."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(UNWANTED)}
    command = (sys.executable, "-c", FORKED, module)
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=kept, text=True
    ) as process:
        yield Forks(process)


class Databases(Protocol):
    """Databases that begin as often as one likes with what was in them when they were kept."""

    name: str

    def new(self, like: str | None = None) -> str:
        """The URL of one that is empty, or a copy of another that nobody is connected to."""

    def keep(self, url: str) -> None:
        """Keep what is in it now."""

    def fresh(self, url: str) -> str:
        """The URL of a database with what was kept of this one."""

    def wait_until_left(self, url: str) -> None:
        """Wait until the database has noticed that those who used it are dead."""

    def done(self, url: str) -> None:
        """A fresh one is not needed any more."""


class SqliteFiles:
    """Files in one folder; a fresh one is a copy."""

    name = "SQLite"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def new(self, like: str | None = None) -> str:
        url = f"sqlite:///{self._folder / uuid4().hex}.sqlite3"
        if like:
            shutil.copyfile(_file(like), _file(url))
        return url

    def keep(self, url: str) -> None:
        assert not list(self._folder.glob(f"{_file(url).name}-*")), "somebody is still connected"

    def fresh(self, url: str) -> str:
        return self.new(like=url)

    def wait_until_left(self, url: str) -> None:
        """Its locks died with the process."""

    def done(self, url: str) -> None:
        for path in self._folder.glob(f"{_file(url).name}*"):
            path.unlink()


def _file(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


class PostgresDatabases:
    """Databases of one server.

    What was kept is in a schema beside the tables, which is faster than a new database.
    """

    name = "PostgreSQL"

    def __init__(self, server: str, stack: ExitStack) -> None:
        self._server = server
        self._stack = stack
        self._connections: dict[str, psycopg.Connection[Any]] = {}

    def new(self, like: str | None = None) -> str:
        name = f"rindle_test_{uuid4().hex}"
        template = urlsplit(like).path.removeprefix("/") if like else "template0"
        made = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        self._on(self._server).execute(made.format(sql.Identifier(name), sql.Identifier(template)))
        url = urlunsplit(urlsplit(self._server)._replace(path=f"/{name}"))
        self._stack.callback(self._drop, name)
        return url

    def keep(self, url: str) -> None:
        copies = [sql.SQL("CREATE TABLE kept.{0} AS TABLE {0};").format(table) for table in _TABLES]
        self._on(url).execute(sql.SQL("CREATE SCHEMA kept;") + sql.SQL("").join(copies))

    def fresh(self, url: str) -> str:
        again = sql.SQL("DELETE FROM {0}; INSERT INTO {0} SELECT * FROM kept.{0};")
        self._on(url).execute(sql.SQL("").join(again.format(table) for table in _TABLES))
        return url

    def wait_until_left(self, url: str) -> None:
        others = (
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        end = time.monotonic() + LONGEST_LIFE
        while self._on(url).execute(others).fetchone() != (0,):
            assert time.monotonic() < end, "the database still serves the dead"
            time.sleep(0.001)

    def done(self, url: str) -> None:
        """It is made fresh again, or dropped with all others."""

    def _on(self, url: str) -> "psycopg.Connection[Any]":
        if url not in self._connections:
            self._connections[url] = self._stack.enter_context(
                closing(psycopg.connect(url, autocommit=True))
            )
        return self._connections[url]

    def _drop(self, name: str) -> None:
        self._on(self._server).execute(
            sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
        )


_TABLES = [sql.Identifier(table.name) for table in TABLES]


@contextmanager
def postgres_databases(server: str) -> Iterator[Databases]:
    """Databases of a server, which are dropped after the block."""
    with ExitStack() as stack:
        yield PostgresDatabases(server, stack)
