"""The tokens of signed playback: an id and a key in, a token out.

Asks nobody, reads no clock, and has no default expiry.

https://www.mux.com/docs/guides/secure-video-playback
"""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field
from datetime import datetime
from enum import StrEnum
from math import floor, isfinite
from typing import TYPE_CHECKING, Any, Final

from rindle_sync.errors import ConfigurationError
from rindle_sync.providers.playback import Modifiers

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

KEY_SETTING: Final = "mux_signing_private_key"
KEY_ID_SETTING: Final = "mux_signing_key_id"
SMALLEST_KEY: Final = 2048

_OURS: Final = frozenset({"sub", "aud", "exp", "kid"})
_REGISTERED: Final = frozenset({"iat", "iss", "jti", "nbf"})
_YEAR_10000: Final = 253_402_300_800
"""In seconds since 1970: no time in UTC is as late."""

_SURROGATE = re.compile("[\ud800-\udfff]")
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
        claims: dict[str, Any] = {**check_modifiers(modifiers or {})}
        if custom is not None:
            try:
                claims["custom"] = json.loads(json.dumps(dict(custom), allow_nan=False))
            except (TypeError, ValueError, RecursionError):
                text = "must be a mapping that can be written as JSON"
                raise ConfigurationError("custom", text) from None
        claims |= {
            "sub": subject,
            "aud": audience.value,
            "exp": expiry_of(expires_at, now),
            "kid": self.key_id,
        }
        return jwt.encode(claims, self._key, algorithm="RS256", headers={"kid": self.key_id})


def expiry_of(expires_at: datetime, now: datetime) -> int:
    """When a token ends, in seconds since 1970; raises `ConfigurationError`."""
    times: tuple[tuple[str, Any], ...] = (("expires_at", expires_at), ("now", now))
    for name, moment in times:
        if not isinstance(moment, datetime):
            raise ConfigurationError(name, "must be a datetime, as datetime.now(UTC) gives it")
        if moment.utcoffset() is None:
            raise ConfigurationError(name, "must have a time zone, as in datetime.now(UTC)")
    # whole seconds, as JWT has them, and down: no URL outlives what was asked for
    expiry = floor(expires_at.replace(microsecond=0).timestamp())
    if expiry >= _YEAR_10000:
        raise ConfigurationError("expires_at", "must be before the year 10000 in UTC")
    if expiry <= now.timestamp():
        raise ConfigurationError("expires_at", "must be later than now, by a second at least")
    return expiry


def check_modifiers(modifiers: Mapping[str, object]) -> Mapping[str, object]:
    """`modifiers`, if Mux can read them; raises `ConfigurationError`."""
    given: object = modifiers
    if not isinstance(given, Mapping):
        raise ConfigurationError("modifiers", "must be a mapping of names to values")
    for name, value in given.items():
        is_infinite = isinstance(value, float) and not isfinite(value)
        if not isinstance(name, str):
            text = "must have names that are text"
        elif name in _OURS:
            text = f"cannot set {name}: it comes from the row, the kind, the expiry or the key"
        elif name in _REGISTERED:
            text = f"cannot set {name}: Mux's tokens do not have it"
        elif name == "custom":
            text = "cannot set custom: it is an argument of its own"
        elif not _MODIFIER.fullmatch(name):
            text = "must be named in lower case, as Mux names them"
        elif is_infinite or not _can_be_sent(value):
            text = f"must be text, finite numbers or booleans; {name} is not"
        else:
            continue
        raise ConfigurationError("modifiers", text)
    return modifiers


def _can_be_sent(value: object) -> bool:
    if isinstance(value, str):
        return _SURROGATE.search(value) is None
    return isinstance(value, int | float)


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
