"""A process that begins requests with an idempotency key: `beginner.py URL NUMBER`.

It says that it is ready, waits for a line, begins the keys `key-0` and so on, and tells those that
it has begun, as JSON. It ends none of them: killed then, it leaves them behind.
"""

import asyncio
import json
import sys
from datetime import datetime

from rindle_sync.store import Database
from rindle_sync.store.api_requests import ApiRequests, Begun
from rindle_sync.store.schema import open_engine
from tests.support.rows import NOW


async def begin(url: str, number: int, now: datetime) -> list[str]:
    """The keys that this process has begun."""
    database = Database(open_engine(url))
    requests = ApiRequests(database)
    keys = [f"key-{place}" for place in range(number)]
    begun = [
        key for key in keys if isinstance(await requests.begin("backend", key, "same", now), Begun)
    ]
    await database.close()
    return begun


if __name__ == "__main__":
    print("ready", flush=True)  # noqa: T201  the test waits for it
    sys.stdin.readline()
    keys = asyncio.run(begin(sys.argv[1], int(sys.argv[2]), NOW))
    print(json.dumps(keys), flush=True)  # noqa: T201  what it is asked for
    sys.stdin.readline()
