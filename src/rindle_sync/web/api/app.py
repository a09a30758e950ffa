"""The API as an ASGI app: who asks, what is read of a request, and what becomes of failures."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Collection, Mapping, MutableMapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from rindle_sync.diagnostics import SPARING, CachedQuery, ConcurrencyLimit, Status
from rindle_sync.domain import JobKind
from rindle_sync.errors import RindleSyncError
from rindle_sync.store.api_requests import ApiRequests
from rindle_sync.store.api_tokens import ApiTokens
from rindle_sync.telemetry import scrub_traceback
from rindle_sync.web.api.auth import Tokens
from rindle_sync.web.api.bodies import read_body, replayed
from rindle_sync.web.api.face import Rindle
from rindle_sync.web.api.following import Feed, Following
from rindle_sync.web.api.idempotency import HEADER as IDEMPOTENCY_KEY
from rindle_sync.web.api.idempotency import Requests
from rindle_sync.web.api.openapi import PATH, document, methods_of, query_names
from rindle_sync.web.api.problems import HEADERS, Declined, answer, busy, refusal_of
from rindle_sync.web.api.routes import router
from rindle_sync.webhooks import Receive, Scope, Send

REQUESTS: Final = 200
"""How many requests are served at once, those that wait for changes among them; 503 for more."""

READS: Final = 4
"""Database connections that the API may use at once; the others are left to the webhooks."""

READ_WITHIN: Final = 5.0
"""Seconds that a request waits for one of them."""

LONGEST: Final = 60.0
"""Seconds after which any request ends."""

HOLDS: Final = timedelta(seconds=2)
"""How long a status is reused: it costs the database more than all else."""

_BUSY: Final = "busy: the database takes too long to answer; try again in a moment"
_FULL: Final = "too many requests at once; try again in a moment"
_ENDS: Final = "the service ends; try again"
_FAULT: Final = "this is a bug in rindle-sync; its log says where"

_log: Final = logging.getLogger("rindle_sync")


class Api:
    """The API of these environments, by name. It can be mounted at any path.

    `token` is that of the settings. Only one with `sees_provider_ids` is shown the provider's ids.
    """

    def __init__(
        self,
        services: Mapping[str, Rindle],
        token: str | None = None,
        *,
        sees_provider_ids: bool = False,
    ) -> None:
        self.services = services
        some = next(iter(services.values()))
        self.now = some.context.now
        self._slots = ConcurrencyLimit(READS, within=READ_WITHIN)
        database = some.store.database
        self._tokens = Tokens(
            ApiTokens(database),
            token,
            sees_provider_ids=sees_provider_ids,
            now=self.now,
            sleep=some.context.gateway.sleep,
            slots=self._slots,
        )
        self.requests = Requests(ApiRequests(database), self.now)
        self.following = Following()
        self.feeds: dict[str, Feed] = {}
        self._statuses: dict[str, CachedQuery[Status]] = {}
        for name, service in services.items():
            feed = self.feeds[name] = Feed(service, self.following, self.reading)
            service.context.telemetry.listen(feed.handle)
            self._statuses[name] = CachedQuery(service.status, self.now, HOLDS, times=SPARING)
        self._is_on = False
        self._serving = 0
        self.framework = _fastapi(self)
        """The app of FastAPI inside, without tokens and limits."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, as ASGI has it."""
        if scope["type"] != "http":
            raise RuntimeError("the API is HTTP only; mount it under its own path")
        if self._serving >= REQUESTS:
            await answer(busy(_FULL, 1))(scope, receive, send)
            return
        self._serving += 1
        try:
            await self._answer(scope, receive, send)
        finally:
            self._serving -= 1

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_begun = False

        async def sending(message: MutableMapping[str, Any]) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            async with asyncio.timeout(LONGEST):
                response = await self._prepare(scope, receive)
                if response is None:
                    await self.framework(scope, scope["state"]["receive"], sending)
                    return
        except TimeoutError:
            response = answer(busy(_BUSY))
        except Exception as error:  # noqa: BLE001  the host's server would log what is in it
            response = _failed(error)
        if not has_begun:
            await response(scope, receive, send)

    async def _prepare(self, scope: Scope, receive: Receive) -> Response | None:
        """Check who asks, and read the body; an answer where that is all.

        First of all the token: nothing of a stranger's is read.
        """
        if _path(scope) == PATH:
            if scope["method"] in {"GET", "HEAD"}:
                return _json(document(self.framework, scope.get("root_path", "")))
            return _not_allowed({"GET", "HEAD"})
        if self.following.has_ended:
            return answer(busy(_ENDS))
        headers = _headers(scope)
        token = await self._tokens.of(headers.get("authorization"))
        body = await read_body(scope["method"], headers, receive)
        scope["state"] = {
            **scope.get("state", {}),
            "token": token,
            "receive": replayed(body, receive),
        }
        await self.turn_on()
        # FastAPI would take the last part of some paths for an id
        allowed = methods_of(self.framework, _path(scope))
        if allowed and scope["method"] not in allowed:
            return _not_allowed(allowed)
        return None

    async def turn_on(self) -> None:
        """Have changes published, for those who follow them. Raises `DatabaseUnavailable`."""
        if not self._is_on:
            for service in self.services.values():
                async with self.reading():
                    await service.store.change_feed.turn_on()
                service.job_runner.wake(JobKind.PUBLISH)
            self._is_on = True

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        """A place to use the database. Raises `Declined` where none gets free."""
        try:
            slot = self._slots.slot()
            await slot.__aenter__()
        except TimeoutError:
            raise busy(_BUSY) from None
        try:
            yield
        finally:
            await slot.__aexit__(None, None, None)

    async def status(self, environment: str) -> Status:
        """How the rows of an environment stand, a moment ago at the earliest."""
        found = await self._statuses[environment].get()
        if found is None:
            raise busy(_BUSY)
        return found

    def query_names(self, path: str, method: str) -> frozenset[str]:
        """The parameters that the query of an operation may have."""
        return query_names(self.framework, path, method)

    async def close(self) -> None:
        """Answer those who wait, let what is under way end for a while, and stop reading."""
        self.following.end()
        await self.requests.close()
        await self._tokens.close()
        for status in self._statuses.values():
            await status.close()


