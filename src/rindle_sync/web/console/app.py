"""The page's addresses: reads for whoever may read, actions for whoever is signed in; each action is told."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from importlib.metadata import version
from traceback import extract_tb
from typing import Any, Final
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from rindle_sync.diagnostics import SPARING, CachedQuery, ConcurrencyLimit
from rindle_sync.domain import ErrorKind, JobKind, ProviderAsset, State, Trigger
from rindle_sync.errors import AuthenticationFailed, RindleSyncError
from rindle_sync.reconcile import sync_row
from rindle_sync.runtime import JobRunner
from rindle_sync.telemetry import OperatorActed, nanoseconds
from rindle_sync.web.console import views
from rindle_sync.web.console.forms import Declined, check_origin, is_local, read_form
from rindle_sync.web.console.session import COOKIE, LASTS, Sessions
from rindle_sync.web.console.templating import HERE, templates
from rindle_sync.web.console.views import RowFilter
from rindle_sync.webhooks import Receive, Scope, Send

LONGEST_SYNC: Final = 20.0
"""Seconds that a browser waits for a look."""

HOLDS: Final = timedelta(seconds=2)
"""How long the overview is shown again: whoever looks at it in many tabs costs the database no more."""

READS: Final = 2
"""Connections to the database that the page may have: it leaves the others to the deliveries."""

READ_WITHIN: Final = 3.0
"""Seconds that a browser waits for one of them."""

GUESS_TAKES: Final = 1.0
"""Seconds for which a wrong token keeps the next one waiting."""

GUESSES: Final = 5
"""How many may wait; beyond, nobody is heard."""

_log: Final = logging.getLogger("rindle_sync")
_BUSY: Final = "busy: the database takes too long to answer; try again in a moment"
_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
_STATIC: Final = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}

Answering = Callable[[Request], Awaitable[Response]]


class Console:
    """The page of these environments; `token` lets an operator sign in, without it the page is read-only."""

    def __init__(self, job_runners: Sequence[JobRunner], token: str | None) -> None:
        self._job_runners = {job_runner.environment: job_runner for job_runner in job_runners}
        self._any = job_runners[0]
        self._sessions = Sessions(token)
        self._templates = templates()
        self._slots = ConcurrencyLimit(READS, within=READ_WITHIN)
        self._standing = CachedQuery(self._overviews, self._any.context.now, HOLDS, times=SPARING)
        self._guessing = asyncio.Lock()
        self._guesses = 0
        self._app = Starlette(
            routes=[
                Route("/", self._read(self._overview)),
                Route("/rows", self._read(self._rows)),
                Route("/rows/{row_id:uuid}", self._read(self._row)),
                Route("/inbox", self._read(self._inbox)),
                Route("/sign-in", self._open(self._sign_in_form)),
                Route("/sign-in", self._open(self._sign_in), methods=["POST"]),
                Route("/sign-out", self._act(self._sign_out), methods=["POST"]),
                Route("/rows/{row_id:uuid}/sync", self._act(self._sync), methods=["POST"]),
                Route(
                    "/inbox/{webhook_event_id:uuid}/replay",
                    self._act(self._replay),
                    methods=["POST"],
                ),
                Route("/inbox/replay-dead", self._act(self._replay), methods=["POST"]),
                Route("/static/{name}", self._open(_static)),
            ],
            exception_handlers={HTTPException: self._not_here},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, as ASGI has it."""
        await self._app(scope, receive, send)

    async def close(self) -> None:
        """Read no more."""
        await self._standing.close()

    def _now(self) -> datetime:
        return self._any.context.now()

    # who may do what

    def _may_act(self, request: Request) -> bool:
        return self._sessions.is_open(request.cookies.get(COOKIE), self._now())

    def _may_read(self, request: Request) -> bool:
        return self._may_act(request) if self._sessions.token else is_local(request)

    def _read(self, answering: Answering) -> Answering:
        async def read(request: Request) -> Response:
            if not self._may_read(request):
                raise Declined(
                    401, "without the setting console_token this page is for its own machine alone"
                )
            return await answering(request)

        return self._open(read)

    def _act(self, answering: Answering) -> Answering:
        """Only for whoever is signed in, and only out of a form of ours."""

        async def acted(request: Request) -> Response:
            if not self._may_act(request):
                raise Declined(
                    401, "sign in first: without the operator's token the page is read-only"
                )
            form = await read_form(request)
            if not self._sessions.is_ours(request.cookies[COOKIE], form.get("key", "")):
                raise Declined(
                    403,
                    "this form was not made by this page; go back, load it again, and try once more",
                )
            return await answering(request)

        return self._open(acted)

    def _open(self, answering: Answering) -> Answering:
        """Whatever goes wrong is a page that says so, and never what somebody could learn a secret from."""

        async def answered(request: Request) -> Response:
            try:
                check_origin(request)
                return await answering(request)
            except Declined as declined:
                return self._declined(request, declined)
            except RindleSyncError as error:
                return self._declined(request, Declined(503, str(error)))
            except ClientDisconnect:
                return Response(status_code=400)  # nobody reads it
            except HTTPException:
                raise
            except Exception as error:  # noqa: BLE001  a fault of ours; its text, and a traceback's, could hold an id
                place = extract_tb(error.__traceback__)[-1]
                _log.error(
                    "the page met an unexpected %s at %s:%s",
                    type(error).__name__,
                    place.filename,
                    place.lineno,
                )
                return self._declined(
                    request, Declined(500, "that is a fault of rindle-sync; its log says where")
                )

        return answered

    # what is answered

    def _show(self, request: Request, template: str, status: int = 200, **values: Any) -> Response:
        may_act = self._may_act(request)
        known = {
            "environments": list(self._job_runners),
            "may_read": self._may_read(request),
            "may_act": may_act,
            "can_sign_in": self._sessions.token is not None,
            "form_key": self._sessions.form_key(request.cookies[COOKIE]) if may_act else "",
            "version": version("rindle-sync"),
            "states": list(State),
            "kinds": list(ErrorKind),
            "path": request.url.path,
            "done": views.done(request.query_params),
            "now": self._now(),
        }
        html = self._templates.get_template(template).render(**(known | values))
        return HTMLResponse(html, status, headers=_HEADERS)

    def _declined(self, request: Request, declined: Declined) -> Response:
        is_stranger = declined.status == 401 and self._sessions.token
        template = "sign_in.html" if is_stranger else "trouble.html"
        return self._show(
            request, template, declined.status, text=declined.text, back=declined.back, wrong=False
        )

    async def _not_here(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        text = (
            "this address is not asked so" if error.status_code == 405 else "there is no such page"
        )
        answer = self._declined(request, Declined(error.status_code, text))
        answer.headers.update(error.headers or {})
        return answer

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[None]:
        try:
            async with self._slots.slot():
                yield
        except TimeoutError:
            raise Declined(503, _BUSY) from None

    async def _overviews(self) -> dict[str, Any]:
        async with self._reading():
            return await views.standing(list(self._job_runners.values()))

    async def _overview(self, request: Request) -> Response:
        if (standing := await self._standing.get()) is None:
            raise Declined(503, _BUSY)
        return self._show(request, "overview.html", **standing)

    async def _rows(self, request: Request) -> Response:
        wanted = RowFilter.of(request.query_params, list(self._job_runners))
        async with self._reading():
            told = await views.rows(self._job_runners[wanted.environment], wanted)
        return self._show(request, "rows.html", **told)

    async def _row(self, request: Request) -> Response:
        job_runner, row = await self._found(request)
        async with self._reading():
            told = await views.one_row(job_runner, row)
        return self._show(request, "row.html", **told)

    async def _inbox(self, request: Request) -> Response:
        job_runner = self._work_of(request)
        async with self._reading():
            told = await views.inbox(job_runner, request.query_params.get("status", ""))
        return self._show(request, "inbox.html", environment=job_runner.environment, **told)

    def _work_of(self, request: Request) -> JobRunner:
        return self._job_runners[
            RowFilter.of(request.query_params, list(self._job_runners)).environment
        ]

    async def _found(self, request: Request) -> tuple[JobRunner, ProviderAsset]:
        async with self._reading():
            row = await self._any.context.store.get(str(request.path_params["row_id"]))
        if row is None or row.environment not in self._job_runners:
            raise Declined(404, "there is no such row", back="/rows")
        return self._job_runners[row.environment], row

    # what is done

    async def _sync(self, request: Request) -> Response:
        job_runner, row = await self._found(request)
        done, address = "failed", f"/rows/{row.id}"
        try:
            async with asyncio.timeout(LONGEST_SYNC):
                settled = await sync_row(job_runner.context, row, trigger=Trigger.CONSOLE)
            done = settled.decision.verdict.value if settled else "gone"
        except TimeoutError:
            done = "late"
        except RindleSyncError as error:
            done = "refused" if isinstance(error, AuthenticationFailed) else "failed"
            raise Declined(503, str(error), back=address) from None
        finally:
            self._emit(job_runner, "sync", done, row)
        return _to(address, done=done)

    async def _replay(self, request: Request) -> Response:
        job_runner, named = self._work_of(request), request.path_params.get("webhook_event_id")
        context, webhook_event_id = job_runner.context, str(named) if named else None
        number = await context.inbox.replay(
            context.provider.name,
            context.environment,
            context.now(),
            webhook_event_id=webhook_event_id,
        )
        job_runner.wake(JobKind.PROCESS_WEBHOOK_EVENTS)
        self._emit(
            job_runner,
            "replay" if webhook_event_id else "replay_dead",
            "done" if number else "nothing",
        )
        return _to(
            "/inbox", environment=job_runner.environment, done="replayed", number=str(number)
        )

    async def _sign_in(self, request: Request) -> Response:
        form = await read_form(request)
        if self._guesses >= GUESSES:
            raise Declined(
                429, "too many wrong tokens just now: try again in a moment", back="/sign-in"
            )
        if not self._sessions.opens(form.get("token", "")):
            await self._refuse_guess()
            return self._show(request, "sign_in.html", 403, wrong=True)
        self._emit(self._any, "sign_in", "done")
        answer = _to("/")
        lasts, secure = (
            int(LASTS.total_seconds()),
            request.headers.get("x-forwarded-proto") == "https",
        )
        session = self._sessions.begin(self._now())
        answer.set_cookie(
            COOKIE, session, max_age=lasts, httponly=True, samesite="strict", secure=secure
        )
        return answer

    async def _refuse_guess(self) -> None:
        """One wrong token after another, so that whoever guesses many at once gets no further."""
        self._guesses += 1
        try:
            async with self._guessing:
                self._emit(self._any, "sign_in", "refused")
                await self._any.context.sleep(GUESS_TAKES)
        finally:
            self._guesses -= 1

    async def _sign_in_form(self, request: Request) -> Response:
        return self._show(request, "sign_in.html", wrong=False)

    async def _sign_out(self, request: Request) -> Response:
        self._sessions.end(request.cookies[COOKIE], self._now())
        answer = _to("/sign-in")
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer

    def _emit(
        self, job_runner: JobRunner, action: str, outcome: str, row: ProviderAsset | None = None
    ) -> None:
        when = nanoseconds(job_runner.context.now())
        job_runner.context.telemetry.emit(
            OperatorActed(
                system_time=when,
                row_id=row.id if row else None,
                reference=row.shown_reference if row else None,
                action=action,
                outcome=outcome,
            )
        )


def _to(path: str, **query: str) -> Response:
    return RedirectResponse(f"{path}?{urlencode(query)}" if query else path, 303, headers=_HEADERS)


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _STATIC:
        raise HTTPException(404)
    headers = _HEADERS | {"cache-control": "max-age=300"}
    return FileResponse(HERE / "static" / name, media_type=_STATIC[name], headers=headers)
