"""What can be done to several videos or webhook events at once: first confirmed, then bounded."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from rindle_sync.diagnostics import SYNC_OUTCOMES
from rindle_sync.domain import JobKind, ProviderAsset, many
from rindle_sync.errors import AuthenticationFailed, RindleSyncError
from rindle_sync.runtime import JobRunner
from rindle_sync.telemetry import scrub_traceback
from rindle_sync.tracking import untrack
from rindle_sync.web.console.actions import Emit, Redirect, acting, checked
from rindle_sync.web.console.forms import Declined
from rindle_sync.web.console.pages import Pages, Show
from rindle_sync.web.console.searches import environment_of
from rindle_sync.webhooks import replay, rows_about

MOST_SELECTED: Final = 100
"""How many videos or webhook events are acted on at once."""

AT_ONCE: Final = 5
"""How many videos are synced side by side."""

LONGEST_BULK: Final = 25.0
"""Seconds that a browser waits for all of them."""

_log: Final = logging.getLogger("rindle_sync")
_NOTHING: Final = "nothing is selected; go back, and tick what you want"
_TOO_MANY: Final = f"more than {MOST_SELECTED} are selected; do it in parts"
_UNKNOWN: Final = "nothing of what was selected is there any more"


@dataclass(frozen=True, slots=True)
class Result:
    """What came of an action on a row."""

    row: ProviderAsset = field(repr=False)
    outcome: str
    text: str
    is_good: bool
    has_page: bool = True
    """Whether the row is there still."""


Act = Callable[[JobRunner, ProviderAsset], Awaitable[Result]]


class BulkActions:
    """The actions on what was selected on a page; those on outgoing webhooks belong here, too."""

    def __init__(self, pages: Pages, show: Show, redirect: Redirect, emit: Emit) -> None:
        self._pages = pages
        self._show = show
        self._redirect = redirect
        self._emit = emit

    async def confirm_rows(self, request: Request) -> Response:
        """Ask whether the selected videos shall be synced, or untracked."""
        job_runner, rows = await self._rows(request)
        action = _first(request, "action")
        if action not in _QUESTIONS:
            raise Declined(400, "the action is neither sync nor untrack", back=_back(request))
        verb, label, effect = _QUESTIONS[action]
        return self._show(
            request,
            "confirm.html",
            question=f"{verb} {many(len(rows), 'video')}?",
            effect=effect.format(provider=job_runner.context.store.provider.capitalize()),
            things=[{"row": row} for row in rows],
            action=f"/rows/{action}-selected",
            fields=_fields(request, "row", [row.id for row in rows]),
            label=f"{label} {many(len(rows), 'video')}",
            is_final=action == "untrack",
            back=_back(request),
        )

    async def sync(self, request: Request) -> Response:
        """Check the selected videos now, and tell what came of each."""
        job_runner, rows = await self._rows(request)
        results = await self._each(job_runner, rows, "sync", _sync, at_once=AT_ONCE)
        return self._results(request, "Synced", results)

    async def untrack(self, request: Request) -> Response:
        """Forget the selected videos; their assets stay at the provider."""
        job_runner, rows = await self._rows(request)
        results = await self._each(job_runner, rows, "untrack", _untrack, at_once=1)
        return self._results(request, "Untracked", results)

    async def confirm_events(self, request: Request) -> Response:
        """Ask whether the selected webhook events shall be applied again."""
        job_runner, event_ids = self._job_runner(request), _selected(request, "event")
        store = job_runner.context.store
        async with self._pages.reading():
            events = await store.event_listing.find(event_ids)
            about = await rows_about(store.assets, events)
        if not events:
            raise Declined(404, _UNKNOWN, back=_back(request))
        things = []
        for event, row in about:
            video = f", {row.shown_reference}" if row else ""
            things.append({"text": f"{event.type}, {event.received_at:%Y-%m-%d %H:%M:%S}{video}"})
        return self._show(
            request,
            "confirm.html",
            question=f"Replay {many(len(events), 'webhook event')}?",
            effect=_REPLAYS,
            things=things,
            action="/webhook-events/replay-selected",
            fields=_fields(request, "event", [event.id for event in events]),
            label=f"Replay {many(len(events), 'webhook event')}",
            is_final=False,
            back=_back(request),
        )

    async def confirm_dead(self, request: Request) -> Response:
        """Ask whether all dead webhook events of an environment shall be applied again."""
        environment = environment_of(request.query_params, list(self._pages.job_runners))
        query = urlencode({"environment": environment})
        return self._show(
            request,
            "confirm.html",
            question=f"Replay all dead webhook events of {environment}?",
            effect=_REPLAYS,
            things=[],
            action=f"/webhook-events/replay-dead?{query}",
            fields=[],
            label="Replay all dead events",
            is_final=False,
            back=f"/webhook-events?{query}&status=dead",
        )

    async def replay(self, request: Request) -> Response:
        """Make the selected webhook events pending again."""
        job_runner, event_ids = self._job_runner(request), _selected(request, "event")
        context, number = acting(job_runner), 0
        try:
            for event_id in event_ids:
                number += await replay(context, event_id)
        finally:
            self._emit(job_runner, "replay", "done" if number else "nothing")
            job_runner.wake(JobKind.PROCESS_WEBHOOK_EVENTS)
        environment = job_runner.environment
        return self._redirect(
            "/webhook-events", environment=environment, done="replayed", number=str(number)
        )

    # what all have in common

    def _job_runner(self, request: Request) -> JobRunner:
        query = {"environment": _first(request, "environment")}
        return self._pages.job_runners[environment_of(query, list(self._pages.job_runners))]

    async def _rows(self, request: Request) -> tuple[JobRunner, list[ProviderAsset]]:
        job_runner, row_ids = self._job_runner(request), _selected(request, "row")
        async with self._pages.reading():
            found = await job_runner.context.store.row_listing.find(row_ids)
        rows = [found[row_id] for row_id in row_ids if row_id in found]
        if not rows:
            raise Declined(404, _UNKNOWN, back=_back(request))
        return job_runner, rows

    async def _each(
        self,
        job_runner: JobRunner,
        rows: Sequence[ProviderAsset],
        action: str,
        act: Act,
        *,
        at_once: int,
    ) -> list[Result]:
        """Act on each row until the time is over; each is recorded as it ends."""
        free, results = asyncio.Semaphore(at_once), dict[str, Result]()

        async def one(row: ProviderAsset) -> None:
            async with free:
                result = Result(row, "late", SYNC_OUTCOMES["late"].text, is_good=False)
                try:
                    result = await _told(act, job_runner, row)
                finally:
                    results[row.id] = result
                    self._emit(job_runner, action, result.outcome, row)

        try:
            async with asyncio.timeout(LONGEST_BULK), asyncio.TaskGroup() as tasks:
                for row in rows:
                    tasks.create_task(one(row))
        except TimeoutError:
            pass  # those that were not begun are told as such
        return [results.get(row.id, Result(row, "late", _NOT_BEGUN, is_good=False)) for row in rows]

    def _results(self, request: Request, done: str, results: Sequence[Result]) -> Response:
        good = sum(result.is_good for result in results)
        return self._show(
            request,
            "results.html",
            title=f"{done} {good} of {many(len(results), 'video')}",
            text="All done." if good == len(results) else "Some need a look.",
            is_good=good == len(results),
            results=results,
            back=_back(request),
        )


_REPLAYS: Final = (
    "Each is applied again, as if it had just come. One that was applied before changes nothing; "
    "one of a type that is not acted on, or whose body was pruned, stays as it is."
)
_QUESTIONS: Final = {
    "sync": (
        "Sync",
        "Sync",
        "{provider} is asked about each now. What has changed there is written here.",
    ),
    "untrack": (
        "Untrack",
        "Untrack",
        "rindle-sync forgets each, and your app is told of no more changes. The assets stay at "
        "{provider}. To have them back, track them again.",
    ),
}
_BUG: Final = "Not done: a bug in rindle-sync; its log says where."
_NOT_BEGUN: Final = "Not begun in time. Try again with fewer."
_UNTRACKED: Final = "Not tracked any more. The asset is still at the provider."


async def _told(act: Act, job_runner: JobRunner, row: ProviderAsset) -> Result:
    """What `act` comes to, or why it does not."""
    try:
        return await act(job_runner, row)
    except RindleSyncError as error:
        outcome = "refused" if isinstance(error, AuthenticationFailed) else "failed"
        return Result(row, outcome, f"Not done: {error}", is_good=False)
    except Exception as error:  # noqa: BLE001  a bug of ours, which must not hide the other rows
        _log.error("console: an unexpected error\n%s", scrub_traceback(error, has_messages=False))
        return Result(row, "failed", _BUG, is_good=False)


async def _sync(job_runner: JobRunner, row: ProviderAsset) -> Result:
    outcome = await checked(job_runner, row)
    told = SYNC_OUTCOMES[outcome]
    return Result(row, outcome, told.text, told.is_good, has_page=outcome != "gone")


async def _untrack(job_runner: JobRunner, row: ProviderAsset) -> Result:
    await untrack(acting(job_runner), row)
    return Result(row, "done", _UNTRACKED, is_good=True, has_page=False)


def _selected(request: Request, name: str) -> list[str]:
    """The ids that a form names, each once; raises `Declined` for none, and for too many."""
    selected = list(dict.fromkeys(_ids(request.state.fields.get(name, []))))
    if not selected:
        raise Declined(400, _NOTHING, back=_back(request))
    if len(selected) > MOST_SELECTED:
        raise Declined(413, _TOO_MANY, back=_back(request))
    return selected


def _ids(given: Sequence[str]) -> list[str]:
    ids = []
    for text in given:
        try:
            ids.append(str(UUID(text)))
        except ValueError:
            continue  # made up: no row has it
    return ids


def _fields(request: Request, name: str, ids: Sequence[str]) -> list[tuple[str, str]]:
    """The hidden fields of a confirmation."""
    common = [("environment", _first(request, "environment")), ("back", _back(request))]
    return [*common, *((name, value) for value in ids)]


def _first(request: Request, name: str) -> str:
    values: list[str] = request.state.fields.get(name, [""])
    return values[0]


def _back(request: Request) -> str:
    """The page that the form was on: one of ours, or the list of videos."""
    back = _first(request, "back")
    is_ours = back.startswith(("/rows", "/webhook-events")) and "\\" not in back
    return back if is_ours and len(back) < 1000 else "/rows"
