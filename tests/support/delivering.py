"""A process that publishes changes and sends outgoing webhooks, on a clock that runs fast.

Leases of minutes end within a blink: those of the killed.
"""

import asyncio
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from rindle_sync.app import RindleSync
from rindle_sync.config import plain_settings
from rindle_sync.errors import DatabaseUnavailable
from rindle_sync.store import Database
from rindle_sync.store.schema import open_engine

SPEED = 1000
"""A lease of four minutes ends after 0.25 s."""


async def deliver_for_ever(url: str, began: float) -> None:
    """Deliver until killed; `began` is the same for all processes of a test."""

    def now() -> datetime:
        return datetime.fromtimestamp(began, UTC) + timedelta(seconds=time.time() - began) * SPEED

    rindle = RindleSync(plain_settings(database_url=url), Database(open_engine(url)), clock=now)
    while True:
        with suppress(DatabaseUnavailable):
            await rindle.deliver()
        await asyncio.sleep(0.01)


if __name__ == "__main__":
    asyncio.run(deliver_for_ever(sys.argv[1], float(sys.argv[2])))
