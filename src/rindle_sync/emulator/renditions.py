"""Mux's operations on the static renditions of an asset."""

from rindle_sync.emulator.asset_parts import add_rendition
from rindle_sync.emulator.call import Call
from rindle_sync.emulator.lifecycle import AssetState
from rindle_sync.emulator.parts import StaticRendition
from rindle_sync.emulator.requests import RENDITION, read_fields
from rindle_sync.emulator.resources import rendition_body
from rindle_sync.emulator.responses import NOT_FOUND, ApiResponse
from rindle_sync.emulator.validation import reject


def create_rendition(call: Call) -> ApiResponse:
    """POST /video/v1/assets/{id}/static-renditions."""
    asset = call.asset()
    if asset is None:
        return NOT_FOUND
    given = read_fields(call.json(), RENDITION, required="resolution")
    if asset.state(call.now) is AssetState.ERRORED:
        reject("ASSET_ID", "must not be of an asset that failed; create another asset")
    rendition = add_rendition(call.environment, asset, given, call.lives.static_rendition, call.now)
    return ApiResponse(201, {"data": rendition_body(rendition, rendition.state(call.now))})


def delete_rendition(call: Call) -> ApiResponse:
    """DELETE /video/v1/assets/{id}/static-renditions/{id}."""
    asset = call.asset()
    for rendition in [] if asset is None else asset.parts_of(StaticRendition, call.now):
        if rendition.id == call.part_id:
            call.environment.delete_part(rendition, call.now)
            return ApiResponse(204)
    return NOT_FOUND
