"""The JSON of Mux's objects: https://www.mux.com/docs/api-reference/video."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from rindle_sync.emulator.ids import derive
from rindle_sync.emulator.lifecycle import (
    Asset,
    AssetState,
    PartState,
    PlaybackId,
    Upload,
    UploadState,
    VideoQuality,
)
from rindle_sync.emulator.parts import Master, Resolution, StaticRendition, Track, TrackType

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
_BITRATE: Final = 2_000_000


def asset_body(asset: Asset, state: AssetState, at: float) -> dict[str, Any]:
    """An asset in `state` as the responses of GET, the list and POST show it at a time."""
    version = asset.versions.at(at)
    settings = version.settings
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
    if version.thumbnail_time is not None:
        body["thumbnail_time"] = version.thumbnail_time
    if version.playback_ids:
        body["playback_ids"] = [playback_id_body(shown) for shown in version.playback_ids]
    if asset.upload_id is not None:
        body |= {"ingest_type": "on_demand_direct_upload", "upload_id": asset.upload_id}
    if settings.live_stream_id is not None:
        body |= _recording_body(asset, state, at)
    body |= _result_body(asset, state, at)
    return body | _parts_body(asset, at, body.get("tracks", [])) if asset.parts else body


def _recording_body(asset: Asset, state: AssetState, at: float) -> dict[str, Any]:
    body: dict[str, Any] = {
        "ingest_type": "live_rtmp",
        "live_stream_id": asset.settings.live_stream_id,
        "is_live": asset.is_live(at),
    }
    if state is AssetState.READY and body["is_live"]:
        body["progress"] = {"state": "live", "progress": -1}
    if state is AssetState.READY and asset.settings.live_seconds is not None:
        began_at = datetime.fromtimestamp(asset.created_at, UTC).isoformat()
        recorded = {"started_at": began_at, "duration": asset.seconds(at), "type": "content"}
        body["recording_times"] = [recorded]
    return body


def playback_id_body(playback_id: PlaybackId) -> dict[str, Any]:
    """A playback id as the responses about it and its asset show it."""
    return {"policy": playback_id.policy, "id": playback_id.id}


def _parts_body(asset: Asset, at: float, main: list[dict[str, Any]]) -> dict[str, Any]:
    body: dict[str, Any] = {}
    tracks = [track_body(track, track.state(at), at) for track in asset.parts_of(Track, at)]
    if tracks:
        body["tracks"] = [*main, *tracks]
    renditions = asset.parts_of(StaticRendition, at)
    if renditions:
        files = [rendition_body(rendition, rendition.state(at)) for rendition in renditions]
        body["static_renditions"] = {"files": files}
    for master in asset.parts_of(Master, at):
        body |= {"master_access": "temporary", "master": {"status": master.state(at)}}
        if master.state(at) is PartState.READY:
            body["master"]["url"] = (
                f"https://master.mux.com/{asset.id}/master.mp4?signature={master.id}"
            )
    return body


def main_track_types(asset: Asset, at: float) -> dict[str, str]:
    """The types of the video and the primary audio track, by their ids."""
    tracks = _result_body(asset, asset.state(at), at).get("tracks", [])
    return {track["id"]: track["type"] for track in tracks}


def track_body(track: Track, state: PartState, at: float) -> dict[str, Any]:
    """An added track in `state` as the responses about it and its asset show it at a time."""
    details = track.details.at(at)
    body: dict[str, Any] = {
        "id": track.id,
        "type": track.type,
        "status": state.value,
        "language_code": details.language_code,
    }
    if track.type == TrackType.TEXT:
        source = "generated_vod" if track.is_generated else "uploaded"
        body |= {"text_type": "subtitles", "text_source": source}
    else:
        body["primary"] = False
    for name in ("name", "closed_captions", "passthrough"):
        value = getattr(details, name)
        if value is not None:
            body[name] = value
    return body


def rendition_body(rendition: StaticRendition, state: PartState) -> dict[str, Any]:
    """A static rendition in `state` as the responses about it and its asset show it."""
    resolution = rendition.resolution
    is_standard = resolution in {Resolution.HIGHEST, Resolution.AUDIO_ONLY}
    body: dict[str, Any] = {
        "id": rendition.id,
        "name": rendition.name,
        "ext": rendition.extension,
        "resolution": resolution.value,
        "type": "standard" if is_standard else "advanced",
        "status": state.value,
    }
    if rendition.passthrough is not None:
        body["passthrough"] = rendition.passthrough
    if state is PartState.READY:
        filesize = int(rendition.asset.seconds(rendition.ends_at) * _BITRATE / 8)
        body |= {"bitrate": _BITRATE, "filesize": str(filesize)}
        body["resolution_tier"] = resolution.tier
        if resolution.height is not None:
            body |= {"height": resolution.height, "width": resolution.height * 16 // 9}
    return body


def _result_body(asset: Asset, state: AssetState, at: float) -> dict[str, Any]:
    if state is AssetState.ERRORED:
        life = asset.life
        return {"errors": {"type": life.error_type, "messages": [life.error_message]}}
    if state is not AssetState.READY:
        return {}
    seconds = asset.seconds(at)
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
        "primary": True,
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
