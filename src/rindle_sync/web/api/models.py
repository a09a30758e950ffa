"""What requests and answers look like in JSON. No provider id is in an answer, but where said."""

from datetime import datetime
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict

from rindle_sync.domain import (
    ErrorKind,
    EventStatus,
    Master,
    OutputStatus,
    ProviderAsset,
    Rendition,
    State,
    Track,
    TrackKind,
    WebhookEventSummary,
    hide,
)
from rindle_sync.providers import PlaybackUrl


class Model(BaseModel):
    """The base of answers."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class PlaybackIdModel(Model):
    """A playback id, and who may play it."""

    id: str
    policy: str | None


class RowFields(Model):
    """What of a row every answer shows: none of the ids by which the provider can be called."""

    reference: str
    """The app's own id of the video."""
    profile: str
    state: State
    error_kind: ErrorKind | None
    """Why it is errored."""
    playback_ids: list[PlaybackIdModel]
    title: str | None
    duration: float | None
    """Seconds."""
    aspect_ratio: str | None
    """Width and height, as in `16:9`."""
    resolution: str | None
    """The highest that is stored, as in `1080p`, or `audio-only`."""
    is_live: bool
    """Whether it is a live stream that goes on."""
    updated_at: datetime
    """The last real change."""
    version: int
    """Grows with each change."""


def row_fields(row: ProviderAsset) -> dict[str, Any]:
    """The values of `RowFields`."""
    values = {name: getattr(row, name) for name in RowFields.model_fields}
    played = [PlaybackIdModel(id=known.id, policy=known.policy) for known in row.playback_ids]
    return values | {"playback_ids": played}


class TrackModel(Model):
    """An audio track, or captions."""

    kind: TrackKind
    status: OutputStatus
    language: str | None
    """A BCP 47 code, as in `en-US`."""
    name: str | None
    error: str | None
    id: str | None = None
    """The provider's; only for a token that sees provider ids."""


class RenditionModel(Model):
    """A file to download."""

    name: str
    status: OutputStatus
    resolution: str | None
    bitrate: int | None
    """Bits a second."""
    size: int | None
    """Bytes."""
    error: str | None


class MasterModel(Model):
    """The file in its best quality, which the provider keeps for a while."""

    status: OutputStatus
    expires_at: datetime | None
    error: str | None


class AssetModel(RowFields):
    """A row: one video of the app's, and what the provider says of it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "0b8ad1a2-7d5c-4b3e-9a0f-2f6c8e1d4b57",
                    "reference": "film-1",
                    "profile": "default",
                    "environment": "default",
                    "provider": "mux",
                    "state": "ready",
                    "error_kind": None,
                    "last_sync_error": None,
                    "playback_ids": [
                        {"id": "qxb01i6T202018GFS02vp9RIe01icTcDCjVzQ", "policy": "public"}
                    ],
                    "playback_policy": "public",
                    "ingest_mode": "direct_upload",
                    "title": "The film",
                    "duration": 61.5,
                    "aspect_ratio": "16:9",
                    "resolution": "1080p",
                    "max_frame_rate": 25.0,
                    "is_live": False,
                    "is_test": False,
                    "tracks": [],
                    "renditions": [],
                    "master": None,
                    "version": 3,
                    "inserted_at": "2026-01-31T12:00:00Z",
                    "updated_at": "2026-01-31T12:04:05Z",
                    "provider_created_at": "2026-01-31T12:00:01Z",
                    "media_updated_at": "2026-01-31T12:04:05Z",
                    "checked_at": None,
                    "check_at": None,
                }
            ]
        }
    )

    id: str
    """The row's own: for every other call about it."""
    environment: str
    provider: str
    last_sync_error: str | None
    """What went wrong last."""
    playback_policy: str | None
    """What was asked for as it was made."""
    ingest_mode: str | None
    """How the provider got the file: `direct_upload`, `url`, `adopted`, or a word of the app's."""
    max_frame_rate: float | None
    """Frames a second."""
    is_test: bool
    tracks: list[TrackModel]
    renditions: list[RenditionModel]
    master: MasterModel | None
    inserted_at: datetime
    provider_created_at: datetime
    """When the provider made the asset; until that is known, `inserted_at`."""
    media_updated_at: datetime | None
    checked_at: datetime | None
    """The last check that the provider answered."""
    check_at: datetime | None
    """The next check; null for a row that is settled."""
    provider_asset_id: str | None = None
    """The provider's; only for a token that sees provider ids."""
    provider_upload_id: str | None = None
    """The provider's; only for a token that sees provider ids."""
    passthrough: str | None = None
    """What the provider carries for the app; only for a token that sees provider ids."""

    @classmethod
    def of(cls, row: ProviderAsset, *, sees_provider_ids: bool) -> Self:
        """What of a row a token may see."""
        values = {name: getattr(row, name) for name in _SHOWN}
        error = row.last_sync_error
        if sees_provider_ids:
            values |= {name: getattr(row, name) for name in _PROVIDER_IDS}
        elif error is not None:
            error = hide(error, *row.secrets)
        return cls(
            **row_fields(row),
            **values,
            provider=row.provider_name,
            last_sync_error=error,
            tracks=[_track(track, has_id=sees_provider_ids) for track in row.tracks],
            renditions=[_rendition(file) for file in row.renditions],
            master=_master(row.master) if row.master else None,
        )


