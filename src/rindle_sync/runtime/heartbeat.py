"""The heartbeat of engines that sweep: written whenever one queries what is due."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from rindle_sync.store import Database, JobRuns, Store

HEARTBEAT: Final = "heartbeat"

EVERY: Final = timedelta(seconds=15)
"""How often a heartbeat is written, at most."""

SILENT_AFTER: Final = timedelta(seconds=60)
"""An engine without a heartbeat for this long counts as dead."""

_EVERYWHERE: Final = "*"
"""An engine serves all environments of its process, which share one heartbeat."""


class EngineState(StrEnum):
    """Whether an engine is alive."""

    ALIVE = "alive"
    NEVER_RAN = "never_ran"
    SILENT = "silent"
    AHEAD = "ahead"
    """Its heartbeat is in the future: a clock was wrong, and nothing is known of the present."""


def engine_state(last: datetime | None, now: datetime) -> EngineState:
    """Whether an engine is alive, by its last heartbeat."""
    if last is None:
        return EngineState.NEVER_RAN
    if last - now > SILENT_AFTER:
        return EngineState.AHEAD
    return EngineState.SILENT if now - last > SILENT_AFTER else EngineState.ALIVE


async def last_heartbeat(store: Store) -> datetime | None:
    """The last heartbeat of an engine on the database of `store`, by the engine's clock."""
    job_runs = JobRuns(store.database, store.provider, _EVERYWHERE)
    return (await job_runs.get(HEARTBEAT)).ended_at


class Heartbeat:
    """The heartbeat of the engines on one database."""

    def __init__(self, database: Database, provider: str) -> None:
        self._job_runs = JobRuns(database, provider, _EVERYWHERE)
        self._written_at: datetime | None = None

    async def beat(self, now: datetime) -> None:
        """Note that an engine of this process is alive."""
        # a time before the last heartbeat means that the clock was set back: it is written anew
        if self._written_at is None or not timedelta(0) <= now - self._written_at < EVERY:
            await self._job_runs.note(HEARTBEAT, now)
            self._written_at = now
