"""Playback: a row in, a URL out, with a token in it where its playback id is not public.

Asks nobody, reads no clock, and has no default expiry.

https://www.mux.com/docs/guides/play-your-videos
https://www.mux.com/docs/guides/secure-video-playback
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final
from urllib.parse import quote, urlencode

from rindle_sync.domain import PlaybackId, ProviderAsset, Rendition, State, Track
from rindle_sync.errors import ConfigurationError, NotPlayable
from rindle_sync.providers.mux.outputs import captions_of, rendition_of
from rindle_sync.providers.mux.signing import Audience, Signer, check_modifiers, expiry_of
from rindle_sync.providers.playback import (
    AS_IT_IS,
    Modifiers,
    PlaybackBundle,
    PlaybackKind,
    PlaybackRequest,
    PlaybackUrl,
)

OPEN_FIRST: Final = ("public", "signed", "drm")
"""Mux's policies, in the order in which they are taken where none is named."""

DRM_SYSTEMS: Final = {
    "widevine": PlaybackKind.LICENSE_WIDEVINE,
    "fairplay": PlaybackKind.LICENSE_FAIRPLAY,
    "playready": PlaybackKind.LICENSE_PLAYREADY,
}

_KINDS: Final = frozenset(PlaybackKind)

_AUDIENCES: Final = {
    "video": Audience.VIDEO,
    "thumbnail": Audience.THUMBNAIL,
    "animated": Audience.GIF,
    "storyboard": Audience.STORYBOARD,
    # captions and files are parts of the video: its token opens them, too
    "captions": Audience.VIDEO,
    "rendition": Audience.VIDEO,
    "audio": Audience.VIDEO,
    "license": Audience.DRM_LICENSE,
}


def audience_of(kind: PlaybackKind) -> Audience:
    """The audience of a token for `kind`."""
    return _AUDIENCES[kind.partition(".")[0]]


def url_of(kind: PlaybackKind, playback_id: str, part: str = "") -> str:
    """The address of `kind`, without a token; `part` is a track's id, or a file's name."""
    family, _, form = kind.partition(".")
    name, inner = quote(playback_id, safe=""), quote(part, safe="")
    match family:
        case "video":
            return f"https://stream.mux.com/{name}.m3u8"
        case "captions":
            return f"https://stream.mux.com/{name}/text/{inner}.{form}"
        case "rendition" | "audio":
            return f"https://stream.mux.com/{name}/{inner}"
        case "license":
            return f"https://license.mux.com/license/{form}/{name}"
        case _:
            return f"https://image.mux.com/{name}/{kind}"


