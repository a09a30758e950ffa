"""Commands as processes of their own that start fast, forked off one that has imported most.

That one has imported all but `rindle_sync.cli`, and has neither a thread nor a loop nor a
connection. Nothing but the time of the start differs from a command that begins with a new
interpreter: environment, folder, files, signals and exit code are the command's own.
"""

import asyncio
import gc
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from asyncio import StreamReader, StreamWriter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol

ROOT = Path(__file__).parents[2]
PROGRAM = (
    "import sys; from tests.support.starter import start_for_ever; start_for_ever(sys.argv[1])"
)
IMPORTED = (
    "aiohttp",
    "rindle_sync",
    "rindle_sync.demo",
    "rindle_sync.web.server",
    "rindle_sync.store.migrations",
    "rindle_sync.emulator",
    "anyio._backends._asyncio",
    "rich.live",
    "rich.progress",
    "rich.table",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.aiosqlite",
    "typer.rich_utils",
    "uvicorn",
)
"""What the commands import, but for their own modules.

Those look at the environment as they are imported.
"""


class Process(Protocol):
    """A command that was started."""

    @property
    def pid(self) -> int: ...

    @property
    def returncode(self) -> int | None: ...

    def send_signal(self, number: int) -> None: ...

    def kill(self) -> None: ...

    async def wait(self) -> int: ...


@dataclass(frozen=True)
class Order:
    """A command: its words, its folder, its environment, and the files that take what it prints."""

    arguments: Sequence[str]
    folder: str
    environment: Mapping[str, str]
    out: str
    err: str


class Forked:
    """A command that was forked off; the one that forked it tells how it ended."""

    def __init__(self, pid: int, reader: StreamReader, writer: StreamWriter) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._end = asyncio.create_task(self._ended(reader, writer))

    async def _ended(self, reader: StreamReader, writer: StreamWriter) -> int:
        self.returncode = int(await reader.readline())
        writer.close()
        await writer.wait_closed()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        return await asyncio.shield(self._end)


class Starter:
    """The process that commands are forked off, started when the first one is wanted."""

    def __init__(self) -> None:
        self._address = ""
        self._process: subprocess.Popen[str] | None = None

    async def start(self, order: Order) -> Forked:
        if self._process is None:
            self._process = self._begun(order.environment)
        reader, writer = await asyncio.open_unix_connection(self._address)
        writer.write(json.dumps(asdict(order)).encode() + b"\n")
        return Forked(int(await reader.readline()), reader, writer)

    def _begun(self, environment: Mapping[str, str]) -> "subprocess.Popen[str]":
        kept = {
            name: value for name, value in environment.items() if not name.startswith("RINDLE_")
        }
        self._address = f"{tempfile.mkdtemp(prefix='rindle-starter-')}/socket"
        command = (sys.executable, "-c", PROGRAM, self._address)
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=kept, text=True
        )
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        return process

    def end(self) -> None:
        if self._process:
            with self._process:
                pass


_open: list[Starter] = []


@contextmanager
def starting_fast() -> Iterator[None]:
    """Commands are forked off for as long as the block lasts."""
    _open.append(Starter())
    try:
        yield
    finally:
        _open.pop().end()


def current() -> Starter | None:
    """Off what commands are forked, if they are."""
    return _open[-1] if _open else None


def start_for_ever(address: str) -> None:
    """Fork off each command ordered at `address`, until standard input ends."""
    for module in IMPORTED:
        import_module(module)
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(100)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        order = _next_order(listener)
    if order is None:
        shutil.rmtree(Path(address).parent)
    else:
        sys.argv = ["-m", *order.arguments]
        runpy.run_module("rindle_sync", run_name="__main__", alter_sys=True)


def _next_order(listener: socket.socket) -> Order | None:
    """What this process, a fork, is to be.

    None in the one that forks, at the end of its standard input.
    """
    while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        if os.fork() == 0:
            return _kept(connection)
        connection.close()
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
    return None


def _kept(connection: socket.socket) -> Order:
    """Fork once more: the fork becomes the command.

    The other one tells its process id and its exit code, and ends.
    """
    with connection, connection.makefile("rwb", buffering=0) as told:
        order = Order(**json.loads(told.readline()))
        command = os.fork()
        if command:
            told.write(b"%d\n" % command)
            _, status = os.waitpid(command, 0)
            told.write(b"%d\n" % os.waitstatus_to_exitcode(status))
            os._exit(0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(order.folder)
    os.environ.clear()
    os.environ.update(order.environment)
    sys.path[0] = order.folder
    for number, path, mode in (
        (0, os.devnull, os.O_RDONLY),
        (1, order.out, os.O_WRONLY),
        (2, order.err, os.O_WRONLY),
    ):
        opened = os.open(path, mode)
        os.dup2(opened, number)
        os.close(opened)
    return order
