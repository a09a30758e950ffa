"""Assets and uploads, and what has become of each at a given moment; knows no JSON and reads no clock."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from rindle_sync.providers.mux_emulator.checks import check_flag, check_number, check_text, check_word, check_words

TEST_ASSET_SECONDS: Final = 86_400.0
"""Mux deletes assets made with `test: true` after a day."""


class Ending(StrEnum):
    """How the preparing of an asset ends."""

    READY = "ready"
    ERRORED = "errored"
    NEVER = "never"


class AssetState(StrEnum):
    """What has become of an asset; Mux has no word for `deleted`, it answers 404."""

    PREPARING = "preparing"
    READY = "ready"
    ERRORED = "errored"
    DELETED = "deleted"


class UploadState(StrEnum):
    """The status words of a direct upload."""

    WAITING = "waiting"
    ASSET_CREATED = "asset_created"
    ERRORED = "errored"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"


class Policy(StrEnum):
    """Who may play a playback id."""

    PUBLIC = "public"
    SIGNED = "signed"
    DRM = "drm"


class VideoQuality(StrEnum):
    """How an asset is encoded and billed."""

    BASIC = "basic"
    PLUS = "plus"
    PREMIUM = "premium"


class MaxResolution(StrEnum):
    """The highest resolution at which an asset is kept."""

    FULL_HD = "1080p"
    QUAD_HD = "1440p"
    ULTRA_HD = "2160p"


@dataclass(frozen=True, slots=True)
class Life:
    """The plan of an asset: how its preparing ends, and when; all times in seconds from its creation."""

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
    """What whoever makes an asset may ask for."""

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
    """One way to play an asset."""

    id: str
    policy: str


@dataclass(slots=True, eq=False)
class Asset:
    """One asset; only `deleted_at` ever changes, all else follows from the clock."""

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
        """Its place among all assets, oldest first."""
        return self.created_at, self.serial

    @property
    def ends_at(self) -> float:
        """When its preparing ends."""
        return math.inf if self.life.ends == Ending.NEVER else self.created_at + self.life.after

    def state(self, now: float) -> AssetState:
        """What has become of it by `now`."""
        if self.deleted_at <= now:
            return AssetState.DELETED
        return AssetState(self.life.ends) if self.ends_at <= now else AssetState.PREPARING

    def last_state(self, now: float) -> AssetState:
        """What had become of it by `now`, or by its deletion if that was before."""
        has_ended = self.ends_at <= now and self.ends_at < self.deleted_at
        return AssetState(self.life.ends) if has_ended else AssetState.PREPARING

    def has_failed(self, now: float) -> bool:
        """Whether it was errored by `now`, deleted since or not."""
        return self.life.ends == Ending.ERRORED and self.ends_at <= now and self.ends_at < self.deleted_at


@dataclass(slots=True, eq=False, kw_only=True)
class Upload:
    """One direct upload; `asset` comes with the bytes, `is_cancelled` with the call."""

    id: str
    created_at: float
    signature: str
    timeout: int
    cors_origin: str
    settings: Settings
    given: Mapping[str, object]
    life: Life | None = None
    asset: Asset | None = None
    is_cancelled: bool = False

    def state(self, now: float) -> UploadState:
        """What has become of it by `now`."""
        if self.asset is not None:
            return UploadState.ERRORED if self.asset.has_failed(now) else UploadState.ASSET_CREATED
        if self.is_cancelled:
            return UploadState.CANCELLED
        return UploadState.TIMED_OUT if self.created_at + self.timeout <= now else UploadState.WAITING
