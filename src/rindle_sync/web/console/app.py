"""The console's URLs: pages for whoever may read, actions for whoever is signed in."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from importlib.metadata import version
from typing import Any, Final
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from rindle_sync.domain import ProviderAsset
from rindle_sync.errors import RindleSyncError
from rindle_sync.runtime import JobRunner
from rindle_sync.store.api_tokens import ApiTokens
from rindle_sync.telemetry import OperatorActed, scrub_traceback
from rindle_sync.web.console import views
from rindle_sync.web.console.actions import Actions
from rindle_sync.web.console.bulk import BulkActions
from rindle_sync.web.console.forms import (
    Address,
    Declined,
    check_origin,
    is_local,
    read_fields,
    read_form,
)
from rindle_sync.web.console.pages import Pages
from rindle_sync.web.console.session import COOKIE, LASTS, Session, Sessions, actor_here, signed_in
from rindle_sync.web.console.templating import HERE, templates
from rindle_sync.web.console.words import WORDS
from rindle_sync.webhooks import Receive, Scope, Send

GUESS_TAKES: Final = 1.0
"""Seconds for which a wrong token delays the next one."""

GUESSES: Final = 5
"""How many wrong tokens may wait; while as many do, nobody signs in."""

_log: Final = logging.getLogger("rindle_sync")
_GUESSING: Final = "too many wrong tokens; try again in a moment"
_LOCAL_ONLY: Final = "without the setting console_token, the console answers this machine only"
_SIGN_IN: Final = "sign in first: without the token the console is read-only"
_READ_ONLY: Final = "the token of this session may read, and change nothing"
_NO_PROVIDER_IDS: Final = "the token of this session may not see what the provider calls a video"
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
        self._address = Address.of(base_url)
        self._templates = templates()
        self._pages = Pages(job_runners, self._show)
        self._sessions = Sessions(token, self._api_tokens, self._pages.reading)
        self._guessing = asyncio.Lock()
        self._guesses = 0
        pages, actions = self._pages, Actions(self._pages, self._redirect, self._emit)
        bulk = BulkActions(self._pages, self._show, self._redirect, self._emit)
        row, event = "/rows/{row_id:uuid}", "/webhook-events/{webhook_event_id:uuid}"
        routes = [
            Route("/", self._page(pages.overview)),
            Route("/activity", self._page(pages.activity)),
            Route("/rows", self._page(pages.rows)),
            Route(row, self._page(pages.row)),
            Route(f"{row}/video", self._acting_page(pages.video, shows_provider_ids=True)),
            Route("/changes", self._page(pages.changes)),
            Route("/webhook-events", self._page(pages.webhook_events)),
            Route("/sign-in", self._open(self._sign_in_form)),
            Route("/sign-in", self._open(self._sign_in), methods=["POST"]),
            Route("/sign-out", self._action(self._sign_out, writes=False), methods=["POST"]),
            Route(f"{row}/sync", self._action(actions.sync), methods=["POST"]),
            Route("/rows/selected", self._action(bulk.confirm_rows), methods=["POST"]),
            Route("/rows/sync-selected", self._action(bulk.sync), methods=["POST"]),
            Route("/rows/untrack-selected", self._action(bulk.untrack), methods=["POST"]),
            Route(f"{event}/replay", self._action(actions.replay), methods=["POST"]),
            Route("/webhook-events/replay-dead", self._acting_page(bulk.confirm_dead)),
            Route("/webhook-events/replay-dead", self._action(actions.replay), methods=["POST"]),
            Route("/webhook-events/selected", self._action(bulk.confirm_events), methods=["POST"]),
            Route("/webhook-events/replay-selected", self._action(bulk.replay), methods=["POST"]),
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
        await self._pages.close()
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

    def _acting_page(self, endpoint: Endpoint, *, shows_provider_ids: bool = False) -> Endpoint:
        """A page that only whoever may act can read."""

        async def read(request: Request) -> Response:
            session = _acting()
            if shows_provider_ids and not session.sees_provider_ids:
                raise Declined(403, _NO_PROVIDER_IDS)
            return await endpoint(request)

        return self._open(read)

    def _action(self, endpoint: Endpoint, *, writes: bool = True) -> Endpoint:
        """Only for whoever is signed in, and only from a form of the same session."""

        async def act(request: Request) -> Response:
            if signed_in.get() is None:
                raise Declined(401, _SIGN_IN)
            if writes:
                _acting()
            fields = await read_fields(request)
            key = fields.get("key", [""])[0]
            if not self._sessions.has_form_key(request.cookies[COOKIE], key):
                raise Declined(403, _FORGED)
            request.state.fields = fields
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
            "sees_provider_ids": session is not None and session.sees_provider_ids,
            "can_sign_in": self._sessions.token is not None,
            "form_key": self._sessions.form_key(request.cookies[COOKIE]) if session else "",
            "version": version("rindle-sync"),
            "words": WORDS,
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

    # signing in

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


def _acting() -> Session:
    """The session of whoever may act; raises `Declined` for others."""
    session = signed_in.get()
    if session is None:
        raise Declined(401, _SIGN_IN)
    if not session.may_act:
        raise Declined(403, _READ_ONLY)
    return session


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _STATIC:
        raise HTTPException(404)
    headers = _HEADERS | {"cache-control": "max-age=300"}
    return FileResponse(HERE / "static" / name, media_type=_STATIC[name], headers=headers)
