"""The values in Mux's JSON, each of which may be missing or of another type."""

import math
from datetime import UTC, datetime
from typing import Any, Final

from rindle_sync.domain import LONGEST_TEXT, scrub

_TIMES: Final = frozenset({str, int, float})

_SHORT: Final = 16
"""A shorter printable word holds nothing that `scrub` hides."""

_LONGEST_WORD: Final = 64

_MOST: Final = 2**63


def text(value: Any) -> str:
    """`value` where it is a text; else an empty one."""
    return value if isinstance(value, str) else ""


def text_id(value: Any) -> str | None:
    """`value` where it can be an id; else None."""
    return value if isinstance(value, str) and 0 < len(value) <= LONGEST_TEXT else None


def word(value: Any) -> str | None:
    """A word of Mux's, scrubbed; None where there is none."""
    found = text(value)
    if len(found) >= _SHORT or not found.isprintable():
        found = scrub(found)[:_LONGEST_WORD]
    return found or None


def number(value: Any) -> float | None:
    """A number from 0 up; else None."""
    if type(value) not in {int, float} or not 0 <= value < _MOST:
        return None
    return float(value) if math.isfinite(value) else None


def count(value: Any) -> int | None:
    """A whole number from 0 up, as a number or as text; else None."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < _SHORT:
        value = int(value)
    found = number(value)
    return None if found is None else int(value)


def reason(errors: Any, *ids: str | None) -> str | None:
    """Why something failed, scrubbed, in whatever form Mux says it; None where it does not."""
    return None if errors is None else scrub(errors_text(errors), *ids) or None


def errors_text(errors: Any) -> str:
    """What Mux says is wrong, in one line, in whatever form it says it."""
    if not isinstance(errors, dict):
        return text(errors)
    told = errors.get("messages")
    messages = [text(message) for message in told] if isinstance(told, list) else []
    messages.append(text(errors.get("message")))
    return ": ".join(filter(None, [text(errors.get("type")), " ".join(filter(None, messages))]))


def parse_time(value: Any) -> datetime | None:
    """A time in an encoding of Mux's: unix seconds, as a number or text, or ISO 8601; else None."""
    try:
        if isinstance(value, str) and not value.replace(".", "", 1).isdigit():
            moment = datetime.fromisoformat(value)
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        return datetime.fromtimestamp(float(value), UTC) if type(value) in _TIMES else None
    except (ValueError, OverflowError, OSError):
        return None