def _fastapi(api: Api) -> FastAPI:
    app = FastAPI(
        title="rindle-sync",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        exception_handlers={
            Exception: _on_fault,
            HTTPException: _on_http_error,
            RequestValidationError: _on_invalid,
            Declined: _on_refused,
            RindleSyncError: _on_refused,
        },
    )
    app.include_router(router)
    app.state.api = api
    return app


def _failed(error: Exception) -> Response:
    if isinstance(error, Declined):
        return answer(error)
    if isinstance(error, RindleSyncError):
        return answer(refusal_of(error))
    # its text could hold an id
    shown = scrub_traceback(error, has_messages=False)
    _log.error("api: an unexpected error\n%s", shown)
    return answer(Declined(500, _FAULT))


async def _on_refused(_: Request, error: Exception) -> Response:
    return _failed(error)


async def _on_fault(_: Request, error: Exception) -> Response:
    # logged once it comes out of the framework, which raises it again
    raise error


async def _on_invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = [(_field(fault["loc"]), _message(fault)) for fault in error.errors()]
    # of a value that may be of several kinds, each kind has its own fault
    errors = list(dict.fromkeys(found))
    detail = "; ".join(f"{field}: {message}" for field, message in errors)
    return answer(Declined(422, detail, errors=errors))


_UNION_TAGS: Final = frozenset({"str", "int", "float", "bool"})
_NO_OBJECT: Final = frozenset({"dict_type", "model_type", "model_attributes_type"})


def _field(location: tuple[Any, ...]) -> str:
    place, *path = location
    # a parameter may be there several times, but its user does not count them
    parts = [str(part) for part in path if place != "query" or not isinstance(part, int)]
    names = [part for part in parts if part not in _UNION_TAGS and "[" not in part]
    return ".".join(names) or "body"


def _message(fault: Mapping[str, Any]) -> str:
    if fault["type"] == "extra_forbidden":
        return "there is no such field"
    if fault["type"] == "missing":
        return "is missing"
    if fault["type"] in _NO_OBJECT:
        return "must be a JSON object"
    text = str(fault["msg"]).removeprefix("Value error, ")
    return text[:1].lower() + text[1:]


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return answer(Declined(404, "there is no such path", kind="no-such-path"))
    if error.status_code == 405:
        return _not_allowed(methods_of(request.app, _path(request.scope)))
    return answer(Declined(error.status_code, str(error.detail)))


def _not_allowed(allowed: Collection[str]) -> Response:
    names = ", ".join(sorted(allowed))
    return answer(Declined(405, f"this path takes {names}", headers={"allow": names}))


def _path(scope: Scope) -> str:
    root = scope.get("root_path", "")
    path: str = scope["path"]
    return path.removeprefix(root) if root and path.startswith(f"{root}/") else path


_SINGLE: Final = frozenset({"authorization", "content-type", IDEMPOTENCY_KEY})
"""The headers that count. Of two, a proxy may have checked the other one."""


def _headers(scope: Scope) -> dict[str, str]:
    """The headers by name. Raises `Declined` where one that counts is there twice."""
    headers: dict[str, str] = {}
    for encoded, value in scope["headers"]:
        name = encoded.decode("latin-1").lower()
        if name in headers and name in _SINGLE:
            raise Declined(400, f"the header {name} is there twice: send it once")
        headers[name] = value.decode("latin-1")
    return headers


def _json(body: Any) -> Response:
    return Response(json.dumps(body), 200, HEADERS, "application/json")
