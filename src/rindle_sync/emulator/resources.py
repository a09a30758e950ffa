"""The JSON of Mux's objects: https://www.mux.com/docs/api-reference/video."""

from collections.abc import Mapping
from typing import Any, Final
from zlib import crc32

from rindle_sync.emulator.ids import derive
from rindle_sync.emulator.lifecycle import Asset, AssetState, Upload, UploadState, VideoQuality

_ENCODING_TIERS: Final[Mapping[str, str]] = {
    VideoQuality.BASIC: "baseline",
    VideoQuality.PLUS: "smart",
    VideoQuality.PREMIUM: "premium",
}
_PROGRESS: Final = {
    AssetState.PREPARING: {"state": "ingesting", "progress": 0},
    AssetState.READY: {"state": "completed", "progress": 100},
    AssetState.ERRORED: {"state": "errored", "progress": -1},
}
_FRAME_RATE: Final = 29.97
_TEST_SECONDS: Final = 10.0
_LONGEST_MILLISECONDS: Final = 3_600_000


def asset_body(asset: Asset, state: AssetState) -> dict[str, Any]:
    """An asset in `state` as the responses of GET, the list and POST show it."""
    settings = asset.settings
    body: dict[str, Any] = {
        "id": asset.id,
        # Mux writes the times of assets as whole Unix seconds, in a text
        "created_at": str(int(asset.created_at)),
        "status": state,
        "master_access": "none",
        "progress": _PROGRESS[state],
        "ingest_type": "on_demand_url",
        "video_quality": settings.video_quality,
        "encoding_tier": _ENCODING_TIERS[settings.video_quality],
        "max_resolution_tier": settings.max_resolution_tier,
    }
    if settings.passthrough is not None:
        body["passthrough"] = settings.passthrough
    if settings.meta is not None:
        body["meta"] = dict(settings.meta)
    if settings.test:
        body["test"] = True
    if asset.playback_ids:
        body["playback_ids"] = [
            {"policy": playback_id.policy, "id": playback_id.id}
            for playback_id in asset.playback_ids
        ]
    if asset.upload_id is not None:
        body |= {"ingest_type": "on_demand_direct_upload", "upload_id": asset.upload_id}
    return body | _result_body(asset, state)


def _result_body(asset: Asset, state: AssetState) -> dict[str, Any]:
    if state is AssetState.ERRORED:
        life = asset.life
        return {"errors": {"type": life.error_type, "messages": [life.error_message]}}
    if state is not AssetState.READY:
        return {}
    seconds = _TEST_SECONDS
    if not asset.settings.test:
        # Derived from the id: the same in every response, and different from asset to asset.
        seconds = 5.0 + crc32(asset.id.encode()) % _LONGEST_MILLISECONDS / 1000
    video = {
        "type": "video",
        "id": derive(asset.id, "video"),
        "duration": seconds,
        "max_width": 1920,
        "max_height": 1080,
        "max_frame_rate": _FRAME_RATE,
    }
    audio = {
        "type": "audio",
        "id": derive(asset.id, "audio"),
        "duration": seconds,
        "max_channels": 2,
    }
    return {
        "duration": seconds,
        "aspect_ratio": "16:9",
        "resolution_tier": "1080p",
        "max_stored_resolution": "HD",
        "max_stored_frame_rate": _FRAME_RATE,
        "tracks": [video, audio],
    }


def upload_body(upload: Upload, now: float, base_url: str) -> dict[str, Any]:
    """An upload as the responses of the API show it; its `url` only while it is waiting."""
    state = upload.state(now)
    body = upload_snapshot(upload, state)
    if state is UploadState.WAITING:
        body["url"] = f"{base_url}/_upload/{upload.id}?signature={upload.signature}"
    return body


def upload_snapshot(upload: Upload, state: UploadState) -> dict[str, Any]:
    """An upload as a webhook shows it: without `url`, with which anybody could upload a file."""
    body: dict[str, Any] = {
        "id": upload.id,
        "timeout": upload.timeout,
        "status": state.value,
        "cors_origin": upload.cors_origin,
        "new_asset_settings": dict(upload.requested),
    }
    if upload.settings.test:
        body["test"] = True
    if upload.asset is not None and state in {UploadState.ASSET_CREATED, UploadState.ERRORED}:
        body["asset_id"] = upload.asset.id
        if state is UploadState.ERRORED:
            life = upload.asset.life
            body["error"] = {"type": life.error_type, "message": life.error_message}
    return body
