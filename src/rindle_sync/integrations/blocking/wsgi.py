"""The webhook endpoint as a plain WSGI app."""

from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any

from rindle_sync.integrations.blocking.rindle import BlockingRindle
from rindle_sync.webhooks import LARGEST_BODY

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def webhook_wsgi_app(rindle: BlockingRindle) -> WsgiApp:
    """A WSGI app that receives webhooks at whatever path it is mounted."""

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        answer = rindle.receive(headers_of(environ), body_of(environ), method=method)
        status = f"{answer.status} {HTTPStatus(answer.status).phrase}"
        start_response(status, list(answer.headers.items()))
        return [answer.body]

    return app


def headers_of(environ: Mapping[str, Any]) -> dict[str, str]:
    """The headers of a WSGI request."""
    headers = {}
    for name, value in environ.items():
        if name.startswith("HTTP_"):
            headers[name.removeprefix("HTTP_").replace("_", "-")] = value
        elif name in {"CONTENT_TYPE", "CONTENT_LENGTH"} and value:
            headers[name.replace("_", "-")] = value
    return headers


def body_of(environ: Mapping[str, Any]) -> bytes:
    """The body, one byte more than the largest that is accepted at most."""
    length = str(environ.get("CONTENT_LENGTH") or "")
    if length.isdecimal():
        announced = min(int(length[:20]), LARGEST_BODY + 1)
    elif environ.get("wsgi.input_terminated"):
        # a body in chunks, of which the server knows the end
        announced = LARGEST_BODY + 1
    else:
        return b""
    body: bytes = environ["wsgi.input"].read(announced)
    return body
