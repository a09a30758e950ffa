"""Which texts of the app a row can hold, and what is wrong with any other. Pure."""

import re
from typing import Final

from rindle_sync.errors import ConfigurationError

LONGEST_TEXT: Final = 255
"""The longest id or reference of a row, in characters; no provider's own is longer."""

# joiners, soft hyphens, direction marks and the spaces of every script are text: words need them
_REFUSED: Final = (
    ("control character", re.compile(r"[\x00-\x1f\x7f-\x9f]")),
    ("lone surrogate", re.compile(r"[\ud800-\udfff]")),
    ("bidirectional override or isolate", re.compile(r"[\u202a-\u202e\u2066-\u2069]")),
)
_HIDDEN: Final = re.compile(
    "|".join([*(refused.pattern for _, refused in _REFUSED), r"[\u2028\u2029]"])
)


def text_fault(text: str) -> str | None:
    """What is wrong with `text`, as a demand; None where a row can hold it."""
    if not text.strip():
        return "must not be empty or blank"
    if len(text) > LONGEST_TEXT:
        return f"must be at most {LONGEST_TEXT} characters, not {len(text)}"
    for kind, refused in _REFUSED:
        if found := refused.search(text):
            place = found.start() + 1
            return f"must not contain a {kind}: character {place} is U+{ord(found.group()):04X}"
    return None


def is_text(text: str) -> bool:
    """Whether a row can hold this text."""
    return text_fault(text) is None


def check_is_text(name: str, value: object) -> None:
    """Raise `ConfigurationError` about the argument `name` unless `value` is a `str`."""
    if not isinstance(value, str):
        raise ConfigurationError(name, f"must be a text, not {type(value).__name__}")


def shown_text(text: str) -> str:
    """`text` in one line, with escapes for control characters and those that reverse a line."""
    return _HIDDEN.sub(lambda found: ascii(found.group())[1:-1], text)
