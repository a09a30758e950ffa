"""Numbers, times and durations as people write them."""

from datetime import datetime, timedelta

from rindle_sync.domain.clocks import is_ahead


def many(number: int, thing: str, things: str = "") -> str:
    """A number and its noun; the plural is `things`, or has an s."""
    return f"{number} {thing if number == 1 else things or f'{thing}s'}"


def span_of(span: timedelta) -> str:
    """A duration, in one unit."""
    seconds = span.total_seconds()
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def seconds_of(seconds: float) -> str:
    """A duration in seconds, in one unit."""
    return span_of(timedelta(seconds=seconds))


def moment_of(moment: datetime | None) -> str:
    """A time in UTC, to the second."""
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else "never"


def ago(moment: datetime | None, now: datetime) -> str:
    """How long before `now` it was."""
    if moment is None:
        return "never"
    if is_ahead(moment, now):
        return f"{span_of(moment - now)} ahead of the clock here"
    return f"{span_of(max(now - moment, timedelta(0)))} ago"
