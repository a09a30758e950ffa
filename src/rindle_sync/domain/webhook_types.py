"""The types of webhook events that the app wants: patterns as `video.live_stream.*`. Pure."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Final

from rindle_sync.domain.text import LONGEST_TEXT, is_text

_WILD: Final = "*?["


def matches_any(event_type: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns matches; `*` stands for any text, with dots in it, too."""
    return any(fnmatchcase(event_type, pattern) for pattern in patterns)


def pattern_fault(pattern: str, acted_on: Sequence[str]) -> str | None:
    """What is wrong with a pattern of the app's; None where it can match something.

    `acted_on` are patterns of the types that rindle-sync acts on itself: the app gets none of them.
    """
    if not (pattern.strip() and is_text(pattern) and len(pattern) <= LONGEST_TEXT):
        return "must be a type of webhook events, or a pattern as in name.*"
    if any(_is_within(pattern, of_ours) for of_ours in acted_on):
        shown = ascii(pattern)[1:-1]
        return f"{shown} matches only types that rindle-sync acts on itself: use on_change for them"
    return None


def _is_within(pattern: str, outer: str) -> bool:
    """Whether `outer`, a type or one with `*` at its end, matches all that `pattern` matches."""
    if not outer.endswith("*"):
        return pattern == outer
    begins = pattern
    for place, character in enumerate(pattern):
        if character in _WILD:
            begins = pattern[:place]
            break
    return begins.startswith(outer.removesuffix("*"))
