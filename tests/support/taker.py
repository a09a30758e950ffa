"""A process that takes calls out of a bucket as fast as it gets them: `taker.py URL SECONDS`.

It says that it is ready, waits for a line, and tells the times at which it got a call, as JSON.
"""

import asyncio
import json
import sys
import time
from datetime import UTC, datetime

from rindle_sync.domain import Bucket
from rindle_sync.gateway import RateLimiter
from rindle_sync.store import Database, RateLimits
from rindle_sync.store.schema import open_engine

SHARED = Bucket(name="shared", capacity=10, per_second=20)


async def take_for(url: str, seconds: float) -> list[float]:
    """The times at which this process got a call, in so many seconds from its first one."""
    database, granted = Database(open_engine(url)), list[float]()
    buckets = RateLimits(database, "mux", "default")
    rate_limiter = RateLimiter(buckets, SHARED, now=lambda: datetime.now(UTC), sleep=asyncio.sleep)
    calls = await rate_limiter.take(3)
    end = time.time() + seconds
    while calls:
        granted += [time.time()] * calls
        calls = await rate_limiter.take(3, lambda: time.time() < end)
    await database.close()
    return granted


if __name__ == "__main__":
    print("ready", flush=True)  # noqa: T201  the test waits for it
    sys.stdin.readline()
    print(json.dumps(asyncio.run(take_for(sys.argv[1], float(sys.argv[2])))))  # noqa: T201  what it is asked for
