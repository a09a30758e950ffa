"""The JSON of Mux's webhooks and their signature; sends nothing and reads no clock."""

import hmac
import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from rindle_sync.providers.mux_emulator.lives import Asset, AssetState, Upload, UploadState
from rindle_sync.providers.mux_emulator.rest import Account
from rindle_sync.providers.mux_emulator.shapes import asset_snapshot, upload_snapshot
from rindle_sync.providers.mux_emulator.timeline import EventType, LifeEvent

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
class Notice:
    """One event for one endpoint: all its deliveries have this id, and each tells of the attempts before it."""

    id: str
    event: LifeEvent
    subject: Asset | Upload
    attempts: list[dict[str, Any]] = field(default_factory=list)

    def lie(self) -> "Notice":
        """What a forger makes of it: under the same id, that all is over with the asset or upload."""
        end = EventType.ASSET_DELETED if isinstance(self.subject, Asset) else EventType.UPLOAD_CANCELLED
        return Notice(self.id, replace(self.event, type=end), self.subject)


# https://www.mux.com/docs/core/listen-for-webhooks
def write_notice(notice: Notice, account: Account) -> bytes:
    """The body of a delivery, with the attempts made so far."""
    event, subject = notice.event, notice.subject
    envelope = {
        "type": event.type,
        "request_id": None,
        "object": {"type": "asset" if isinstance(subject, Asset) else "upload", "id": subject.id},
        "id": notice.id,
        "environment": {"name": account.environment_name, "id": account.environment_id},
        "data": _snapshot(event, subject),
        "created_at": timestamp(event.at),
        "attempts": notice.attempts,
        "accessor_source": None,
        "accessor": None,
    }
    return json.dumps(envelope, separators=(",", ":")).encode()


def timestamp(at: float) -> str:
    """Unix seconds as Mux writes the time of an event."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


# https://www.mux.com/docs/core/verify-webhook-signatures
def sign(body: bytes, secret: str, now: float) -> str:
    """The value of the signature's header for a body sent `now`."""
    at = str(int(now))
    return f"t={at},v1={hmac.new(secret.encode(), at.encode() + b'.' + body, 'sha256').hexdigest()}"


def _snapshot(event: LifeEvent, subject: Asset | Upload) -> dict[str, Any]:
    if isinstance(subject, Asset):
        return asset_snapshot(subject, _ASSET_STATES.get(event.type) or subject.last_state(event.at))
    return upload_snapshot(subject, _UPLOAD_STATES[event.type])
