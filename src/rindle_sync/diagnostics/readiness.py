"""Whether this process can do its work, check by check; knows no HTTP."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from rindle_sync.diagnostics import status as health
from rindle_sync.diagnostics.cached_query import WITHIN, CachedQuery
from rindle_sync.errors import DatabaseUnavailable
from rindle_sync.reconcile import Context

OK: Final = "ok"

LATEST: Final = timedelta(seconds=60)
"""How long ago an engine may have asked what is due, or been started."""

HOLDS: Final = timedelta(seconds=1)
"""How long the checks are told again: whoever asks without end costs the database no more."""


class Readiness:
    """Checks the database, its tables, and, where this process `runs_engine`, that an engine is at work on it.

    `revisions` gives the revision that the tables are at, and the newest. No text of the database's is told.
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
        """Check no more."""
        await self._query.close()

    async def _checked(self) -> dict[str, str]:
        try:
            found = {"database": OK, "tables": _tables(*await self._revisions())}
            if self._runs_engine and found["tables"] == OK:
                found["engine"] = await self._engine()
        except DatabaseUnavailable:
            return {"database": "does not answer"}
        return found

    async def _engine(self) -> str:
        last, now = await health.last_tick(self._context), self._context.now()
        # what lies ahead was noted before a clock was set back, and says nothing of now
        known = [moment for moment in (last, self._began_at) if moment and moment - now <= LATEST]
        if known and now - max(known) <= LATEST:
            return OK
        return f"has not asked what is due for {LATEST.total_seconds():g} s"


def _tables(at: str | None, newest: str) -> str:
    if at == newest:
        return OK
    return f"are at {at}, and {newest} is the newest" if at else "are not there"
