"""Spans of time as a person would say them."""

from datetime import datetime, timedelta


def span_of(span: timedelta) -> str:
    """A span of time as a person would say it."""
    seconds = span.total_seconds()
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def ago(moment: datetime | None, now: datetime) -> str:
    """How long before `now` that was."""
    return f"{span_of(max(now - moment, timedelta(0)))} ago" if moment else "never"
