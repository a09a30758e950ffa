"""What an operator asks a process, as a plain ASGI app: metrics, probes, a page. For a listener of its own."""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from rindle_sync.diagnostics import OK
from rindle_sync.webhooks import App, Receive, Scope, Send, at_paths, nowhere

TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
"""https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format"""

_NO_METRICS: Final = b"no metrics here: they need an extra; pip install 'rindle-sync[prometheus]'\n"

Answer = Callable[[], Awaitable[tuple[int, str, bytes]]]
"""A status, a content type and a body."""


def operations(
    checks: Callable[[], Awaitable[Mapping[str, str]]],
    metrics: Callable[[], Awaitable[bytes | None]] | None,
    console: App = nowhere,
) -> App:
    """`/metrics`, `/healthz` and `/readyz`, and `page` everywhere else; without `metrics` the first is 404."""

    async def told() -> tuple[int, str, bytes]:
        if metrics is None:
            return 404, "text/plain", _NO_METRICS
        text = await metrics()
        return (200, TEXT, text) if text else (503, "text/plain", b"no metrics in time\n")

    async def lives() -> tuple[int, str, bytes]:
        return 200, "text/plain", b"ok\n"

    async def is_ready() -> tuple[int, str, bytes]:
        found = dict(await checks())
        ready = all(said == OK for said in found.values())
        body = json.dumps({"ready": ready, "checks": found}).encode()
        return 200 if ready else 503, "application/json", body

    return at_paths(
        {"/metrics": _got(told), "/healthz": _got(lives), "/readyz": _got(is_ready)}, console
    )


def _got(answer: Answer) -> App:
    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError("what an operator asks is asked by HTTP alone")
        status, content_type, body = (
            await answer() if scope["method"] in {"GET", "HEAD"} else _NOT_ALLOWED
        )
        headers = {
            "content-type": content_type,
            "content-length": str(len(body)),
            "cache-control": "no-store",
        }
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": body})

    return app


_NOT_ALLOWED: Final = (405, "text/plain", b"GET alone\n")
