"""Assets, their parts and uploads, each with its state at a given time.

Knows no JSON and reads no clock.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Final, Literal, TypeVar
from zlib import crc32

from rindle_sync.emulator.history import History
from rindle_sync.emulator.validation import (
    check_flag,
    check_number,
    check_text,
    check_word,
    check_words,
    reject,
)

P = TypeVar("P", bound="Part")

TEST_ASSET_SECONDS: Final = 86_400.0
"""Mux deletes assets made with `test: true` after a day."""

_TEST_SECONDS: Final = 10.0
_LONGEST_MILLISECONDS: Final = 3_600_000
_SEGMENT_SECONDS: Final = 6.0
"""A live recording grows by so much at once."""


class Ending(StrEnum):
    """How the preparation of an asset or of a part of one ends."""

    READY = "ready"
    ERRORED = "errored"
    NEVER = "never"
    SKIPPED = "skipped"
    """Of a static rendition only: the source does not suit it."""


class AssetState(StrEnum):
    """The state of an asset; Mux has no status `deleted` and answers 404 instead."""

    PREPARING = "preparing"
    READY = "ready"
    ERRORED = "errored"
    DELETED = "deleted"


class PartState(StrEnum):
    """The state of a track, a static rendition or master access."""

    PREPARING = "preparing"
    READY = "ready"
    ERRORED = "errored"
    SKIPPED = "skipped"
    DELETED = "deleted"


class UploadState(StrEnum):
    """The status of a direct upload."""

    WAITING = "waiting"
    ASSET_CREATED = "asset_created"
    ERRORED = "errored"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"


class Policy(StrEnum):
    """The playback policy of a playback id."""

    PUBLIC = "public"
    SIGNED = "signed"
    DRM = "drm"


class VideoQuality(StrEnum):
    """How an asset is encoded and billed."""

    BASIC = "basic"
    PLUS = "plus"
    PREMIUM = "premium"


class MaxResolution(StrEnum):
    """The highest resolution at which an asset is stored."""

    FULL_HD = "1080p"
    QUAD_HD = "1440p"
    ULTRA_HD = "2160p"


@dataclass(frozen=True, slots=True)
class Life:
    """The planned lifecycle of an asset or a part of one.

    All times are in seconds from the creation of an asset; those of a part begin no earlier than
    its asset is ready.
    """

    endings: ClassVar[tuple[Ending, ...]] = (Ending.READY, Ending.ERRORED, Ending.NEVER)

    ends: Ending | Literal["ready", "errored", "never", "skipped"] = Ending.READY
    after: float = 10.0
    deleted_after: float | None = None
    error_type: str = "invalid_input"
    error_message: str = "The input file could not be read as a video."

    def __post_init__(self) -> None:
        check_word("ends", self.ends, self.endings)
        check_number("after", self.after)
        check_text("error_type", self.error_type, longest=255)
        check_text("error_message", self.error_message, longest=100_000)
        if self.deleted_after is not None:
            check_number("deleted_after", self.deleted_after, low=0.001)


@dataclass(frozen=True, slots=True)
class RenditionLife(Life):
    """The planned lifecycle of a static rendition, which may be skipped, too."""

    endings: ClassVar[tuple[Ending, ...]] = tuple(Ending)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lives:
    """The lifecycles of what is created over the API."""

    asset: Life
    track: Life
    static_rendition: Life
    master: Life


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings that a request to create an asset may contain."""

    policies: tuple[str, ...] = ()
    passthrough: str | None = None
    meta: Mapping[str, str] | None = None
    test: bool = False
    video_quality: str = VideoQuality.BASIC
    max_resolution_tier: str = MaxResolution.FULL_HD
    live_stream_id: str | None = None
    live_seconds: float | None = None
    """For how long the live stream goes on that it records; None: it is over."""

    def __post_init__(self) -> None:
        check_words("policies", self.policies, Policy)
        check_flag("test", self.test)
        check_word("video_quality", self.video_quality, VideoQuality)
        check_word("max_resolution_tier", self.max_resolution_tier, MaxResolution)
        if self.passthrough is not None:
            check_text("passthrough", self.passthrough, longest=255)
        if self.live_stream_id is not None:
            check_text("live_stream_id", self.live_stream_id, longest=255)
        if self.live_seconds is not None:
            check_number("live_seconds", self.live_seconds, low=0.001)
            if self.live_stream_id is None:
                reject("live_stream_id", "is missing; live_seconds belongs to a live stream")


@dataclass(frozen=True, slots=True)
class PlaybackId:
    """A playback id of an asset."""

    id: str
    policy: str


@dataclass(frozen=True, slots=True)
class AssetVersion:
    """What calls can change in an asset."""

    settings: Settings
    playback_ids: tuple[PlaybackId, ...]
    thumbnail_time: float | None = None


