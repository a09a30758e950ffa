"""The JSON of Mux's webhooks and their signature; sends nothing and reads no clock."""

import hmac
import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from rindle_sync.emulator.lifecycle import Asset, AssetState, Part, PartState, Upload, UploadState
from rindle_sync.emulator.parts import StaticRendition, Track
from rindle_sync.emulator.resources import asset_body, rendition_body, track_body, upload_snapshot
from rindle_sync.emulator.timeline import PART_EVENTS, EventType, LifeEvent
from rindle_sync.emulator.whoami import Whoami

SIGNATURE_HEADER: Final = "Mux-Signature"

_ASSET_STATES: Final = {
    EventType.ASSET_CREATED: AssetState.PREPARING,
    EventType.ASSET_READY: AssetState.READY,
    EventType.ASSET_ERRORED: AssetState.ERRORED,
}
_UPLOAD_STATES: Final = {
    EventType.UPLOAD_CREATED: UploadState.WAITING,
    EventType.UPLOAD_ASSET_CREATED: UploadState.ASSET_CREATED,
    EventType.UPLOAD_ERRORED: UploadState.ERRORED,
    EventType.UPLOAD_CANCELLED: UploadState.CANCELLED,
}


@dataclass(slots=True, eq=False)
class WebhookEvent:
    """One event for one endpoint: every delivery has its id and lists the attempts before."""

    id: str
    cause: LifeEvent
    subject: Asset | Upload | Part
    attempts: list[dict[str, Any]] = field(default_factory=list)

    def forged(self) -> "WebhookEvent":
        """A false event with the same id: the asset is deleted, or the upload cancelled."""
        subject = self.subject.asset if isinstance(self.subject, Part) else self.subject
        is_asset = isinstance(subject, Asset)
        false_type = EventType.ASSET_DELETED if is_asset else EventType.UPLOAD_CANCELLED
        return WebhookEvent(self.id, replace(self.cause, type=false_type), subject)


# https://www.mux.com/docs/core/listen-for-webhooks
def write_payload(event: WebhookEvent, whoami: Whoami) -> bytes:
    """The body of a delivery, with the attempts so far and the state at the time of the event."""
    cause = event.cause
    kind, subject_id, data = _subject_body(event)
    envelope = {
        "type": cause.type,
        "request_id": None,
        "object": {"type": kind, "id": subject_id},
        "id": event.id,
        "environment": {"name": whoami.environment_name, "id": whoami.environment_id},
        "data": data,
        "created_at": timestamp(cause.at),
        "attempts": event.attempts,
        "accessor_source": None,
        "accessor": None,
    }
    return json.dumps(envelope, separators=(",", ":")).encode()


def _subject_body(event: WebhookEvent) -> tuple[str, str, dict[str, Any]]:
    cause, subject = event.cause, event.subject
    if isinstance(subject, Upload):
        return "upload", subject.id, upload_snapshot(subject, _UPLOAD_STATES[cause.type])
    if isinstance(subject, Track):
        state = _part_state(subject, cause.type)
        return (
            "track",
            subject.id,
            track_body(subject, state, cause.at) | _part_body(subject, state),
        )
    if isinstance(subject, StaticRendition):
        state = _part_state(subject, cause.type)
        if state is PartState.DELETED:  # Mux knows no such status of a static rendition
            state = subject.last_state(cause.at)
        body = rendition_body(subject, state) | _part_body(subject, state)
        return "static-rendition", subject.id, body
    asset = subject.asset if isinstance(subject, Part) else subject
    return "asset", asset.id, _asset_snapshot(asset, cause)


def _asset_snapshot(asset: Asset, cause: LifeEvent) -> dict[str, Any]:
    state = _ASSET_STATES.get(cause.type) or asset.last_state(cause.at)
    body = asset_body(asset, state, cause.at)
    # Here, and only here, Mux writes these as numbers.
    body["created_at"] = int(asset.created_at)
    for file in body.get("static_renditions", {}).get("files", []):
        if "filesize" in file:
            file["filesize"] = int(file["filesize"])
    for recording in body.get("recording_times", []):
        recording["started_at"] = _seconds_and_nanos(recording["started_at"])
    for track in asset.parts_of(Track, cause.at):
        if track.state(cause.at) is PartState.ERRORED:
            shown = next(shown for shown in body["tracks"] if shown["id"] == track.id)
            shown |= _error_body(track)
    return body


def _seconds_and_nanos(moment: str) -> dict[str, int]:
    at = datetime.fromisoformat(moment)
    return {"seconds": int(at.timestamp()), "nanos": at.microsecond * 1000}


def _part_state(part: Part, what: EventType) -> PartState:
    states = {event: state for state, event in PART_EVENTS[type(part)].items()}
    return states[what]


def _part_body(part: Part, state: PartState) -> dict[str, Any]:
    body: dict[str, Any] = {"asset_id": part.asset.id}
    if state is PartState.ERRORED:
        body |= _error_body(part)
    return body


# only webhooks say why a part failed
def _error_body(part: Part) -> dict[str, Any]:
    life = part.life
    return {"error": {"type": life.error_type, "messages": [life.error_message]}}


def timestamp(at: float) -> str:
    """Unix seconds in the format that Mux uses for the time of an event."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


# https://www.mux.com/docs/core/verify-webhook-signatures
def sign(body: bytes, secret: str, now: float) -> str:
    """The value of the signature header of a body sent at `now`."""
    at = str(int(now))
    signature = hmac.new(secret.encode(), f"{at}.".encode() + body, "sha256").hexdigest()
    return f"t={at},v1={signature}"
