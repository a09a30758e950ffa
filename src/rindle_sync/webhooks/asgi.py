"""The webhook endpoint as a plain ASGI app, to be mounted in any ASGI host; needs no framework itself."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from rindle_sync.reconcile import Context
from rindle_sync.webhooks.receive import RETRY_AFTER, Reply
from rindle_sync.webhooks.receive import receive as take

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class _Disconnected(Exception):
    pass


class WebhookApp:
    """Takes deliveries at whatever path it is mounted; `kept` is called after each one that is new."""

    def __init__(self, context: Context, kept: Callable[[], None] = lambda: None) -> None:
        self._context = context
        self._kept = kept

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, as ASGI has it."""
        if scope["type"] != "http":
            raise RuntimeError(
                "the webhook endpoint speaks HTTP alone; mount it under a path of its own"
            )
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        try:
            reply = await take(self._context, scope["method"], headers, _chunks(receive))
        except _Disconnected:
            return
        await _send(send, reply)
        if reply.status == 202:
            self._kept()


async def _chunks(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Disconnected
        yield message.get("body", b"")
        if not message.get("more_body", False):
            return


async def _send(send: Send, reply: Reply) -> None:
    body = json.dumps(dict(reply.body)).encode()
    headers = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        **reply.headers,
    }
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


async def nowhere(_scope: Scope, _receive: Receive, send: Send) -> None:
    """404."""
    await _send(send, Reply(404, {"error": "not_found"}))


def at_most(number: int, app: App) -> App:
    """`app`, for so many requests at once; 503 for those beyond."""
    under_way = 0

    async def counted(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal under_way
        if scope["type"] == "http" and under_way >= number:
            return await _send(
                send, Reply(503, {"error": "try_again"}, {"Retry-After": str(RETRY_AFTER)})
            )
        under_way += 1
        try:
            await app(scope, receive, send)
        finally:
            under_way -= 1

    return counted


def at_paths(apps: Mapping[str, App], otherwise: App = nowhere) -> App:
    """Each of `apps` at its path alone, and `otherwise` everywhere else."""

    async def routed(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].rstrip("/") if scope["type"] == "http" else next(iter(apps))
        await apps.get(path, otherwise)(scope, receive, send)

    return routed