_SHOWN: Final = (
    *("id", "environment", "playback_policy", "ingest_mode", "max_frame_rate", "is_test"),
    *("inserted_at", "provider_created_at", "media_updated_at", "checked_at", "check_at"),
)
_PROVIDER_IDS: Final = ("provider_asset_id", "provider_upload_id", "passthrough")


def _track(track: Track, *, has_id: bool) -> TrackModel:
    shown = TrackModel(
        kind=track.kind,
        status=track.status,
        language=track.language,
        name=track.name,
        error=track.error,
    )
    if has_id:
        shown.id = track.id
    return shown


def _rendition(file: Rendition) -> RenditionModel:
    return RenditionModel(
        name=file.name,
        status=file.status,
        resolution=file.resolution,
        bitrate=file.bitrate,
        size=file.size,
        error=file.error,
    )


def _master(master: Master) -> MasterModel:
    return MasterModel(status=master.status, expires_at=master.expires_at, error=master.error)


class AssetPage(Model):
    """One page of rows."""

    data: list[AssetModel]
    next: str | None
    """What to pass as `after` for the next page; null at the end of the list."""


class UploadAnswer(Model):
    """A direct upload: the browser sends the file to `upload_url` by PUT, before `expires_at`."""

    asset: AssetModel
    upload_url: str
    """A key to the upload: give it to the browser, and keep it out of logs."""
    expires_at: datetime


class SyncAnswer(Model):
    """What came of a check."""

    outcome: str
    """`changed`, `unchanged`, `stuck`, `missing_once`, `stale`, `ambiguous` or `unanswered`."""
    detail: str
    """The same for people."""
    asset: AssetModel


class PlaybackUrlAnswer(Model):
    """A URL that plays. With a token it plays for whoever holds it: it is a secret."""

    url: str
    token: str | None
    """The token in `url`, for a player that asks for it alone; null for a public playback id."""
    expires_at: datetime | None
    policy: str

    @classmethod
    def of(cls, made: PlaybackUrl) -> Self:
        """The answer with this URL."""
        return cls(url=made.url, token=made.token, expires_at=made.expires_at, policy=made.policy)


class PlaybackBundleAnswer(Model):
    """All that a player needs. It holds the tokens: it is a secret."""

    playback_id: str
    policy: str
    stream_url: str
    """The video as HLS."""
    poster_url: str | None
    storyboard_url: str | None
    tokens: dict[str, str]
    """By what each opens: `playback`, `thumbnail`, `storyboard`, `drm`; empty if public."""
    license_urls: dict[str, str]
    """By DRM system: `widevine`, `fairplay`, `playready`; empty without DRM."""
    certificate_url: str | None
    expires_at: datetime | None
    is_live: bool
    title: str | None
    duration: float | None
    aspect_ratio: str | None


class WebhookEventModel(Model):
    """A stored webhook event of the provider's, without its body."""

    id: str
    """rindle-sync's own."""
    type: str
    status: EventStatus
    attempts: int
    reason: str | None
    occurred_at: datetime | None
    received_at: datetime
    next_attempt_at: datetime | None
    for_app: bool
    """Whether it is for a callback of the app, and says nothing about a row."""
    size: int
    """Of its body, in bytes; 0 once that was deleted."""
    can_replay: bool
    row_id: str | None
    """The row that it is about, where there is one."""
    event_id: str | None = None
    """The provider's; only for a token that sees provider ids."""
    provider_asset_id: str | None = None
    """The provider's; only for a token that sees provider ids."""
    provider_upload_id: str | None = None
    """The provider's; only for a token that sees provider ids."""

    @classmethod
    def of(
        cls, event: WebhookEventSummary, row: ProviderAsset | None, *, sees_provider_ids: bool
    ) -> Self:
        """What of a webhook event a token may see."""
        names = _EVENT_FIELDS + (_EVENT_IDS if sees_provider_ids else ())
        values = {name: getattr(event, name) for name in names}
        return cls(**values, row_id=row.id if row else None)


_EVENT_IDS: Final = ("event_id", "provider_asset_id", "provider_upload_id")
_EVENT_FIELDS: Final = tuple(
    name for name in WebhookEventModel.model_fields if name not in {*_EVENT_IDS, "row_id"}
)


class WebhookEventList(Model):
    """The newest webhook events."""

    data: list[WebhookEventModel]


class Replayed(Model):
    """How many webhook events are applied again."""

    replayed: int


class ChangedAsset(Model):
    """The row of a change, as it is now."""

    state: State
    version: int
    playback_ids: list[PlaybackIdModel]
    duration: float | None
    aspect_ratio: str | None
    resolution: str | None
    max_frame_rate: float | None
    title: str | None
    is_live: bool
    tracks: list[dict[str, Any]]
    renditions: list[dict[str, Any]]
    updated_at: datetime


class ChangeData(Model):
    """What has changed."""

    id: int
    """What to pass as `after` to go on behind it."""
    version: int
    """The row's version after the change: it orders the changes of a row."""
    environment: str
    from_state: State
    state: State
    error_kind: ErrorKind | None
    row_id: str
    reference: str
    profile: str | None
    asset: ChangedAsset | None
    """The row as it is now; null where it is gone."""


class ChangeMessage(Model):
    """A change of a row: the body of an outgoing webhook is the same."""

    type: str
    """`asset.<state>`, or `asset.media_changed`."""
    timestamp: datetime
    """When the change was."""
    data: ChangeData


class ChangePage(Model):
    """Some changes, in their order."""

    data: list[ChangeMessage]
    next: int | None
    """What to pass as `after` for the changes behind them; null while there is none yet."""
