"""Whether this process can do its work, check by check; knows no HTTP."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from itertools import chain
from typing import Final

from rindle_sync.diagnostics.cached_query import SPARING, WITHIN, CachedQuery
from rindle_sync.diagnostics.checks import TIMES_REMEDY, text_of_times
from rindle_sync.diagnostics.status import wrong_times_of
from rindle_sync.domain import span_of
from rindle_sync.errors import DatabaseUnavailable
from rindle_sync.reconcile import Context
from rindle_sync.runtime import SILENT_AFTER, EngineState, engine_state, last_heartbeat

OK: Final = "ok"

WARNING: Final = "warning: "
"""How the text of a check begins that does not make the process unready."""

TIMES_HOLD: Final = timedelta(seconds=60)
"""How long the search for wrong times is cached: its cost grows with what is under way."""

TIMES_WITHIN: Final = 1.0
"""Seconds that the other checks wait for it; what it finds later is told the next time."""

HOLDS: Final = timedelta(seconds=1)
"""How long an answer is cached: frequent requests cost the database no more."""


class Readiness:
    """Checks the database, its tables, and, where this process `runs_engine`, the engine.

    `revisions` gives the revision of the tables, and the newest; `is_newer` says whether a newer
    version of rindle-sync has made the tables. No text of the database is shown.
    """

    def __init__(
        self,
        contexts: Sequence[Context],
        revisions: Callable[[], Awaitable[tuple[str | None, str]]],
        *,
        runs_engine: bool,
        is_newer: Callable[[str | None], bool] = lambda _: False,
    ) -> None:
        self._is_newer = is_newer
        self._contexts = contexts
        self._context = context = contexts[0]
        self._revisions = revisions
        self._runs_engine = runs_engine
        self._began_at = context.now()
        self._query = CachedQuery(self._checked, context.now, HOLDS)
        self._times = CachedQuery(
            self._wrong_times, context.now, TIMES_HOLD, times=SPARING, within=TIMES_WITHIN
        )

    async def checks(self) -> dict[str, str]:
        """`ok`, or what is wrong, by the name of the check."""
        return await self._query.get() or {"database": f"has not answered for {WITHIN:g} s"}

    async def close(self) -> None:
        """Stop checking."""
        await self._query.close()
        await self._times.close()

    async def _checked(self) -> dict[str, str]:
        found = {"database": OK, "tables": OK}
        try:
            at, newest = await self._revisions()
            is_newer = self._is_newer(at)
            if is_newer:
                # the version before goes on, while its processes are restarted
                found["tables"] = f"{WARNING}are of a newer version of rindle-sync"
            elif not at:
                found["tables"] = "are not there"
            elif at != newest:
                found["tables"] = f"are at {at}, and {newest} is the newest"
            is_usable = is_newer or found["tables"] == OK
            if is_usable and self._runs_engine:
                last, now = await last_heartbeat(self._context.store), self._context.now()
                # a process that has just started has had no time for a heartbeat
                states = {engine_state(last, now), engine_state(self._began_at, now)}
                silence = f"no heartbeat for {SILENT_AFTER.total_seconds():g} s"
                if last and EngineState.AHEAD in states:
                    silence = f"the last heartbeat is {span_of(last - now)} ahead"
                found["engine"] = OK if EngineState.ALIVE in states else silence
            if is_usable and (wrong := await self._times.get()):
                # rindle-sync works on all the same, so it is no reason to take this process out
                found["stored_times"] = f"{WARNING}{wrong}; {TIMES_REMEDY}"
        except DatabaseUnavailable:
            return {"database": "does not answer"}
        return found

    async def _wrong_times(self) -> str:
        """The stored times that no right clock can have written, in words; empty without any."""
        found = await wrong_times_of(self._contexts, self._context.now())
        wrong = list(chain.from_iterable(found.values()))
        return text_of_times(wrong) if wrong else ""
