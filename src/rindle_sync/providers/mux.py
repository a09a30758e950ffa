"""Mux: its URLs, words, error bodies and encodings. Nothing else of ours knows any of them.

https://www.mux.com/docs/api-reference
"""

import asyncio
import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Final, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from rindle_sync.asset import ErrorKind, PlaybackId, Seen, State, Via, scrub
from rindle_sync.errors import Gone, NoAnswer, Refused, Throttled, Unreachable
from rindle_sync.providers.base import Page

BASE_URL: Final = "https://api.mux.com"
Transport = httpx.AsyncBaseTransport
"""What carries the calls; tests put the emulator in its place."""

PAGE_SIZE: Final = 100  # the most that Mux lists: https://www.mux.com/docs/core/make-api-requests
CONNECTIONS: Final = 20

_ASSET_STATES: Final = {"preparing": State.PROCESSING, "ready": State.READY, "errored": State.ERRORED}
_UPLOAD_STATES: Final = {
    "waiting": State.UPLOADING,
    "asset_created": State.PROCESSING,
    "errored": State.ERRORED,
    "cancelled": State.ERRORED,
    "timed_out": State.ERRORED,
}


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


class _PlaybackId(msgspec.Struct):
    id: str
    policy: str = "unknown"


class _Errors(msgspec.Struct):
    type: str | None = None
    message: str | None = None
    messages: list[str] | None = None

    def text(self) -> str:
        told = [*(self.messages or []), *([self.message] if self.message else [])]
        return ": ".join(filter(None, [self.type, " ".join(told)]))


class _Asset(msgspec.Struct):
    id: str
    status: str = ""
    created_at: str | int | float | None = None
    playback_ids: list[_PlaybackId] | None = None
    passthrough: str | None = None
    upload_id: str | None = None
    errors: _Errors | None = None


class _Upload(msgspec.Struct):
    id: str
    status: str = ""
    asset_id: str | None = None
    error: _Errors | None = None
    new_asset_settings: dict[str, Any] | None = None


class _Environment(msgspec.Struct):
    environment_id: str


T = TypeVar("T")
Named = TypeVar("Named", _Asset, _Upload)


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
        transport: Transport | None = None,
    ) -> None:
        limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
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
        return _seen_asset(_same(_read(data, _Asset), provider_asset_id), data, Via.GET, at)

    async def get_upload(self, provider_upload_id: str, at: datetime) -> Seen:
        """https://www.mux.com/docs/api-reference/video/direct-uploads/get-direct-upload ."""
        data = await self._get(f"/video/v1/uploads/{quote(provider_upload_id, safe='')}")
        return _seen_upload(_same(_read(data, _Upload), provider_upload_id), data, at)

    async def list_assets(self, at: datetime, cursor: str | None = None) -> Page:
        """https://www.mux.com/docs/api-reference/video/assets/list-assets ; an entry that is no asset is left out."""
        query = {"limit": str(PAGE_SIZE)} | ({"cursor": cursor} if cursor else {})
        body = await self._body("/video/v1/assets", query)
        data, following = body.get("data"), body.get("next_cursor")
        if not isinstance(data, list):
            raise Unreachable("mux sent a list that is none")
        entries = [seen for entry in data if (seen := _list_entry(entry, at))]
        return Page(entries, following if isinstance(following, str) else None)

    async def whoami(self) -> str:
        """https://www.mux.com/docs/api-reference/system/utilities/who-am-i ."""
        return _read(await self._get("/system/v1/whoami"), _Environment).environment_id

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
        body = _decoded(content)
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


def _decoded(content: bytes) -> Mapping[str, Any] | None:
    try:
        body = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if b"\\u0000" in content:
        body = without_nul(body)
    return body if isinstance(body, dict) else None


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
        return msgspec.convert(error, _Errors, strict=False).text()
    except msgspec.ValidationError:
        return ""


def _seconds(retry_after: str | None) -> float | None:
    try:
        return max(0.0, float(retry_after or ""))
    except ValueError:
        return None


def _read(data: Mapping[str, Any], kind: type[T]) -> T:
    try:
        return msgspec.convert(data, kind, strict=False)
    except msgspec.ValidationError:
        raise Unreachable("mux sent an answer in a form that we do not know") from None


def _same(answer: Named, asked: str) -> Named:
    if answer.id != asked:
        raise Unreachable("mux answered about something else than we asked for")
    return answer


def _list_entry(entry: Any, at: datetime) -> Seen | None:
    try:
        return _seen_asset(_read(entry, _Asset), entry, Via.LIST, at)
    except NoAnswer:
        return None


def _seen_asset(asset: _Asset, data: Mapping[str, Any], via: Via, at: datetime) -> Seen:
    state = _ASSET_STATES.get(asset.status)
    return Seen(
        via=via,
        at=at,
        state=state,
        status=scrub(asset.status)[:64],
        provider_asset_id=asset.id,
        provider_upload_id=asset.upload_id,
        passthrough=asset.passthrough,
        playback_ids=_playback_ids(asset),
        created_at=parse_time(asset.created_at),
        error_kind=ErrorKind.PROVIDER if state is State.ERRORED else None,
        error_text=_reason(asset.errors, asset.id, asset.upload_id, asset.passthrough),
        metadata=without_urls(data),
    )


def _seen_upload(upload: _Upload, data: Mapping[str, Any], at: datetime) -> Seen:
    state = _UPLOAD_STATES.get(upload.status)
    told = _reason(upload.error, upload.id, upload.asset_id)
    ended = f"mux upload {upload.status.replace('_', ' ')}" + (f": {told}" if told else "")
    passthrough = (upload.new_asset_settings or {}).get("passthrough")
    return Seen(
        via=Via.UPLOAD,
        at=at,
        state=state,
        status=scrub(upload.status)[:64],
        provider_asset_id=upload.asset_id,
        provider_upload_id=upload.id,
        passthrough=passthrough if isinstance(passthrough, str) else None,
        error_kind=ErrorKind.UPLOAD if state is State.ERRORED else None,
        error_text=ended if state is State.ERRORED else None,
        metadata=without_urls(data),
    )


def _playback_ids(asset: _Asset) -> tuple[PlaybackId, ...] | None:
    if asset.playback_ids is None:
        return None
    return tuple(PlaybackId(p.id, p.policy) for p in asset.playback_ids)


def _reason(errors: _Errors | None, *ids: str | None) -> str | None:
    return scrub(errors.text(), *ids) or None if errors else None


def parse_time(value: str | int | float | None) -> datetime | None:
    """A time in any of Mux's encodings: unix seconds as a number or as text, or ISO 8601; None for anything else."""
    try:
        if isinstance(value, str) and not value.replace(".", "", 1).isdigit():
            moment = datetime.fromisoformat(value)
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        return None if value is None else datetime.fromtimestamp(float(value), UTC)
    except (ValueError, OverflowError, OSError):
        return None


def without_nul(data: Any) -> Any:
    """`data` without the character NUL, which no PostgreSQL text can hold."""
    match data:
        case str():
            return data.replace("\x00", "")
        case dict():
            return {without_nul(key): without_nul(value) for key, value in data.items()}
        case list():
            return [without_nul(value) for value in data]
        case _:
            return data


def without_urls(data: Any) -> Any:
    """`data` without any field that holds a URL: an upload's or a master's is a key to the file."""
    match data:
        case dict():
            return {key: without_urls(value) for key, value in data.items() if not key.endswith("url")}
        case list():
            return [without_urls(value) for value in data]
        case _:
            return data