class MuxPlayback:
    """Makes URLs for rows of Mux; `signer`, or what makes it when it is first needed, signs them.

    Public playback ids need none.
    """

    def __init__(
        self, signer: Signer | Callable[[], Signer] | None = None, *, has_key: bool = True
    ) -> None:
        self.has_key = has_key and signer is not None
        self._made_by = signer

    @cached_property
    def _signer(self) -> Signer:
        if self._made_by is None:
            raise ConfigurationError("signer", "is needed: the playback id is not public")
        return self._made_by if isinstance(self._made_by, Signer) else self._made_by()

    def check(self) -> None:
        """Raise `ConfigurationError` for a key that is missing or cannot sign."""
        _ = self._signer

    def url(
        self,
        row: ProviderAsset,
        kind: PlaybackKind,
        request: PlaybackRequest = AS_IT_IS,
        *,
        now: datetime,
        of: str | Track | Rendition | None = None,
    ) -> PlaybackUrl:
        """A URL of `kind` for the playback id that `request` names, or the most open of the row.

        For captions `of` is their language or their track; for a rendition it is its name, its
        resolution or itself. Raises `NotPlayable`, `ConfigurationError`.
        """
        if kind not in _KINDS:
            raise ConfigurationError("kind", f"must be one of {', '.join(PlaybackKind)}")
        kind = PlaybackKind(kind)
        chosen = _chosen(row, kind, request)
        return self._url(chosen, kind, request, now, _part(row, kind, of))

    def bundle(
        self,
        row: ProviderAsset,
        request: PlaybackRequest = AS_IT_IS,
        *,
        now: datetime,
        poster: Modifiers | None = None,
    ) -> PlaybackBundle:
        """All that a player needs; `poster` modifies the poster.

        The modifiers of the request are for the video alone. Raises `NotPlayable`,
        `ConfigurationError`.
        """
        chosen = _chosen(row, PlaybackKind.VIDEO, request)
        plain = replace(request, modifiers=None)

        def url(kind: PlaybackKind, asked: PlaybackRequest = plain) -> PlaybackUrl:
            return self._url(chosen, kind, asked, now)

        has_picture = row.resolution != "audio-only"
        urls = {"playback": url(PlaybackKind.VIDEO, request)}
        if has_picture:
            wanted = replace(request, modifiers=poster)
            urls["thumbnail"] = url(PlaybackKind.THUMBNAIL_JPG, wanted)
        if has_picture and not row.is_live:
            urls["storyboard"] = url(PlaybackKind.STORYBOARD_VTT)
        licenses: dict[str, str] = {}
        certificate: str | None = None
        if chosen.policy == "drm":
            urls["drm"] = url(PlaybackKind.LICENSE_WIDEVINE)
            # one token opens them all
            query = f"?token={urls['drm'].token}"
            for system, kind in DRM_SYSTEMS.items():
                licenses[system] = url_of(kind, chosen.id) + query
            name = quote(chosen.id, safe="")
            certificate = f"https://license.mux.com/appcert/fairplay/{name}{query}"
        return PlaybackBundle(
            playback_id=chosen.id,
            policy=chosen.policy,
            stream_url=urls["playback"].url,
            poster_url=urls["thumbnail"].url if "thumbnail" in urls else None,
            storyboard_url=urls["storyboard"].url if "storyboard" in urls else None,
            tokens={name: made.token for name, made in urls.items() if made.token},
            license_urls=licenses,
            certificate_url=certificate,
            expires_at=urls["playback"].expires_at,
            is_live=row.is_live,
            title=row.title,
            duration=row.duration,
            aspect_ratio=row.aspect_ratio,
        )

    def player_url(self, bundle: PlaybackBundle) -> str:
        """https://www.mux.com/docs/guides/mux-player-web ."""
        tokens = {f"{name}-token": token for name, token in bundle.tokens.items()}
        address = f"https://player.mux.com/{quote(bundle.playback_id, safe='')}"
        return f"{address}?{urlencode(tokens)}" if tokens else address

    def _url(
        self,
        chosen: PlaybackId,
        kind: PlaybackKind,
        request: PlaybackRequest,
        now: datetime,
        part: str = "",
    ) -> PlaybackUrl:
        address = url_of(kind, chosen.id, part)
        modifiers: dict[str, Any] = {**check_modifiers(request.modifiers or {})}
        if chosen.policy == "public":
            # on a public playback id a token makes the URL fail
            query = urlencode({name: _in_query(value) for name, value in modifiers.items()})
            return PlaybackUrl(f"{address}?{query}" if query else address, None, None, "public")
        if request.expires_at is None:
            text = f"is needed: the playback id is {chosen.policy}, so its URL has a token"
            raise ConfigurationError("expires_at", text)
        if request.restriction_id is not None:
            restriction_id: Any = request.restriction_id
            if not isinstance(restriction_id, str) or not restriction_id.strip():
                raise ConfigurationError("restriction_id", "must be the id of one at Mux")
            modifiers["playback_restriction_id"] = restriction_id
        # Mux reads all of it from the token, and ignores the query
        token = self._signer.token(
            chosen.id,
            audience=audience_of(kind),
            expires_at=request.expires_at,
            now=now,
            modifiers=modifiers,
            custom=request.custom,
        )
        expiry = datetime.fromtimestamp(expiry_of(request.expires_at, now), UTC)
        return PlaybackUrl(f"{address}?token={token}", token, expiry, chosen.policy)


def _in_query(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _part(row: ProviderAsset, kind: PlaybackKind, of: str | Track | Rendition | None) -> str:
    match kind.partition(".")[0]:
        case "captions":
            return captions_of(row, of).id
        case "rendition":
            return rendition_of(row, of).name
        case "audio" if of is None:
            return rendition_of(row, kind.value).name
    if of is not None:
        raise ConfigurationError("of", "is only for captions and renditions")
    return ""


def _chosen(row: ProviderAsset, kind: PlaybackKind, request: PlaybackRequest) -> PlaybackId:
    if row.provider_name != "mux":
        raise NotPlayable(row.id, "other_provider", "is not of Mux")
    if row.state is not State.READY:
        raise NotPlayable(row.id, "not_ready", f"is {row.state}, not ready")
    is_license = audience_of(kind) is Audience.DRM_LICENSE
    if request.playback_id is not None:
        return _own(row, request.playback_id, is_license=is_license)
    if request.policy is not None and request.policy not in OPEN_FIRST:
        raise ConfigurationError("policy", f"must be one of {', '.join(OPEN_FIRST)}")
    wanted = "drm" if is_license else request.policy
    for policy in (wanted,) if wanted else OPEN_FIRST:
        for own in row.playback_ids:
            if own.policy == policy:
                return own
    if wanted:
        text = f"has no playback id whose policy is {wanted}: it never had one, or it was removed"
        raise NotPlayable(row.id, f"no_{wanted}_id", text)
    if row.playback_ids:
        text = "has only playback ids under unknown policies"
        raise NotPlayable(row.id, "unknown_policy", text)
    raise NotPlayable(row.id, "no_playback_id", "has no playback id: Mux made none, or removed it")


def _own(row: ProviderAsset, wanted: object, *, is_license: bool) -> PlaybackId:
    if not isinstance(wanted, PlaybackId):
        raise ConfigurationError("playback_id", "must be one of the row's playback_ids")
    # by id alone: the policy that counts is the row's, not the caller's
    for own in row.playback_ids:
        if own.id != wanted.id:
            continue
        if own.policy not in OPEN_FIRST:
            text = "has this playback id under an unknown policy"
            raise NotPlayable(row.id, "unknown_policy", text)
        if is_license and own.policy != "drm":
            text = "has this playback id without DRM: there is no license to get for it"
            raise NotPlayable(row.id, "no_drm_id", text)
        return own
    text = "does not have this playback id: it is of a different row, or was removed"
    raise NotPlayable(row.id, "foreign_id", text)
