"""Mux's webhooks: whose they are, what they say about themselves, and what was seen in them.

https://www.mux.com/docs/core/verify-webhook-signatures
"""

import hashlib
import hmac
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

import msgspec

from rindle_sync.domain import (
    FINISHED,
    LIVE,
    LONGEST_TEXT,
    MASTER,
    ErrorKind,
    Media,
    Observation,
    ObservationSource,
    ReceivedEvent,
    State,
    output_key,
    replace,
)
from rindle_sync.errors import ConfigurationError, InvalidWebhook, ProviderError
from rindle_sync.providers.base import Delivery
from rindle_sync.providers.mux.fields import parse_time, text_id
from rindle_sync.providers.mux.media import asset_media, read_rendition, read_track
from rindle_sync.providers.mux.responses import (
    Asset,
    Upload,
    asset_observation,
    decoded,
    read,
    upload_observation,
    without_file_urls,
)

SIGNATURE_HEADER: Final = "mux-signature"

_ABOUT_ASSETS: Final = "video.asset."
"""How the types of all events about an asset begin, those about a part of it among them."""
_UPDATED: Final = "video.asset.updated"
_WARNING: Final = "video.asset.warning"
_LATER_EVENTS: Final = re.compile(
    r"video\.asset\.(live_stream_completed|non_standard_input_detected|warning"
    r"|(master|static_renditions)\..+)"
)
"""Those about more than the state whose `id` is the asset's; all but a warning hold all of it."""

_LIVE_ENDED: Final = "video.asset.live_stream_completed"
_ENDS: Final = frozenset({"ready", "errored"})
_OUTPUT_EVENTS: Final = {"track": read_track, "static_rendition": read_rendition}
"""How the part of an asset is read that an event holds, by what follows `video.asset.`."""
_OUTPUT_WORDS: Final = {word: word for word in ("ready", "errored", "skipped")}
"""The statuses that the last word of such a type says."""

# the type says more than the snapshot beside it: a deleted asset's still says "ready"
_ASSET_EVENTS: Final[Mapping[str, State | None]] = {
    "video.asset.created": None,
    _UPDATED: None,
    "video.asset.ready": State.READY,
    "video.asset.errored": State.ERRORED,
    "video.asset.deleted": State.DELETED,
}
_UPLOAD_EVENTS: Final = {
    "video.upload.created": "waiting",
    "video.upload.asset_created": "asset_created",
    "video.upload.cancelled": "cancelled",
    "video.upload.errored": "errored",
}

ACTED_ON: Final = (f"{_ABOUT_ASSETS}*", *_UPLOAD_EVENTS)
"""The types that say something about a row; `*` stands for any end."""


class _Envelope(msgspec.Struct):
    """https://www.mux.com/docs/core/listen-for-webhooks .

    All but the type and the id may be there or not.
    """

    type: str
    id: str
    created_at: Any = None
    object: Any = None
    environment: Any = None
    data: Any = None


def verify(
    headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: datetime, tolerance: float
) -> int:
    """The position of the secret that signed `body`; header names are in lower case.

    Raises `InvalidWebhook`.

    The time must be within `tolerance` seconds of ours, in both directions; Mux's own libraries
    bound only the past.
    """
    if not secrets or not all(secrets):
        raise ConfigurationError(
            "mux_webhook_secrets", "is not set: without it a forged webhook cannot be rejected"
        )
    timestamp, signatures = _signature(headers.get(SIGNATURE_HEADER))
    message = f"{timestamp}.".encode() + body
    matching = []
    for secret in secrets:
        expected = hmac.digest(secret.encode(), message, "sha256").hex().encode()
        # every one is compared, in constant time: how long it takes tells nothing
        same = [hmac.compare_digest(expected, given) for given in signatures]
        matching.append(any(same))
    if True not in matching:
        raise InvalidWebhook("signature_mismatch")
    if abs(now.timestamp() - int(timestamp)) > tolerance:
        raise InvalidWebhook("timestamp_out_of_window")
    return matching.index(True)


def _signature(header: str | None) -> tuple[str, list[bytes]]:
    if not header:
        raise InvalidWebhook("no_signature")
    parts = [part.partition("=") for part in header.split(",")]
    times = [value for key, _, value in parts if key == "t"]
    signatures = [value.encode(errors="replace") for key, _, value in parts if key == "v1"]
    if len(times) != 1 or not (times[0].isascii() and times[0].isdigit() and len(times[0]) <= 15):
        raise InvalidWebhook("malformed_header")
    if not signatures:
        raise InvalidWebhook("no_v1_signature")
    return times[0], signatures


def sign(body: bytes, secret: str, now: datetime) -> str:
    """The signature header that Mux would send with `body`."""
    timestamp = str(int(now.timestamp()))
    mac = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256)
    return f"t={timestamp},v1={mac.hexdigest()}"


def test_delivery(secret: str, environment: str | None, now: datetime) -> Delivery:
    """A signed webhook about `environment` that is stored, and acted on by nobody."""
    event = {
        "type": "rindle_sync.doctor",
        "id": str(uuid4()),
        "created_at": now.isoformat(),
        "environment": {"id": environment},
        "data": {},
    }
    body = json.dumps(event).encode()
    return Delivery({SIGNATURE_HEADER: sign(body, secret, now)}, body)


