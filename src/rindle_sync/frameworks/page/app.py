"""The page's addresses: reads for whoever may read, actions for whoever is signed in; each action is told."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from rindle_sync.asset import By, ErrorKind, ProviderAsset, State
from rindle_sync.errand import Step
from rindle_sync.errors import RindleSyncError
from rindle_sync.frameworks.page import views
from rindle_sync.frameworks.page.session import COOKIE, LASTS, Sessions
from rindle_sync.frameworks.page.views import Wanted
from rindle_sync.phrases import ago, seconds_of
from rindle_sync.sync import sync_row
from rindle_sync.telemetry import OperatorActed, nanoseconds
from rindle_sync.work import Work

HERE: Final = Path(__file__).parent
LONGEST_SYNC: Final = 20.0
"""Seconds that a browser waits for a look."""

LARGEST_FORM: Final = 16 * 1024
LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1", "[::1]"})

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


class _Refused(Exception):
    """The browser may not do this; `status` is the answer's."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


@dataclass(frozen=True, slots=True)
class _Page:
    works: dict[str, Work]
    sessions: Sessions
    templates: Environment

    def now(self) -> datetime:
        return self.any_work.tools.now()

    @property
    def any_work(self) -> Work:
        return next(iter(self.works.values()))

    def may_act(self, request: Request) -> bool:
        return self.sessions.is_open(request.cookies.get(COOKIE), self.now())

    def show(self, request: Request, template: str, status: int = 200, **values: Any) -> Response:
        cookie = request.cookies.get(COOKIE, "")
        may_act = self.may_act(request)
        known = {
            "environments": list(self.works),
            "may_act": may_act,
            "can_sign_in": self.sessions.token is not None,
            "form_key": self.sessions.form_key(cookie) if may_act else "",
            "version": version("rindle-sync"),
            "states": list(State),
            "kinds": list(ErrorKind),
            "path": request.url.path,
            "done": request.query_params.get("done", "")[:40],
            "now": self.now(),
        }
        return HTMLResponse(self.templates.get_template(template).render(**(known | values)), status)

    def check_reader(self, request: Request) -> None:
        """Without signing in, only a browser on this machine may read: no name that leads here by a trick."""
        client = request.client.host if request.client else ""
        if not (self.may_act(request) or (request.url.hostname in LOCAL and client in LOCAL)):
            raise _Refused(401, "sign in to read this page from another machine")

    def work_of(self, request: Request) -> Work:
        return self.works[Wanted.of(request.query_params, list(self.works)).environment]

    async def overview(self, request: Request) -> Response:
        return self.show(request, "overview.html", **await views.standing(list(self.works.values())))

    async def rows(self, request: Request) -> Response:
        wanted = Wanted.of(request.query_params, list(self.works))
        return self.show(request, "rows.html", **await views.rows(self.works[wanted.environment], wanted))

    async def row(self, request: Request) -> Response:
        work, row = await self._row(request)
        return self.show(request, "row.html", **await views.one_row(work, row))

    async def inbox(self, request: Request) -> Response:
        work = self.work_of(request)
        told = await views.inbox(work, request.query_params.get("status", ""))
        return self.show(request, "inbox.html", environment=work.environment, **told)

    async def sync(self, request: Request) -> Response:
        work, row = await self._row(request)
        done = "no answer in time: it stays due"
        with suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_SYNC):
                settled = await sync_row(work.tools, row, by=By.PAGE)
                done = settled.decision.verdict.value if settled else "gone"
        self._told(work, "sync", done, row.id)
        return _to(f"/rows/{row.id}", done=done)

    async def replay(self, request: Request) -> Response:
        work, named = self.work_of(request), request.path_params.get("notice_id")
        tools, notice_id = work.tools, str(named) if named else None
        number = await tools.inbox.replay(tools.provider.name, tools.environment, tools.now(), notice_id=notice_id)
        work.wake(Step.INGEST)
        self._told(work, "replay" if notice_id else "replay_dead", "done" if number else "nothing")
        return _to("/inbox", environment=work.environment, done=f"{number} pending again")

    async def sign_in(self, request: Request) -> Response:
        form = await _form(request)
        if not self.sessions.opens(form.get("token", "")):
            self._told(self.any_work, "sign_in", "refused")
            return self.show(request, "sign_in.html", 403, wrong=True)
        self._told(self.any_work, "sign_in", "done")
        answer = RedirectResponse("/", 303)
        lasts, secure = int(LASTS.total_seconds()), request.headers.get("x-forwarded-proto") == "https"
        session = self.sessions.begin(self.now())
        answer.set_cookie(COOKIE, session, max_age=lasts, httponly=True, samesite="strict", secure=secure)
        return answer

    async def sign_in_form(self, request: Request) -> Response:
        return self.show(request, "sign_in.html", wrong=False)

    async def _row(self, request: Request) -> tuple[Work, ProviderAsset]:
        row = await self.any_work.tools.store.get(str(request.path_params["row_id"]))
        if row is None or row.environment not in self.works:
            raise _Refused(404, "there is no such row")
        return self.works[row.environment], row

    def _told(self, work: Work, action: str, outcome: str, row_id: str | None = None) -> None:
        when = nanoseconds(work.tools.now())
        work.tools.telemetry.tell(OperatorActed(system_time=when, row_id=row_id, action=action, outcome=outcome))


