"""Signed playback: a row and a key in, a URL with a token out.

Asks nobody, reads no clock, and has no default expiry.

https://www.mux.com/docs/guides/secure-video-playback
"""

import base64
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import InitVar, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from math import floor, isfinite
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from rindle_sync.domain import PlaybackId, ProviderAsset, State
from rindle_sync.errors import ConfigurationError, NotPlayable
from rindle_sync.providers.base import Modifiers, PlaybackKind, SignedUrl

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

KEY_SETTING: Final = "mux_signing_private_key"
KEY_ID_SETTING: Final = "mux_signing_key_id"
SMALLEST_KEY: Final = 2048

_OURS: Final = frozenset({"sub", "aud", "exp", "kid"})
_REGISTERED: Final = frozenset({"iat", "iss", "jti", "nbf"})
_MODIFIER = re.compile(r"[a-z][a-z0-9_]*")


class Audience(StrEnum):
    """What a token opens: the claim `aud`."""

    VIDEO = "v"
    THUMBNAIL = "t"
    GIF = "g"
    STORYBOARD = "s"
    DRM_LICENSE = "d"
    STATS_PLAYBACK_ID = "playback_id"
    STATS_ASSET = "asset_id"
    STATS_VIDEO = "video_id"
    STATS_LIVE_STREAM = "live_stream_id"


_AUDIENCES: Final = {
    "video": Audience.VIDEO,
    "thumbnail": Audience.THUMBNAIL,
    "animated": Audience.GIF,
    "storyboard": Audience.STORYBOARD,
    "license": Audience.DRM_LICENSE,
}


def audience_of(kind: PlaybackKind) -> Audience:
    """The audience of a token for `kind`."""
    return _AUDIENCES[kind.partition(".")[0]]


def url_of(kind: PlaybackKind, playback_id: str) -> str:
    """The address of `kind`, without a token."""
    name = quote(playback_id, safe="")
    match audience_of(kind):
        case Audience.VIDEO:
            return f"https://stream.mux.com/{name}.m3u8"
        case Audience.DRM_LICENSE:
            return f"https://license.mux.com/license/{kind.partition('.')[2]}/{name}"
        case _:
            return f"https://image.mux.com/{name}/{kind}"


@dataclass(frozen=True, slots=True, eq=False)
class Signer:
    """A signing key of one Mux environment, parsed once.

    Raises `ConfigurationError` for a key that cannot sign.

    `private_key` is an RSA key of at least 2048 bits, in PEM (PKCS#1 or PKCS#8) or base64 of that,
    which is how Mux hands it out. Its text is not kept.
    """

    key_id: str = field(repr=False)
    private_key: InitVar[str]
    _key: "RSAPrivateKey" = field(init=False, repr=False)

    def __post_init__(self, private_key: str) -> None:
        key_id = self.key_id.strip()
        if not key_id or not key_id.isprintable():
            raise ConfigurationError(
                KEY_ID_SETTING, "must be the id of a signing key, as Mux shows it beside the key"
            )
        object.__setattr__(self, "key_id", key_id)
        object.__setattr__(self, "_key", _parsed(private_key))

    def token(
        self,
        subject: str,
        *,
        audience: Audience,
        expires_at: datetime,
        now: datetime,
        modifiers: Modifiers | None = None,
        custom: Mapping[str, Any] | None = None,
    ) -> str:
        """A token for `subject`, the id that `audience` is about.

        Whether that id needs one is not looked at.

        Raises `ConfigurationError`, named after the argument, for an expiry that is past and for
        claims that cannot be made.
        """
        import jwt

        if not subject:
            raise ConfigurationError("subject", "is empty: a token is for one id")
        claims: dict[str, Any] = {**_modifiers(modifiers or {})}
        if custom is not None:
            try:
                claims["custom"] = json.loads(json.dumps(dict(custom), allow_nan=False))
            except (TypeError, ValueError, RecursionError):
                text = "must be a mapping that can be written as JSON"
                raise ConfigurationError("custom", text) from None
        claims |= {
            "sub": subject,
            "aud": audience.value,
            "exp": _expiry(expires_at, now),
            "kid": self.key_id,
        }
        return jwt.encode(claims, self._key, algorithm="RS256", headers={"kid": self.key_id})


class MuxPlayback:
    """Signs with the key that `signing_key` gives, parsed once, when it is needed."""

    def __init__(self, signing_key: Callable[[], tuple[str, str]], *, has_key: bool = True) -> None:
        self.has_key = has_key
        self._signing_key = signing_key

    @cached_property
    def _signer(self) -> Signer:
        return Signer(*self._signing_key())

    def check(self) -> None:
        """Raise `ConfigurationError` for a key that is missing or cannot sign."""
        _ = self._signer

    def signed_url(
        self,
        row: ProviderAsset,
        kind: PlaybackKind,
        *,
        expires_at: datetime,
        now: datetime,
        modifiers: Modifiers | None = None,
        custom: Mapping[str, Any] | None = None,
    ) -> SignedUrl:
        """`signed_url` for the first of the row's playback ids that is signed."""
        return signed_url(
            row,
            self._signer,
            kind=kind,
            expires_at=expires_at,
            now=now,
            modifiers=modifiers,
            custom=custom,
        )


