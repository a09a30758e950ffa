"""What each page answers, within bounds that leave the database to the webhooks."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any, Final, Protocol

from starlette.requests import Request
from starlette.responses import Response

from rindle_sync.diagnostics import SPARING, CachedQuery, ConcurrencyLimit, explain
from rindle_sync.domain import ProviderAsset
from rindle_sync.runtime import JobRunner
from rindle_sync.web.console import videos, views
from rindle_sync.web.console.charts import Chart
from rindle_sync.web.console.forms import Declined
from rindle_sync.web.console.searches import ChangeSearch, EventSearch, RowSearch, environment_of

HOLDS: Final = timedelta(seconds=2)
"""How long an overview is reused, so that many open tabs cost the database no more than one."""

CHARTS_HOLD: Final = timedelta(seconds=60)

SOON: Final = 0.15
"""Seconds that a page waits for new figures: it has the former ones, or says that they come."""

MOST_CHARTED: Final = 100
"""Environments whose charts are cached; the others' are counted for each page."""

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
        self._counts = asyncio.Lock()
        self._overviews = CachedQuery(
            self._read_overviews, self._context.now, HOLDS, times=SPARING, soon=SOON
        )
        self._counted = CachedQuery(
            self._count, self._context.now, HOLDS, times=SPARING, within=SOON, soon=SOON
        )
        self._charts: dict[str, CachedQuery[list[Chart]]] = {}

    async def close(self) -> None:
        """Stop reading."""
        await self._overviews.close()
        await self._counted.close()
        for charts in self._charts.values():
            await charts.close()

    async def overview(self, request: Request) -> Response:
        """How all environments stand; what takes a scan may come later."""
        environments = list(self.job_runners)
        # side by side, so that the page waits once
        found, counted, charts = await asyncio.gather(
            self._overviews.get(),
            self._counted.get(),
            self._charts_of(environments[0]) if len(environments) == 1 else _nothing(),
        )
        if found is None:
            raise Declined(503, _BUSY)
        shown = views.overview(found, counted)
        is_counting = counted is None or (len(environments) == 1 and charts is None)
        return self._show(request, "overview.html", charts=charts, is_counting=is_counting, **shown)

    async def activity(self, request: Request) -> Response:
        """The last 24 hours of one environment."""
        environment = environment_of(request.query_params, list(self.job_runners))
        charts = await self._charts_of(environment)
        return self._show(
            request,
            "activity.html",
            environment=environment,
            charts=charts,
            is_counting=charts is None,
        )

    async def rows(self, request: Request) -> Response:
        """The videos of one environment."""
        wanted = RowSearch.of(request.query_params, list(self.job_runners))
        async with self.reading():
            found = await views.rows(self.job_runners[wanted.environment], wanted)
        return self._show(request, "rows.html", **found)

    async def row(self, request: Request) -> Response:
        """One video and its history."""
        job_runner, row = await self.find(request)
        async with self.reading():
            history = await explain(job_runner.context, row)
        is_playable = videos.is_playable(job_runner.context, row)
        return self._show(request, "row.html", row=history, asset=row, is_playable=is_playable)

    async def changes(self, request: Request) -> Response:
        """The changes of one environment."""
        wanted = ChangeSearch.of(request.query_params, list(self.job_runners))
        async with self.reading():
            found = await views.changes(self.job_runners[wanted.environment], wanted)
        return self._show(request, "changes.html", **found)

    async def webhook_events(self, request: Request) -> Response:
        """The webhook events of one environment."""
        wanted = EventSearch.of(request.query_params, list(self.job_runners))
        async with self.reading():
            found = await views.webhook_events(self.job_runners[wanted.environment], wanted)
        return self._show(request, "webhook_events.html", **found)

    async def video(self, request: Request) -> Response:
        """The video itself, and what the provider calls it: for whoever may act, on demand."""
        job_runner, row = await self.find(request)
        plays = request.query_params.get("play") == "yes"
        async with self.reading():
            shown = await videos.video(job_runner.context, row, plays=plays)
        answer = self._show(request, "video.html", **shown)
        name = "content-security-policy"
        answer.headers[name] = videos.content_security_policy(answer.headers[name], shown)
        return answer

    async def find(self, request: Request) -> tuple[JobRunner, ProviderAsset]:
        """The row that the path of a request names, and what runs the jobs of its environment."""
        async with self.reading():
            row = await self._context.store.assets.get(str(request.path_params["row_id"]))
        if row is None or row.environment not in self.job_runners:
            raise Declined(404, "this video is not tracked", back="/rows")
        return self.job_runners[row.environment], row

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        """A place among those who read the database."""
        try:
            async with self._slots.slot():
                yield
        except TimeoutError:
            raise Declined(503, _BUSY) from None

    @asynccontextmanager
    async def _counting(self) -> AsyncIterator[None]:
        """The same for what no page waits for: one at a time, so that pages have a place, too."""
        async with self._counts, self.reading():
            yield

    async def _charts_of(self, environment: str) -> list[Chart] | None:
        """The charts of an environment; None while they are being counted."""
        query = self._charts.get(environment)
        if query is None:
            query = CachedQuery(
                partial(self._read_charts, environment),
                self._context.now,
                CHARTS_HOLD,
                times=SPARING,
                within=SOON,
                soon=SOON,
            )
            while len(self._charts) >= MOST_CHARTED:
                await self._charts.pop(next(iter(self._charts))).close()
            self._charts[environment] = query
        return await query.get()

    async def _read_charts(self, environment: str) -> list[Chart]:
        async with self._counting():
            return await views.charts(self.job_runners[environment])

    async def _count(self) -> views.Counted:
        async with self._counting():
            return await views.counted(list(self.job_runners.values()))

    async def _read_overviews(self) -> views.AllOverviews:
        async with self.reading():
            return await views.all_overviews(list(self.job_runners.values()))


async def _nothing() -> None:
    """No charts."""
