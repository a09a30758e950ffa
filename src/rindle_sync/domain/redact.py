"""How ids, URLs and keys are hidden in text that people read. Pure."""

import re
from typing import Final

MAX_ERROR_TEXT: Final = 4096
"""The longest `last_sync_error`, in characters."""

_SHORT: Final = 4
_LONGEST_READ: Final = 16 * MAX_ERROR_TEXT
_URL = re.compile(r"(?<![a-z0-9+.-])([0-9+.-]*+)[a-z][a-z0-9+.-]*+://[^\s'\"<>]+", re.IGNORECASE)
_TOKEN = re.compile(r"[A-Za-z0-9_+/=.-]{16,}")
_WORD = r"(?:[A-Za-z][a-z]*|[A-Z]{2,})"
_CLASS = r"(?:[a-z_]+\.)+(?:[A-Z][a-z]+)+|(?:[A-Z][a-z]{2,})+Error"
_PLAIN = re.compile(rf"{_WORD}(?:[._/-]+{_WORD})*[._/-]*|{_CLASS}")
"""Words, also `unsupported_codec`, `RemoteProtocolError`; ids mix in capitals and digits."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def redact_id(provider_id: str | None) -> str | None:
    """The part of a provider id that may be shown: `...` and its last four characters."""
    return None if provider_id is None else _tag(provider_id)


def _tag(secret: str) -> str:
    return f"...{secret[-4:]}" if len(secret) >= _SHORT else "...redacted"


def scrub(text: str, *secrets: str | None) -> str:
    """`text` without `secrets`, URLs and likely ids or keys: one line, at most 4096 characters."""
    text = hide(text, *secrets)
    if len(text) > _LONGEST_READ:  # without the last word: half an id would not look like one
        text = " ".join(text[:_LONGEST_READ].split()[:-1])

    def hidden(match: re.Match[str]) -> str:
        word = match.group()
        return word if _PLAIN.fullmatch(word) else _tag(word.rstrip("."))

    # URLs first: what is left of a URL whose ids are hidden would not look like one
    text = _TOKEN.sub(hidden, hide_urls(text))
    return _CONTROL.sub(" ", text).strip()[:MAX_ERROR_TEXT].rstrip()


def hide(text: str, *secrets: str | None) -> str:
    """`text` with each of `secrets` in it redacted."""
    if not [secret for secret in secrets if secret and secret in text]:
        return text
    # the longest first: a shorter one may be a part of it
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        tag = _tag(secret)
        if len(secret) > _SHORT:
            text = text.replace(secret, tag)
        else:  # the letters of a short secret are in many words: hide it only where it stands alone
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", tag.replace("\\", r"\\"), text)
    return text


def hide_urls(text: str) -> str:
    """`text` with every URL in it hidden."""
    return _URL.sub(r"\1[url]", text)