def signed_url(
    row: ProviderAsset,
    signer: Signer,
    *,
    kind: PlaybackKind,
    expires_at: datetime,
    now: datetime,
    playback_id: PlaybackId | None = None,
    modifiers: Modifiers | None = None,
    custom: Mapping[str, Any] | None = None,
) -> SignedUrl:
    """A URL for one of the row's playback ids: `playback_id`, else the first that is signed.

    For a license it is the first whose policy is drm. `modifiers` and the app's own `custom` data
    go into the token. Raises `NotPlayable`, `ConfigurationError`.
    """
    chosen = _chosen(row, kind, playback_id)
    token = signer.token(
        chosen.id,
        audience=audience_of(kind),
        expires_at=expires_at,
        now=now,
        modifiers=modifiers,
        custom=custom,
    )
    expiry = datetime.fromtimestamp(_expiry(expires_at, now), UTC)
    return SignedUrl(f"{url_of(kind, chosen.id)}?token={token}", token, expiry)


def _chosen(row: ProviderAsset, kind: PlaybackKind, wanted: PlaybackId | None) -> PlaybackId:
    if row.provider_name != "mux":
        raise NotPlayable(row.id, "other_provider", "is not of Mux")
    if row.state is not State.READY:
        raise NotPlayable(row.id, "not_ready", f"is {row.state}, not ready")
    if wanted is None:
        policy = "drm" if audience_of(kind) is Audience.DRM_LICENSE else "signed"
        for own in row.playback_ids:
            if own.policy == policy:
                return own
        text = f"has no playback id whose policy is {policy}: it never had one, or it was removed"
        raise NotPlayable(row.id, f"no_{policy}_id", text)
    # by id alone: the policy that counts is the row's, not the caller's
    for own in row.playback_ids:
        if own.id == wanted.id:
            return _needs_token(row, kind, own)
    text = "does not have this playback id: it is of a different row, or was removed"
    raise NotPlayable(row.id, "foreign_id", text)


def _needs_token(row: ProviderAsset, kind: PlaybackKind, own: PlaybackId) -> PlaybackId:
    """`own`, if a token of `kind` opens it; on a public id a token makes the URL fail."""
    match own.policy, audience_of(kind):
        case "public", _:
            text = "has this playback id as public: its URL works only without a token"
            raise NotPlayable(row.id, "public_id", text)
        case "signed", Audience.DRM_LICENSE:
            text = "has this playback id without DRM: there is no license to get for it"
            raise NotPlayable(row.id, "no_drm_id", text)
        case "signed" | "drm", _:
            return own
        case _:
            text = "has this playback id under an unknown policy"
            raise NotPlayable(row.id, "unknown_policy", text)


def _expiry(expires_at: datetime, now: datetime) -> int:
    for name, moment in (("expires_at", expires_at), ("now", now)):
        if moment.utcoffset() is None:
            raise ConfigurationError(name, "must have a time zone, as in datetime.now(UTC)")
    # whole seconds, as JWT has them, and down: no URL outlives what was asked for
    expiry = floor(expires_at.timestamp())
    if expiry <= now.timestamp():
        raise ConfigurationError("expires_at", "must be later than now, by a second at least")
    return expiry


def _modifiers(modifiers: Mapping[str, object]) -> Mapping[str, object]:
    for name, value in modifiers.items():
        is_infinite = isinstance(value, float) and not isfinite(value)
        if name in _OURS:
            text = f"cannot set {name}: it comes from the row, the kind, the expiry or the key"
        elif name in _REGISTERED:
            text = f"cannot set {name}: Mux's tokens do not have it"
        elif name == "custom":
            text = "cannot set custom: it is an argument of its own"
        elif not _MODIFIER.fullmatch(name):
            text = "must be named in lower case, as Mux names them"
        elif is_infinite or not isinstance(value, str | int | float):
            text = f"must be text, finite numbers or booleans; {name} is not"
        else:
            continue
        raise ConfigurationError("modifiers", text)
    return modifiers


def _parsed(text: str) -> "RSAPrivateKey":
    try:
        import jwt  # noqa: F401  a signer that can be made can sign
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError:
        needed = "needs an extra: pip install 'rindle-sync[playback]'"
        raise ConfigurationError(KEY_SETTING, needed) from None
    try:
        # Mux hands out base64 of the PEM, in one line
        pem = text.encode() if "-----BEGIN" in text else base64.b64decode(text)
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigurationError(
            KEY_SETTING,
            "is no private key without a password, in PEM with its line breaks or base64 of it; "
            "Mux shows it once, when the key is created",
        ) from None
    if not isinstance(key, RSAPrivateKey):
        raise ConfigurationError(KEY_SETTING, "is not an RSA key: Mux signs with RS256")
    if key.key_size < SMALLEST_KEY:
        small = f"has {key.key_size} bits, fewer than {SMALLEST_KEY}: make a new key at Mux"
        raise ConfigurationError(KEY_SETTING, small)
    return key
