"""A delivery of our own making to our own endpoint, to learn whether it takes those of Mux. It changes nothing."""

import asyncio
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit
from uuid import uuid4

import httpx

from rindle_sync.errors import ConfigurationError, ProviderUnavailable
from rindle_sync.providers.mux.webhooks import SIGNATURE_HEADER, sign

TYPE: Final = "rindle_sync.doctor"
"""The type of such a delivery: it is kept, and acted on by nobody."""

_PATIENCE: Final = 10.0

_LONGEST: Final = 1024
"""Bytes of an answer that are read: one of ours has far fewer."""


@dataclass(frozen=True, slots=True)
class EndpointAnswer:
    """What came back: the status, and the word that our endpoint says with it; None where it is not ours."""

    status: int
    said: str | None


async def knock(
    url: str, secret: str, environment: str | None, now: datetime, *, within: float = _PATIENCE
) -> EndpointAnswer:
    """What the endpoint at `url` answers; raises `ProviderUnavailable`, `ConfigurationError` for no address."""
    event = {
        "type": TYPE,
        "id": str(uuid4()),
        "created_at": now.isoformat(),
        "environment": {"id": environment},
    }
    body = json.dumps(event | {"data": {}}).encode()
    headers = {SIGNATURE_HEADER: sign(body, secret, now), "content-type": "application/json"}
    try:
        request = httpx.Request("POST", _with_port(url), content=body, headers=headers)
        async with asyncio.timeout(within), httpx.AsyncHTTPTransport() as transport:
            response = await transport.handle_async_request(request)
            try:
                return EndpointAnswer(response.status_code, await _said(response))
            finally:
                await response.aclose()
    except TimeoutError:
        raise ProviderUnavailable(f"no whole answer within {within:g} s") from None
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, ValueError):
        raise ConfigurationError(
            "--endpoint", "must be an address, as in https://example.com/webhooks/mux"
        ) from None
    except (httpx.HTTPError, OSError) as error:
        raise ProviderUnavailable(type(error).__name__) from None


def _with_port(url: str) -> str:
    """`url`; raises `ValueError` where its port is none, on which the transport fails in a way of its own."""
    return url if urlsplit(url).port != 0 else ""


async def _said(response: httpx.Response) -> str | None:
    content = bytearray()
    async for chunk in response.aiter_raw():
        content += chunk
        if len(content) > _LONGEST:
            return None
    try:
        told = json.loads(content)
    except (ValueError, RecursionError):
        return None
    said = (told.get("status") or told.get("error")) if isinstance(told, dict) else None
    return said if isinstance(said, str) else None
