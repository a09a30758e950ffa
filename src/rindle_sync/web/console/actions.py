"""What whoever is signed in can do to rows and webhook events."""

import asyncio
from dataclasses import replace
from typing import Final, Protocol

from starlette.requests import Request
from starlette.responses import Response

from rindle_sync.domain import JobKind, ProviderAsset, Trigger
from rindle_sync.errors import AuthenticationFailed, RindleSyncError
from rindle_sync.reconcile import Context, sync_row
from rindle_sync.runtime import JobRunner
from rindle_sync.web.console.forms import Declined
from rindle_sync.web.console.pages import Pages
from rindle_sync.web.console.searches import environment_of
from rindle_sync.web.console.session import actor_here
from rindle_sync.webhooks import replay

LONGEST_SYNC: Final = 20.0
"""Seconds that a browser waits for a sync."""


class Emit(Protocol):
    """Records what somebody did, and what came of it."""

    def __call__(
        self, job_runner: JobRunner, action: str, outcome: str, row: ProviderAsset | None = None
    ) -> None:
        """`row` is the one it was done to; None for what is no row's."""


class Redirect(Protocol):
    """Leads a browser to a page of the console."""

    def __call__(self, path: str, **query: str) -> Response:
        """To `path`, with this query."""


class Actions:
    """The actions on what `pages` show."""

    def __init__(self, pages: Pages, redirect: Redirect, emit: Emit) -> None:
        self._pages = pages
        self._redirect = redirect
        self._emit = emit

    async def sync(self, request: Request) -> Response:
        """Check one row now, whatever the state of its clock."""
        job_runner, row = await self._pages.find(request)
        outcome, path = "failed", f"/rows/{row.id}"
        try:
            outcome = await checked(job_runner, row)
        except RindleSyncError as error:
            if isinstance(error, AuthenticationFailed):
                outcome = "refused"
            raise Declined(503, str(error), back=path) from None
        finally:
            self._emit(job_runner, "sync", outcome, row)
        return self._redirect(path, done=outcome)

    async def replay(self, request: Request) -> Response:
        """Make one webhook event, or all dead ones of an environment, pending again."""
        environment = environment_of(request.query_params, list(self._pages.job_runners))
        job_runner = self._pages.job_runners[environment]
        action, event_id = "replay_dead", request.path_params.get("webhook_event_id")
        if event_id is not None:
            action, event_id = "replay", str(event_id)
        number = await replay(acting(job_runner), event_id)
        job_runner.wake(JobKind.PROCESS_WEBHOOK_EVENTS)
        self._emit(job_runner, action, "done" if number else "nothing")
        return self._redirect(
            "/webhook-events", environment=environment, done="replayed", number=str(number)
        )


def acting(job_runner: JobRunner) -> Context:
    """The context of an environment in which whoever is signed in acts."""
    return replace(job_runner.context, actor=actor_here())


async def checked(job_runner: JobRunner, row: ProviderAsset) -> str:
    """Have the provider asked about a row; a key of `SYNC_OUTCOMES`. Raises `RindleSyncError`."""
    try:
        async with asyncio.timeout(LONGEST_SYNC):
            context = acting(job_runner)
            applied = await sync_row(context, row, trigger=Trigger.CONSOLE, ask_first=True)
    except TimeoutError:
        return "late"
    return applied.decision.verdict.value if applied else "gone"
