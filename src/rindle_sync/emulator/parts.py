"""The parts of an asset: tracks, static renditions and master access."""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Final

from rindle_sync.emulator.history import History
from rindle_sync.emulator.lifecycle import Part

SOURCE_HEIGHT: Final = 1080
"""The height of every source in pixels; a higher static rendition is skipped."""

_LOWEST_TIER: Final = 720

MASTER_SECONDS: Final = 86_400.0
"""Mux removes the master a day after it became ready."""


class TrackType(StrEnum):
    """The kinds of track that can be added to an asset."""

    TEXT = "text"
    AUDIO = "audio"


class TextType(StrEnum):
    """The kinds of text track."""

    SUBTITLES = "subtitles"


class MasterAccess(StrEnum):
    """Whether the master of an asset can be downloaded."""

    NONE = "none"
    TEMPORARY = "temporary"


class Resolution(StrEnum):
    """The resolutions of static renditions."""

    HIGHEST = "highest"
    AUDIO_ONLY = "audio-only"
    P2160 = "2160p"
    P1440 = "1440p"
    P1080 = "1080p"
    P720 = "720p"
    P540 = "540p"
    P480 = "480p"
    P360 = "360p"
    P270 = "270p"

    @property
    def height(self) -> int | None:
        """The height in pixels; None for audio only."""
        if self is Resolution.AUDIO_ONLY:
            return None
        return SOURCE_HEIGHT if self is Resolution.HIGHEST else int(self.removesuffix("p"))

    @property
    def tier(self) -> str:
        """The tier by which Mux bills it."""
        if self.height is None:
            return self
        return f"{max(self.height, _LOWEST_TIER)}p"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackDetails:
    """What calls can change in a track; None for what was not given."""

    language_code: str
    name: str | None = None
    closed_captions: bool | None = None
    passthrough: str | None = None


@dataclass(slots=True, eq=False, kw_only=True)
class Track(Part):
    """A text or audio track that was added to an asset."""

    needs_whole_video: ClassVar[bool] = False

    type: str
    details: History[TrackDetails]
    is_generated: bool = False

    @property
    def kind(self) -> str:
        """What it is, in a word."""
        return self.type


@dataclass(slots=True, eq=False, kw_only=True)
class StaticRendition(Part):
    """One MP4 or M4A file of an asset."""

    resolution: Resolution
    passthrough: str | None = None

    @property
    def kind(self) -> str:
        """What it is, in a word."""
        return "static_rendition"

    @property
    def extension(self) -> str:
        """The ending of its file's name."""
        return "m4a" if self.resolution is Resolution.AUDIO_ONLY else "mp4"

    @property
    def name(self) -> str:
        """The name of its file."""
        is_audio = self.resolution is Resolution.AUDIO_ONLY
        return f"{'audio' if is_audio else self.resolution.value}.{self.extension}"


@dataclass(slots=True, eq=False, kw_only=True)
class Master(Part):
    """The master of an asset, downloadable for a time; its events are events of the asset."""

    @property
    def kind(self) -> str:
        """What it is, in a word."""
        return "master"
