"""A database beside so many changes that counting those of a day takes long."""

import asyncio
from typing import Any

from rindle_sync.store import HourFigures, WebhookCounts
from rindle_sync.store.activity import Activity
from rindle_sync.store.statistics import Statistics
from tests.support.world import World


def slow_counts(world: World) -> asyncio.Event:
    """From now on the changes of a day are counted, in this world, once the event is set."""
    ends, store = asyncio.Event(), world.context.store

    class SlowStatistics(Statistics):
        async def webhooked(self, *names: Any, **window: Any) -> dict[str, WebhookCounts]:
            await ends.wait()
            return await super().webhooked(*names, **window)

    class SlowActivity(Activity):
        async def hours(self, *begins: Any, **window: Any) -> list[HourFigures]:
            await ends.wait()
            return await super().hours(*begins, **window)

    place = store.database, store.provider, store.environment
    store.statistics, store.activity = SlowStatistics(*place), SlowActivity(*place)
    return ends
