"""Calls to Mux, and its refusals as errors of ours.

https://www.mux.com/docs/api-reference
"""

import asyncio
import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from math import isfinite
from typing import Any, Final
from urllib.parse import quote

import httpx
import msgspec

from rindle_sync.asset import Seen, Via, scrub
from rindle_sync.errors import Gone, Refused, Throttled, Unreachable
from rindle_sync.notice import Delivery
from rindle_sync.providers.base import Page
from rindle_sync.providers.mux import webhooks
from rindle_sync.providers.mux.shapes import (
    Asset,
    Environment,
    Errors,
    Upload,
    decoded,
    list_entry,
    read,
    same,
    seen_asset,
    seen_upload,
)

BASE_URL: Final = "https://api.mux.com"
Transport = httpx.AsyncBaseTransport
"""What carries the calls; tests put the emulator in its place."""

PAGE_SIZE: Final = 100  # the most that Mux lists: https://www.mux.com/docs/core/make-api-requests
CONNECTIONS: Final = 60
"""How many calls are under way at once; one more would wait inside its own time limit."""

_LONGEST_WAIT: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """An access token of one Mux environment."""

    token_id: str = field(repr=False)
    token_secret: str = field(repr=False)

    @property
    def header(self) -> str:
        """The `Authorization` header."""
        pair = f"{self.token_id}:{self.token_secret}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"


class Mux:
    """One Mux environment.

    Speaks to the transport itself: the client of httpx would write every URL, and so every id, into its request log.
    """

    name = "mux"
    page_size = PAGE_SIZE

    def __init__(
        self,
        credentials: Credentials,
        *,
        base_url: str | None = None,
        timeout: float = 10.0,
        connections: int = CONNECTIONS,
        transport: Transport | None = None,
    ) -> None:
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        self._transport = transport or httpx.AsyncHTTPTransport(limits=limits)
        self._base_url = (base_url or BASE_URL).rstrip("/")
        self._timeout = timeout
        self._headers = {
            "authorization": credentials.header,
            "accept": "application/json",
            "accept-encoding": "gzip, deflate",
            "user-agent": f"rindle-sync/{version('rindle-sync')}",
        }
        self._secrets = (credentials.token_id, credentials.token_secret)

    async def get_asset(self, provider_asset_id: str, at: datetime) -> Seen:
        """https://www.mux.com/docs/api-reference/video/assets/get-asset ."""
        data = await self._get(f"/video/v1/assets/{quote(provider_asset_id, safe='')}")
        return seen_asset(same(read(data, Asset), provider_asset_id), data, Via.GET, at)

    async def get_upload(self, provider_upload_id: str, at: datetime) -> Seen:
        """https://www.mux.com/docs/api-reference/video/direct-uploads/get-direct-upload ."""
        data = await self._get(f"/video/v1/uploads/{quote(provider_upload_id, safe='')}")
        return seen_upload(same(read(data, Upload), provider_upload_id), data, at)

    async def list_assets(self, at: datetime, cursor: str | None = None) -> Page:
        """https://www.mux.com/docs/api-reference/video/assets/list-assets ; an entry that is no asset is left out."""
        query = {"limit": str(PAGE_SIZE)} | ({"cursor": cursor} if cursor else {})
        body = await self._body("/video/v1/assets", query)
        data, following = body.get("data"), body.get("next_cursor")
        if not isinstance(data, list):
            raise Unreachable("mux sent a list that is none")
        entries = [seen for entry in data if (seen := list_entry(entry, at))]
        return Page(entries, following if isinstance(following, str) else None)

    async def whoami(self) -> str:
        """https://www.mux.com/docs/api-reference/system/utilities/who-am-i ."""
        return read(await self._get("/system/v1/whoami"), Environment).environment_id

    def verify(
        self, headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: datetime, tolerance: float
    ) -> int:
        """The position of the secret that signed this delivery."""
        return webhooks.verify(headers, body, secrets, now, tolerance)

    def read_delivery(self, body: bytes) -> Delivery:
        """What a webhook says about itself."""
        return webhooks.read_delivery(body)

    def read_seen(self, body: bytes, at: datetime) -> Seen:
        """What was seen in a webhook."""
        return webhooks.read_seen(body, at)

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    async def _get(self, path: str) -> Mapping[str, Any]:
        data = (await self._body(path)).get("data")
        if not isinstance(data, dict):
            raise Unreachable("mux sent an answer without data")
        return data

    async def _body(self, path: str, query: Mapping[str, str] | None = None) -> Mapping[str, Any]:
        status, headers, content = await self._send("GET", path, query)
        body = decoded(content)
        if status != 200:
            raise _error(status, headers, body, self._secrets)
        if body is None:
            raise Unreachable("mux sent a body that is no JSON object")
        return body

    async def _send(self, method: str, path: str, query: Mapping[str, str] | None) -> tuple[int, httpx.Headers, bytes]:
        request = httpx.Request(
            method,
            f"{self._base_url}{path}",
            params=query,
            headers=self._headers,
            extensions={"timeout": httpx.Timeout(self._timeout).as_dict()},
        )
        try:
            async with asyncio.timeout(self._timeout):
                response = await self._transport.handle_async_request(request)
                try:
                    return response.status_code, response.headers, await response.aread()
                finally:
                    await response.aclose()
        except (TimeoutError, httpx.TimeoutException):
            raise Unreachable(f"mux did not answer within {self._timeout:g} s") from None
        except (httpx.HTTPError, httpx.StreamError, OSError) as error:
            raise Unreachable(f"mux cannot be reached ({type(error).__name__})") from None


def _error(status: int, headers: httpx.Headers, body: Mapping[str, Any] | None, secrets: tuple[str, ...]) -> Exception:
    told = scrub(_error_text(body), *secrets)
    text = f"mux answered {status}" + (f": {told}" if told else "")
    if status == 404 and body is not None and "error" in body:
        return Gone("mux asset not found")
    match status:
        case 404:
            return Unreachable("mux answered 404 without its error body: is mux_base_url the address of Mux?")
        case 401 | 403:
            return Refused(f"{text}; check mux_token_id and mux_token_secret, and that the token may read Mux Video")
        case 429:
            return Throttled(text, _seconds(headers.get("retry-after")))
        case _:
            return Unreachable(text)


def _error_text(body: Mapping[str, Any] | None) -> str:
    """What Mux tells in any of its error bodies: `error.messages`, `error.message`, `errors`, `message`."""
    match body:
        case {"error": dict(error)}:
            return _lenient_text(error)
        case {"errors": list(errors)}:
            return " ".join(e for e in errors if isinstance(e, str))
        case {"message": str(message)}:
            return message
        case _:
            return ""


def _lenient_text(error: Mapping[str, Any]) -> str:
    try:
        return msgspec.convert(error, Errors, strict=False).text()
    except msgspec.ValidationError:
        return ""


def _seconds(retry_after: str | None) -> float | None:
    try:
        seconds = float(retry_after or "")
    except ValueError:
        return None
    return min(max(seconds, 0.0), _LONGEST_WAIT) if isfinite(seconds) else None
