"""A real service under load that a real Prometheus watches, so that every panel has data.

The provider is the emulator. It loses webhooks, signs with a wrong secret, throttles, is down; the
app's endpoint of outgoing webhooks fails at times.
"""

import asyncio
import contextlib
import random
import re
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
from aiohttp import web

from examples.incident import OLD, Stage, free_port, serving
from rindle_sync import connect
from rindle_sync.config import plain_settings
from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.emulator.lifecycle import Life
from rindle_sync.runtime.outgoing.signature import new_secret

TOKEN: Final = "the-console-token-of-this-run"  # noqa: S105  made up, for a service of ours
WRONG: Final = "a-secret-that-the-settings-do-not-have"
SEED: Final = 7
SETTINGS: Final = {
    "audit_days": "0.004",
    "console_token": TOKEN,
    "outgoing_webhook_allow_private": "on",
    "provider_polling_floor_seconds": "10",
    "provider_stuck_threshold_seconds": "240",
    "provider_read_burst": "120",
    "provider_reads_per_second": "5",
}
"""Checks, audits and stuck rows within minutes, and not within hours."""

_KEY: Final = re.compile(r'name="key" value="([\w-]+)"')
_ROW: Final = re.compile(r'href="(/rows/[0-9a-f-]{36})"')


@dataclass(frozen=True, slots=True)
class Trouble:
    """What goes wrong from one share of the run to another."""

    begins: float
    ends: float
    kind: str


TROUBLES: Final = (
    Trouble(0.22, 0.38, "webhooks_lost"),
    Trouble(0.42, 0.50, "bad_gateway"),
    Trouble(0.58, 0.66, "wrong_secret"),
    Trouble(0.70, 0.76, "rate_limited"),
    Trouble(0.72, 0.84, "app_down"),
)
ALL_AT_ONCE: Final = (Trouble(0.0, 1.0, "some_of_all"),)
"""For a run of seconds."""


@dataclass
class Load:
    """The app, the people at the console, and the trouble of one run."""

    stage: Stage
    hook: str
    """Where the provider sends its webhooks."""
    pause: float
    """Seconds between two videos."""
    chance: random.Random = field(default_factory=lambda: random.Random(SEED))  # noqa: S311
    app_status: int = 204

    async def app_endpoint(self, request: web.Request) -> web.Response:
        """The app's answer to an outgoing webhook."""
        await request.read()
        return web.Response(status=self.app_status)

    async def make_videos(self) -> None:
        """New videos without end: most become ready, a few fail, hang, or are deleted later."""
        settings = plain_settings(**self.stage.settings)
        async with connect(settings) as rindle:
            number = 0
            while True:
                number += 1
                reference = f"video-{number}"
                # at times the provider is down: then the app has no video
                with contextlib.suppress(Exception):
                    if number % 9 == 4:
                        await rindle.begin_upload(
                            reference=reference, cors_origin="https://app.example"
                        )
                    else:
                        asset_id = self.stage.emulator.create_asset(life=self._life(number))
                        await rindle.track(reference=reference, provider_asset_id=asset_id)
                await asyncio.sleep(self.pause * self.chance.uniform(0.4, 1.6))

    def _life(self, number: int) -> Life:
        if number % 23 == 3:
            return Life(ends="never")
        if number % 11 == 5:
            return Life(ends="errored", after=self.chance.uniform(3, 30))
        if number % 7 == 2:
            return Life(after=4.0, deleted_after=self.chance.uniform(20, 200))
        return Life(after=self.chance.uniform(3, 60))

    async def use_console(self) -> None:
        """Somebody signs in, and syncs the newest video at times."""
        address = f"http://127.0.0.1:{self.stage.ports[1]}"
        async with httpx.AsyncClient(
            base_url=address, timeout=60, headers={"origin": address}
        ) as browser:
            await browser.post("/sign-in", data={"token": TOKEN})
            while True:
                await asyncio.sleep(12 * self.pause)
                with contextlib.suppress(httpx.HTTPError):
                    await self._sync_one(browser)

    async def _sync_one(self, browser: httpx.AsyncClient) -> None:
        page = (await browser.get("/rows?sort=-created")).text
        row, key = _ROW.search(page), _KEY.search(page)
        if row and key:
            await browser.post(f"{row[1]}/sync", data={"key": key[1]})

    async def make_trouble(self, troubles: Sequence[Trouble], seconds: float) -> None:
        """Begin and end each trouble in its time."""
        began, now_on = time.monotonic(), set[Trouble]()
        self._apply(now_on)
        while True:
            share = (time.monotonic() - began) / seconds
            wanted = {trouble for trouble in troubles if trouble.begins <= share < trouble.ends}
            if wanted != now_on:
                now_on = wanted
                self._apply(now_on)
            await asyncio.sleep(0.2)

    def _apply(self, troubles: set[Trouble]) -> None:
        kinds, emulator = {trouble.kind for trouble in troubles}, self.stage.emulator
        faults: dict[str, Any] = {"double": 0.06, "shuffle": 0.05, "forge": 0.02}
        if "webhooks_lost" in kinds or "some_of_all" in kinds:
            faults["drop"] = 0.7 if "webhooks_lost" in kinds else 0.3
        emulator.clear_webhooks()
        emulator.add_webhook(self.hook, WRONG if "wrong_secret" in kinds else OLD, **faults)
        self.app_status = 500 if "app_down" in kinds else 204
        emulator.clear_faults()
        emulator.add_fault("latency", seconds=0.06)
        emulator.add_fault("latency", seconds=0.6, probability=0.08)
        if "bad_gateway" in kinds:
            emulator.add_fault("bad_gateway")
        if "rate_limited" in kinds:
            emulator.add_fault("rate_limited", probability=0.5, retry_after=2)


@contextlib.asynccontextmanager
async def a_watched_service(
    seconds: float, *, pause: float = 1.5, every: str = "5s", troubles: Sequence[Trouble] = TROUBLES
) -> AsyncIterator[str]:
    """Prometheus beside a service under load; its address. The `troubles` are over `seconds`."""
    emulator = MuxEmulator()
    with tempfile.TemporaryDirectory() as folder, serving(emulator) as port:
        stage = Stage(Path(folder), emulator, port, others=dict(SETTINGS), every=every)
        load = Load(stage, f"http://127.0.0.1:{stage.ports[0]}/webhooks/mux", pause)
        async with _an_app(load) as hooks:
            stage.others |= {"outgoing_webhook_url": hooks, "outgoing_webhook_secret": new_secret()}
            async with connect(plain_settings(**stage.settings)) as rindle:
                await rindle.migrate()
            await stage.start()
            try:
                async with stage.watched(), _running(load, troubles, seconds):
                    yield f"http://127.0.0.1:{stage.ports[2]}"
            finally:
                await stage.stop()


@contextlib.asynccontextmanager
async def _an_app(load: Load) -> AsyncIterator[str]:
    """The app's endpoint of outgoing webhooks; its address."""
    app = web.Application()
    app.router.add_post("/hooks", load.app_endpoint)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}/hooks"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def _running(load: Load, troubles: Sequence[Trouble], seconds: float) -> AsyncIterator[None]:
    """The load, for as long as the block lasts."""
    stop = asyncio.Event()
    parts: list[Awaitable[None]] = [
        load.make_videos(),
        load.use_console(),
        load.make_trouble(troubles, seconds),
        load.stage.emulator.run_webhooks(stop, every=0.2),
    ]
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        yield
    finally:
        stop.set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
