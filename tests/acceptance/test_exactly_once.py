"""Processes that dispatch side by side and are killed with -9: the app has each change once."""

import asyncio
import os
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from random import Random
from uuid import uuid4

import pytest
import sqlalchemy as sa

from rindle_sync.domain import State
from rindle_sync.store import Database
from rindle_sync.store.schema import change_deliveries, changes, open_engine
from tests.runtime.test_dispatch import moved
from tests.support.crash_points import app_changes
from tests.support.processes import UNWANTED
from tests.support.rows import a_row
from tests.support.world import World, a_world

PROJECT = Path(__file__).parents[2]
ROWS_A_KILL = 4
STATES = [State.UPLOADING, State.PROCESSING, State.READY]
AT_ONCE = 2
KILLS = 12
LONGEST = 60


async def rows_that_change(world: World, number: int) -> None:
    for _ in range(number):
        row = a_row(State.PENDING, reference=f"video-{uuid4()}")
        await world.context.store.assets.add(row)
        await moved(world, row, *STATES)


def a_process(url: str, began: float, seed: int) -> "subprocess.Popen[bytes]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith(UNWANTED)}
    command = (sys.executable, "-m", "tests.support.dispatching", url, str(began), str(seed))
    environment = kept | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(command, cwd=PROJECT, env=environment, stdin=subprocess.DEVNULL)


async def is_done(database: Database) -> bool:
    async with database.reading() as connection:
        waiting = sa.select(changes.c.id).where(changes.c.dispatch_at.is_not(None)).limit(1)
        calls = sa.select(change_deliveries.c.id).limit(1)
        return not any([(await connection.execute(s)).all() for s in (waiting, calls)])


@pytest.mark.acceptance
async def test_the_app_has_each_change_exactly_once_whoever_is_killed(tables_url: str) -> None:
    database, chance = Database(open_engine(tables_url)), Random(1)
    began, seeds, processes = time.time(), count(), list["subprocess.Popen[bytes]"]()
    async with a_world(tables_url, migrated=True) as world:
        world.clock.time = datetime.now(UTC) - timedelta(hours=1)
        async with world.context.store.database.writing() as connection:
            await connection.run_sync(app_changes.create, checkfirst=True)
            await connection.execute(app_changes.delete())
        try:
            processes += [a_process(tables_url, began, next(seeds)) for _ in range(AT_ONCE)]
            # new changes before each kill, so that it never comes after the work is done
            for _ in range(KILLS):
                await rows_that_change(world, ROWS_A_KILL)
                await asyncio.sleep(chance.uniform(0.3, 1.8))
                victim = chance.randrange(AT_ONCE)
                processes[victim].kill()
                processes[victim].wait()
                processes[victim] = a_process(tables_url, began, next(seeds))
            end = time.monotonic() + LONGEST
            while not await is_done(database):
                assert time.monotonic() < end, "the changes are not dispatched"
                await asyncio.sleep(0.1)
        finally:
            for process in processes:
                process.kill()
                process.wait()
    async with database.reading() as connection:
        noted = [(line.row_id, line.version) for line in await connection.execute(changes.select())]
        kept = await connection.execute(app_changes.select())
        found = Counter((line.row_id, line.version) for line in kept)
    await database.close()

    assert found == Counter(noted)
    assert len(noted) == KILLS * ROWS_A_KILL * len(STATES)
