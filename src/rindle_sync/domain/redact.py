"""How ids, URLs and keys are hidden in what people read. Pure."""

import re
from typing import Final

from rindle_sync.domain.asset import hide

MAX_ERROR_TEXT: Final = 4096
"""The longest `last_sync_error`, in characters."""


def redact_id(provider_id: str | None) -> str | None:
    """The tag that may be shown for a provider's id: `...` and its last four characters."""
    if provider_id is None:
        return None
    return f"...{provider_id[-4:]}" if len(provider_id) >= 4 else "...redacted"


_SHORT: Final = 4

_LONGEST_READ: Final = 16 * MAX_ERROR_TEXT

_URL = re.compile(r"(?<![a-z0-9+.-])([0-9+.-]*+)[a-z][a-z0-9+.-]*+://[^\s'\"<>]+", re.IGNORECASE)

_TOKEN = re.compile(r"[A-Za-z0-9_+/=.-]{16,}")

_PLAIN = re.compile(
    r"(?:[A-Za-z][a-z]*|[A-Z]{2,})(?:[._/-]+(?:[A-Za-z][a-z]*|[A-Z]{2,}))*[._/-]*|(?:[A-Z][a-z]{2,})+Error"
)
"""Words of a language or a program, as in `unsupported_codec`; an id mixes capitals and digits into its letters.

The last are names of errors, as in `RemoteProtocolError`.
"""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def scrub(text: str, *secrets: str | None) -> str:
    """`text` in one line, with `secrets`, URLs and everything that looks like an id or a key hidden, cut to 4096."""
    text = hide(text, *secrets)
    if len(text) > _LONGEST_READ:  # without the last word: half an id would not look like one
        text = " ".join(text[:_LONGEST_READ].split()[:-1])
    text = hide_urls(text)
    text = _TOKEN.sub(_hide_token, text)
    return _CONTROL.sub(" ", text).strip()[:MAX_ERROR_TEXT].rstrip()


def hide_urls(text: str) -> str:
    """`text` with every URL in it hidden."""
    return _URL.sub(r"\1[url]", text)


def _without(text: str, secret: str) -> str:
    """A short secret is hidden only where it stands alone: its letters are in every other word."""
    tag = redact_id(secret) or ""
    if len(secret) > _SHORT:
        return text.replace(secret, tag)
    return re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", lambda _: tag, text)


def _hide_token(match: re.Match[str]) -> str:
    word = match.group()
    return word if _PLAIN.fullmatch(word) else (redact_id(word.rstrip(".")) or "")
