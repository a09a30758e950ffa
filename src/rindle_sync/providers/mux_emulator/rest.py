"""Mux's REST operations as functions from a call to an answer; knows no sockets, tokens, limits or faults."""

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from rindle_sync.providers.mux_emulator.answers import Answer, invalid_parameters, not_found, problem
from rindle_sync.providers.mux_emulator.checks import (
    check_flag,
    check_object,
    check_text,
    check_whole,
    check_words,
    refuse,
)
from rindle_sync.providers.mux_emulator.lives import Asset, Life, Policy, Settings
from rindle_sync.providers.mux_emulator.shapes import asset_body, playback_id_body, upload_body
from rindle_sync.providers.mux_emulator.world import World

MAX_PAGE: Final = 100
DEFAULT_PAGE: Final = 25


class Operation(StrEnum):
    """Every kind of call that the far end tells apart."""

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
class Account:
    """Whose environment it is, as `whoami` tells it."""

    environment_id: str
    environment_type: str = "development"
    environment_name: str = "Emulator"
    organization_id: str = "emulator-organization"
    organization_name: str = "Emulator"
    access_token_name: str = "Emulator token"  # noqa: S105 - the token's name, not its secret
    permissions: tuple[str, ...] = ("video:read", "video:write", "system:read")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call, as far as an operation cares; `id` is the object that the path names."""

    world: World
    account: Account
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
            refuse("the body", "must be JSON")

    def number(self, name: str, default: int) -> int:
        """A whole number of at least one, out of the query."""
        text = self.query.get(name, str(default))
        return check_whole(name, int(text) if re.fullmatch(r"[0-9]{1,9}", text) else None, low=1)


def create_asset(call: Call) -> Answer:
    """POST /video/v1/assets."""
    given = call.json()
    if not (given.get("inputs") or given.get("input")):
        return invalid_parameters("inputs: is required and must hold at least one input")
    asset = call.world.create_asset(read_settings(given), call.life, call.now)
    return Answer(201, {"data": asset_body(asset, call.now)})


def list_assets(call: Call) -> Answer:
    """GET /video/v1/assets, newest first."""
    limit = min(MAX_PAGE, call.number("limit", DEFAULT_PAGE))
    if upload_id := call.query.get("upload_id"):
        return _assets_page(call, _made_of(call, upload_id), more=False)
    before = _read_cursor(call.query["cursor"]) if call.query.get("cursor") else None
    skip = 0 if before else (call.number("page", 1) - 1) * limit
    assets, more = call.world.page(call.now, limit=limit, before=before, skip=skip)
    return _assets_page(call, assets, more=more)


def _assets_page(call: Call, assets: list[Asset], *, more: bool) -> Answer:
    cursor = _write_cursor(assets[-1].key) if more else None
    return Answer(200, {"next_cursor": cursor, "data": [asset_body(asset, call.now) for asset in assets]})


def _made_of(call: Call, upload_id: str) -> list[Asset]:
    upload = call.world.upload(upload_id)
    asset = upload.asset if upload else None
    return [asset] if asset and call.now < asset.deleted_at else []


def get_asset(call: Call) -> Answer:
    """GET /video/v1/assets/{id}."""
    asset = call.world.asset(call.id, call.now)
    return Answer(200, {"data": asset_body(asset, call.now)}) if asset else not_found()


def delete_asset(call: Call) -> Answer:
    """DELETE /video/v1/assets/{id}."""
    asset = call.world.asset(call.id, call.now)
    if asset is None:
        return not_found()
    call.world.delete_asset(asset, call.now)
    return Answer(204)


def get_playback_id(call: Call) -> Answer:
    """GET /video/v1/playback-ids/{id}."""
    found = call.world.played(call.id, call.now)
    return Answer(200, {"data": playback_id_body(*found)}) if found else not_found()


def create_upload(call: Call) -> Answer:
    """POST /video/v1/uploads."""
    given = call.json()
    chosen = check_object("new_asset_settings", given.get("new_asset_settings", {}))
    is_test = check_flag("test", given.get("test", False))
    upload = call.world.create_upload(
        call.now,
        settings=read_settings(chosen | {"test": True} if is_test else chosen),
        given=chosen,
        timeout=check_whole("timeout", given.get("timeout", 3600), low=60, high=604_800),
        cors_origin=check_text("cors_origin", given.get("cors_origin"), longest=2048),
    )
    return Answer(201, {"data": upload_body(upload, call.now, call.base_url)})


def list_uploads(call: Call) -> Answer:
    """GET /video/v1/uploads, newest first; Mux gives it no cursor."""
    limit = min(MAX_PAGE, call.number("limit", DEFAULT_PAGE))
    uploads = call.world.uploads(limit=limit, skip=(call.number("page", 1) - 1) * limit)
    return Answer(200, {"data": [upload_body(upload, call.now, call.base_url) for upload in uploads]})


def get_upload(call: Call) -> Answer:
    """GET /video/v1/uploads/{id}."""
    upload = call.world.upload(call.id)
    return Answer(200, {"data": upload_body(upload, call.now, call.base_url)}) if upload else not_found()


def cancel_upload(call: Call) -> Answer:
    """PUT /video/v1/uploads/{id}/cancel."""
    upload = call.world.upload(call.id)
    if upload is None:
        return not_found()
    if not call.world.cancel_upload(upload, call.now):
        return problem(403, "forbidden", "Cancellation is no longer possible.")
    return Answer(200, {"data": upload_body(upload, call.now, call.base_url)})


def send_bytes(call: Call) -> Answer:
    """PUT of a file, whole or in chunks, to the `url` of an upload."""
    upload = call.world.upload(call.id)
    if upload is None or call.query.get("signature") != upload.signature:
        return problem(403, "forbidden", "The signature of this upload URL is wrong.")
    if last := _unfinished(call.headers.get("content-range", "")):
        return Answer(308, headers={"Range": f"bytes=0-{last}"})
    if not call.world.finish_upload(upload, call.life, call.now):
        return problem(403, "forbidden", "This upload no longer waits for a file.")
    return Answer(200)


def whoami(call: Call) -> Answer:
    """GET /system/v1/whoami."""
    return Answer(200, {"data": asdict(call.account)})


def unknown(_: Call) -> Answer:
    """Any other path or method."""
    return not_found()


Act = Callable[[Call], Answer]

OPERATIONS: Final[tuple[tuple[str, str, Operation, Act], ...]] = (
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


def read_settings(given: Mapping[str, Any]) -> Settings:
    """The settings of an asset to be, in Mux's new or deprecated words."""
    return Settings(
        policies=_read_policies(given),
        passthrough=given.get("passthrough"),
        meta=_read_meta(given["meta"]) if "meta" in given else None,
        test=given.get("test", False),
        video_quality=given.get("video_quality", "basic"),
        max_resolution_tier=given.get("max_resolution_tier", "1080p"),
    )