def read_event(body: bytes) -> ReceivedEvent:
    """What a webhook says about itself.

    Raises `InvalidWebhook` where it has no type or no event id.
    """
    envelope = _envelope(body)
    asset_id, upload_id, passthrough = _subject(envelope)
    is_ours = envelope.type in _UPLOAD_EVENTS or envelope.type.startswith(_ABOUT_ASSETS)
    named = _object(envelope.object).get("id") or _object(envelope.data).get("id")
    return ReceivedEvent(
        event_id=envelope.id,
        type=envelope.type,
        environment=text_id(_object(envelope.environment).get("id")),
        occurred_at=parse_time(envelope.created_at),
        provider_asset_id=asset_id,
        provider_upload_id=upload_id,
        passthrough=passthrough,
        object_id=None if is_ours else text_id(named),
        acted_on=is_ours,
    )


def _subject(envelope: _Envelope) -> tuple[str | None, str | None, str | None]:
    """The asset, the upload and the passthrough that an event is about.

    Of a track or a rendition neither id nor passthrough are the asset's; `asset_id` names it.
    """
    data, named = _object(envelope.data), _object(envelope.object)
    passthrough = data.get("passthrough")
    if envelope.type in _UPLOAD_EVENTS:
        settings = data.get("new_asset_settings")
        if isinstance(settings, dict):
            passthrough = settings.get("passthrough")
        upload_id = data.get("id") or named.get("id")
        return text_id(data.get("asset_id")), text_id(upload_id), text_id(passthrough)
    of_object = named.get("id") if named.get("type") == "asset" else None
    if envelope.type in _ASSET_EVENTS or _LATER_EVENTS.fullmatch(envelope.type):
        asset_id = data.get("id") or of_object
        return text_id(asset_id), text_id(data.get("upload_id")), text_id(passthrough)
    return text_id(data.get("asset_id") or of_object), None, None


def read_observation(body: bytes, at: datetime) -> Observation:
    """What was seen in a webhook that came in `at`.

    Raises `InvalidWebhook` for one that cannot be read.
    """
    envelope = _envelope(body)
    try:
        data = without_file_urls(_object(envelope.data))
        if envelope.type in _UPLOAD_EVENTS:
            # the type says how the upload stands; the snapshot may be newer than the event
            upload = msgspec.structs.replace(
                read(data, Upload), status=_UPLOAD_EVENTS[envelope.type]
            )
            observation = replace(
                upload_observation(upload, data, at),
                source=ObservationSource.WEBHOOK,
                # beside an asset it would replace what is known of that
                metadata=None if upload.asset_id else data,
            )
        elif envelope.type in _ASSET_EVENTS:
            asset = read(data, Asset)
            observation = asset_observation(asset, data, ObservationSource.WEBHOOK, at)
            state = _ASSET_EVENTS[envelope.type] or observation.state
            failed = ErrorKind.PROVIDER if state is State.ERRORED else None
            observation = replace(observation, state=state, error_kind=failed)
            if envelope.type == _UPDATED and observation.playback_ids is None:
                # Mux leaves the field out where there are none: a check sees whether they went
                observation = replace(observation, playback_ids=())
        else:
            observation = _later_observation(envelope, data, at)
    except (ProviderError, RecursionError):
        raise InvalidWebhook("unreadable_data") from None
    return replace(observation, event_id=envelope.id, occurred_at=parse_time(envelope.created_at))


def _later_observation(envelope: _Envelope, data: Mapping[str, Any], at: datetime) -> Observation:
    """What an event about more than the state of its asset says; a check brings the rest."""
    observation = Observation(
        source=ObservationSource.WEBHOOK, at=at, provider_asset_id=_subject(envelope)[0]
    )
    about, _, word = envelope.type.removeprefix(_ABOUT_ASSETS).rpartition(".")
    if envelope.type != _WARNING and _LATER_EVENTS.fullmatch(envelope.type):
        media = asset_media(data)
        reported = tuple(_reported(envelope.type, media))
        return replace(observation, metadata=data, media=media, reported=reported)
    if about not in _OUTPUT_EVENTS:
        return observation
    # the type says more than the status beside it
    status = {"status": _OUTPUT_WORDS.get(word, data.get("status"))}
    output = _OUTPUT_EVENTS[about](dict(data) | status, {})
    if output is None or word == "deleted":
        return replace(observation, output=output, output_gone=word == "deleted")
    is_finished = output.status in FINISHED
    return replace(
        observation, output=output, reported=(output_key(output),) if is_finished else ()
    )


def _reported(event_type: str, media: Media) -> Iterator[str]:
    """The keys of the outputs whose end an event with the whole asset reports."""
    about, _, word = event_type.removeprefix(_ABOUT_ASSETS).rpartition(".")
    if event_type == _LIVE_ENDED and not media.is_live:
        yield LIVE
    elif about == "master" and word in _ENDS:
        yield MASTER
    elif about == "static_renditions" and word in _ENDS:
        yield from (output_key(file) for file in media.renditions if file.status in FINISHED)


def _envelope(body: bytes) -> _Envelope:
    content = decoded(body, keep_urls=True)
    if content is None:
        raise InvalidWebhook("no_json_object")
    try:
        envelope = msgspec.convert(content, _Envelope)
    except msgspec.ValidationError:
        raise InvalidWebhook("no_event") from None
    if not (0 < len(envelope.id) <= LONGEST_TEXT and 0 < len(envelope.type) <= LONGEST_TEXT):
        raise InvalidWebhook("no_event")
    return envelope


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
