"""Four workers and two endpoints, killed and started again at random under load: all ends in sync.

`RINDLE_CHAOS_SECONDS=180 make acceptance ARGS=tests/acceptance/test_chaos.py` lets the storm go
on for longer.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Final

from rindle_sync.demo import agrees
from rindle_sync.domain import State
from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.emulator.lifecycle import Life
from rindle_sync.store import Store
from tests.support.deliveries import Acknowledging, delivering, nothing_acknowledged_is_lost
from tests.support.processes import (
    FarEnd,
    Running,
    Shell,
    a_store,
    all_rows,
    end_leases,
    eventually,
    free_port,
    settings_for,
)
from tests.support.rows import a_row
from tests.support.webhooks import SECRET

SECONDS: Final = float(os.environ.get("RINDLE_CHAOS_SECONDS", "10"))
SEED: Final = int(os.environ.get("RINDLE_CHAOS_SEED", "1"))
WORKERS: Final = 4
ENDPOINTS: Final = 2
EVERY: Final = 0.2
"""Seconds between two assets."""
KILL_EVERY: Final = (0.5, 2.0)
LIVES: Final = (
    Life(ends="ready", after=1),
    Life(ends="ready", after=4),
    Life(ends="errored", after=2),
    Life(ends="ready", after=1, deleted_after=3),
)


@dataclass
class Storm:
    """The processes by their place, and who kills them."""

    shell: Shell
    chance: Random
    running: dict[int, Running] = field(default_factory=dict)
    kills: int = 0

    async def start(self, stack: AsyncExitStack, place: int, ports: list[int]) -> None:
        command, shell = ("worker", self.shell) if place < WORKERS else ("receive", None)
        shell = shell or self.shell.but(listen_port=ports[place - WORKERS])
        self.running[place] = await stack.enter_async_context(shell.started(command))

    async def rage(self, stack: AsyncExitStack, ports: list[int]) -> None:
        """Kill one after another, and begin it again."""
        while True:
            await asyncio.sleep(self.chance.uniform(*KILL_EVERY))
            place = self.chance.randrange(WORKERS + ENDPOINTS)
            self.running[place].process.kill()
            await self.running[place].process.wait()
            self.kills += 1
            await self.start(stack, place, ports)


@asynccontextmanager
async def a_provider() -> AsyncIterator[FarEnd]:
    """An emulator on a port of this process, which throttles, fails, and is late now and then."""
    emulator = MuxEmulator(seed=SEED)
    emulator.add_fault("server_error", probability=0.05)
    emulator.add_fault("rate_limited", probability=0.02, retry_after=1)
    emulator.add_fault("latency", seconds=0.02)
    async with delivering(emulator) as far_end:
        yield far_end


async def upload_videos(store: Store, emulator: MuxEmulator, seconds: float) -> None:
    """As an app does: an asset at the provider, and its row, several times a second."""
    for number in range(int(seconds / EVERY)):
        now = datetime.now(UTC)
        asset = emulator.create_asset(life=LIVES[number % len(LIVES)])
        await store.assets.add(
            a_row(State.PROCESSING, provider_asset_id=asset, updated_at=now, check_at=now)
        )
        await asyncio.sleep(EVERY)


async def test_whatever_is_killed_all_ends_in_sync_and_nothing_acknowledged_is_lost(
    postgres_url: str, tmp_path: Path
) -> None:
    chance, acknowledged = Random(SEED), set[str]()
    async with a_provider() as far_end, a_store(postgres_url) as store, AsyncExitStack() as stack:
        storm = Storm(Shell(tmp_path, the_settings(postgres_url, far_end)), chance)
        assert (await storm.shell.run("migrate")).code == 0
        ports = [free_port() for _ in range(ENDPOINTS)]
        for place in range(WORKERS + ENDPOINTS):
            await storm.start(stack, place, ports)
        for port in ports:
            carrier = await stack.enter_async_context(Acknowledging(acknowledged))
            far_end.emulator.add_webhook(
                f"http://127.0.0.1:{port}/webhooks/mux",
                SECRET,
                drop=0.3,
                double=0.2,
                shuffle=0.3,
                delay=(0.0, 1.0),
                transport=carrier,
            )
        raging = asyncio.create_task(storm.rage(stack, ports))
        await upload_videos(store, far_end.emulator, SECONDS)
        raging.cancel()
        await asyncio.gather(raging, return_exceptions=True)
        far_end.emulator.clear_faults()

        await eventually(lambda: all_is_in_sync(store, far_end.emulator))
        await nothing_acknowledged_is_lost(store, acknowledged)
        assert storm.kills >= SECONDS / KILL_EVERY[1] / 2
        assert acknowledged


def the_settings(url: str, far_end: FarEnd) -> dict[str, str]:
    return settings_for(
        url,
        far_end,
        engine="procrastinate",
        mux_webhook_secrets=SECRET,
        sweep_interval_seconds=1,
        provider_polling_floor_seconds=1,
        provider_check_cap_seconds=2,
        provider_confirm_seconds=1,
        provider_watch_floor_seconds=1,
        provider_watch_cap_seconds=2,
        audit_days=0.00002,
    )


async def all_is_in_sync(store: Store, emulator: MuxEmulator) -> None:
    await end_leases(store)
    truths = emulator.truths()
    out = [
        row for row in await all_rows(store) if not agrees(row, truths[row.provider_asset_id or ""])
    ]
    assert not out, [(row.state, row.error_kind, row.last_sync_error) for row in out]
