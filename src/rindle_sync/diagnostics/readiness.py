"""Whether this process can do its work, check by check; knows no HTTP."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from rindle_sync.diagnostics.cached_query import WITHIN, CachedQuery
from rindle_sync.errors import DatabaseUnavailable
from rindle_sync.reconcile import Context
from rindle_sync.runtime import SILENT_AFTER, EngineState, engine_state, last_heartbeat

OK: Final = "ok"

HOLDS: Final = timedelta(seconds=1)
"""How long an answer is cached: frequent requests cost the database no more."""


class Readiness:
    """Checks the database, its tables, and, where this process `runs_engine`, the engine.

    `revisions` gives the revision of the tables, and the newest. No text of the database is shown.
    """

    def __init__(
        self,
        context: Context,
        revisions: Callable[[], Awaitable[tuple[str | None, str]]],
        *,
        runs_engine: bool,
    ) -> None:
        self._context = context
        self._revisions = revisions
        self._runs_engine = runs_engine
        self._began_at = context.now()
        self._query = CachedQuery(self._checked, context.now, HOLDS)

    async def checks(self) -> dict[str, str]:
        """`ok`, or what is wrong, by the name of the check."""
        return await self._query.get() or {"database": f"has not answered for {WITHIN:g} s"}

    async def close(self) -> None:
        """Stop checking."""
        await self._query.close()

    async def _checked(self) -> dict[str, str]:
        found = {"database": OK, "tables": OK}
        try:
            at, newest = await self._revisions()
            if not at:
                found["tables"] = "are not there"
            elif at != newest:
                found["tables"] = f"are at {at}, and {newest} is the newest"
            elif self._runs_engine:
                last, now = await last_heartbeat(self._context.store), self._context.now()
                # a process that has just started has had no time for a heartbeat
                states = {engine_state(last, now), engine_state(self._began_at, now)}
                silence = f"no heartbeat for {SILENT_AFTER.total_seconds():g} s"
                found["engine"] = OK if EngineState.ALIVE in states else silence
        except DatabaseUnavailable:
            return {"database": "does not answer"}
        return found