def page(works: Sequence[Work], token: str | None) -> Starlette:
    """The page of these environments; `token` lets an operator sign in, without it the page is read-only."""
    one = _Page({work.environment: work for work in works}, Sessions(token), _templates())
    return Starlette(
        routes=[
            Route("/", _read(one, one.overview)),
            Route("/rows", _read(one, one.rows)),
            Route("/rows/{row_id:uuid}", _read(one, one.row)),
            Route("/inbox", _read(one, one.inbox)),
            Route("/sign-in", _open(one, one.sign_in_form)),
            Route("/sign-in", _open(one, one.sign_in), methods=["POST"]),
            Route("/sign-out", _act(one, _sign_out), methods=["POST"]),
            Route("/rows/{row_id:uuid}/sync", _act(one, one.sync), methods=["POST"]),
            Route("/inbox/{notice_id:uuid}/replay", _act(one, one.replay), methods=["POST"]),
            Route("/inbox/replay-dead", _act(one, one.replay), methods=["POST"]),
            Route("/static/{name}", _static),
        ]
    )


Answering = Callable[[Request], Awaitable[Response]]


def _open(one: _Page, answering: Answering) -> Answering:
    """Whatever goes wrong is a page that says so, and never what somebody could learn a secret from."""

    async def answered(request: Request) -> Response:
        try:
            answer = await answering(request)
        except _Refused as refused:
            template = "sign_in.html" if refused.status == 401 and one.sessions.token else "trouble.html"
            answer = one.show(request, template, refused.status, text=refused.text, wrong=False)
        except RindleSyncError as error:
            answer = one.show(request, "trouble.html", 503, text=str(error))
        answer.headers.update(_HEADERS)
        return answer

    return answered


def _read(one: _Page, answering: Answering) -> Answering:
    async def read(request: Request) -> Response:
        one.check_reader(request)
        return await answering(request)

    return _open(one, read)


def _act(one: _Page, answering: Answering) -> Answering:
    """Only for whoever is signed in, and only out of a form of ours."""

    async def acted(request: Request) -> Response:
        if not one.may_act(request):
            raise _Refused(401, "sign in first: without the operator's token the page is read-only")
        form = await _form(request)
        if not one.sessions.is_ours(request.cookies[COOKIE], form.get("key", "")):
            raise _Refused(403, "this form was not made by this page; go back, load it again, and try once more")
        return await answering(request)

    return _open(one, acted)


async def _form(request: Request) -> dict[str, str]:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_FORM:
            raise _Refused(413, "the form is too large")
    return {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}


async def _sign_out(_request: Request) -> Response:
    answer = RedirectResponse("/", 303)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer


def _to(path: str, **query: str) -> Response:
    return RedirectResponse(f"{path}?{urlencode(query)}", 303)


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _STATIC:
        return Response("not found", 404, media_type="text/plain")
    headers = _HEADERS | {"cache-control": "max-age=300"}
    return FileResponse(HERE / "static" / name, media_type=_STATIC[name], headers=headers)


def _templates() -> Environment:
    templates = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["moment"] = lambda moment: f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else "never"
    templates.filters["ago"] = ago
    templates.filters["seconds"] = seconds_of
    templates.filters["code"] = code
    return templates


def code(text: str) -> Markup:
    """What stands between backticks as code; all else is text."""
    parts = [escape(part) for part in text.split("`")]
    return Markup("").join(Markup(f"<code>{part}</code>") if place % 2 else part for place, part in enumerate(parts))  # noqa: S704
