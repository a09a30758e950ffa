"""Assets and uploads, and the state of each at a given time; knows no JSON and reads no clock."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from rindle_sync.emulator.validation import (
    check_flag,
    check_number,
    check_text,
    check_word,
    check_words,
)

TEST_ASSET_SECONDS: Final = 86_400.0
"""Mux deletes assets made with `test: true` after a day."""


class Ending(StrEnum):
    """How the preparation of an asset ends."""

    READY = "ready"
    ERRORED = "errored"
    NEVER = "never"


class AssetState(StrEnum):
    """The state of an asset; Mux has no status `deleted` and answers 404 instead."""

    PREPARING = "preparing"
    READY = "ready"
    ERRORED = "errored"
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
    """The planned lifecycle of an asset; all times are in seconds from its creation."""

    ends: Ending | Literal["ready", "errored", "never"] = Ending.READY
    after: float = 10.0
    deleted_after: float | None = None
    error_type: str = "invalid_input"
    error_message: str = "The input file could not be read as a video."

    def __post_init__(self) -> None:
        check_word("ends", self.ends, Ending)
        check_number("after", self.after)
        check_text("error_type", self.error_type, longest=255)
        check_text("error_message", self.error_message, longest=100_000)
        if self.deleted_after is not None:
            check_number("deleted_after", self.deleted_after, low=0.001)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings that a request to create an asset may contain."""

    policies: tuple[str, ...] = ()
    passthrough: str | None = None
    meta: Mapping[str, str] | None = None
    test: bool = False
    video_quality: str = VideoQuality.BASIC
    max_resolution_tier: str = MaxResolution.FULL_HD

    def __post_init__(self) -> None:
        check_words("policies", self.policies, Policy)
        check_flag("test", self.test)
        check_word("video_quality", self.video_quality, VideoQuality)
        check_word("max_resolution_tier", self.max_resolution_tier, MaxResolution)
        if self.passthrough is not None:
            check_text("passthrough", self.passthrough, longest=255)


@dataclass(frozen=True, slots=True)
class PlaybackId:
    """A playback id of an asset."""

    id: str
    policy: str


@dataclass(slots=True, eq=False)
class Asset:
    """One asset; only `deleted_at` ever changes, its state follows from the time."""

    id: str
    serial: int
    created_at: float
    life: Life
    settings: Settings
    playback_ids: tuple[PlaybackId, ...]
    deleted_at: float = math.inf
    upload_id: str | None = None

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

    def state(self, now: float) -> AssetState:
        """Its state at `now`."""
        return AssetState.DELETED if self.deleted_at <= now else self.last_state(now)

    def last_state(self, now: float) -> AssetState:
        """Its state at `now`, or the one before its deletion if it is deleted by then."""
        if self.ends_at <= now and self.ends_at < self.deleted_at:
            return AssetState(self.life.ends)
        return AssetState.PREPARING


@dataclass(slots=True, eq=False, kw_only=True)
class Upload:
    """One direct upload; receiving the file sets `asset`, the cancel call sets `is_cancelled`."""

    id: str
    created_at: float
    signature: str
    timeout: int
    cors_origin: str
    settings: Settings
    requested: Mapping[str, object]
    life: Life | None = None
    asset: Asset | None = None
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
