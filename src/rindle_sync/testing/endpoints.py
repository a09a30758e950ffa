"""Ways to the webhook endpoint of an app in this process."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import httpx

from rindle_sync.emulator.webhook_payloads import SIGNATURE_HEADER

Receive = Callable[[Mapping[str, str], bytes], Any]
"""Takes the headers and the body of a webhook; what it returns, or awaits, has a status."""


class Client(Protocol):
    """A client of httpx or httpx2, such as Starlette's and FastAPI's `TestClient`."""

    def post(self, url: str, *, content: bytes, headers: Mapping[str, str]) -> Any:
        """The response to a POST request."""


class OnThisThread(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """A sync endpoint; in an event loop it is called in a thread, which the loop does not wait for.

    `answer` returns the response to a request.
    """

    def __init__(self, answer: Callable[[httpx.Request], httpx.Response]) -> None:
        self._answer = answer

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """See `httpx.BaseTransport`."""
        request.read()
        return self._answer(request)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See `httpx.AsyncBaseTransport`."""
        return await asyncio.to_thread(self.handle_request, request)


class InThisLoop(httpx.AsyncBaseTransport):
    """An async function; `answer` returns the response to a request."""

    def __init__(self, answer: Callable[[httpx.Request], Awaitable[httpx.Response]]) -> None:
        self._answer = answer

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See `httpx.AsyncBaseTransport`."""
        await request.aread()
        return await self._answer(request)


def to_wsgi(app: Callable[..., Any]) -> OnThisThread:
    """The way to an app of WSGI."""
    transport = httpx.WSGITransport(app=app)

    def answer(request: httpx.Request) -> httpx.Response:
        response = transport.handle_request(request)
        return httpx.Response(
            response.status_code, headers=response.headers, content=response.read()
        )

    return OnThisThread(answer)


def to_client(client: Client) -> OnThisThread:
    """The way through a client to the app behind it."""

    def answer(request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path.decode()
        response = client.post(path, content=request.content, headers=_headers(request))
        return httpx.Response(response.status_code, content=response.content)

    return OnThisThread(answer)


def to_function(function: Receive) -> OnThisThread | InThisLoop:
    """The way to a function, async or not, which takes headers and body."""
    if inspect.iscoroutinefunction(function):

        async def answer_soon(request: httpx.Request) -> httpx.Response:
            return _response(await function(_headers(request), request.content))

        return InThisLoop(answer_soon)

    def answer(request: httpx.Request) -> httpx.Response:
        return _response(function(_headers(request), request.content))

    return OnThisThread(answer)


def _headers(request: httpx.Request) -> dict[str, str]:
    return {name: request.headers[name] for name in ("Content-Type", SIGNATURE_HEADER)}


def _response(answer: Any) -> httpx.Response:
    status = getattr(answer, "status_code", None) or getattr(answer, "status", None)
    if not isinstance(status, int):
        text = "the function for webhooks must return an answer with a status_code or a status"
        raise TypeError(f"{text}, not {type(answer).__name__}")
    body = getattr(answer, "content", None) or getattr(answer, "body", None)
    return httpx.Response(status, content=body if isinstance(body, bytes) else None)
