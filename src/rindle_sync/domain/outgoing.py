"""Outgoing webhooks: their types, the secrets that sign them, and the URLs they go to. Pure."""

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final
from urllib.parse import urlsplit

from rindle_sync.domain.asset import ChangeKind, State

MEDIA_CHANGED: Final = "asset.media_changed"
CHANGE_TYPES: Final = (*(f"asset.{state}" for state in State), MEDIA_CHANGED)
"""The types of outgoing webhooks that tell of changes."""

TEST_TYPE: Final = "test.ping"
"""The type of the one that a person sends to try an endpoint; no filter holds it back."""

OF_SETTINGS: Final = "settings"
"""The name of the endpoint that the settings make."""

SECRET_PREFIX: Final = "whsec_"  # noqa: S105  no secret
SHORTEST_KEY, LONGEST_KEY = 24, 64
"""Bytes of a key, by the specification."""
MOST_SECRETS: Final = 5
"""How many secrets an endpoint may have at once: while one takes the place of another, two."""
LONGEST_URL: Final = 2000
"""In characters."""

_PATTERN: Final = re.compile(r"[a-z_.*]{1,100}")
_NO_URL: Final = "must be a URL, as in https://app.example.com/webhooks"
_VISIBLE: Final = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingSettings:
    """The endpoint that the settings name."""

    url: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    """The newest first."""
    types: tuple[str, ...] = ()
    allow_private: bool = False


def change_type(kind: ChangeKind, to_state: State) -> str:
    """The type of the outgoing webhook that tells of such a change."""
    return MEDIA_CHANGED if kind is ChangeKind.MEDIA else f"asset.{to_state}"


def wants_type(patterns: Iterable[str], event_type: str) -> bool:
    """Whether one of these patterns matches; no pattern at all wants everything."""
    patterns = list(patterns)
    return not patterns or any(fnmatchcase(event_type, pattern) for pattern in patterns)


def type_pattern_fault(pattern: str) -> str | None:
    """What is wrong with a pattern of types, as a demand; None where it matches a type."""
    matches = any(fnmatchcase(event_type, pattern) for event_type in CHANGE_TYPES)
    if _PATTERN.fullmatch(pattern) and matches:
        return None
    return f"must be one of {', '.join(CHANGE_TYPES)}, or a pattern as in asset.*"


def signing_key(secret: str) -> bytes:
    """The key of a secret, as it signs. Raises `ValueError`, whose text does not show it."""
    fault = secret_fault(secret)
    if fault:
        raise ValueError(fault)
    return base64.b64decode(secret.removeprefix(SECRET_PREFIX))


def secret_fault(secret: str) -> str | None:
    """What is wrong with a secret, as a demand; None where it can sign."""
    shape = f"must be {SECRET_PREFIX} and the base64 of {SHORTEST_KEY} to {LONGEST_KEY} bytes"
    if not secret.startswith(SECRET_PREFIX):
        return f"{shape}: it begins otherwise"
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return f"{shape}: it is no base64"
    if not SHORTEST_KEY <= len(key) <= LONGEST_KEY:
        return f"{shape}: it has {len(key)}"
    return None


def endpoint_url_fault(url: str, *, allow_private: bool) -> str | None:
    """What is wrong with the URL of an endpoint, as a demand that does not show it.

    The address that its host has is checked whenever a connection is made.
    """
    if len(url) > LONGEST_URL or not _VISIBLE.fullmatch(url):
        return f"must be a URL of at most {LONGEST_URL} visible ASCII characters"
    try:
        parts = urlsplit(url)
        is_url = bool(parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0)
    except ValueError:
        return _NO_URL
    if not is_url:
        return _NO_URL
    if parts.scheme == "http" and not allow_private:
        return (
            "must begin with https://; http:// needs allow_private, which is for private networks"
        )
    if "@" in parts.netloc:
        return "must not have a user or password in it: the signature says who sends"
    return "must not have a fragment (#...) in it: no server sees it" if "#" in url else None


def shown_url(url: str) -> str:
    """A URL as people may see it: its path and query could hold a secret."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "no URL"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
