"""What an app shows of an asset: its length, shape and title, and what else was made of it. Pure.

No word in it is a vendor's.
"""

from datetime import datetime
from enum import StrEnum
from operator import attrgetter
from typing import Any, Final

from msgspec import Struct, structs

from rindle_sync.domain.value import Value


class TrackKind(StrEnum):
    """What a track carries."""

    AUDIO = "audio"
    CAPTIONS = "captions"


class OutputStatus(StrEnum):
    """How far the provider is with a track, a rendition or a master."""

    PROCESSING = "processing"
    READY = "ready"
    ERRORED = "errored"
    SKIPPED = "skipped"
    """It is not made: the asset is too small for it, say."""
    UNKNOWN = "unknown"
    """A word that rindle-sync does not know."""


class Track(Value, frozen=True, kw_only=True):
    """An audio track or captions beside the video."""

    hidden = frozenset({"id"})

    id: str
    """The provider's."""
    kind: TrackKind
    status: OutputStatus
    language: str | None = None
    """A BCP 47 code, as in `en-US`."""
    name: str | None = None
    error: str | None = None
    """Why it failed, scrubbed; at most 4096 characters."""


class Rendition(Value, frozen=True, kw_only=True):
    """A file to download."""

    name: str
    """The file's name, as in `1080p.mp4`."""
    status: OutputStatus
    resolution: str | None = None
    """As in `1080p`, `audio-only` or `highest`."""
    bitrate: int | None = None
    """Bits a second."""
    size: int | None = None
    """Bytes."""
    error: str | None = None
    """Why it failed, scrubbed; at most 4096 characters."""


class Master(Value, frozen=True, kw_only=True):
    """The file in its best quality, which the provider keeps for a while."""

    status: OutputStatus
    expires_at: datetime | None = None
    error: str | None = None
    """Why it failed, scrubbed; at most 4096 characters."""


class Media(Struct, frozen=True, kw_only=True, gc=False):
    """All that an observation says of the media of an asset; what it lacks, the asset has not."""

    duration: float | None = None
    """Seconds."""
    aspect_ratio: str | None = None
    """Width and height, as in `16:9`."""
    resolution: str | None = None
    """The highest that is stored, as in `1080p`, or `audio-only`."""
    max_frame_rate: float | None = None
    """Frames a second."""
    title: str | None = None
    is_live: bool = False
    """Whether it is a live stream that goes on."""
    is_test: bool = False
    tracks: tuple[Track, ...] = ()
    renditions: tuple[Rendition, ...] = ()
    master: Master | None = None


MEDIA_FIELDS: Final = Media.__struct_fields__


media_values: Final = attrgetter(*MEDIA_FIELDS)
"""The values of `MEDIA_FIELDS` of a row or a `Media`, to compare."""


def media_fields(media: Media) -> dict[str, Any]:
    """The values of `media` by name, for a row to take over."""
    return structs.asdict(media)
