"""What a resting service costs: statements, CPU, and how soon it takes up what others make.

It serves console and API, and has an endpoint of outgoing webhooks.
"""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final
from urllib.parse import urlsplit

from benchmarks.bench import Progress, Sizes, urls
from benchmarks.providers import TOKEN, served
from rindle_sync.domain import EventStatus, JobKind
from rindle_sync.runtime.outgoing.signature import new_secret
from rindle_sync.store import Store
from tests.support.api import TOKEN as API_TOKEN
from tests.support.processes import Running, Shell, a_store, free_port
from tests.support.rows import a_row
from tests.support.webhooks import a_kept_notice

SETTLES: Final = 5.0
"""Seconds after the start, and the audit that it brings, before anything is counted."""

COUNTED: Final = 40.0
EVENTS: Final = 7

PRELUDE: Final = """
import atexit, sqlite3, sys
told, connect = [], sqlite3.connect
def counting(*of, **options):
    connection = connect(*of, **options)
    connection.set_trace_callback(told.append)
    return connection
sqlite3.connect = counting
import signal
def note(*_):
    print("statements", len(told), file=sys.stderr, flush=True)
signal.signal(signal.SIGUSR1, note)
"""
"""Has a service on SQLite say, at each SIGUSR1, how many statements it has run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """One `rindle-sync run` with nothing due."""

    database: str
    statements: float
    """A second, BEGIN, COMMIT, ROLLBACK and pings counted."""
    cpu: float
    """Of a core, in per cent."""
    heard_ms: float
    """From the commit of another process, a webhook event, until it is applied; the median."""


async def rests(database: str, _: Sizes, progress: Progress) -> list[Rest]:
    """A service at rest, and then events that another process stores."""
    with urls(database, 1) as (url,), TemporaryDirectory(prefix="rindle-bench-") as folder:
        async with served() as provider, a_store(url) as store, _counted(url) as (seen, counts):
            settings = {
                "database_url": seen,
                "mux_base_url": provider,
                "mux_token_id": TOKEN.token_id,
                "mux_token_secret": TOKEN.token_secret,
                "console_port": "0",
                "api_token": API_TOKEN,
                # nothing is ever sent there: there is no change
                "outgoing_webhook_url": f"http://127.0.0.1:{free_port()}",
                "outgoing_webhook_secret": new_secret(),
                "outgoing_webhook_allow_private": "on",
            }
            prelude = PRELUDE if database == "sqlite" else ""
            shell = Shell(Path(folder), settings, prelude).alone()
            async with shell.started("run") as running:
                await running.says("sweeping")
                progress(f"{database}: a service at rest, {COUNTED:.0f} s")
                await _audited(store)
                await asyncio.sleep(SETTLES)
                before, worked = await _statements(running, counts), _cpu(running)
                await asyncio.sleep(COUNTED)
                after, then = await _statements(running, counts), _cpu(running)
                progress(f"{database}: events of another process")
                heard = [await _heard(store, number) for number in range(EVENTS)]
    return [
        Rest(
            database=database,
            statements=(after - before) / COUNTED,
            cpu=100 * (then - worked) / COUNTED,
            heard_ms=1000 * median(heard),
        )
    ]


async def _audited(store: Store) -> None:
    """Wait for the end of the first audit, with which the work of the start ends."""
    async with asyncio.timeout(120):
        while True:
            if (await store.job_runs.get(JobKind.AUDIT)).ended_at:
                return
            await asyncio.sleep(0.1)


async def _heard(store: Store, number: int) -> float:
    """Seconds until an event of this process is applied by the other."""
    row = a_row(provider_asset_id=f"asset-{number}", reference=f"video-{number}")
    await store.assets.add(row)
    await asyncio.sleep(2)  # the service has asked, and rests again
    webhook_event = a_kept_notice(row, datetime.now(UTC))
    began = time.perf_counter()
    await store.inbox.storing(webhook_event)
    async with asyncio.timeout(60):
        while True:
            found = await store.inbox.get(webhook_event.id)
            if found and found.status is EventStatus.APPLIED:
                return time.perf_counter() - began
            await asyncio.sleep(0.005)


def _cpu(running: Running) -> float:
    """The CPU time of the process, in seconds."""
    fields = Path(f"/proc/{running.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _statements(running: Running, counts: Counter[str]) -> int:
    if counts:
        return counts["statements"]
    told = len(running.err)
    running.process.send_signal(signal.SIGUSR1)
    for _ in range(1000):
        await asyncio.sleep(0.01)
        _, is_told, number = running.err[told:].partition("statements ")
        if is_told:
            return int(number.split()[0])
    raise TimeoutError


@asynccontextmanager
async def _counted(url: str) -> AsyncIterator[tuple[str, Counter[str]]]:
    """A URL that leads to the same database, and counts the statements that pass."""
    counts = Counter[str]()
    place = urlsplit(url)
    if place.hostname is None:
        yield url, counts
        return
    host, port = place.hostname, place.port

    async def joined(asks: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection(host, port)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_pass_statements(asks, ours, counts))
            tasks.create_task(_pass(theirs, answers))

    async with await asyncio.start_server(joined, "127.0.0.1") as server:
        own = server.sockets[0].getsockname()[1]
        yield url.replace(f":{port}/", f":{own}/"), counts


async def _pass(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(65_536):
        sink.write(data)
    sink.close()


async def _pass_statements(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter, counts: Counter[str]
) -> None:
    """Pass messages on, and count those that run a statement.

    https://www.postgresql.org/docs/current/protocol-message-formats.html
    """
    begun = False
    try:
        while True:
            kind = await source.readexactly(1) if begun else b""
            size = await source.readexactly(4)
            body = await source.readexactly(int.from_bytes(size) - 4)
            sink.write(kind + size + body)
            # the first messages, up to the one with the version, have no kind
            begun = begun or body[:4] == (3 << 16).to_bytes(4)
            counts["statements"] += kind in {b"Q", b"E"}
    except asyncio.IncompleteReadError:
        sink.close()
