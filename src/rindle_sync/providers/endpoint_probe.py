"""Sends a delivery to a webhook endpoint, to learn whether it accepts those of the provider."""

import json
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from rindle_sync.errors import ConfigurationError, ProviderUnavailable
from rindle_sync.providers.base import Delivery
from rindle_sync.providers.http import CallFailed, Request, Response, open_client

_PATIENCE: Final = 10.0

_LONGEST: Final = 1024
"""Bytes of an answer that are read: one of ours has far fewer."""


class EndpointAnswer(Struct, frozen=True):
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
    _check(url)
    client = open_client(url, connections=1)
    try:
        return await client.send(Request("POST", url, headers, delivery.body), _said, within=within)
    except CallFailed as failure:
        if not failure.in_time:
            raise ProviderUnavailable(f"no whole answer within {within:g} s") from None
        raise ProviderUnavailable(str(failure)) from None
    finally:
        await client.close()


def _check(url: str) -> None:
    try:
        address = urlsplit(url)
        # asking for a port raises for a wrong one
        is_address = address.scheme in {"http", "https"} and address.hostname and address.port != 0
    except ValueError:
        is_address = False
    if not is_address:
        raise ConfigurationError(
            "--endpoint", "must be an address, as in https://example.com/webhooks"
        )


async def _said(response: Response) -> EndpointAnswer:
    # bounded and not unpacked: the address may be anybody's
    content = bytearray()
    async for part in response.parts:
        content += part
        if len(content) > _LONGEST:
            return EndpointAnswer(response.status, None)
    try:
        told = json.loads(content)
    except (ValueError, RecursionError):
        return EndpointAnswer(response.status, None)
    said = (told.get("status") or told.get("error")) if isinstance(told, dict) else None
    return EndpointAnswer(response.status, said if isinstance(said, str) else None)
