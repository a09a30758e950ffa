"""The console's URLs: pages for whoever may read, actions for whoever is signed in."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from importlib.metadata import version
from typing import Any, Final
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from rindle_sync.diagnostics import SPARING, CachedQuery, ConcurrencyLimit, explain
from rindle_sync.domain import ErrorKind, JobKind, ProviderAsset, State, Trigger
from rindle_sync.errors import AuthenticationFailed, RindleSyncError
from rindle_sync.reconcile import sync_row
from rindle_sync.runtime import JobRunner
from rindle_sync.store.api_tokens import ApiTokens
from rindle_sync.telemetry import OperatorActed, scrub_traceback
from rindle_sync.web.console import views
from rindle_sync.web.console.forms import Address, Declined, check_origin, is_local, read_form
from rindle_sync.web.console.session import COOKIE, LASTS, Session, Sessions, actor_here, signed_in
from rindle_sync.web.console.templating import HERE, templates
from rindle_sync.web.console.views import RowSearch
from rindle_sync.webhooks import Receive, Scope, Send, replay

LONGEST_SYNC: Final = 20.0
"""Seconds that a browser waits for a sync."""

HOLDS: Final = timedelta(seconds=2)
"""How long an overview is reused, so that many open tabs cost the database no more than one."""

READS: Final = 2
"""Database connections that the console may use at once; the others are left to the webhooks."""

READ_WITHIN: Final = 3.0
"""Seconds that a browser waits for one of them."""

GUESS_TAKES: Final = 1.0
"""Seconds for which a wrong token delays the next one."""

GUESSES: Final = 5
"""How many wrong tokens may wait; while as many do, nobody signs in."""

_log: Final = logging.getLogger("rindle_sync")
_BUSY: Final = "busy: the database takes too long to answer; try again in a moment"
_GUESSING: Final = "too many wrong tokens; try again in a moment"
_LOCAL_ONLY: Final = "without the setting console_token, the console answers this machine only"
_SIGN_IN: Final = "sign in first: without the token the console is read-only"
_READ_ONLY: Final = "the token of this session may read, and change nothing"
_ONE_ENVIRONMENT: Final = "this token is for one environment alone, and the console shows more"
_FORGED: Final = "the form does not belong to this session; go back, reload the page and try again"
_FAULT: Final = "this is a bug in rindle-sync; its log says where"
_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
        "img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "x-content-type-options": "nosniff",
    # with no-referrer, browsers would send no origin with our own forms either
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
}
_STATIC: Final = {
    "console.css": "text/css",
    "console.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}

Endpoint = Callable[[Request], Awaitable[Response]]


class Console:
    """The console of these environments; with a `token` an operator can sign in and act.

    `base_url` is the address that browsers use, where a proxy stands before the console.
    """

    def __init__(
        self, job_runners: Sequence[JobRunner], token: str | None, base_url: str | None = None
    ) -> None:
        self._job_runners = {job_runner.environment: job_runner for job_runner in job_runners}
        self._any = job_runners[0]
        self._now: Callable[[], datetime] = self._any.context.now
        self._api_tokens = ApiTokens(self._any.context.store.database)
        self._sessions = Sessions(token, self._api_tokens, self._reading)
        self._address = Address.of(base_url)
        self._templates = templates()
        self._slots = ConcurrencyLimit(READS, within=READ_WITHIN)
        self._overviews = CachedQuery(self._read_overviews, self._now, HOLDS, times=SPARING)
        self._guessing = asyncio.Lock()
        self._guesses = 0
        row, event = "/rows/{row_id:uuid}", "/webhook-events/{webhook_event_id:uuid}"
        routes = [
            Route("/", self._page(self._overview)),
            Route("/rows", self._page(self._rows)),
            Route(row, self._page(self._row)),
            Route("/webhook-events", self._page(self._webhook_events)),
            Route("/sign-in", self._open(self._sign_in_form)),
            Route("/sign-in", self._open(self._sign_in), methods=["POST"]),
            Route("/sign-out", self._action(self._sign_out, writes=False), methods=["POST"]),
            Route(f"{row}/sync", self._action(self._sync), methods=["POST"]),
            Route(f"{event}/replay", self._action(self._replay), methods=["POST"]),
            Route("/webhook-events/replay-dead", self._action(self._replay), methods=["POST"]),
            Route("/static/{name}", self._open(_static, knows_session=False)),
        ]
        self._app = Starlette(routes=routes, exception_handlers={HTTPException: self._not_found})
        # its redirect would name the host and the scheme that the request claims
        self._app.router.redirect_slashes = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, as ASGI has it."""
        path = self._address.within(scope["path"])
        await self._app({**scope, "path": path}, receive, send)

    async def close(self) -> None:
        """Stop reading."""
        await self._overviews.close()
        await self._api_tokens.finish()

    # who may do what

    async def _resume(self, request: Request) -> None:
        """Know whose request it is."""
        session = await self._sessions.resume(request.cookies.get(COOKIE), self._now())
        signed_in.set(session if session and self._may_see_all(session) else None)

    def _may_see_all(self, session: Session) -> bool:
        return session.environment is None or list(self._job_runners) == [session.environment]

    def _may_read(self, request: Request) -> bool:
        return signed_in.get() is not None if self._sessions.token else is_local(request)

    def _page(self, endpoint: Endpoint) -> Endpoint:
        async def read(request: Request) -> Response:
            if not self._may_read(request):
                raise Declined(401, _LOCAL_ONLY)
            return await endpoint(request)

        return self._open(read)

    def _action(self, endpoint: Endpoint, *, writes: bool = True) -> Endpoint:
        """Only for whoever is signed in, and only from a form of the same session."""

        async def act(request: Request) -> Response:
            session = signed_in.get()
            if session is None:
                raise Declined(401, _SIGN_IN)
            if writes and not session.may_act:
                raise Declined(403, _READ_ONLY)
            form = await read_form(request)
            if not self._sessions.has_form_key(request.cookies[COOKIE], form.get("key", "")):
                raise Declined(403, _FORGED)
            return await endpoint(request)

        return self._open(act)

    def _open(self, endpoint: Endpoint, *, knows_session: bool = True) -> Endpoint:
        """Every failure becomes a page that names it and shows no secret."""

        async def answer(request: Request) -> Response:
            signed_in.set(None)
            try:
                check_origin(request, self._address)
                if knows_session:
                    await self._resume(request)
                return await endpoint(request)
            except Declined as declined:
                return self._decline(request, declined)
            except RindleSyncError as error:
                return self._decline(request, Declined(503, str(error)))
            except ClientDisconnect:
                return Response(status_code=400)  # nobody reads it
            except HTTPException:
                raise
            except Exception as error:  # noqa: BLE001  a bug of ours; its text could hold an id
                shown = scrub_traceback(error, has_messages=False)
                _log.error("console: an unexpected error\n%s", shown)
                return self._decline(request, Declined(500, _FAULT))

        return answer

    # answers

    def _show(self, request: Request, template: str, status: int = 200, **values: Any) -> Response:
        session = signed_in.get()
        common = {
            "environments": list(self._job_runners),
            "may_read": self._may_read(request),
            "is_signed_in": session is not None,
            "may_act": session is not None and session.may_act,
            "can_sign_in": self._sessions.token is not None,
            "form_key": self._sessions.form_key(request.cookies[COOKIE]) if session else "",
            "version": version("rindle-sync"),
            "states": list(State),
            "kinds": list(ErrorKind),
            "base": self._address.path,
            "path": request.scope["path"],
            "done": views.done(request.query_params),
            "now": self._now(),
        }
        html = self._templates.get_template(template).render(**common, **values)
        return HTMLResponse(html, status, headers=_HEADERS)

    def _decline(self, request: Request, declined: Declined) -> Response:
        if declined.status == 401 and self._sessions.token:
            return self._show(request, "sign_in.html", 401, is_wrong=False)
        return self._show(
            request, "error.html", declined.status, text=declined.text, back=declined.back
        )

    async def _not_found(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        text = "this page does not exist"
        if error.status_code == 405:
            text = "this page does not accept the method of the request"
        with suppress(RindleSyncError, Declined):
            await self._resume(request)
        answer = self._decline(request, Declined(error.status_code, text))
        answer.headers.update(error.headers or {})
        return answer

    # pages

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[None]:
        try:
            async with self._slots.slot():
                yield
        except TimeoutError:
            raise Declined(503, _BUSY) from None

    async def _read_overviews(self) -> dict[str, Any]:
        async with self._reading():
            return await views.all_overviews(list(self._job_runners.values()))

    async def _overview(self, request: Request) -> Response:
        overviews = await self._overviews.get()
        if overviews is None:
            raise Declined(503, _BUSY)
        return self._show(request, "overview.html", **overviews)

    async def _rows(self, request: Request) -> Response:
        wanted = self._search(request)
        async with self._reading():
            found = await views.rows(self._job_runners[wanted.environment], wanted)
        return self._show(request, "rows.html", **found)

    async def _row(self, request: Request) -> Response:
        job_runner, row = await self._find(request)
        async with self._reading():
            history = await explain(job_runner.context, row)
        return self._show(request, "row.html", row=history)

    async def _webhook_events(self, request: Request) -> Response:
        environment = self._search(request).environment
        status = request.query_params.get("status", "")
        async with self._reading():
            found = await views.webhook_events(self._job_runners[environment], status)
        return self._show(request, "webhook_events.html", environment=environment, **found)

    def _search(self, request: Request) -> RowSearch:
        return RowSearch.of(request.query_params, list(self._job_runners))

    async def _find(self, request: Request) -> tuple[JobRunner, ProviderAsset]:
        async with self._reading():
            row = await self._any.context.store.assets.get(str(request.path_params["row_id"]))
        if row is None or row.environment not in self._job_runners:
            raise Declined(404, "this row does not exist", back="/rows")
        return self._job_runners[row.environment], row

    # actions

    async def _sync(self, request: Request) -> Response:
        job_runner, row = await self._find(request)
        outcome, path = "failed", f"/rows/{row.id}"
        try:
            async with asyncio.timeout(LONGEST_SYNC):
                context = replace(job_runner.context, actor=actor_here())
                applied = await sync_row(context, row, trigger=Trigger.CONSOLE, ask_first=True)
            outcome = applied.decision.verdict.value if applied else "gone"
        except TimeoutError:
            outcome = "late"
        except RindleSyncError as error:
            if isinstance(error, AuthenticationFailed):
                outcome = "refused"
            raise Declined(503, str(error), back=path) from None
        finally:
            self._emit(job_runner, "sync", outcome, row)
        return self._redirect(path, done=outcome)

    async def _replay(self, request: Request) -> Response:
        environment = self._search(request).environment
        job_runner = self._job_runners[environment]
        action, event_id = "replay_dead", request.path_params.get("webhook_event_id")
        if event_id is not None:
            action, event_id = "replay", str(event_id)
        context = replace(job_runner.context, actor=actor_here())
        number = await replay(context, event_id)
        job_runner.wake(JobKind.PROCESS_WEBHOOK_EVENTS)
        self._emit(job_runner, action, "done" if number else "nothing")
        return self._redirect(
            "/webhook-events", environment=environment, done="replayed", number=str(number)
        )

    async def _sign_in_form(self, request: Request) -> Response:
        return self._show(request, "sign_in.html", is_wrong=False)

    async def _sign_in(self, request: Request) -> Response:
        form = await read_form(request)
        if self._guesses >= GUESSES:
            raise Declined(429, _GUESSING, back="/sign-in")
        session = await self._session_by(form.get("token", ""))
        if session is None:
            return self._show(request, "sign_in.html", 403, is_wrong=True)
        if not self._may_see_all(session):
            raise Declined(403, _ONE_ENVIRONMENT, back="/sign-in")
        signed_in.set(session)
        self._emit(self._any, "sign_in", "done")
        answer = self._redirect("/")
        answer.set_cookie(
            COOKIE,
            self._sessions.begin(session, self._now()),
            max_age=int(LASTS.total_seconds()),
            httponly=True,
            samesite="strict",
            secure=self._address.is_secure,
            path=self._address.path or "/",
        )
        return answer

    async def _session_by(self, token: str) -> Session | None:
        """The session that a token opens.

        Wrong ones are handled one after another, so that many guesses at once gain nothing.
        """
        self._guesses += 1
        try:
            session = await self._sessions.open(token, self._now())
            if session is None:
                async with self._guessing:
                    self._emit(self._any, "sign_in", "refused")
                    await self._any.context.gateway.sleep(GUESS_TAKES)
            return session
        finally:
            self._guesses -= 1

    async def _sign_out(self, request: Request) -> Response:
        self._sessions.end(request.cookies[COOKIE], self._now())
        answer = self._redirect("/sign-in")
        answer.delete_cookie(
            COOKIE,
            httponly=True,
            samesite="strict",
            secure=self._address.is_secure,
            path=self._address.path or "/",
        )
        return answer

    def _redirect(self, path: str, **query: str) -> Response:
        url = f"{self._address.path}{path}"
        if query:
            url = f"{url}?{urlencode(query)}"
        return RedirectResponse(url, 303, headers=_HEADERS)

    def _emit(
        self, job_runner: JobRunner, action: str, outcome: str, row: ProviderAsset | None = None
    ) -> None:
        event = OperatorActed(action=action, outcome=outcome, actor=actor_here().text)
        job_runner.context.telemetry.emit(event, row)


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _STATIC:
        raise HTTPException(404)
    headers = _HEADERS | {"cache-control": "max-age=300"}
    return FileResponse(HERE / "static" / name, media_type=_STATIC[name], headers=headers)
