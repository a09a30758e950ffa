"""Mux's operations on live streams, of which the emulator has none."""

from rindle_sync.emulator.call import Call
from rindle_sync.emulator.responses import NOT_FOUND, ApiResponse


def list_live_streams(call: Call) -> ApiResponse:
    """GET /video/v1/live-streams."""
    call.page()
    return ApiResponse(200, {"data": []})


def get_live_stream(_: Call) -> ApiResponse:
    """GET /video/v1/live-streams/{id}."""
    return NOT_FOUND
