"""A provider that is not Mux, and a server of it in process.

Its 404 has a body of its own, its webhooks have no event ids and tell of no deletion, an upload has
the id of its video, reads and creates share one bucket, and no call tells whose a token is.
"""

import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any, ClassVar, Final, cast
from uuid import uuid4

import httpx
from pydantic import Field, SecretStr

from rindle_sync.domain import (
    Bucket,
    ErrorKind,
    FailureKind,
    Observation,
    ObservationSource,
    PlaybackId,
    ProviderAsset,
    ReceivedEvent,
    State,
    replace,
)
from rindle_sync.errors import (
    AuthenticationFailed,
    ConfigurationError,
    InvalidWebhook,
    MissingCredentials,
    NotFound,
    ProviderUnavailable,
    RateLimited,
)
from rindle_sync.providers import (
    AssetRequest,
    Buckets,
    CreatedUpload,
    Delivery,
    NewAsset,
    Page,
    Priority,
    ProviderEntry,
    ProviderSettings,
    ReopenedUpload,
    Transport,
    UploadBounds,
    UploadRequest,
    derived_event_id,
)

STATES: Final = {
    "awaiting": State.UPLOADING,
    "encoding": State.PROCESSING,
    "done": State.READY,
    "broken": State.ERRORED,
}
NOT_FOUND: Final = {"success": False, "errors": [{"code": 10003}]}
PAGE_SIZE: Final = 10
KEY: Final = "a-key-of-the-toy"


class ToySettings(ProviderSettings):
    """One account of the toy provider."""

    credential_names: ClassVar = ("toy_key",)
    credentials_remedy: ClassVar = "make a key"
    webhook_secrets_name: ClassVar = "toy_secrets"

    toy_key: SecretStr | None = Field(default=None, repr=False)
    toy_secrets: SecretStr | None = Field(default=None, repr=False)


