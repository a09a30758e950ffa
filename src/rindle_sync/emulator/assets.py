"""Mux's operations on assets."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable

from rindle_sync.emulator.asset_parts import add_parts
from rindle_sync.emulator.call import Call
from rindle_sync.emulator.lifecycle import Asset
from rindle_sync.emulator.requests import ASSET_OPTIONS, ASSET_UPDATE, read_fields, read_settings
from rindle_sync.emulator.resources import asset_body
from rindle_sync.emulator.responses import NOT_FOUND, ApiResponse
from rindle_sync.emulator.validation import reject


def shown(call: Call, asset: Asset, status: int = 200) -> ApiResponse:
    """An asset as it is now."""
    return ApiResponse(status, {"data": asset_body(asset, asset.state(call.now), call.now)})


def create_asset(call: Call) -> ApiResponse:
    """POST /video/v1/assets."""
    options = read_fields(call.json(), ASSET_OPTIONS)
    if not (options.get("inputs") or options.get("input")):
        reject("inputs", "is required and must hold at least one input")
    asset = call.environment.create_asset(read_settings(options), call.lives.asset, call.now)
    add_parts(call.environment, asset, options, call.lives, call.now)
    return shown(call, asset, 201)


def list_assets(call: Call) -> ApiResponse:
    """GET /video/v1/assets, newest first."""
    assets, has_more = _page(call)
    # the place of the last asset shown: assets created or deleted since then neither repeat
    # an entry of the next page nor hide one
    next_cursor = _write_cursor(assets[-1]) if has_more else None
    data = [asset_body(asset, asset.state(call.now), call.now) for asset in assets]
    return ApiResponse(200, {"next_cursor": next_cursor, "data": data})


def _page(call: Call) -> tuple[list[Asset], bool]:
    limit, skip = call.page()
    cursor, upload_id = call.query.get("cursor"), call.query.get("upload_id")
    fits = _filter(call.query.get("live_stream_id"))
    if upload_id:
        upload = call.environment.upload(upload_id)
        made = [] if upload is None or upload.asset is None else [upload.asset]
        there = [asset for asset in made if asset.created_at <= call.now < asset.deleted_at]
        return [asset for asset in there if fits(asset)], False
    if cursor:
        before = _read_cursor(cursor)
        return call.environment.page(call.now, limit=limit, before=before, fits=fits)
    return call.environment.page(call.now, limit=limit, skip=skip, fits=fits)


def _filter(live_stream_id: str | None) -> Callable[[Asset], bool]:
    if not live_stream_id:
        return lambda _: True
    return lambda asset: asset.settings.live_stream_id == live_stream_id


def _write_cursor(asset: Asset) -> str:
    created_at, serial = asset.key
    return urlsafe_b64encode(f"{created_at!r}:{serial}".encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[float, int]:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        created, serial_text = urlsafe_b64decode(padded).decode().split(":")
        return float(created), int(serial_text)
    except ValueError:
        reject("cursor", "must be the next_cursor of an earlier response")


def get_asset(call: Call) -> ApiResponse:
    """GET /video/v1/assets/{id}."""
    asset = call.asset()
    return NOT_FOUND if asset is None else shown(call, asset)


def update_asset(call: Call) -> ApiResponse:
    """PATCH /video/v1/assets/{id}."""
    asset = call.asset()
    if asset is None:
        return NOT_FOUND
    changes = read_fields(call.json(), ASSET_UPDATE)
    call.environment.update_asset(asset, call.now, changes)
    return shown(call, asset)


def delete_asset(call: Call) -> ApiResponse:
    """DELETE /video/v1/assets/{id}."""
    asset = call.asset()
    if asset is None:
        return NOT_FOUND
    call.environment.delete_asset(asset, call.now)
    return ApiResponse(204)
