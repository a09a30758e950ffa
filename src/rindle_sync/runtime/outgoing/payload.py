"""What an outgoing webhook says of a change: thin, and without an id of the provider's asset."""

from datetime import UTC, datetime
from typing import Any

from rindle_sync.domain import ProviderAsset, Rendition, Track, change_type
from rindle_sync.store import Change, PublishedChange


def message_id(row_id: str, version: int) -> str:
    """The `webhook-id` of a change: the same at each attempt, and at each endpoint."""
    return f"msg_{row_id.replace('-', '')}_{version}"


def type_of(change: Change) -> str:
    """The type of a change, as in `asset.ready`."""
    return change_type(change.kind, change.to_state)


def change_payload(published: PublishedChange, row: ProviderAsset | None) -> dict[str, Any]:
    """A change as JSON has it, with its row as it is now; None where that is gone.

    The `reference` is in it as the app has given it. `profile` is null with a row that is gone.
    """
    change = published.change
    data = {
        "id": published.id,
        "version": change.version,
        "environment": change.environment,
        "from_state": change.from_state.value,
        "state": change.to_state.value,
        "error_kind": change.error_kind and change.error_kind.value,
        "row_id": change.row_id,
        "reference": change.reference,
        "profile": row and row.profile,
        "asset": row and _asset(row),
    }
    return {"type": type_of(change), "timestamp": iso_time(change.at), "data": data}


def iso_time(moment: datetime) -> str:
    """A time as the specification writes it: ISO 8601 in UTC, with microseconds and a `Z`."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _asset(row: ProviderAsset) -> dict[str, Any]:
    # field by field: no field that a row gains later goes out unseen
    return {
        "state": row.state.value,
        "version": row.version,
        "playback_ids": [{"id": played.id, "policy": played.policy} for played in row.playback_ids],
        "duration": row.duration,
        "aspect_ratio": row.aspect_ratio,
        "resolution": row.resolution,
        "max_frame_rate": row.max_frame_rate,
        "title": row.title,
        "is_live": row.is_live,
        "tracks": [_track(track) for track in row.tracks],
        "renditions": [_rendition(rendition) for rendition in row.renditions],
        "updated_at": iso_time(row.updated_at),
    }


def _track(track: Track) -> dict[str, Any]:
    return {
        "kind": track.kind.value,
        "status": track.status.value,
        "language": track.language,
        "name": track.name,
    }


def _rendition(rendition: Rendition) -> dict[str, Any]:
    return {
        "name": rendition.name,
        "status": rendition.status.value,
        "resolution": rendition.resolution,
        "bitrate": rendition.bitrate,
        "size": rendition.size,
    }
