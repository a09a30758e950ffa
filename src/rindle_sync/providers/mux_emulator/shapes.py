"""The JSON of Mux's objects (https://www.mux.com/docs/api-reference/video), made when it is asked for."""

from collections.abc import Mapping
from typing import Any, Final
from zlib import crc32

from rindle_sync.providers.mux_emulator.ids import derive
from rindle_sync.providers.mux_emulator.lives import (
    Asset,
    AssetState,
    PlaybackId,
    Settings,
    Upload,
    UploadState,
    VideoQuality,
)

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


def asset_body(asset: Asset, now: float) -> dict[str, Any]:
    """An asset as GET, the list and POST show it."""
    return _asset_body(asset, asset.state(now))


def asset_snapshot(asset: Asset, state: AssetState) -> dict[str, Any]:
    """An asset as a webhook shows it: `created_at` is a number there, and no status says that it is deleted."""
    return _asset_body(asset, state) | {"created_at": int(asset.created_at)}


def _asset_body(asset: Asset, state: AssetState) -> dict[str, Any]:
    body = {
        "id": asset.id,
        "created_at": str(int(asset.created_at)),
        "status": state,
        "master_access": "none",
        "progress": _PROGRESS[state],
        "ingest_type": "on_demand_url" if asset.upload_id is None else "on_demand_direct_upload",
        **_settings_body(asset.settings),
    }
    if asset.playback_ids:
        body["playback_ids"] = [{"policy": one.policy, "id": one.id} for one in asset.playback_ids]
    if asset.upload_id is not None:
        body["upload_id"] = asset.upload_id
    body.update(_ending_body(asset, state))
    return body


def _settings_body(settings: Settings) -> dict[str, Any]:
    body: dict[str, Any] = {
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
    return body


def _ending_body(asset: Asset, state: AssetState) -> dict[str, Any]:
    match state:
        case AssetState.READY:
            return _media_body(asset)
        case AssetState.ERRORED:
            return {"errors": {"type": asset.life.error_type, "messages": [asset.life.error_message]}}
        case _:
            return {}


def _media_body(asset: Asset) -> dict[str, Any]:
    seconds = _TEST_SECONDS if asset.settings.test else 5.0 + crc32(asset.id.encode()) % 3_600_000 / 1000
    video = {
        "type": "video",
        "id": derive(asset.id, "video"),
        "duration": seconds,
        "max_width": 1920,
        "max_height": 1080,
        "max_frame_rate": _FRAME_RATE,
    }
    audio = {"type": "audio", "id": derive(asset.id, "audio"), "duration": seconds, "max_channels": 2}
    return {
        "duration": seconds,
        "aspect_ratio": "16:9",
        "resolution_tier": "1080p",
        "max_stored_resolution": "HD",
        "max_stored_frame_rate": _FRAME_RATE,
        "tracks": [video, audio],
    }


def upload_body(upload: Upload, now: float, base_url: str) -> dict[str, Any]:
    """An upload as GET, the list, POST and cancel show it; its `url` only while it waits."""
    state = upload.state(now)
    body = upload_snapshot(upload, state)
    if state is UploadState.WAITING:
        body["url"] = f"{base_url}/_upload/{upload.id}?signature={upload.signature}"
    return body


def upload_snapshot(upload: Upload, state: UploadState) -> dict[str, Any]:
    """An upload as a webhook shows it; its `url` opens the door to anybody and stays out."""
    body: dict[str, Any] = {
        "id": upload.id,
        "timeout": upload.timeout,
        "status": state.value,
        "cors_origin": upload.cors_origin,
        "new_asset_settings": dict(upload.given),
    }
    if upload.settings.test:
        body["test"] = True
    if upload.asset is not None and state in {UploadState.ASSET_CREATED, UploadState.ERRORED}:
        body["asset_id"] = upload.asset.id
        if state is UploadState.ERRORED:
            body["error"] = {"type": upload.asset.life.error_type, "message": upload.asset.life.error_message}
    return body


def playback_id_body(asset: Asset, one: PlaybackId) -> dict[str, Any]:
    """A playback id and what it plays."""
    return {"id": one.id, "policy": one.policy, "object": {"type": "asset", "id": asset.id}}