class Toy:
    """One account of the toy provider."""

    name = "toy"
    page_size = PAGE_SIZE
    upload_bounds = UploadBounds(shortest=timedelta(minutes=2), longest=timedelta(hours=6))
    reports_deletion = False
    webhook_headers = ("toy-time",)
    advice: Mapping[FailureKind, str] = {}
    playback = None
    webhook_endpoints = None

    def __init__(self, key: str | None, transport: Transport, timeout: float = 10) -> None:
        self.clock: datetime | None = None
        self._key = key
        given = cast("httpx.AsyncBaseTransport", transport)
        self._client = httpx.AsyncClient(transport=given, base_url="http://toy")
        self._timeout = timeout

    async def get_asset(self, provider_asset_id: str, at: datetime) -> Observation:
        video = await self._call("GET", f"/videos/{provider_asset_id}")
        if video.get("uid") != provider_asset_id:
            raise ProviderUnavailable("toy sent an answer about another video")
        return seen(video, ObservationSource.GET, at)

    async def get_upload(self, provider_upload_id: str, at: datetime) -> Observation:
        observation = await self.get_asset(provider_upload_id, at)
        return replace(observation, source=ObservationSource.UPLOAD)

    async def list_assets(self, at: datetime, cursor: str | None = None) -> Page:
        answer = await self._call("GET", f"/videos?skip={cursor or 0}")
        entries = [
            seen(video, ObservationSource.LIST, at)
            for video in answer["videos"]
            if isinstance(video, dict) and "uid" in video
        ]
        return Page(entries, answer.get("next"))

    async def reopen_upload(self, provider_upload_id: str, at: datetime) -> ReopenedUpload:
        observation = await self.get_upload(provider_upload_id, at)
        url = f"http://toy/upload/{provider_upload_id}"
        is_waiting = observation.state is State.UPLOADING
        return ReopenedUpload(observation, url if is_waiting else None, timedelta(hours=1))

    def playback_policies(self, request: NewAsset) -> Sequence[str]:
        if set(request.playback_policies) - {"public"}:
            raise ConfigurationError("playback_policy", "must be public")
        return ("public",)

    async def create_upload(self, passthrough: str, _: UploadRequest) -> CreatedUpload:
        video = await self._call("POST", f"/videos?tag={passthrough}")
        return CreatedUpload(video["uid"], f"http://toy/upload/{video['uid']}")

    async def create_asset(self, passthrough: str, _: AssetRequest, at: datetime) -> Observation:
        video = await self._call("POST", f"/videos?copy={passthrough}")
        return replace(seen(video, ObservationSource.APP, at), provider_upload_id=None)

    async def delete_asset(self, provider_asset_id: str) -> None:
        await self._call("DELETE", f"/videos/{provider_asset_id}")

    async def cancel_upload(self, provider_upload_id: str, at: datetime) -> Observation:
        await self._call("DELETE", f"/videos/{provider_upload_id}")
        return Observation(
            source=ObservationSource.UPLOAD,
            at=at,
            state=State.ERRORED,
            provider_upload_id=provider_upload_id,
            error_kind=ErrorKind.UPLOAD,
            error_text="toy upload cancelled",
        )

    def verify(
        self,
        headers: Mapping[str, str],
        body: bytes,
        secrets: Sequence[str],
        now: datetime,
        tolerance: float,
    ) -> int:
        if not secrets:
            raise ConfigurationError("toy_secrets", "is not set")
        time, signature = headers.get("toy-time", ""), headers.get("toy-signature", "")
        same = [hmac.compare_digest(signed(secret, time, body), signature) for secret in secrets]
        if True not in same:
            raise InvalidWebhook("signature_mismatch")
        if abs(now.timestamp() - int(time)) > tolerance:
            raise InvalidWebhook("timestamp_out_of_window")
        return same.index(True)

    def read_event(self, headers: Mapping[str, str], body: bytes) -> ReceivedEvent:
        video = video_of(body)
        return ReceivedEvent(
            event_id=derived_event_id(body),
            type=f"video.{video.get('state')}",
            occurred_at=time_of(headers),
            provider_asset_id=video.get("uid"),
            provider_upload_id=video.get("uid"),
            passthrough=video.get("tag"),
            acted_on=video.get("state") in STATES,
        )

    def read_observation(
        self, headers: Mapping[str, str], body: bytes, at: datetime
    ) -> Observation:
        return replace(
            seen(video_of(body), ObservationSource.WEBHOOK, at),
            event_id=derived_event_id(body),
            occurred_at=time_of(headers),
        )

    def test_delivery(self, secret: str, environment: str | None, now: datetime) -> Delivery:
        del environment  # it has none
        return delivery({"uid": uuid4().hex, "state": "test"}, secret, now)

    def dashboard_url(self, row: ProviderAsset, environment_id: str | None) -> str | None:  # noqa: ARG002
        return None

    async def whoami(self) -> str | None:
        return None

    async def close(self) -> None:
        await self._client.aclose()

    async def _call(self, method: str, path: str) -> dict[str, Any]:
        if self._key is None:
            raise MissingCredentials("there are no credentials; set toy_key")
        headers = {"authorization": f"Bearer {self._key}"}
        try:
            answer = await self._client.request(
                method, path, headers=headers, timeout=self._timeout
            )
            body = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise ProviderUnavailable(f"toy cannot be reached ({type(error).__name__})") from None
        if date := answer.headers.get("date"):
            self.clock = parsedate_to_datetime(date)
        text = f"toy answered {answer.status_code}"
        match answer.status_code:
            case 200 if isinstance(body, dict):
                return body
            case 404 if isinstance(body, dict) and body.get("errors") == NOT_FOUND["errors"]:
                raise NotFound("toy has no such video")
            case 401 | 403:
                raise AuthenticationFailed(text)
            case 429:
                wait = answer.headers.get("retry-after")
                raise RateLimited(text, float(wait) if wait else None)
            case _:
                raise ProviderUnavailable(text)


