"""A process that dispatches to a transactional callback, on a clock that runs fast.

Leases of minutes end within a blink: those of the killed, and those of callbacks that take long.
"""

import asyncio
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from random import Random

from sqlalchemy.ext.asyncio import AsyncConnection

from rindle_sync.app import RindleSync
from rindle_sync.config import plain_settings
from rindle_sync.errors import DatabaseUnavailable
from rindle_sync.runtime import ChangeEvent
from rindle_sync.store import Database
from rindle_sync.store.schema import open_engine
from tests.support.crash_points import app_changes

SPEED = 2000
"""A lease of three minutes ends after 0.1 s."""


async def dispatch_for_ever(url: str, began: float, seed: int) -> None:
    """Dispatch until killed; `began` is the same for all processes of a test."""
    chance = Random(seed)

    def now() -> datetime:
        return datetime.fromtimestamp(began, UTC) + timedelta(seconds=time.time() - began) * SPEED

    settings = plain_settings(database_url=url)
    rindle = RindleSync(settings, Database(open_engine(url)), clock=now)

    @rindle.on_change(transactional=True)
    async def keep(event: ChangeEvent, connection: AsyncConnection) -> None:
        await asyncio.sleep(chance.choice([0, 0, 0.02, 0.2]))
        values = {"row_id": event.change.row_id, "version": event.version}
        await connection.execute(app_changes.insert(), values)
        if chance.random() < 0.1:
            raise LookupError

    @rindle.on_change
    async def hear(_: ChangeEvent) -> None:
        if chance.random() < 0.1:
            raise LookupError

    while True:
        with suppress(DatabaseUnavailable):
            await rindle.dispatch()
        await asyncio.sleep(0.01)


if __name__ == "__main__":
    asyncio.run(dispatch_for_ever(sys.argv[1], float(sys.argv[2]), int(sys.argv[3])))
