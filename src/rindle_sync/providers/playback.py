"""What can be played of a row, how it is asked for, and what a page needs to play it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Protocol, TypedDict

from rindle_sync.domain import PlaybackId, ProviderAsset, Rendition, Track

Modifiers = Mapping[str, str | int | float | bool]
"""What changes the played thing (`time`, `width`, ...), by the provider's own names."""


class PlaybackKind(StrEnum):
    """What can be had of a row: the video, an image, captions, a file, a DRM license."""

    VIDEO = "video.m3u8"
    """The video as HLS."""
    THUMBNAIL_JPG = "thumbnail.jpg"
    THUMBNAIL_PNG = "thumbnail.png"
    THUMBNAIL_WEBP = "thumbnail.webp"
    ANIMATED_GIF = "animated.gif"
    ANIMATED_WEBP = "animated.webp"
    STORYBOARD_VTT = "storyboard.vtt"
    STORYBOARD_JSON = "storyboard.json"
    STORYBOARD_JPG = "storyboard.jpg"
    STORYBOARD_PNG = "storyboard.png"
    STORYBOARD_WEBP = "storyboard.webp"
    CAPTIONS_VTT = "captions.vtt"
    CAPTIONS_TXT = "captions.txt"
    """Captions as plain text: a transcript."""
    RENDITION = "rendition"
    """A file to download, by its name."""
    AUDIO = "audio.m4a"
    """The sound alone, as a file to download."""
    LICENSE_WIDEVINE = "license.widevine"
    LICENSE_FAIRPLAY = "license.fairplay"
    LICENSE_PLAYREADY = "license.playready"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaybackRequest:
    """Which playback id is used, until when, and what is passed on to the provider."""

    expires_at: datetime | None = None
    """When tokens end; needed where the playback id is not public."""
    policy: str | None = None
    """Only a playback id with this policy; None for the most open that the row has."""
    playback_id: PlaybackId | None = field(default=None, repr=False)
    """This one of the row's; it wins over `policy`."""
    modifiers: Modifiers | None = field(default=None, repr=False)
    custom: Mapping[str, Any] | None = field(default=None, repr=False)
    """The app's own data in the token, as JSON has it."""
    restriction_id: str | None = field(default=None, repr=False)
    """The provider's id of a playback restriction, for the token."""


class PlaybackOptions(TypedDict, total=False):
    """The fields of a `PlaybackRequest`, to pass by name."""

    expires_at: datetime | None
    policy: str | None
    playback_id: PlaybackId | None
    modifiers: Modifiers | None
    custom: Mapping[str, Any] | None
    restriction_id: str | None


AS_IT_IS: Final = PlaybackRequest()
"""The most open playback id, and nothing passed on."""


@dataclass(frozen=True, slots=True)
class PlaybackUrl:
    """A URL that plays; a `repr` shows its policy and its end only.

    With a token it plays for whoever holds it until `expires_at`: it is a secret.
    """

    url: str = field(repr=False)
    token: str | None = field(repr=False)
    """The token in `url`, for a player that asks for it alone; None for a public playback id."""
    expires_at: datetime | None
    """UTC, in whole seconds, as the token says it; None for a public playback id."""
    policy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaybackBundle:
    """All that a page needs to play a row; a `repr` shows nothing that plays."""

    playback_id: str = field(repr=False)
    policy: str
    stream_url: str = field(repr=False)
    """The video as HLS."""
    poster_url: str | None = field(repr=False)
    """None for sound without a picture."""
    storyboard_url: str | None = field(repr=False)
    """None for sound without a picture, and while it is live."""
    tokens: Mapping[str, str] = field(repr=False)
    """By what each opens: `playback`, `thumbnail`, `storyboard`, `drm`; empty if public."""
    license_urls: Mapping[str, str] = field(repr=False)
    """By DRM system: `widevine`, `fairplay`, `playready`; empty without DRM."""
    certificate_url: str | None = field(repr=False)
    """The certificate that FairPlay needs; None without DRM."""
    expires_at: datetime | None
    """When the tokens end, in UTC; None if public."""
    is_live: bool
    title: str | None = field(repr=False)
    duration: float | None
    """Seconds."""
    aspect_ratio: str | None
    """Width and height, as in `16:9`."""

    def as_dict(self) -> dict[str, Any]:
        """All of it for JSON; times as ISO 8601 text. It holds the tokens: it is a secret."""
        values = {name: getattr(self, name) for name in _BUNDLE_FIELDS}
        values |= {"tokens": dict(self.tokens), "license_urls": dict(self.license_urls)}
        return values | {"expires_at": self.expires_at and self.expires_at.isoformat()}


_BUNDLE_FIELDS: Final = tuple(field.name for field in fields(PlaybackBundle))


class Playback(Protocol):
    """Makes playback URLs, signed where needed with the key in the settings; calls nobody."""

    @property
    def has_key(self) -> bool:
        """Whether any part of a signing key is set."""

    def check(self) -> None:
        """Raise `ConfigurationError` for a key that is missing or cannot sign."""

    def url(
        self,
        row: ProviderAsset,
        kind: PlaybackKind,
        request: PlaybackRequest = AS_IT_IS,
        *,
        now: datetime,
        of: str | Track | Rendition | None = None,
    ) -> PlaybackUrl:
        """A URL of `kind`; for captions and renditions `of` names which.

        Raises `NotPlayable`, `ConfigurationError`.
        """

    def bundle(
        self,
        row: ProviderAsset,
        request: PlaybackRequest = AS_IT_IS,
        *,
        now: datetime,
        poster: Modifiers | None = None,
    ) -> PlaybackBundle:
        """All that a player needs; `poster` modifies the poster.

        Raises `NotPlayable`, `ConfigurationError`.
        """

    def player_url(self, bundle: PlaybackBundle) -> str | None:
        """The provider's own page that plays it in a frame; None where it has none.

        It has the tokens of the bundle: it is a secret.
        """