@dataclass(slots=True, eq=False)
class Asset:
    """One asset; its state follows from the time, and only calls change the rest."""

    id: str
    serial: int
    created_at: float
    life: Life
    versions: History[AssetVersion]
    deleted_at: float = math.inf
    upload_id: str | None = None
    parts: tuple["Part", ...] = ()

    @property
    def settings(self) -> Settings:
        """Its settings now."""
        return self.versions.latest.settings

    @property
    def playback_ids(self) -> tuple[PlaybackId, ...]:
        """Its playback ids now."""
        return self.versions.latest.playback_ids

    def parts_of(self, kind: type[P], now: float) -> list[P]:
        """Its parts of one kind that exist at `now`, oldest first."""
        return [
            part
            for part in self.parts
            if isinstance(part, kind) and part.created_at <= now < part.deleted_at
        ]

    @property
    def key(self) -> tuple[float, int]:
        """Its sort key among all assets, oldest first."""
        return self.created_at, self.serial

    @property
    def ends_at(self) -> float:
        """When its preparation ends."""
        if self.life.ends == Ending.NEVER:
            return math.inf
        return self.created_at + self.life.after

    @property
    def completed_at(self) -> float:
        """When its video is whole: a live recording grows after it is ready."""
        seconds = self.settings.live_seconds
        if seconds is None or self.life.ends != Ending.READY:
            return self.ends_at
        return max(self.ends_at, self.created_at + seconds)

    def is_live(self, now: float) -> bool:
        """Whether the live stream that it records goes on."""
        return self.settings.live_seconds is not None and now < self.completed_at

    def seconds(self, now: float) -> float:
        """How long its video is at `now`."""
        if self.settings.live_seconds is not None:
            recorded = min(now, self.completed_at) - self.created_at
            return (
                recorded // _SEGMENT_SECONDS * _SEGMENT_SECONDS if self.is_live(now) else recorded
            )
        if self.settings.test:
            return _TEST_SECONDS
        # Derived from the id: the same in every response, and different from asset to asset.
        return 5.0 + crc32(self.id.encode()) % _LONGEST_MILLISECONDS / 1000

    def state(self, now: float) -> AssetState:
        """Its state at `now`."""
        return AssetState.DELETED if self.deleted_at <= now else self.last_state(now)

    def last_state(self, now: float) -> AssetState:
        """Its state at `now`, or the one before its deletion if it is deleted by then."""
        if self.ends_at <= now and self.ends_at < self.deleted_at:
            return AssetState(self.life.ends)
        return AssetState.PREPARING


@dataclass(slots=True, eq=False, kw_only=True)
class Part:
    """A part of an asset, with a lifecycle of its own that begins when the asset is ready."""

    needs_whole_video: ClassVar[bool] = True
    """Whether it begins only when a live recording is completed."""

    id: str
    asset: Asset
    created_at: float
    life: Life
    deleted_at: float = math.inf

    @property
    def kind(self) -> str:
        """What it is, in a word."""
        raise NotImplementedError

    @property
    def name(self) -> str | None:
        """The name of its file, if it is one to download by that name."""
        return None

    @property
    def ending(self) -> Ending:
        """How its preparation ends: it fails if its asset does."""
        if self.asset.life.ends == Ending.ERRORED:
            return Ending.ERRORED
        return Ending(self.life.ends)

    @property
    def ends_at(self) -> float:
        """When its preparation ends."""
        asset = self.asset
        begins_at = asset.completed_at if self.needs_whole_video else asset.ends_at
        begins_at = max(self.created_at, begins_at)
        if self.asset.life.ends == Ending.ERRORED:
            return begins_at
        return math.inf if self.ending is Ending.NEVER else begins_at + self.life.after

    def state(self, now: float) -> PartState:
        """Its state at `now`."""
        return PartState.DELETED if self.deleted_at <= now else self.last_state(now)

    def last_state(self, now: float) -> PartState:
        """Its state at `now`, or the one before its deletion if it is deleted by then."""
        if self.ends_at <= now and self.ends_at < self.deleted_at:
            return PartState(self.ending)
        return PartState.PREPARING


@dataclass(slots=True, eq=False, kw_only=True)
class Upload:
    """One direct upload.

    Receiving the whole file sets `asset`, `received` are the bytes until then; the cancel call
    sets `is_cancelled`.
    """

    id: str
    created_at: float
    signature: str
    timeout: int
    cors_origin: str
    settings: Settings
    requested: Mapping[str, object]
    life: Life | None = None
    asset: Asset | None = None
    received: int = 0
    is_cancelled: bool = False

    def state(self, now: float) -> UploadState:
        """Its state at `now`."""
        if self.asset is not None:
            # Deleting a failed asset does not change the status of its upload.
            is_errored = self.asset.last_state(now) is AssetState.ERRORED
            return UploadState.ERRORED if is_errored else UploadState.ASSET_CREATED
        if self.is_cancelled:
            return UploadState.CANCELLED
        if self.created_at + self.timeout <= now:
            return UploadState.TIMED_OUT
        return UploadState.WAITING
