"""Mux's JSON, its words and encodings, as what was seen; sends nothing."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any, Final, TypeVar

import msgspec

from rindle_sync.domain import (
    LONGEST_TEXT,
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
from rindle_sync.providers.mux import lenient_json
from rindle_sync.providers.mux.fields import parse_time, reason, text, text_id
from rindle_sync.providers.mux.media import asset_media

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

_URL_KEY: Final = re.compile(rb'url"\s*:')
_OF_THE_APP: Final = frozenset({"passthrough", "meta"})
"""The fields that hold what the app gave: they are kept exactly, whatever is in them."""
_MAY_QUOTE: Final = frozenset({"error", "errors", "input", "inputs"})
"""The fields whose texts may be or quote the address of an input file."""

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_TEXT)]


class Asset(msgspec.Struct):
    """What we read of an asset; all but the id may be there or not, or be of another type."""

    id: Id
    status: Any = None
    created_at: Any = None
    playback_ids: Any = None
    passthrough: Any = None
    upload_id: Any = None
    errors: Any = None


class Upload(msgspec.Struct):
    """What we read of a direct upload; all but the id may be there or not."""

    id: Id
    status: Any = None
    asset_id: Any = None
    error: Any = None
    new_asset_settings: Any = None
    timeout: Any = None
    url: Any = None


class NewUpload(msgspec.Struct):
    """What we read of a direct upload that was just made."""

    id: str
    url: str


class Environment(msgspec.Struct):
    """What we read of `whoami`."""

    environment_id: str


class Listed(msgspec.Struct):
    """What tells of an asset on a page where the page stands in the list."""

    id: Id
    created_at: Any = None


class List(msgspec.Struct):
    """What we read of a page of a list, its entries as they came."""

    data: list[msgspec.Raw]
    next_cursor: Any = None


class Times(msgspec.Struct):
    """What we read of it first."""

    data: list[Listed]


_LIST: Final = msgspec.json.Decoder(List)
_TIMES: Final = msgspec.json.Decoder(Times)
T = TypeVar("T")
Named = TypeVar("Named", Asset, Upload)


def decoded(content: bytes, *, keep_urls: bool = False) -> Mapping[str, Any] | None:
    """The JSON object in `content`, without the URLs of files; None for anything else."""
    try:
        body = _cleaned(content, keep_urls=keep_urls)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _cleaned(content: bytes, *, keep_urls: bool = False) -> Any:
    body = lenient_json.decode(content)
    return body if keep_urls or not _may_have_url(content) else without_file_urls(body)


def _may_have_url(content: bytes) -> bool:
    """Whether a URL may be in it: most answers have none, and to walk them is what costs."""
    # single bytes are looked for first, and fast; an escape may hide one
    if b"\\" in content and (b"\\u" in content or b"\\/" in content):
        return True
    return (b"/" in content and b"://" in content) or _URL_KEY.search(content) is not None


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
        page, listed = _LIST.decode(content), _TIMES.decode(content).data
    except (ValueError, RecursionError):
        return _read_odd_list(content, at)
    keep_urls = not _may_have_url(content)

    def entries() -> list[Observation]:
        # one by one, where there is more to do than to decode: most need no second look
        found = []
        for entry in page.data:
            with suppress(ValueError, RecursionError):
                found.append(_cleaned(bytes(entry), keep_urls=keep_urls))
        return _observations(found, at)

    times = [parse_time(asset.created_at) for asset in listed]
    created = [created_at for created_at in times if created_at]
    return Page.unread(entries, _cursor(lenient_json.storable(page.next_cursor)), created)


def _read_odd_list(content: bytes, at: datetime) -> Page:
    """A page with something in it that is no JSON, or no asset."""
    body = decoded(content)
    if body is None:
        raise ProviderUnavailable("mux sent a body that is no JSON object")
    listed = body.get("data")
    if not isinstance(listed, list):
        raise ProviderUnavailable("mux sent a list that is none")
    return Page(_observations(listed, at), _cursor(body.get("next_cursor")))


def _observations(entries: Sequence[Any], at: datetime) -> list[Observation]:
    observed = []
    for entry in entries:
        try:
            asset = read(entry, Asset)
        except ProviderError:  # an entry that is no asset must not cost us the others
            continue
        observed.append(asset_observation(asset, entry, ObservationSource.LIST, at))
    return observed


def _cursor(following: Any) -> str | None:
    return following if isinstance(following, str) and following else None


def asset_observation(
    asset: Asset, data: Mapping[str, Any], source: ObservationSource, at: datetime
) -> Observation:
    """An asset as what was seen; `data` is kept with it."""
    status, upload_id = text(asset.status), text_id(asset.upload_id)
    passthrough, playback_ids = text(asset.passthrough), _playback_ids(asset)
    state, error_text = ASSET_STATES.get(status), None
    if asset.errors is not None:
        ids = [playback_id.id for playback_id in playback_ids or ()]
        error_text = reason(asset.errors, asset.id, upload_id, passthrough, *ids)
    return Observation(
        source=source,
        at=at,
        state=state,
        status=status if state else scrub(status)[:64],
        provider_asset_id=asset.id,
        provider_upload_id=upload_id,
        passthrough=passthrough or None,
        playback_ids=playback_ids,
        created_at=parse_time(asset.created_at),
        error_kind=ErrorKind.PROVIDER if state is State.ERRORED else None,
        error_text=error_text,
        metadata=data,
        media=asset_media(data),
    )


def upload_observation(upload: Upload, data: Mapping[str, Any], at: datetime) -> Observation:
    """A direct upload as what was seen of the row that waits for it."""
    status, asset_id = text(upload.status), text_id(upload.asset_id)
    settings = upload.new_asset_settings
    named = settings.get("passthrough") if isinstance(settings, dict) else None
    state, passthrough = UPLOAD_STATES.get(status), text(named)
    told = reason(upload.error, upload.id, asset_id, passthrough)
    ended = f"mux upload {status.replace('_', ' ')}" + (f": {told}" if told else "")
    is_assets = status == "errored" and asset_id  # then it is the asset that failed
    failed = ErrorKind.PROVIDER if is_assets else ErrorKind.UPLOAD
    return Observation(
        source=ObservationSource.UPLOAD,
        at=at,
        state=state,
        status=scrub(status)[:64],
        provider_asset_id=asset_id,
        provider_upload_id=upload.id,
        passthrough=passthrough or None,
        error_kind=failed if state is State.ERRORED else None,
        error_text=ended[:MAX_ERROR_TEXT].rstrip() if state is State.ERRORED else None,
        metadata=data,
    )


def _playback_ids(asset: Asset) -> tuple[PlaybackId, ...] | None:
    """The playback ids that can be read; None where none is said, or none of them can be."""
    if not isinstance(asset.playback_ids, list):
        return None
    found = []
    for entry in asset.playback_ids:
        playback_id = text_id(entry.get("id")) if isinstance(entry, dict) else None
        if playback_id:
            found.append(PlaybackId(playback_id, text(entry.get("policy")) or "unknown"))
    # what cannot be read says nothing of what the asset has
    return tuple(found) if found or not asset.playback_ids else None


def without_file_urls(data: Any) -> Any:
    """`data` without the URLs of files: an upload's, an input's or a master's is a key to the file.

    They stand in fields named so, in inputs and in error texts. What the app gave stays exact.
    """
    match data:
        case dict():
            kept = {}
            for key, value in data.items():
                if key in _MAY_QUOTE:
                    kept[key] = _with_hidden_urls(without_file_urls(value))
                elif key in _OF_THE_APP:
                    kept[key] = value
                elif not key.endswith("url"):
                    kept[key] = without_file_urls(value)
            return kept
        case list():
            return [without_file_urls(value) for value in data]
        case _:
            return data


def _with_hidden_urls(data: Any) -> Any:
    match data:
        case str():
            return hide_urls(data)
        case dict():
            return {key: _with_hidden_urls(value) for key, value in data.items()}
        case list():
            return [_with_hidden_urls(value) for value in data]
        case _:
            return data
