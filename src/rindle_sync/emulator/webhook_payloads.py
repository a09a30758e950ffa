"""The JSON of Mux's webhooks and their signature; sends nothing and reads no clock."""

import hmac
import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from rindle_sync.emulator.api import Whoami
from rindle_sync.emulator.lifecycle import Asset, AssetState, Upload, UploadState
from rindle_sync.emulator.resources import asset_body, upload_snapshot
from rindle_sync.emulator.timeline import EventType, LifeEvent

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
    subject: Asset | Upload
    attempts: list[dict[str, Any]] = field(default_factory=list)

    def forged(self) -> "WebhookEvent":
        """A false event with the same id: the asset is deleted, or the upload cancelled."""
        is_asset = isinstance(self.subject, Asset)
        false_type = EventType.ASSET_DELETED if is_asset else EventType.UPLOAD_CANCELLED
        return WebhookEvent(self.id, replace(self.cause, type=false_type), self.subject)


# https://www.mux.com/docs/core/listen-for-webhooks
def write_payload(event: WebhookEvent, whoami: Whoami) -> bytes:
    """The body of a delivery, with the attempts so far and the state at the time of the event."""
    cause, subject = event.cause, event.subject
    if isinstance(subject, Asset):
        kind = "asset"
        state = _ASSET_STATES.get(cause.type) or subject.last_state(cause.at)
        # Here, and only here, Mux writes `created_at` as a number.
        data = asset_body(subject, state) | {"created_at": int(subject.created_at)}
    else:
        kind = "upload"
        data = upload_snapshot(subject, _UPLOAD_STATES[cause.type])
    envelope = {
        "type": cause.type,
        "request_id": None,
        "object": {"type": kind, "id": subject.id},
        "id": event.id,
        "environment": {"name": whoami.environment_name, "id": whoami.environment_id},
        "data": data,
        "created_at": timestamp(cause.at),
        "attempts": event.attempts,
        "accessor_source": None,
        "accessor": None,
    }
    return json.dumps(envelope, separators=(",", ":")).encode()


def timestamp(at: float) -> str:
    """Unix seconds in the format that Mux uses for the time of an event."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


# https://www.mux.com/docs/core/verify-webhook-signatures
def sign(body: bytes, secret: str, now: float) -> str:
    """The value of the signature header of a body sent at `now`."""
    at = str(int(now))
    signature = hmac.new(secret.encode(), f"{at}.".encode() + body, "sha256").hexdigest()
    return f"t={at},v1={signature}"