def video_of(body: bytes) -> dict[str, Any]:
    try:
        video = json.loads(body)
    except ValueError:
        raise InvalidWebhook("no_json_object") from None
    if not isinstance(video, dict) or "uid" not in video:
        raise InvalidWebhook("no_event")
    return video


def time_of(headers: Mapping[str, str]) -> datetime:
    return datetime.fromtimestamp(int(headers["toy-time"]), UTC)


def seen(video: Mapping[str, Any], source: ObservationSource, at: datetime) -> Observation:
    uid, word, playable = video["uid"], video["state"], video.get("playable")
    created = video.get("created")
    state = STATES.get(word)
    return Observation(
        source=source,
        at=at,
        state=state,
        status=word,
        provider_asset_id=None if state is State.UPLOADING else uid,
        provider_upload_id=uid,
        passthrough=video.get("tag"),
        playback_ids=None
        if playable is None
        else tuple(PlaybackId(uid, policy) for policy in playable),
        created_at=datetime.fromtimestamp(created, UTC) if created else None,
        error_kind=ErrorKind.PROVIDER if state is State.ERRORED else None,
    )


def signed(secret: str, time: str, body: bytes) -> str:
    return hmac.new(secret.encode(), time.encode() + b"." + body, hashlib.sha256).hexdigest()


def delivery(video: Mapping[str, Any], secret: str, now: datetime) -> Delivery:
    body, time = json.dumps(video).encode(), str(int(now.timestamp()))
    return Delivery({"toy-time": time, "toy-signature": signed(secret, time, body)}, body)


def _connect(settings: ToySettings, *, timeout: float, transport: Any, **_: Any) -> Toy:
    return Toy(settings.credentials[0] if settings.credentials else None, transport, timeout)


ONE_BUCKET: Final = Bucket(name="calls", capacity=20, per_second=2)
TOY: Final = ProviderEntry(
    settings=ToySettings,
    acted_on=[f"video.{state}" for state in STATES],
    buckets=dict.fromkeys(Priority, Buckets(reads=ONE_BUCKET, creates=ONE_BUCKET)),
    connect=_connect,
)


class ToyServer:
    """The server of the toy provider: an ASGI app, whose videos a test makes and changes."""

    def __init__(self) -> None:
        self.videos: dict[str, dict[str, Any]] = {}

    def create(self, state: str = "done", tag: str | None = None) -> str:
        uid, created = uuid4().hex, 1_700_000_000 + len(self.videos)
        video: dict[str, Any] = {
            "uid": uid,
            "state": state,
            "tag": tag,
            "created": created,
            "playable": [],
        }
        self.videos[uid] = video
        self.become(uid, state)
        return uid

    def become(self, uid: str, state: str) -> None:
        playable = ["public"] if state == "done" else []
        self.videos[uid] |= {"state": state, "playable": playable}

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        _: Any,
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        status, body = self._answer(scope)
        date = format_datetime(datetime.now(UTC), usegmt=True).encode()
        headers = [(b"content-type", b"application/json"), (b"date", date)]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(body).encode()})

    def _answer(self, scope: Mapping[str, Any]) -> tuple[int, Any]:
        if (b"authorization", f"Bearer {KEY}".encode()) not in scope["headers"]:
            return 401, {"success": False}
        _, _, argument = scope["query_string"].decode().partition("=")
        uid = scope["path"].removeprefix("/videos").strip("/")
        match scope["method"]:
            case "POST":
                is_copy = scope["query_string"].startswith(b"copy")
                return 200, self.videos[
                    self.create("encoding" if is_copy else "awaiting", argument)
                ]
            case "GET" if not uid:
                newest, start = list(self.videos.values())[::-1], int(argument)
                rest = newest[start + PAGE_SIZE :]
                page = {"videos": newest[start : start + PAGE_SIZE]}
                return 200, page | {"next": str(start + PAGE_SIZE) if rest else None}
            case _ if uid not in self.videos:
                return 404, NOT_FOUND
            case "DELETE":
                return 200, self.videos.pop(uid)
            case _:
                return 200, self.videos[uid]
