"""A delivery of our own making to our own endpoint, to learn whether it takes those of Mux. It changes nothing."""

import json
from datetime import datetime
from typing import Final
from uuid import uuid4

import httpx

from rindle_sync.errors import Misconfigured, Unreachable
from rindle_sync.providers.mux.webhooks import SIGNATURE_HEADER, sign

TYPE: Final = "rindle_sync.doctor"
"""The type of such a delivery: it is kept, and acted on by nobody."""

_PATIENCE: Final = 10.0


async def knock(url: str, secret: str, environment: str | None, now: datetime) -> int:
    """The status with which the endpoint at `url` answers; raises `Unreachable`, `Misconfigured` for no address."""
    event = {"type": TYPE, "id": str(uuid4()), "created_at": now.isoformat(), "environment": {"id": environment}}
    body = json.dumps(event | {"data": {}}).encode()
    headers = {SIGNATURE_HEADER: sign(body, secret, now), "content-type": "application/json"}
    try:
        request = httpx.Request("POST", url, content=body, headers=headers, extensions=_within())
        async with httpx.AsyncHTTPTransport() as transport:
            return (await transport.handle_async_request(request)).status_code
    except (httpx.InvalidURL, httpx.UnsupportedProtocol):
        raise Misconfigured("--endpoint", "must be an address, as in https://example.com/webhooks/mux") from None
    except (httpx.HTTPError, OSError) as error:
        raise Unreachable(type(error).__name__) from None


def _within() -> dict[str, object]:
    return {"timeout": httpx.Timeout(_PATIENCE).as_dict()}
