"""Mux's operations on playback ids."""

from typing import Any

from rindle_sync.emulator.call import Call
from rindle_sync.emulator.lifecycle import Asset, PlaybackId, Policy
from rindle_sync.emulator.requests import PLAYBACK_ID, read_fields
from rindle_sync.emulator.resources import playback_id_body
from rindle_sync.emulator.responses import NOT_FOUND, ApiResponse


def create_playback_id(call: Call) -> ApiResponse:
    """POST /video/v1/assets/{id}/playback-ids."""
    asset = call.asset()
    if asset is None:
        return NOT_FOUND
    policy = read_fields(call.json(), PLAYBACK_ID).get("policy", Policy.PUBLIC)
    playback_id = call.environment.create_playback_id(asset, policy, call.now)
    return ApiResponse(201, {"data": playback_id_body(playback_id)})


def get_asset_playback_id(call: Call) -> ApiResponse:
    """GET /video/v1/assets/{id}/playback-ids/{id}."""
    found = _of_asset(call)
    return NOT_FOUND if found is None else _shown(found[1])


def delete_playback_id(call: Call) -> ApiResponse:
    """DELETE /video/v1/assets/{id}/playback-ids/{id}."""
    found = _of_asset(call)
    if found is None:
        return NOT_FOUND
    call.environment.delete_playback_id(*found, call.now)
    return ApiResponse(204)


def get_playback_id(call: Call) -> ApiResponse:
    """GET /video/v1/playback-ids/{id}."""
    found = call.environment.playback_id(call.id, call.now)
    if found is None:
        return NOT_FOUND
    asset, playback_id = found
    return _shown(playback_id, object={"type": "asset", "id": asset.id})


def _of_asset(call: Call) -> tuple[Asset, PlaybackId] | None:
    found = call.environment.playback_id(call.part_id, call.now)
    return found if found is not None and found[0].id == call.id else None


def _shown(playback_id: PlaybackId, **more: Any) -> ApiResponse:
    return ApiResponse(200, {"data": playback_id_body(playback_id) | more})
