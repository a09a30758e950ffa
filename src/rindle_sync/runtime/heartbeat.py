"""When an engine last asked what is due: whether one is alive."""

from datetime import datetime
from typing import Final

from rindle_sync.reconcile import Context
from rindle_sync.store import JobKey

TICK: Final = "tick"

EVERYWHERE: Final = "*"
"""Where the tick of an engine is noted: it is one for all environments."""


async def last_tick(context: Context) -> datetime | None:
    """When an engine last asked what is due."""
    return (await context.job_runs.get(tick_key(context))).ended_at


def tick_key(context: Context) -> JobKey:
    """Where the ticks of engines are noted."""
    return JobKey(context.provider.name, EVERYWHERE, TICK)
