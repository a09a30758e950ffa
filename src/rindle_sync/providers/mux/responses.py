"""Mux's JSON, its words and encodings, as what was seen; sends nothing."""

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any, Final, TypeVar

import msgspec

from rindle_sync.domain import (
    MAX_ERROR_TEXT,
    ErrorKind,
    Observation,
    ObservationSource,
    PlaybackId,
    State,
    hide_urls,
    scrub,
)
from rindle_sync.errors import ProviderError, ProviderUnavailable
from rindle_sync.providers.base import Page

ASSET_STATES: Final = {
    "preparing": State.PROCESSING,
    "ready": State.READY,
    "errored": State.ERRORED,
}
UPLOAD_STATES: Final = {
    "waiting": State.UPLOADING,
    "asset_created": State.PROCESSING,
    "errored": State.ERRORED,
    "cancelled": State.ERRORED,
    "timed_out": State.ERRORED,
}

_NO_JSON: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_URL_KEY: Final = re.compile(rb'url"\s*:')
_DEEPEST: Final = 100
"""How many objects and lists a JSON text may hold, and be surely flat enough for others to walk."""
_TIMES: Final = frozenset({str, int, float})


class _PlaybackId(msgspec.Struct):
    id: str
    policy: str = "unknown"


Id = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


class Errors(msgspec.Struct):
    """What Mux says is wrong: one message or several."""

    type: str | None = None
    message: str | None = None
    messages: list[str] | None = None


class Asset(msgspec.Struct):
    """What we read of an asset; all else may be there or not."""

    id: Id
    status: str = ""
    created_at: Any = None
    playback_ids: list[_PlaybackId] | None = None
    passthrough: str | None = None
    upload_id: Id | None = None
    errors: Any = None


class Upload(msgspec.Struct):
    """What we read of a direct upload."""

    id: Id
    status: str = ""
    asset_id: Id | None = None
    error: Any = None
    new_asset_settings: dict[str, Any] | None = None


class NewUpload(msgspec.Struct):
    """What we read of a direct upload that was just made."""

    id: str
    url: str


class Environment(msgspec.Struct):
    """What we read of `whoami`."""

    environment_id: str


class List(msgspec.Struct):
    """What we read of a page of a list, its entries as they came."""

    data: list[msgspec.Raw]
    next_cursor: Any = None


T = TypeVar("T")
Named = TypeVar("Named", Asset, Upload)


def decoded(content: bytes, *, keep_urls: bool = False) -> Mapping[str, Any] | None:
    """The JSON object in `content`, without NUL and URLs; None for anything else."""
    try:
        body = _cleaned(content, keep_urls=keep_urls)
    except _NO_JSON:
        return None
    return body if isinstance(body, dict) else None


def _cleaned(content: bytes, *, keep_urls: bool = False) -> Any:
    body = msgspec.json.decode(content)
    # most answers hold neither, and to walk them is what costs; an escape may hide either
    may_hide = b"\\u" in content or b"\\/" in content
    may_have_url = b"://" in content or _URL_KEY.search(content)
    is_deep = content.count(b"{") + content.count(b"[") >= _DEEPEST
    if not (may_hide or may_have_url or is_deep):
        return body
    if b"\\u0000" in content:
        body = without_nul(body)
    return body if keep_urls else without_urls(body)


def read(data: Mapping[str, Any], kind: type[T]) -> T:
    """`data` as `kind`; raises `ProviderUnavailable` where it is none."""
    try:
        return msgspec.convert(data, kind, strict=False)
    except msgspec.ValidationError:
        raise ProviderUnavailable("mux sent an answer in an unknown form") from None


def same(answer: Named, asked: str) -> Named:
    """`answer`, if it is about the id that was asked for; raises `ProviderUnavailable`."""
    if answer.id != asked:
        raise ProviderUnavailable("mux answered about another object than the requested one")
    return answer


