"""Outgoing webhooks of real processes: killed with -9 while they send, and as a user runs them."""

import asyncio
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from uuid import uuid4

import pytest
from aiohttp import web
from standardwebhooks import Webhook

from rindle_sync.domain import OutgoingStatus, State
from rindle_sync.runtime.outgoing.endpoints import OutgoingWebhooksOfApp
from rindle_sync.runtime.outgoing.signature import new_secret
from tests.runtime.test_dispatch import moved
from tests.support.app_endpoint import AppEndpoint, an_endpoint
from tests.support.processes import UNWANTED, Shell, eventually, free_port
from tests.support.rows import a_row
from tests.support.world import World, a_job_runner, a_world

PROJECT = Path(__file__).parents[2]
ROWS_A_KILL = 4
STATES = [State.UPLOADING, State.PROCESSING, State.READY]
AT_ONCE = 2
KILLS = 10
LONGEST = 60


async def rows_that_change(world: World, number: int) -> None:
    for _ in range(number):
        row = a_row(State.PENDING, reference=f"video-{uuid4()}")
        await world.context.store.assets.add(row)
        await moved(world, row, *STATES)


def a_process(url: str, began: float) -> "subprocess.Popen[bytes]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith(UNWANTED)}
    command = (sys.executable, "-m", "tests.support.delivering", url, str(began))
    environment = kept | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(command, cwd=PROJECT, env=environment, stdin=subprocess.DEVNULL)


def an_api(world: World) -> OutgoingWebhooksOfApp:
    deliveries = a_job_runner(world).deliveries
    return OutgoingWebhooksOfApp(world.context.store, deliveries.client, world.clock.now)


@pytest.mark.acceptance
async def test_each_change_is_told_in_its_order_whoever_is_killed(tables_url: str) -> None:
    chance, began = Random(1), time.time()

    async def slow_and_often_wrong(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(chance.choice([0, 0.01, 0.1]))
        return web.Response(status=chance.choice([200, 204, 204, 500]))

    processes = list["subprocess.Popen[bytes]"]()
    number = KILLS * ROWS_A_KILL * len(STATES)
    async with a_world(tables_url, migrated=True) as world:
        world.clock.time = datetime.now(UTC) - timedelta(hours=1)
        async with an_endpoint(answer=slow_and_often_wrong) as app:
            api = an_api(world)
            await api.create("app", app.url, allow_private=True)
            try:
                processes += [a_process(tables_url, began) for _ in range(AT_ONCE)]
                for _ in range(KILLS):
                    await rows_that_change(world, ROWS_A_KILL)
                    await asyncio.sleep(chance.uniform(0.3, 1.5))
                    victim = chance.randrange(AT_ONCE)
                    processes[victim].kill()
                    processes[victim].wait()
                    processes[victim] = a_process(tables_url, began)
                end = time.monotonic() + LONGEST
                while (counts := (await api.counts())["app"])[OutgoingStatus.DELIVERED] < number:
                    assert time.monotonic() < end, f"not all are delivered: {counts}"
                    await asyncio.sleep(0.1)
            finally:
                for process in processes:
                    process.kill()
                    process.wait()

    assert_in_order(app)
    assert len(set(app.ids)) == number


def assert_in_order(app: AppEndpoint) -> None:
    """A version of a row comes first only after the one before has come."""
    seen: dict[str, list[int]] = {}
    for request in app.received:
        row_id, version = request.place
        versions = seen.setdefault(row_id, [])
        if version not in versions:
            versions.append(version)
    assert all(versions == sorted(versions) for versions in seen.values())
    assert {len(versions) for versions in seen.values()} == {len(STATES)}


@pytest.mark.acceptance
async def test_settings_alone_tell_an_app_of_what_another_process_writes(
    tables_url: str, tmp_path: Path
) -> None:
    secret = new_secret()
    async with a_world(tables_url, migrated=True) as world, an_endpoint() as app:
        world.clock.time = datetime.now(UTC)
        settings = {
            "database_url": tables_url,
            "mux_base_url": "http://127.0.0.1:9",
            "mux_token_id": "id",
            "mux_token_secret": "secret",
            "console_port": "0",
            "listen_port": str(free_port()),
            "outgoing_webhook_url": app.url,
            "outgoing_webhook_secret": secret,
            "outgoing_webhook_events": "asset.ready",
            "outgoing_webhook_allow_private": "on",
        }
        async with Shell(tmp_path, settings).started("run") as running:
            await running.says("sweeping")

            async def is_set_up() -> None:
                assert await world.context.store.change_feed.is_on()

            await eventually(is_set_up)
            row = a_row(State.PENDING)
            await world.context.store.assets.add(row)
            began = time.monotonic()
            await moved(world, row, State.PROCESSING, State.READY)
            async with asyncio.timeout(30):
                await app.has_received(1)
            took = time.monotonic() - began
        shown = running.err + running.out

    [request] = app.received
    assert Webhook(secret).verify(request.body, request.headers)["type"] == "asset.ready"
    assert took < 5
    assert secret not in shown
    assert "secretpath0001" not in shown