def _read_policies(given: Mapping[str, Any]) -> tuple[str, ...]:
    plain = given.get("playback_policies", given.get("playback_policy", []))
    advanced = given.get("advanced_playback_policies", [])
    if not isinstance(advanced, list):
        refuse("advanced_playback_policies", "must be a list of objects with a policy")
    named = [check_object("advanced_playback_policies", one).get("policy") for one in advanced]
    return (
        *check_words("playback_policies", plain, Policy),
        *check_words("advanced_playback_policies", named, Policy),
    )


def _read_meta(meta: object) -> dict[str, str]:
    given = check_object("meta", meta)
    longest = {"title": 512, "creator_id": 128, "external_id": 128}
    return {name: check_text(f"meta.{name}", given[name], longest=longest[name]) for name in longest if name in given}


def _write_cursor(key: tuple[float, int]) -> str:
    return urlsafe_b64encode(f"{key[0]!r}:{key[1]}".encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[float, int]:
    try:
        created_at, serial = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().split(":")
        return float(created_at), int(serial)
    except ValueError:
        refuse("cursor", "must be a next_cursor of an earlier answer")


def _unfinished(content_range: str) -> int | None:
    parts = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", content_range)
    if parts is None or parts[3] == str(int(parts[2]) + 1):
        return None
    return int(parts[2])
