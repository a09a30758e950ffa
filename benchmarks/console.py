"""How long each page of the console takes beside a library of many videos."""

import re
import time
from dataclasses import dataclass
from datetime import timedelta
from statistics import median
from typing import Final

import httpx

from benchmarks.bench import Bench, Progress, Sizes, World, groom, opened, urls
from benchmarks.library import fill_library
from rindle_sync.app import now
from rindle_sync.runtime import JobRunner
from rindle_sync.web.console.app import Console

ADDRESS: Final = "http://localhost:8001"
ROUNDS: Final = 5

PAGES: Final = {
    "overview": "/",
    "activity": "/activity",
    "videos": "/rows",
    "videos, oldest first": "/rows?sort=created",
    "videos, checked last": "/rows?sort=-checked",
    "videos, next check soonest": "/rows?sort=next_check",
    "ready": "/rows?state=ready",
    "errored": "/rows?state=errored",
    "errored, next check soonest": "/rows?state=errored&sort=next_check",
    "stuck": "/rows?kind=stuck",
    "deleted, oldest first": "/rows?state=deleted&sort=created",
    "due": "/rows?only=due",
    "overdue uploading": "/rows?only=overdue&state=uploading",
    "unanswered": "/rows?only=failing",
    "waiting for a file": "/rows?only=unlinked",
    "a rare profile": "/rows?profile=trailer",
    "a profile that no video has": "/rows?profile=nobody&state=errored",
    "by reference": "/rows?name=no-such-video",
    "changes": "/changes",
    "changes without a webhook": "/changes?webhook=missed",
    "changes by a trigger that found none": "/changes?trigger=cli",
    "webhook events": "/webhook-events",
    "dead webhook events": "/webhook-events?status=dead",
    "ignored webhook events": "/webhook-events?status=ignored",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PageTime:
    """One page, from the request to the whole answer, in this process."""

    database: str
    rows: int
    page: str
    first_ms: float
    """When nobody has asked before."""
    counted_ms: float
    """From then until it has all that is counted from the changes of a day."""
    milliseconds: float
    """The median of some more, with what is cached."""
    size: int
    """Bytes of the answer."""


async def page_times(database: str, sizes: Sizes, progress: Progress) -> list[PageTime]:
    """Every page beside as many videos as the largest table of settled rows has, and changes."""
    world, rows = await World.of(1), max(sizes.settled)
    with urls(database, 1) as (url,):
        async with opened(url, world) as bench:
            progress(f"{database}: filling {rows:,} videos and as many changes")
            await fill_library(bench.store, rows, now())
            groom(url)
            return await timed(bench, rows, progress)


async def timed(bench: Bench, rows: int, progress: Progress) -> list[PageTime]:
    """Every page, asked for by a browser on this machine."""
    week = timedelta(days=7)
    job_runner = JobRunner(
        context=bench.rindle.context, callbacks=(), keep_ended=week, keep_dead=week
    )
    console, found = Console([job_runner], None), list[PageTime]()
    transport = httpx.ASGITransport(console, client=("127.0.0.1", 50_000))
    async with httpx.AsyncClient(transport=transport, base_url=ADDRESS) as reader:
        row = await _a_row(reader)
        for page, path in {**PAGES, "one video": f"/rows/{row}"}.items():
            progress(f"{bench.database}: {page}")
            began = time.perf_counter()
            first_ms, answer = await _asked(reader, path)
            while "being counted" in answer.text:
                _, answer = await _asked(reader, path)
            counted_ms = 1000 * (time.perf_counter() - began)
            times = [(await _asked(reader, path))[0] for _ in range(ROUNDS)]
            found.append(
                PageTime(
                    database=bench.database,
                    rows=rows,
                    page=page,
                    first_ms=first_ms,
                    counted_ms=counted_ms,
                    milliseconds=median(times),
                    size=len(answer.content),
                )
            )
    await console.close()
    return found


async def _a_row(reader: httpx.AsyncClient) -> str:
    answer = await reader.get("/rows?sort=created")
    found = re.search(r"/rows/([0-9a-f-]{36})", answer.text)
    assert found, answer.text
    return found[1]


async def _asked(reader: httpx.AsyncClient, path: str) -> tuple[float, httpx.Response]:
    """The milliseconds of one request, and its answer."""
    began = time.perf_counter()
    answer = await reader.get(path)
    assert answer.status_code == 200, answer.text
    return 1000 * (time.perf_counter() - began), answer
