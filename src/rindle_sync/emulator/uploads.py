"""Mux's operations on direct uploads, and the URL that takes the file."""

import re
from typing import Final

from rindle_sync.emulator.asset_parts import add_parts
from rindle_sync.emulator.call import Call
from rindle_sync.emulator.environment import Environment
from rindle_sync.emulator.lifecycle import Upload, UploadState
from rindle_sync.emulator.requests import UPLOAD, read_fields, read_settings
from rindle_sync.emulator.resources import upload_body
from rindle_sync.emulator.responses import NOT_FOUND, ApiResponse, problem
from rindle_sync.emulator.validation import reject

_CONTENT_RANGE: Final = re.compile(r"bytes (?:([0-9]+)-([0-9]+)|\*)/([0-9]+|\*)")
_NO_LONGER_WAITS: Final = problem(403, "forbidden", "This upload no longer waits for a file.")


def create_upload(call: Call) -> ApiResponse:
    """POST /video/v1/uploads."""
    given = read_fields(call.json(), UPLOAD, required="cors_origin")
    requested = given.get("new_asset_settings", {})
    upload = call.environment.create_upload(
        call.now,
        settings=read_settings(requested | ({"test": True} if given.get("test") else {})),
        requested=requested,
        timeout=given.get("timeout", 3600),
        cors_origin=given["cors_origin"],
    )
    return _shown(call, upload, 201)


def list_uploads(call: Call) -> ApiResponse:
    """GET /video/v1/uploads, newest first; Mux has no cursor here."""
    limit, skip = call.page()
    uploads = call.environment.uploads(limit=limit, skip=skip)
    data = [upload_body(upload, call.now, call.base_url) for upload in uploads]
    return ApiResponse(200, {"data": data})


def get_upload(call: Call) -> ApiResponse:
    """GET /video/v1/uploads/{id}."""
    upload = call.environment.upload(call.id)
    return NOT_FOUND if upload is None else _shown(call, upload)


def cancel_upload(call: Call) -> ApiResponse:
    """PUT /video/v1/uploads/{id}/cancel."""
    upload = call.environment.upload(call.id)
    if upload is None:
        return NOT_FOUND
    if not call.environment.cancel_upload(upload, call.now):
        return problem(403, "forbidden", "Cancellation is no longer possible.")
    return _shown(call, upload)


# https://www.mux.com/docs/guides/upload-files-directly
def send_bytes(call: Call) -> ApiResponse:
    """PUT of a file, whole or in chunks, to the `url` of an upload."""
    upload = call.environment.upload(call.id)
    if upload is None or call.query.get("signature") != upload.signature:
        return problem(403, "forbidden", "The signature of this upload URL is wrong.")
    content_range = call.headers.get("content-range")
    if content_range is None:
        return _finish(call, upload)
    first, end, size = _read_chunk(content_range, call.size)
    if upload.asset is not None:
        return ApiResponse(200)  # a chunk that is sent again because its answer was lost
    if upload.state(call.now) is not UploadState.WAITING:
        return _NO_LONGER_WAITS
    # a chunk beyond a gap is not kept; the sender learns from Range where to go on
    if first <= upload.received:
        upload.received = max(upload.received, end)
    if upload.received == size:
        return _finish(call, upload)
    received = {"Range": f"bytes=0-{upload.received - 1}"} if upload.received else {}
    return ApiResponse(308, headers=received)


def preflight(call: Call) -> ApiResponse:
    """OPTIONS of the `url` of an upload: may a browser send the file from another origin?"""
    wanted = call.headers.get("access-control-request-headers", "")
    headers = {
        "Access-Control-Allow-Methods": "PUT",
        "Access-Control-Allow-Headers": wanted,
        "Access-Control-Max-Age": "3600",
    }
    return ApiResponse(200, headers=headers)


def cors_headers(environment: Environment, upload_id: str, origin: str | None) -> dict[str, str]:
    """What lets the pages of the upload's `cors_origin` read the responses of its `url`."""
    upload = environment.upload(upload_id)
    if upload is None or origin is None or upload.cors_origin not in {"*", origin}:
        return {}
    return {
        "Access-Control-Allow-Origin": upload.cors_origin,
        "Access-Control-Expose-Headers": "Range, Content-Length, x-request-id",
        "Vary": "Origin",
    }


def _read_chunk(content_range: str, sent: int) -> tuple[int, int, int | None]:
    """The first byte, the byte after the last one and the size of the file, if it is known."""
    parts = _CONTENT_RANGE.fullmatch(content_range)
    if parts is None:
        reject("Content-Range", "must be like bytes 0-262143/1000000, or end in /*")
    size = None if parts[3] == "*" else int(parts[3])
    if parts[1] is None:
        return 0, 0, size  # asks only how much has arrived
    first, end = int(parts[1]), int(parts[2]) + 1
    if end - first != sent:
        reject("Content-Range", f"must fit the body, which has {sent} bytes")
    if size is not None and end > size:
        reject("Content-Range", "must not end beyond the size of the file")
    return first, end, size


def _finish(call: Call, upload: Upload) -> ApiResponse:
    asset = call.environment.finish_upload(upload, call.lives.asset, call.now)
    if asset is None:
        return _NO_LONGER_WAITS
    add_parts(call.environment, asset, upload.requested, call.lives, call.now)
    return ApiResponse(200)


def _shown(call: Call, upload: Upload, status: int = 200) -> ApiResponse:
    return ApiResponse(status, {"data": upload_body(upload, call.now, call.base_url)})
