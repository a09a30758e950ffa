"""Every call of Mux's API that the emulator serves."""

from dataclasses import asdict
from typing import Final

from rindle_sync.emulator import (
    assets,
    live_streams,
    master,
    playback_ids,
    renditions,
    tracks,
    uploads,
    webhook_endpoints,
)
from rindle_sync.emulator.call import Action, Call, Operation
from rindle_sync.emulator.responses import NOT_FOUND, ApiResponse, problem

_ASSETS: Final = "/video/v1/assets"
_ASSET: Final = f"{_ASSETS}/{{id}}"
_UPLOADS: Final = "/video/v1/uploads"
_LIVE_STREAMS: Final = "/video/v1/live-streams"
_WEBHOOKS: Final = "/system/v1/webhooks"


def whoami(call: Call) -> ApiResponse:
    """GET /system/v1/whoami."""
    return ApiResponse(200, {"data": asdict(call.whoami)})


def not_served(call: Call) -> ApiResponse:
    """Any call that Mux may know and the emulator does not serve."""
    if "%2f" in call.path.lower():
        return NOT_FOUND  # no name in a path of Mux has a slash in it
    return problem(
        501,
        "not_implemented",
        f"The emulator does not serve {call.method} {call.path}; what it serves is listed in"
        " docs/emulator.md.",
    )


OPERATIONS: Final[tuple[tuple[str, str, Operation, Action], ...]] = (
    ("POST", _ASSETS, Operation.CREATE_ASSET, assets.create_asset),
    ("GET", _ASSETS, Operation.LIST_ASSETS, assets.list_assets),
    ("GET", _ASSET, Operation.GET_ASSET, assets.get_asset),
    ("PATCH", _ASSET, Operation.UPDATE_ASSET, assets.update_asset),
    ("DELETE", _ASSET, Operation.DELETE_ASSET, assets.delete_asset),
    (
        "POST",
        f"{_ASSET}/playback-ids",
        Operation.CREATE_PLAYBACK_ID,
        playback_ids.create_playback_id,
    ),
    (
        "GET",
        f"{_ASSET}/playback-ids/{{part_id}}",
        Operation.GET_ASSET_PLAYBACK_ID,
        playback_ids.get_asset_playback_id,
    ),
    (
        "DELETE",
        f"{_ASSET}/playback-ids/{{part_id}}",
        Operation.DELETE_PLAYBACK_ID,
        playback_ids.delete_playback_id,
    ),
    ("POST", f"{_ASSET}/tracks", Operation.CREATE_TRACK, tracks.create_track),
    ("PATCH", f"{_ASSET}/tracks/{{part_id}}", Operation.UPDATE_TRACK, tracks.update_track),
    ("DELETE", f"{_ASSET}/tracks/{{part_id}}", Operation.DELETE_TRACK, tracks.delete_track),
    (
        "POST",
        f"{_ASSET}/tracks/{{part_id}}/generate-subtitles",
        Operation.GENERATE_SUBTITLES,
        tracks.generate_subtitles,
    ),
    (
        "POST",
        f"{_ASSET}/static-renditions",
        Operation.CREATE_STATIC_RENDITION,
        renditions.create_rendition,
    ),
    (
        "DELETE",
        f"{_ASSET}/static-renditions/{{part_id}}",
        Operation.DELETE_STATIC_RENDITION,
        renditions.delete_rendition,
    ),
    ("PUT", f"{_ASSET}/master-access", Operation.UPDATE_MASTER_ACCESS, master.update_master_access),
    ("POST", _UPLOADS, Operation.CREATE_UPLOAD, uploads.create_upload),
    ("GET", _UPLOADS, Operation.LIST_UPLOADS, uploads.list_uploads),
    ("GET", f"{_UPLOADS}/{{id}}", Operation.GET_UPLOAD, uploads.get_upload),
    ("PUT", f"{_UPLOADS}/{{id}}/cancel", Operation.CANCEL_UPLOAD, uploads.cancel_upload),
    ("PUT", "/_upload/{id}", Operation.SEND_BYTES, uploads.send_bytes),
    ("OPTIONS", "/_upload/{id}", Operation.UPLOAD_PREFLIGHT, uploads.preflight),
    ("GET", "/video/v1/playback-ids/{id}", Operation.GET_PLAYBACK_ID, playback_ids.get_playback_id),
    ("GET", _LIVE_STREAMS, Operation.LIST_LIVE_STREAMS, live_streams.list_live_streams),
    # Mux knows this call: it must not look like a wrong method
    ("POST", _LIVE_STREAMS, Operation.UNKNOWN, not_served),
    ("GET", f"{_LIVE_STREAMS}/{{id}}", Operation.GET_LIVE_STREAM, live_streams.get_live_stream),
    ("PATCH", f"{_LIVE_STREAMS}/{{id}}", Operation.UNKNOWN, live_streams.get_live_stream),
    ("DELETE", f"{_LIVE_STREAMS}/{{id}}", Operation.UNKNOWN, live_streams.get_live_stream),
    ("GET", "/system/v1/whoami", Operation.WHOAMI, whoami),
    ("POST", _WEBHOOKS, Operation.CREATE_WEBHOOK, webhook_endpoints.create_webhook),
    ("GET", _WEBHOOKS, Operation.LIST_WEBHOOKS, webhook_endpoints.list_webhooks),
    ("GET", f"{_WEBHOOKS}/{{id}}", Operation.GET_WEBHOOK, webhook_endpoints.get_webhook),
    ("PATCH", f"{_WEBHOOKS}/{{id}}", Operation.UPDATE_WEBHOOK, webhook_endpoints.update_webhook),
    ("DELETE", f"{_WEBHOOKS}/{{id}}", Operation.DELETE_WEBHOOK, webhook_endpoints.delete_webhook),
)
