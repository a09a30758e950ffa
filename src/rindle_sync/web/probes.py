"""Metrics, health checks and the console as one plain ASGI app, for a listener of its own."""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from rindle_sync.diagnostics import OK, WARNING
from rindle_sync.webhooks import App, Receive, Scope, Send, at_paths, nowhere

TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
"""https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format"""

_NO_METRICS: Final = b"metrics need an extra; pip install 'rindle-sync[prometheus]'\n"
_LATE: Final = b"the metrics were not ready in time\n"
_NOT_ALLOWED: Final = (405, "text/plain", b"use GET\n")

Respond = Callable[[], Awaitable[tuple[int, str, bytes]]]
"""Makes a status, a content type and a body."""


def operations(
    checks: Callable[[], Awaitable[Mapping[str, str]]],
    metrics: Callable[[], Awaitable[bytes | None]] | None,
    console: App = nowhere,
) -> App:
    """`/metrics` (404 without `metrics`), `/healthz`, `/readyz`, and `console` everywhere else."""

    async def scrape() -> tuple[int, str, bytes]:
        if metrics is None:
            return 404, "text/plain", _NO_METRICS
        text = await metrics()
        return (200, TEXT, text) if text else (503, "text/plain", _LATE)

    async def healthz() -> tuple[int, str, bytes]:
        return 200, "text/plain", b"ok\n"

    async def readyz() -> tuple[int, str, bytes]:
        found = dict(await checks())
        is_ready = all(text == OK or text.startswith(WARNING) for text in found.values())
        body = json.dumps({"ready": is_ready, "checks": found}).encode()
        return 200 if is_ready else 503, "application/json", body

    apps = {"/metrics": _get(scrape), "/healthz": _get(healthz), "/readyz": _get(readyz)}
    return at_paths(apps, console)


def _get(respond: Respond) -> App:
    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError("metrics and probes are served over HTTP only")
        is_read = scope["method"] in {"GET", "HEAD"}
        status, content_type, body = await respond() if is_read else _NOT_ALLOWED
        headers = [
            (b"content-type", content_type.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app
