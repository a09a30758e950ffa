"""The page at `/`: the assets and the webhooks, for a person who tries things out."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from rindle_sync.emulator.account import MuxAccount

MOST: Final = 200
"""How many assets the page shows, the newest first."""

_HERE: Final = Path(__file__).parent / "static"

_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
        "form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}
_FILES: Final = {
    "/": ("page.html", "text/html"),
    "/_emulator/page.css": ("page.css", "text/css"),
    "/_emulator/page.js": ("page.js", "text/javascript"),
}


def page_routes(account: MuxAccount) -> list[Route]:
    """The page, and what it reads; none needs a token or counts as a call."""

    async def overview(_request: Request) -> Response:
        return JSONResponse(_overview(account), headers=_HEADERS)

    routes = [Route(path, _file(*file)) for path, file in _FILES.items()]
    return [*routes, Route("/_emulator/overview", overview)]


def _file(name: str, media_type: str) -> Any:
    async def send(_request: Request) -> Response:
        return FileResponse(_HERE / name, media_type=media_type, headers=_HEADERS)

    return send


def _overview(account: MuxAccount) -> dict[str, Any]:
    """What the page shows of this moment."""
    deliveries = account.deliveries
    return {
        "total": len(account.environment.assets),
        "assets": list(islice(_assets(account), MOST)),
        "calls": account.calls.total(),
        "throttled": account.statuses[429],
        "faults": [rule.fault.kind for rule in account.faults.rules],
        "webhooks": {
            "endpoints": [webhook.endpoint.url for webhook in account.webhooks],
            "pending": sum(webhook.pending for webhook in account.webhooks),
            "answered": sum(deliveries.answers.values()),
        },
    }


def _assets(account: MuxAccount) -> Iterator[dict[str, Any]]:
    for asset in reversed(account.environment.assets.values()):
        truth = account.truth(asset.id)
        yield {
            "id": asset.id,
            "state": truth.state,
            "created_at": datetime.fromtimestamp(asset.created_at, UTC).isoformat(" ", "seconds"),
            "passthrough": truth.passthrough,
            "playback_ids": [f"{found.id} ({found.policy})" for found in truth.playback_ids],
        }
