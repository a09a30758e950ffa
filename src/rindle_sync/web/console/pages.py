"""What each page answers, within bounds that leave the database to the webhooks."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final, Protocol

from starlette.requests import Request
from starlette.responses import Response

from rindle_sync.diagnostics import SPARING, CachedQuery, ConcurrencyLimit, explain
from rindle_sync.domain import ProviderAsset
from rindle_sync.runtime import JobRunner
from rindle_sync.web.console import views
from rindle_sync.web.console.forms import Declined
from rindle_sync.web.console.views import RowSearch

HOLDS: Final = timedelta(seconds=2)
"""How long an overview is reused, so that many open tabs cost the database no more than one."""

READS: Final = 2
"""Database connections that the console may use at once; the others are left to the webhooks."""

READ_WITHIN: Final = 3.0
"""Seconds that a browser waits for one of them."""

_BUSY: Final = "busy: the database takes too long to answer; try again in a moment"


class Show(Protocol):
    """Makes the page of a template."""

    def __call__(
        self, request: Request, template: str, status: int = 200, **values: Any
    ) -> Response:
        """The `values` are what only this template needs."""


class Pages:
    """The pages of these environments; `show` makes one of its template and values."""

    def __init__(self, job_runners: Sequence[JobRunner], show: Show) -> None:
        self.job_runners = {job_runner.environment: job_runner for job_runner in job_runners}
        self._context = job_runners[0].context
        self._show = show
        self._slots = ConcurrencyLimit(READS, within=READ_WITHIN)
        self._overviews = CachedQuery(self._read_overviews, self._context.now, HOLDS, times=SPARING)

    async def close(self) -> None:
        """Stop reading."""
        await self._overviews.close()

    async def overview(self, request: Request) -> Response:
        """How all environments stand."""
        overviews = await self._overviews.get()
        if overviews is None:
            raise Declined(503, _BUSY)
        return self._show(request, "overview.html", **overviews)

    async def rows(self, request: Request) -> Response:
        """The rows of one environment."""
        wanted = self.search(request)
        async with self.reading():
            found = await views.rows(self.job_runners[wanted.environment], wanted)
        return self._show(request, "rows.html", **found)

    async def row(self, request: Request) -> Response:
        """One row and its history."""
        job_runner, row = await self.find(request)
        async with self.reading():
            history = await explain(job_runner.context, row)
        return self._show(request, "row.html", row=history)

    async def webhook_events(self, request: Request) -> Response:
        """The webhook events of one environment."""
        environment = self.search(request).environment
        status = request.query_params.get("status", "")
        async with self.reading():
            found = await views.webhook_events(self.job_runners[environment], status)
        return self._show(request, "webhook_events.html", environment=environment, **found)

    def search(self, request: Request) -> RowSearch:
        """What the address of a request asks for."""
        return RowSearch.of(request.query_params, list(self.job_runners))

    async def find(self, request: Request) -> tuple[JobRunner, ProviderAsset]:
        """The row that the path of a request names, and what runs the jobs of its environment."""
        async with self.reading():
            row = await self._context.store.assets.get(str(request.path_params["row_id"]))
        if row is None or row.environment not in self.job_runners:
            raise Declined(404, "this row does not exist", back="/rows")
        return self.job_runners[row.environment], row

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        """A place among those who read the database."""
        try:
            async with self._slots.slot():
                yield
        except TimeoutError:
            raise Declined(503, _BUSY) from None

    async def _read_overviews(self) -> dict[str, Any]:
        async with self.reading():
            return await views.all_overviews(list(self.job_runners.values()))
