"""Calls to Mux, and its refusals as errors of ours.

https://www.mux.com/docs/api-reference
"""

import base64
import json
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from importlib.metadata import version
from typing import Any, Final
from urllib.parse import quote, urlencode

from rindle_sync.domain import (
    FailureKind,
    Observation,
    ObservationSource,
    ProviderAsset,
    ReceivedEvent,
    State,
)
from rindle_sync.errors import (
    ConfigurationError,
    MissingCredentials,
    ProviderUnavailable,
    RindleSyncError,
)
from rindle_sync.providers.base import (
    AssetRequest,
    CallsLeft,
    CreatedUpload,
    Page,
    Playback,
    ReopenedUpload,
    Transport,
    UploadBounds,
    UploadRequest,
    WebhookEndpoints,
)
from rindle_sync.providers.http import CallFailed, Request, Response, open_client
from rindle_sync.providers.mux import webhooks
from rindle_sync.providers.mux.endpoints import MuxEndpoints
from rindle_sync.providers.mux.errors import refusal, unreachable
from rindle_sync.providers.mux.new_asset import asset_body, playback_policies, upload_body
from rindle_sync.providers.mux.responses import (
    Asset,
    Environment,
    NewUpload,
    Upload,
    asset_observation,
    decoded,
    read,
    read_list,
    same,
    upload_observation,
    without_file_urls,
)

BASE_URL: Final = "https://api.mux.com"
_USER_AGENT: Final = f"rindle-sync/{version('rindle-sync')}"
LARGEST_PAGE: Final = 8 * 1024 * 1024
"""The largest list page that is read, in bytes; a hundred assets have a few hundred thousand."""

LARGEST_ANSWER: Final = 1024 * 1024
"""The largest other answer, in bytes: a batch of them is read at once."""

PAGE_SIZE: Final = 100  # the most that Mux lists: https://www.mux.com/docs/core/make-api-requests
CONNECTIONS: Final = 60
"""How many calls are under way at once; one more would wait inside its own time limit."""