def read_list(content: bytes, at: datetime) -> Page:
    """A page of a list, without entries that are no assets; `ProviderUnavailable` for no list."""
    try:
        page = msgspec.json.decode(content, type=List)
        entries = [_cleaned(bytes(entry)) for entry in page.data]
    except msgspec.ValidationError:
        raise ProviderUnavailable("mux sent a list that is none") from None
    except _NO_JSON:
        raise ProviderUnavailable("mux sent a body that is no JSON object") from None
    following = without_nul(page.next_cursor) if isinstance(page.next_cursor, str) else None
    observed = []
    for entry in entries:
        with suppress(ProviderError):  # an entry that is no asset must not cost us the others
            asset = read(entry, Asset)
            observed.append(asset_observation(asset, entry, ObservationSource.LIST, at))
    return Page(observed, following or None)


def asset_observation(
    asset: Asset, data: Mapping[str, Any], source: ObservationSource, at: datetime
) -> Observation:
    """An asset as what was seen; `data` is kept with it."""
    state, playback_ids = ASSET_STATES.get(asset.status), _playback_ids(asset)
    ids = [asset.id, asset.upload_id, asset.passthrough]
    ids += [playback_id.id for playback_id in playback_ids or ()]
    return Observation(
        source=source,
        at=at,
        state=state,
        status=asset.status if state else scrub(asset.status)[:64],
        provider_asset_id=asset.id,
        provider_upload_id=asset.upload_id,
        passthrough=asset.passthrough,
        playback_ids=playback_ids,
        created_at=parse_time(asset.created_at),
        error_kind=ErrorKind.PROVIDER if state is State.ERRORED else None,
        error_text=_reason(asset.errors, *ids),
        metadata=data,
    )


def upload_observation(upload: Upload, data: Mapping[str, Any], at: datetime) -> Observation:
    """A direct upload as what was seen of the row that waits for it."""
    state = UPLOAD_STATES.get(upload.status)
    named = (upload.new_asset_settings or {}).get("passthrough")
    passthrough = named if isinstance(named, str) else None
    told = _reason(upload.error, upload.id, upload.asset_id, passthrough)
    ended = f"mux upload {upload.status.replace('_', ' ')}" + (f": {told}" if told else "")
    is_assets = upload.status == "errored" and upload.asset_id  # then it is the asset that failed
    failed = ErrorKind.PROVIDER if is_assets else ErrorKind.UPLOAD
    return Observation(
        source=ObservationSource.UPLOAD,
        at=at,
        state=state,
        status=scrub(upload.status)[:64],
        provider_asset_id=upload.asset_id,
        provider_upload_id=upload.id,
        passthrough=passthrough,
        error_kind=failed if state is State.ERRORED else None,
        error_text=ended[:MAX_ERROR_TEXT].rstrip() if state is State.ERRORED else None,
        metadata=data,
    )


def _playback_ids(asset: Asset) -> tuple[PlaybackId, ...] | None:
    if asset.playback_ids is None:
        return None
    return tuple(PlaybackId(p.id, p.policy) for p in asset.playback_ids)


def _reason(errors: Any, *ids: str | None) -> str | None:
    return None if errors is None else scrub(errors_text(errors), *ids) or None


def errors_text(errors: Any) -> str:
    """What Mux says is wrong, in one line, in whatever form it says it."""
    try:
        told = msgspec.convert(errors, Errors, strict=False)
    except msgspec.ValidationError:
        return errors if isinstance(errors, str) else ""
    messages = list(told.messages or [])
    if told.message:
        messages.append(told.message)
    return ": ".join(filter(None, [told.type, " ".join(messages)]))


def parse_time(value: Any) -> datetime | None:
    """A time in an encoding of Mux's: unix seconds, as a number or text, or ISO 8601; else None."""
    try:
        if isinstance(value, str) and not value.replace(".", "", 1).isdigit():
            moment = datetime.fromisoformat(value)
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        return datetime.fromtimestamp(float(value), UTC) if type(value) in _TIMES else None
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
    """`data` without any URL: an upload's, an input's or a master's is a key to the file."""
    match data:
        case str():
            return hide_urls(data) if "://" in data else data
        case dict():
            return {
                key: without_urls(value) for key, value in data.items() if not key.endswith("url")
            }
        case list():
            return [without_urls(value) for value in data]
        case _:
            return data
