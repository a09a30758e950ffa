"""What an operation of Mux's API is given: one call, its environment and the time."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from rindle_sync.emulator.environment import Environment
from rindle_sync.emulator.lifecycle import Asset, Lives
from rindle_sync.emulator.responses import ApiResponse
from rindle_sync.emulator.validation import check_object, parse_json, reject
from rindle_sync.emulator.webhooks import Webhooks
from rindle_sync.emulator.whoami import Whoami

MAX_PAGE: Final = 100
DEFAULT_PAGE: Final = 25

_INT32: Final = 2**31


class Operation(StrEnum):
    """Every operation that is counted and can have faults of its own."""

    CREATE_ASSET = "create_asset"
    LIST_ASSETS = "list_assets"
    GET_ASSET = "get_asset"
    UPDATE_ASSET = "update_asset"
    DELETE_ASSET = "delete_asset"
    CREATE_PLAYBACK_ID = "create_playback_id"
    GET_ASSET_PLAYBACK_ID = "get_asset_playback_id"
    DELETE_PLAYBACK_ID = "delete_playback_id"
    CREATE_TRACK = "create_track"
    UPDATE_TRACK = "update_track"
    DELETE_TRACK = "delete_track"
    GENERATE_SUBTITLES = "generate_subtitles"
    CREATE_STATIC_RENDITION = "create_static_rendition"
    DELETE_STATIC_RENDITION = "delete_static_rendition"
    UPDATE_MASTER_ACCESS = "update_master_access"
    CREATE_UPLOAD = "create_upload"
    LIST_UPLOADS = "list_uploads"
    GET_UPLOAD = "get_upload"
    CANCEL_UPLOAD = "cancel_upload"
    SEND_BYTES = "send_bytes"
    UPLOAD_PREFLIGHT = "upload_preflight"
    GET_PLAYBACK_ID = "get_playback_id"
    LIST_LIVE_STREAMS = "list_live_streams"
    GET_LIVE_STREAM = "get_live_stream"
    WHOAMI = "whoami"
    CREATE_WEBHOOK = "create_webhook"
    LIST_WEBHOOKS = "list_webhooks"
    GET_WEBHOOK = "get_webhook"
    UPDATE_WEBHOOK = "update_webhook"
    DELETE_WEBHOOK = "delete_webhook"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call with what an operation needs of it.

    `path` is as the client wrote it. `id` is the object that it names, `part_id` the object within
    that one. `size` counts the bytes of the body, which is not kept if it is a video.
    """

    environment: Environment
    webhooks: Webhooks
    whoami: Whoami
    lives: Lives
    now: float
    method: str
    path: str
    id: str
    part_id: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    size: int
    base_url: str

    def json(self) -> dict[str, Any]:
        """The body as a JSON object."""
        return check_object("the body", parse_json(self.body))

    def page(self) -> tuple[int, int]:
        """How many entries a list shows, and how many it leaves out before them."""
        limit = min(MAX_PAGE, max(1, self._number("limit", DEFAULT_PAGE)))
        return limit, (max(1, self._number("page", 1)) - 1) * limit

    def _number(self, name: str, default: int) -> int:
        text = self.query.get(name, str(default))
        number = int(text) if re.fullmatch(r"[+-]?[0-9]{1,10}", text, re.ASCII) else _INT32
        if not -_INT32 <= number < _INT32:
            reject(name, "must be a whole number of at most 32 bits, such as 25")
        return number

    def asset(self) -> Asset | None:
        """The asset that the path names, unless it is deleted."""
        return self.environment.asset(self.id, self.now)


Action = Callable[[Call], ApiResponse]
