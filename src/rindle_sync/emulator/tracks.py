"""Mux's operations on the tracks of an asset."""

from dataclasses import replace
from typing import Any

from rindle_sync.emulator.asset_parts import add_subtitles, add_track
from rindle_sync.emulator.call import Call
from rindle_sync.emulator.lifecycle import Asset, AssetState
from rindle_sync.emulator.parts import Track, TrackType
from rindle_sync.emulator.requests import GENERATED_SUBTITLES, TRACK, TRACK_UPDATE, read_fields
from rindle_sync.emulator.resources import main_track_types, track_body
from rindle_sync.emulator.responses import NOT_FOUND, ApiResponse
from rindle_sync.emulator.validation import reject


def create_track(call: Call) -> ApiResponse:
    """POST /video/v1/assets/{id}/tracks."""
    asset = call.asset()
    if asset is None:
        return NOT_FOUND
    given = read_fields(call.json(), TRACK, required="url type language_code")
    _check_ready(asset, call.now)
    return _shown(call, add_track(call.environment, asset, given, call.lives.track, call.now), 201)


def update_track(call: Call) -> ApiResponse:
    """PATCH /video/v1/assets/{id}/tracks/{id}."""
    track = _find(call)
    if track is None:
        return NOT_FOUND
    changes = read_fields(call.json(), TRACK_UPDATE)
    track.details.change(call.now, replace(track.details.latest, **changes))
    return _shown(call, track, 200)


def delete_track(call: Call) -> ApiResponse:
    """DELETE /video/v1/assets/{id}/tracks/{id}."""
    asset = call.asset()
    if asset is not None and call.part_id in main_track_types(asset, call.now):
        reject("TRACK_ID", "must not be the video or the primary audio track; it stays")
    track = _find(call)
    if track is None:
        return NOT_FOUND
    call.environment.delete_part(track, call.now)
    return ApiResponse(204)


def generate_subtitles(call: Call) -> ApiResponse:
    """POST /video/v1/assets/{id}/tracks/{id}/generate-subtitles."""
    asset = call.asset()
    if asset is None:
        return NOT_FOUND
    types = main_track_types(asset, call.now)
    types |= {track.id: track.type for track in asset.parts_of(Track, call.now)}
    if call.part_id not in types:
        return NOT_FOUND
    checks = {"generated_subtitles": GENERATED_SUBTITLES}
    wanted = read_fields(call.json(), checks, required="generated_subtitles")
    if types[call.part_id] != TrackType.AUDIO:
        reject("TRACK_ID", "must be an audio track")
    _check_ready(asset, call.now)
    tracks = add_subtitles(
        call.environment, asset, wanted["generated_subtitles"], call.lives.track, call.now
    )
    return ApiResponse(201, {"data": [_body(track, call.now) for track in tracks]})


def _find(call: Call) -> Track | None:
    asset = call.asset()
    tracks = [] if asset is None else asset.parts_of(Track, call.now)
    return next((track for track in tracks if track.id == call.part_id), None)


def _check_ready(asset: Asset, now: float) -> None:
    if asset.state(now) is not AssetState.READY:
        reject("ASSET_ID", "must be of an asset that is ready; wait for video.asset.ready")


def _shown(call: Call, track: Track, status: int) -> ApiResponse:
    return ApiResponse(status, {"data": _body(track, call.now)})


def _body(track: Track, now: float) -> dict[str, Any]:
    return track_body(track, track.state(now), now)
