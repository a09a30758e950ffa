"""The types of webhook events that the app wants: patterns as `video.live_stream.*`. Pure."""

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Final

_PATTERN: Final = re.compile(r"\*|[\w*?-]+(\.[\w*?-]+)+")
_WILD: Final = re.compile(r"[*?]")
LONGEST_PATTERN: Final = 200
"""In characters."""


def matches_any(event_type: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns matches; `*` stands for any text, with dots in it, too."""
    return any(fnmatchcase(event_type, pattern) for pattern in patterns)


def pattern_fault(pattern: str, acted_on: Sequence[str]) -> str | None:
    """What is wrong with a pattern of the app's; None where it can match something.

    `acted_on` are patterns of the types that rindle-sync acts on itself: the app gets none of them.
    """
    if not (_PATTERN.fullmatch(pattern) and pattern.isascii() and len(pattern) <= LONGEST_PATTERN):
        return "must be a type of webhook events, with dots in it, or a pattern as in name.part.*"
    if any(_is_within(pattern, of_ours) for of_ours in acted_on):
        text = "matches only types that rindle-sync acts on itself: use on_change for them"
        return f"{pattern} {text}"
    return None


def _is_within(pattern: str, outer: str) -> bool:
    """Whether `outer`, a type or one with `*` at its end, matches all that `pattern` matches."""
    if not outer.endswith("*"):
        return pattern == outer
    begins = _WILD.split(pattern)[0]
    return begins.startswith(outer.removesuffix("*"))
