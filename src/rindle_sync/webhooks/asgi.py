"""The webhook endpoint as a plain ASGI app, to mount in any ASGI app; needs no framework."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final

from rindle_sync.webhooks.receive import NOT_FOUND, TRY_AGAIN, Receiver, WebhookResponse

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


_log: Final = logging.getLogger("rindle_sync")


class _Disconnected(Exception):
    pass


class WebhookApp:
    """Receives deliveries at whatever path it is mounted; calls `on_stored` for a new event."""

    def __init__(self, receiver: Receiver, on_stored: Callable[[], None] = lambda: None) -> None:
        self._receiver = receiver
        self._on_stored = on_stored

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, as ASGI has it."""
        refuse_other_than_http(scope)
        headers = {}
        for name, value in scope["headers"]:
            headers[name.decode("latin-1")] = value.decode("latin-1")
        try:
            reply = await self._receiver.receive(scope["method"], headers, _chunks(receive))
        except _Disconnected:
            return
        await _send(send, reply)
        # the sender has its answer before the work begins
        if reply.status == 202:
            self._on_stored()

    async def receive(
        self, headers: Mapping[str, str], body: bytes, *, method: str = "POST"
    ) -> WebhookResponse:
        """One delivery that was sent to a host of any kind, and is read already."""

        async def chunks() -> AsyncIterator[bytes]:
            yield body

        reply = await self._receiver.receive(method, headers, chunks())
        if reply.status == 202:
            self._on_stored()
        return reply


def webhook_app(find: Callable[[], App | None]) -> App:
    """An ASGI app to mount once, as your app is made, for the endpoint that runs at the time.

    `find` returns that endpoint, at each request. While it returns None, or raises `AttributeError`
    or `LookupError` since nothing is there yet, requests are answered 503 with `Retry-After`.
    """

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            endpoint = find()
        except (AttributeError, LookupError) as error:
            _log.info("a webhook request found no endpoint (%s)", type(error).__name__)
            endpoint = None
        await (endpoint or try_again)(scope, receive, send)

    return app


async def _chunks(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Disconnected
        yield message.get("body", b"")
        if not message.get("more_body", False):
            return


async def _send(send: Send, response: WebhookResponse) -> None:
    raw = [(name.lower().encode(), value.encode()) for name, value in response.headers.items()]
    await send({"type": "http.response.start", "status": response.status, "headers": raw})
    await send({"type": "http.response.body", "body": response.body})


def refuse_other_than_http(scope: Scope) -> None:
    """Raise for the lifespan of a host, or a WebSocket."""
    if scope["type"] != "http":
        raise RuntimeError("the webhook endpoint is HTTP only; mount it under its own path")


async def try_again(scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer 503 with `Retry-After`."""
    refuse_other_than_http(scope)
    await _send(send, TRY_AGAIN)


async def nowhere(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer 404."""
    await _send(send, NOT_FOUND)


def at_most(number: int, app: App) -> App:
    """`app` for `number` requests at once; 503 for more."""
    running = 0

    async def counted(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal running
        if scope["type"] == "http" and running >= number:
            return await _send(send, TRY_AGAIN)
        running += 1
        try:
            await app(scope, receive, send)
        finally:
            running -= 1

    return counted


def at_paths(apps: Mapping[str, App], otherwise: App = nowhere) -> App:
    """Each of `apps` at exactly its path, and `otherwise` everywhere else."""

    async def routed(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].rstrip("/") if scope["type"] == "http" else next(iter(apps))
        await apps.get(path, otherwise)(scope, receive, send)

    return routed
