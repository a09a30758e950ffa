"""Mux's REST operations as functions of a call; knows no sockets, tokens, limits or faults."""

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from rindle_sync.emulator.environment import Environment
from rindle_sync.emulator.lifecycle import Asset, Life, Policy, Settings
from rindle_sync.emulator.resources import asset_body, upload_body
from rindle_sync.emulator.responses import NOT_FOUND, ApiResponse, problem
from rindle_sync.emulator.validation import (
    check_flag,
    check_object,
    check_text,
    check_whole,
    check_words,
    reject,
)

MAX_PAGE: Final = 100
DEFAULT_PAGE: Final = 25
_META_LENGTHS: Final = {"title": 512, "creator_id": 128, "external_id": 128}


class Operation(StrEnum):
    """Every operation that is counted and can have faults of its own."""

    CREATE_ASSET = "create_asset"
    LIST_ASSETS = "list_assets"
    GET_ASSET = "get_asset"
    DELETE_ASSET = "delete_asset"
    CREATE_UPLOAD = "create_upload"
    LIST_UPLOADS = "list_uploads"
    GET_UPLOAD = "get_upload"
    CANCEL_UPLOAD = "cancel_upload"
    SEND_BYTES = "send_bytes"
    GET_PLAYBACK_ID = "get_playback_id"
    WHOAMI = "whoami"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Whoami:
    """The environment and token that `whoami` reports."""

    environment_id: str
    environment_type: str = "development"
    environment_name: str = "Emulator"
    organization_id: str = "emulator-organization"
    organization_name: str = "Emulator"
    access_token_name: str = "Emulator token"  # noqa: S105 - the token's name, not its secret
    permissions: tuple[str, ...] = ("video:read", "video:write", "system:read")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call with what an operation needs of it; `id` is the object that the path names."""

    environment: Environment
    whoami: Whoami
    life: Life
    now: float
    id: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    base_url: str

    def json(self) -> dict[str, Any]:
        """The body as a JSON object."""
        try:
            return check_object("the body", json.loads(self.body))
        except (json.JSONDecodeError, UnicodeDecodeError):
            reject("the body", "must be JSON")

    def number(self, name: str, default: int) -> int:
        """A whole number of at least one, from the query."""
        text = self.query.get(name, str(default))
        number = int(text) if re.fullmatch(r"[0-9]{1,9}", text) else None
        return check_whole(name, number, low=1)


def create_asset(call: Call) -> ApiResponse:
    """POST /video/v1/assets."""
    body = call.json()
    if not (body.get("inputs") or body.get("input")):
        reject("inputs", "is required and must hold at least one input")
    asset = call.environment.create_asset(read_settings(body), call.life, call.now)
    return ApiResponse(201, {"data": asset_body(asset, asset.state(call.now))})


def list_assets(call: Call) -> ApiResponse:
    """GET /video/v1/assets, newest first."""
    limit = min(MAX_PAGE, call.number("limit", DEFAULT_PAGE))
    upload_id, cursor = call.query.get("upload_id"), call.query.get("cursor")
    assets: list[Asset] = []
    has_more = False
    if upload_id:
        upload = call.environment.upload(upload_id)
        if upload and upload.asset and call.now < upload.asset.deleted_at:
            assets.append(upload.asset)
    elif cursor:
        try:
            padded = cursor + "=" * (-len(cursor) % 4)
            created, serial_text = urlsafe_b64decode(padded).decode().split(":")
            before = float(created), int(serial_text)
        except ValueError:
            reject("cursor", "must be the next_cursor of an earlier response")
        assets, has_more = call.environment.page(call.now, limit=limit, before=before)
    else:
        skip = (call.number("page", 1) - 1) * limit
        assets, has_more = call.environment.page(call.now, limit=limit, skip=skip)
    next_cursor = None
    if has_more:
        # the place of the last asset shown: assets created or deleted since then neither repeat
        # an entry of the next page nor hide one
        created_at, serial = assets[-1].key
        next_cursor = urlsafe_b64encode(f"{created_at!r}:{serial}".encode()).decode().rstrip("=")
    data = [asset_body(asset, asset.state(call.now)) for asset in assets]
    return ApiResponse(200, {"next_cursor": next_cursor, "data": data})


def get_asset(call: Call) -> ApiResponse:
    """GET /video/v1/assets/{id}."""
    asset = call.environment.asset(call.id, call.now)
    if asset is None:
        return NOT_FOUND
    return ApiResponse(200, {"data": asset_body(asset, asset.state(call.now))})


def delete_asset(call: Call) -> ApiResponse:
    """DELETE /video/v1/assets/{id}."""
    asset = call.environment.asset(call.id, call.now)
    if asset is None:
        return NOT_FOUND
    call.environment.delete_asset(asset, call.now)
    return ApiResponse(204)


def get_playback_id(call: Call) -> ApiResponse:
    """GET /video/v1/playback-ids/{id}."""
    found = call.environment.by_playback_id.get(call.id)
    if found is None or found[0].deleted_at <= call.now:
        return NOT_FOUND
    asset, playback_id = found
    asset_object = {"type": "asset", "id": asset.id}
    data = {"id": playback_id.id, "policy": playback_id.policy, "object": asset_object}
    return ApiResponse(200, {"data": data})


def create_upload(call: Call) -> ApiResponse:
    """POST /video/v1/uploads."""
    body = call.json()
    requested = check_object("new_asset_settings", body.get("new_asset_settings", {}))
    is_test = check_flag("test", body.get("test", False))
    upload = call.environment.create_upload(
        call.now,
        settings=read_settings(requested | {"test": True} if is_test else requested),
        requested=requested,
        timeout=check_whole("timeout", body.get("timeout", 3600), low=60, high=604_800),
        cors_origin=check_text("cors_origin", body.get("cors_origin"), longest=2048),
    )
    return ApiResponse(201, {"data": upload_body(upload, call.now, call.base_url)})


def list_uploads(call: Call) -> ApiResponse:
    """GET /video/v1/uploads, newest first; Mux has no cursor here."""
    limit = min(MAX_PAGE, call.number("limit", DEFAULT_PAGE))
    uploads = call.environment.uploads(limit=limit, skip=(call.number("page", 1) - 1) * limit)
    data = [upload_body(upload, call.now, call.base_url) for upload in uploads]
    return ApiResponse(200, {"data": data})


def get_upload(call: Call) -> ApiResponse:
    """GET /video/v1/uploads/{id}."""
    upload = call.environment.upload(call.id)
    if upload is None:
        return NOT_FOUND
    return ApiResponse(200, {"data": upload_body(upload, call.now, call.base_url)})


def cancel_upload(call: Call) -> ApiResponse:
    """PUT /video/v1/uploads/{id}/cancel."""
    upload = call.environment.upload(call.id)
    if upload is None:
        return NOT_FOUND
    if not call.environment.cancel_upload(upload, call.now):
        return problem(403, "forbidden", "Cancellation is no longer possible.")
    return ApiResponse(200, {"data": upload_body(upload, call.now, call.base_url)})


def send_bytes(call: Call) -> ApiResponse:
    """PUT of a file, whole or in chunks, to the `url` of an upload."""
    upload = call.environment.upload(call.id)
    if upload is None or call.query.get("signature") != upload.signature:
        return problem(403, "forbidden", "The signature of this upload URL is wrong.")
    content_range = call.headers.get("content-range", "")
    chunk = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", content_range)
    if chunk is not None:
        last, size = int(chunk[2]), chunk[3]
        if last and size != str(last + 1):
            return ApiResponse(308, headers={"Range": f"bytes=0-{last}"})
    if not call.environment.finish_upload(upload, call.life, call.now):
        return problem(403, "forbidden", "This upload no longer waits for a file.")
    return ApiResponse(200)


def whoami(call: Call) -> ApiResponse:
    """GET /system/v1/whoami."""
    return ApiResponse(200, {"data": asdict(call.whoami)})


def unknown(_: Call) -> ApiResponse:
    """Any other path or method."""
    return NOT_FOUND


Action = Callable[[Call], ApiResponse]

OPERATIONS: Final[tuple[tuple[str, str, Operation, Action], ...]] = (
    ("POST", "/video/v1/assets", Operation.CREATE_ASSET, create_asset),
    ("GET", "/video/v1/assets", Operation.LIST_ASSETS, list_assets),
    ("GET", "/video/v1/assets/{id}", Operation.GET_ASSET, get_asset),
    ("DELETE", "/video/v1/assets/{id}", Operation.DELETE_ASSET, delete_asset),
    ("POST", "/video/v1/uploads", Operation.CREATE_UPLOAD, create_upload),
    ("GET", "/video/v1/uploads", Operation.LIST_UPLOADS, list_uploads),
    ("GET", "/video/v1/uploads/{id}", Operation.GET_UPLOAD, get_upload),
    ("PUT", "/video/v1/uploads/{id}/cancel", Operation.CANCEL_UPLOAD, cancel_upload),
    ("PUT", "/_upload/{id}", Operation.SEND_BYTES, send_bytes),
    ("GET", "/video/v1/playback-ids/{id}", Operation.GET_PLAYBACK_ID, get_playback_id),
    ("GET", "/system/v1/whoami", Operation.WHOAMI, whoami),
)


def _read_advanced(entry: object) -> object:
    """The policy of one of `advanced_playback_policies`, which alone can be drm."""
    values, name = check_object("advanced_playback_policies", entry), "drm_configuration_id"
    if (values.get("policy") == "drm") != bool(values.get(name)):
        reject(
            f"advanced_playback_policies.{name}", "must be set for the policy drm, and for no other"
        )
    return values.get("policy")


def read_settings(values: Mapping[str, Any]) -> Settings:
    """The settings of a new asset, by Mux's current or deprecated field names."""
    policies = values.get("playback_policies", values.get("playback_policy", []))
    advanced = values.get("advanced_playback_policies", [])
    if not isinstance(advanced, list):
        reject("advanced_playback_policies", "must be a list of objects with a policy")
    named = [_read_advanced(entry) for entry in advanced]
    plain = check_words("playback_policies", policies, Policy)
    if Policy.DRM in plain:
        reject("playback_policies", "cannot have drm; use advanced_playback_policies")
    meta: dict[str, str] | None = None
    if "meta" in values:
        given, meta = check_object("meta", values["meta"]), {}
        for name, longest in _META_LENGTHS.items():
            if name in given:
                meta[name] = check_text(f"meta.{name}", given[name], longest=longest)
    return Settings(
        policies=(*plain, *check_words("advanced_playback_policies", named, Policy)),
        passthrough=values.get("passthrough"),
        meta=meta,
        test=values.get("test", False),
        video_quality=values.get("video_quality", "basic"),
        max_resolution_tier=values.get("max_resolution_tier", "1080p"),
    )