_SUCCESS: Final = {"POST": 201, "DELETE": 204}
_GZIP: Final = 16 + zlib.MAX_WBITS


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
    """One Mux environment."""

    name = "mux"
    page_size = PAGE_SIZE
    # https://www.mux.com/docs/api-reference/video/direct-uploads/create-direct-upload
    upload_bounds = UploadBounds(shortest=timedelta(minutes=1), longest=timedelta(days=7))
    reports_deletion = True
    webhook_headers = ()
    advice: Mapping[FailureKind, str] = {
        FailureKind.UNREACHABLE: "is mux_base_url right, and may this machine reach it?"
    }
    verify = staticmethod(webhooks.verify)
    test_delivery = staticmethod(webhooks.test_delivery)
    playback_policies = staticmethod(playback_policies)

    def __init__(
        self,
        credentials: Credentials | None,
        *,
        base_url: str | None = None,
        timeout: float = 10.0,
        connections: int = CONNECTIONS,
        transport: Transport | None = None,
        on_calls_left: CallsLeft = lambda _kind, _left: None,
        playback: Playback | None = None,
    ) -> None:
        self._base_url = (base_url or BASE_URL).rstrip("/")
        self._http = open_client(self._base_url, connections, transport)
        self._timeout = timeout
        self._headers = {
            "accept": "application/json",
            # a list page is a fifth to a tenth of its size so, and unpacked within a millisecond
            "accept-encoding": "gzip",
            "user-agent": _USER_AGENT,
        }
        if credentials:
            self._headers["authorization"] = credentials.header
        self._on_calls_left = on_calls_left
        self.playback = playback
        self.webhook_endpoints: WebhookEndpoints | None = MuxEndpoints(self)
        self.clock: datetime | None = None
        self._date = ""
        self._credentials = credentials
        self._secrets = (credentials.token_id, credentials.token_secret) if credentials else ()

    async def get_asset(self, provider_asset_id: str, at: datetime) -> Observation:
        """https://www.mux.com/docs/api-reference/video/assets/get-asset ."""
        data = await self._data(f"/video/v1/assets/{_segment(provider_asset_id)}")
        asset = same(read(data, Asset), provider_asset_id)
        return asset_observation(asset, data, ObservationSource.GET, at)

    async def get_upload(self, provider_upload_id: str, at: datetime) -> Observation:
        """https://www.mux.com/docs/api-reference/video/direct-uploads/get-direct-upload ."""
        data = await self._data(f"/video/v1/uploads/{_segment(provider_upload_id)}")
        return upload_observation(same(read(data, Upload), provider_upload_id), data, at)

    async def list_assets(self, at: datetime, cursor: str | None = None) -> Page:
        """https://www.mux.com/docs/api-reference/video/assets/list-assets .

        An entry that is no asset is left out.
        """
        query = {"limit": str(self.page_size)}
        if cursor:
            query["cursor"] = cursor
        return read_list(await self._answer("GET", "/video/v1/assets", query), at)

    async def create_upload(self, passthrough: str, upload_request: UploadRequest) -> CreatedUpload:
        """https://www.mux.com/docs/api-reference/video/direct-uploads/create-direct-upload ."""
        asked = upload_body(passthrough, upload_request)
        # its URL is what the caller wants; any other would be a leaked key
        data = await self._data("/video/v1/uploads", "POST", asked, keep_urls=True)
        made = read(data, NewUpload)
        return CreatedUpload(made.id, made.url)

    async def reopen_upload(self, provider_upload_id: str, at: datetime) -> ReopenedUpload:
        """https://www.mux.com/docs/api-reference/video/direct-uploads/get-direct-upload ."""
        path = f"/video/v1/uploads/{_segment(provider_upload_id)}"
        data = await self._data(path, keep_urls=True)
        upload = same(read(data, Upload), provider_upload_id)
        observation = upload_observation(upload, without_file_urls(data), at)
        is_waiting = observation.state is State.UPLOADING and isinstance(upload.url, str)
        seconds = upload.timeout if isinstance(upload.timeout, int) else 0
        return ReopenedUpload(
            observation, upload.url if is_waiting else None, timedelta(seconds=seconds)
        )

    async def create_asset(
        self, passthrough: str, request: AssetRequest, at: datetime
    ) -> Observation:
        """https://www.mux.com/docs/api-reference/video/assets/create-asset ."""
        data = await self._data("/video/v1/assets", "POST", asset_body(passthrough, request))
        return asset_observation(read(data, Asset), data, ObservationSource.APP, at)

    async def delete_asset(self, provider_asset_id: str) -> None:
        """https://www.mux.com/docs/api-reference/video/assets/delete-asset ."""
        await self._answer("DELETE", f"/video/v1/assets/{_segment(provider_asset_id)}", None)

    async def cancel_upload(self, provider_upload_id: str, at: datetime) -> Observation:
        """https://www.mux.com/docs/api-reference/video/direct-uploads/cancel-direct-upload .

        403 when too late.
        """
        path = f"/video/v1/uploads/{_segment(provider_upload_id)}/cancel"
        data = await self._data(path, "PUT")
        return upload_observation(same(read(data, Upload), provider_upload_id), data, at)

    async def whoami(self) -> str:
        """https://www.mux.com/docs/api-reference/system/utilities/who-am-i ."""
        return read(await self._data("/system/v1/whoami"), Environment).environment_id

    def dashboard_url(self, row: ProviderAsset, environment_id: str | None) -> str | None:
        """The page of the asset in Mux's dashboard."""
        if environment_id is None or row.provider_asset_id is None:
            return None
        environment, asset = quote(environment_id, safe=""), quote(row.provider_asset_id, safe="")
        return f"https://dashboard.mux.com/environments/{environment}/video/assets/{asset}"

    def read_event(
        self,
        headers: Mapping[str, str],  # noqa: ARG002  all is in the body
        body: bytes,
    ) -> ReceivedEvent:
        """What a webhook says about itself."""
        return webhooks.read_event(body)

    def read_observation(
        self,
        headers: Mapping[str, str],  # noqa: ARG002  all is in the body
        body: bytes,
        at: datetime,
    ) -> Observation:
        """What a webhook says about its asset or upload."""
        return webhooks.read_observation(body, at)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def system_call(
        self,
        method: str,
        path: str,
        *,
        permission: str,
        query: Mapping[str, str] | None = None,
        asked: Any = None,
    ) -> Mapping[str, Any]:
        """The body of Mux's answer; `permission` is what the token needs for it.

        Raises `ConfigurationError` for values in `asked` that Mux does not take.
        """
        status, content, refused = await self._call(
            method, path, query, asked, "webhook endpoint", permission
        )
        if refused is not None:
            if status in {400, 409, 422} and asked:
                raise ConfigurationError("ADDRESS", f"is refused: {refused}")
            raise refused
        body = decoded(content, keep_urls=True) if content else {}
        if body is None:
            raise ProviderUnavailable("mux sent a body that is no JSON object")
        return body

    async def _data(
        self, path: str, method: str = "GET", asked: Any = None, *, keep_urls: bool = False
    ) -> Mapping[str, Any]:
        content = await self._answer(method, path, None, asked)
        body = decoded(content, keep_urls=keep_urls)
        if body is None:
            raise ProviderUnavailable("mux sent a body that is no JSON object")
        data = body.get("data")
        if not isinstance(data, dict):
            raise ProviderUnavailable("mux sent an answer without data")
        return data

    async def _answer(
        self, method: str, path: str, query: Mapping[str, str] | None, asked: Any = None
    ) -> bytes:
        about = "upload" if path.startswith("/video/v1/uploads") else "asset"
        status, content, refused = await self._call(method, path, query, asked, about)
        if refused is not None:
            if status in {400, 422} and asked:
                raise ConfigurationError("new_asset_settings", str(refused))
            raise refused
        return content

    async def _call(  # noqa: PLR0917  what a call is made of
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        asked: Any,
        about: str,
        permission: str = "",
    ) -> tuple[int, bytes, RindleSyncError | None]:
        """Status and body of an answer, and what it means where it is no success."""
        status, headers, content = await self._send(method, path, query, asked)
        self._note_time(headers.get("date", ""))
        left = headers.get("x-ratelimit-remaining", "")
        if left.isdecimal() and len(left) < 10:
            # Mux counts what is made under /video/ alone apart
            is_create = method == "POST" and path.startswith("/video/")
            self._on_calls_left("creates" if is_create else "reads", int(left))
        if status == _SUCCESS.get(method, 200):
            return status, content, None
        error = refusal(
            status, headers, decoded(content), self._secrets, about, permission=permission
        )
        return status, content, error

    def _note_time(self, date: str) -> None:
        if date == self._date:
            return
        self._date = date
        with suppress(ValueError, OverflowError):  # an offset of years is not one
            sent_at = parsedate_to_datetime(date)
            self.clock = sent_at if sent_at.tzinfo else self.clock

    async def _send(
        self, method: str, path: str, query: Mapping[str, str] | None, asked: Any
    ) -> tuple[int, Mapping[str, str], bytes]:
        if self._credentials is None:
            raise MissingCredentials(
                "there are no credentials; set mux_token_id and mux_token_secret"
            )
        url, headers, body = f"{self._base_url}{path}", self._headers, None
        if query:
            url = f"{url}?{urlencode(query)}"
        if asked is not None:
            body = json.dumps(asked, ensure_ascii=False, separators=(",", ":")).encode()
            headers = headers | {"content-type": "application/json"}
        read = partial(_content, most=LARGEST_ANSWER if query is None else LARGEST_PAGE)
        request = Request(method, url, headers, body)
        try:
            return await self._http.send(request, read, within=self._timeout)
        except CallFailed as failure:
            text = f"mux did not answer within {self._timeout:g} s"
            if failure.in_time:
                text = unreachable(failure, self._http.proxy)
            raise ProviderUnavailable(text, was_sent=failure.was_sent) from None


async def _content(response: Response, most: int) -> tuple[int, Mapping[str, str], bytes]:
    """Status, headers and body.

    A few packed bytes may hold more than any memory, so the body is bounded as it is read.
    """
    packing = response.headers.get("content-encoding", "").strip().lower()
    if packing not in {"", "identity", "gzip"}:
        raise ProviderUnavailable("mux sent an answer packed in a way that was not asked for")
    unpacker = zlib.decompressobj(wbits=_GZIP) if packing == "gzip" else None
    content = bytearray()
    async for part in response.parts:
        # one byte more than allowed tells that there is more
        content += unpacker.decompress(part, most + 1 - len(content)) if unpacker else part
        if len(content) > most:
            raise ProviderUnavailable("mux sent an answer too large to be one")
        if unpacker and unpacker.unused_data:
            raise ProviderUnavailable("mux sent more than one packed answer")
    if unpacker and not unpacker.eof:
        raise ProviderUnavailable("mux sent only a part of a packed answer")
    return response.status, response.headers, bytes(content)


def _segment(provider_id: str) -> str:
    """An id as one segment of a path, whatever is in it: `..` alone would lead out."""
    return quote(provider_id, safe="", errors="replace").replace(".", "%2E")
