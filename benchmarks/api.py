"""The HTTP API over real HTTP: the service in a process of its own, its load from here."""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Final
from uuid import uuid4

import httpx

from benchmarks.bench import groom, urls
from benchmarks.sender import Event, Line
from benchmarks.tables import fill, settled_rows
from rindle_sync.emulator import Life, MuxEmulator
from tests.support.api import PREFIX, TOKEN, bearer
from tests.support.processes import (
    PATIENCE,
    Shell,
    a_store,
    eventually,
    free_port,
    serving,
    settings_for,
)

ROWS: Final = 10_000
CONNECTIONS: Final = 8
REQUESTS: Final = 2_000
WAITS: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRate:
    """One operation, by eight clients at once; times in milliseconds."""

    database: str
    operation: str
    per_second: float
    median_ms: float
    p99_ms: float


async def api_rates(database: str, progress: Callable[[str], None]) -> list[ApiRate]:
    """Reading and tracking at full load, and how soon who waits has a change."""
    async with AsyncExitStack() as stack:
        (url,) = stack.enter_context(urls(database, 1))
        far_end = stack.enter_context(serving(MuxEmulator()))
        folder = stack.enter_context(TemporaryDirectory(prefix="rindle-bench-"))
        rows = list(islice(settled_rows(ROWS), ROWS))
        async with a_store(url) as store:
            await fill(store, rows)
        groom(url)
        port = free_port()
        # what is tracked is unknown to the provider: no sweep is to find that meanwhile
        settings = settings_for(
            url, far_end, api_token=TOKEN, listen_port=port, provider_polling_floor_seconds=600
        )
        running = await stack.enter_async_context(Shell(Path(folder), settings).started("run"))
        await running.says("HTTP API at")
        client = await stack.enter_async_context(
            httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{port}{PREFIX}", headers=bearer(TOKEN), timeout=PATIENCE
            )
        )
        await eventually(lambda: _is_up(client))
        loads = {
            "get an asset": [_get(f"/assets/{row.id}") for row in rows[:REQUESTS]],
            "list 100 assets": [_get("/assets?limit=100")] * (REQUESTS // 10),
            "track an asset": [_track() for _ in range(REQUESTS // 2)],
        }
        progress(f"{database}: waiting for a change, {WAITS} times")
        rates = [await _waits(database, client, far_end.emulator)]
        for operation, requests in loads.items():
            progress(f"{database}: {operation}, {len(requests):,} times")
            rates.append(await _at_full_load(database, operation, requests, port))
        return rates


async def _is_up(client: httpx.AsyncClient) -> None:
    try:
        answer = await client.get("/assets?limit=1")
    except httpx.ConnectError as error:
        raise AssertionError from error
    assert answer.status_code == 200, answer.text


def _get(path: str) -> bytes:
    head = f"GET {PREFIX}{path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n\r\n"
    return head.encode()


def _track() -> bytes:
    row = {"reference": f"film-{uuid4()}", "provider_asset_id": uuid4().hex}
    body = json.dumps(row).encode()
    head = (
        f"POST {PREFIX}/assets HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def _at_full_load(
    database: str, operation: str, requests: Sequence[bytes], port: int
) -> ApiRate:
    left, seconds = iter(requests), list[float]()

    async def send(line: Line) -> None:
        for request in left:
            answer = await line.post(Event("", "", operation, request), time.perf_counter())
            assert answer.status == 200, answer
            seconds.append(answer.seconds)

    lines = [await Line.to(port) for _ in range(CONNECTIONS)]
    began = time.perf_counter()
    await asyncio.gather(*(send(line) for line in lines))
    taken = time.perf_counter() - began
    for line in lines:
        line.close()
    return _rate(database, operation, len(seconds) / taken, seconds)


async def _waits(database: str, client: httpx.AsyncClient, emulator: MuxEmulator) -> ApiRate:
    """From when a check has its answer until a client that waits has the change."""
    seconds = []
    for number in range(WAITS):
        asset_id = emulator.create_asset(life=Life(ends="ready", after=0))
        body = {"reference": f"waited-{number}", "provider_asset_id": asset_id}
        row = (await client.post("/assets", json=body)).json()
        waits = asyncio.create_task(client.get("/changes?after=newest&wait=30"))
        await client.get("/changes")
        await client.post(f"/assets/{row['id']}/sync")
        began = time.perf_counter()
        answer = await waits
        assert len(answer.json()["data"]) == 1, answer.text
        seconds.append(time.perf_counter() - began)
    return _rate(database, "wait for a change", WAITS / sum(seconds), seconds)


def _rate(database: str, operation: str, per_second: float, seconds: Sequence[float]) -> ApiRate:
    return ApiRate(
        database=database,
        operation=operation,
        per_second=per_second,
        median_ms=median(seconds) * 1000,
        p99_ms=quantiles(seconds, n=100)[98] * 1000,
    )
