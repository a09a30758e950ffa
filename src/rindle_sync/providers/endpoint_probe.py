"""Sends a delivery to a webhook endpoint, to learn whether it accepts those of the provider."""

import asyncio
import json
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import httpx

from rindle_sync.errors import ConfigurationError, ProviderUnavailable
from rindle_sync.providers.base import Delivery
from rindle_sync.providers.network import open_transport

_PATIENCE: Final = 10.0

_LONGEST: Final = 1024
"""Bytes of an answer that are read: one of ours has far fewer."""


@dataclass(frozen=True, slots=True)
class EndpointAnswer:
    """What came back: the status, and the word that our endpoint says with it.

    None where it is not ours.
    """

    status: int
    said: str | None


async def knock(url: str, delivery: Delivery, *, within: float = _PATIENCE) -> EndpointAnswer:
    """What the endpoint at `url` answers.

    Raises `ProviderUnavailable`, `ConfigurationError` for no address.
    """
    headers = {**delivery.headers, "content-type": "application/json"}
    try:
        # on port 0 the transport fails in a way of its own
        address = url if urlsplit(url).port != 0 else ""
        request = httpx.Request("POST", address, content=delivery.body, headers=headers)
        async with asyncio.timeout(within), open_transport(address) as transport:
            response = await transport.handle_async_request(request)
            try:
                return EndpointAnswer(response.status_code, await _said(response))
            finally:
                await response.aclose()
    except TimeoutError:
        raise ProviderUnavailable(f"no whole answer within {within:g} s") from None
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, ValueError):
        raise ConfigurationError(
            "--endpoint", "must be an address, as in https://example.com/webhooks"
        ) from None
    except (httpx.HTTPError, OSError) as error:
        raise ProviderUnavailable(type(error).__name__) from None


async def _said(response: httpx.Response) -> str | None:
    # bounded and not unpacked: the address may be anybody's
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
