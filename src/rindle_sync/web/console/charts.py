"""The charts of the last 24 hours: what each draws, and the same as figures. Pure."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from statistics import median, quantiles
from typing import Final

from rindle_sync.domain import Trigger, many, seconds_of
from rindle_sync.store import HourFigures, WebhookOutcome
from rindle_sync.web.console.searches import ChangeSearch
from rindle_sync.web.console.words import TRIGGERS

STEP: Final = 10
"""The width of an hour, in units of the picture; its height is 100."""


@dataclass(frozen=True, slots=True)
class Named:
    """What a colour means."""

    style: str
    text: str


@dataclass(frozen=True, slots=True)
class Part:
    """One rectangle of a column, from `y` downwards."""

    style: str
    y: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One hour."""

    x: int
    hour: str
    address: str
    """The page of its changes."""
    text: str
    parts: list[Part]
    values: list[str]
    """The same as figures, in the order of `Chart.names`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One chart, and the table beside it."""

    id: str
    title: str
    text: str
    """What it shows in all, in words."""
    legend: list[Named]
    columns: list[Column] = field(repr=False)
    top: str
    """What the upper edge stands for."""
    is_empty: bool
    empty: str
    """What is said where there is nothing to draw."""

    @property
    def names(self) -> list[str]:
        """What the figures of a column are, in their order."""
        return [item.text for item in self.legend]

    @property
    def width(self) -> int:
        """The width of the picture."""
        return STEP * len(self.columns)


def charts_of(environment: str, hours: Sequence[HourFigures], per_hour: float) -> list[Chart]:
    """The charts of these hours, oldest first; `per_hour` calls that read are allowed."""
    search = ChangeSearch(environment=environment)
    missed = replace(search, webhook=WebhookOutcome.MISSED)
    return [
        _changes(search, hours),
        _lateness(search, hours),
        _webhooks(missed, hours),
        _calls(search, hours, per_hour),
    ]


def _changes(search: ChangeSearch, hours: Sequence[HourFigures]) -> Chart:
    triggers = [t for t in Trigger if any(hour.by_trigger.get(t) for hour in hours)]
    most = max(sum(hour.by_trigger.values()) for hour in hours)
    totals = []
    for trigger in triggers:
        total = sum(hour.by_trigger.get(trigger, 0) for hour in hours)
        totals.append(f"{total:,} by {TRIGGERS[trigger]}")

    def figures(hour: HourFigures) -> tuple[list[float], list[str]]:
        numbers = [hour.by_trigger.get(trigger, 0) for trigger in triggers]
        return [*numbers], [f"{number:,}" for number in numbers]

    legend = [Named(trigger.value, TRIGGERS[trigger]) for trigger in triggers]
    return Chart(
        id="changes",
        title="Changes, by what found them",
        text=f"{', '.join(totals)}.",
        legend=legend,
        columns=_columns(search, hours, legend, figures),
        top=f"{most:,} an hour",
        is_empty=not most,
        empty="No video has changed in the last 24 hours.",
    )


def _lateness(search: ChangeSearch, hours: Sequence[HourFigures]) -> Chart:
    late_ms = [late for hour in hours for late in hour.late_ms]

    def figures(hour: HourFigures) -> tuple[list[float], list[str]]:
        if not hour.late_ms:
            return [0, 0], ["", ""]
        middle, p95 = _median(hour.late_ms), _p95(hour.late_ms)
        return [middle, p95 - middle], [seconds_of(middle / 1000), seconds_of(p95 / 1000)]

    legend = [Named("median", "median"), Named("p95", "95 of 100 within")]
    most = max(_p95(hour.late_ms) for hour in hours)
    return Chart(
        id="lateness",
        title="How late changes were found",
        text=f"The median of all is {seconds_of(_median(late_ms) / 1000)}.",
        legend=legend,
        columns=_columns(search, hours, legend, figures),
        top=seconds_of(most / 1000),
        is_empty=not late_ms,
        empty="No webhook or check has found a change in the last 24 hours.",
    )


def _webhooks(search: ChangeSearch, hours: Sequence[HourFigures]) -> Chart:
    most = max(hour.expected for hour in hours)
    expected = sum(hour.expected for hour in hours)
    missed = sum(hour.missed for hour in hours)

    def figures(hour: HourFigures) -> tuple[list[float], list[str]]:
        came = hour.expected - hour.missed
        return [hour.missed, came], [f"{hour.missed:,}", f"{came:,}"]

    legend = [Named("missed", "never came"), Named("reported", "came")]
    return Chart(
        id="webhooks",
        title="Webhooks that never came",
        text=f"{missed:,} of {many(expected, 'expected webhook')} never came.",
        legend=legend,
        columns=_columns(search, hours, legend, figures),
        top=f"{most:,} expected",
        is_empty=not expected,
        empty="No webhook was expected in the last 24 hours.",
    )


def _calls(search: ChangeSearch, hours: Sequence[HourFigures], per_hour: float) -> Chart:
    most = max(hour.reads + hour.creates for hour in hours)
    busiest = max(hour.reads for hour in hours)
    total = sum(hour.reads + hour.creates for hour in hours)

    def figures(hour: HourFigures) -> tuple[list[float], list[str]]:
        return [hour.reads, hour.creates], [f"{hour.reads:,}", f"{hour.creates:,}"]

    legend = [Named("reads", "checks"), Named("creates", "uploads and assets begun")]
    share = f"{busiest / per_hour:.0%}"
    return Chart(
        id="calls",
        title="Calls to the provider",
        text=f"{many(total, 'call')}; the busiest hour took {share} of the limit for checks.",
        legend=legend,
        columns=_columns(search, hours, legend, figures),
        top=f"{most:,} an hour; the limit for checks is {per_hour:,.0f}",
        is_empty=not most,
        empty="No call was made in the last 24 hours.",
    )


def _columns(
    search: ChangeSearch,
    hours: Sequence[HourFigures],
    legend: Sequence[Named],
    figures: Callable[[HourFigures], tuple[list[float], list[str]]],
) -> list[Column]:
    """A column for each hour; `figures` are its numbers, the first at the bottom, and as text."""
    most = max(sum(figures(hour)[0]) for hour in hours)
    styles = [item.style for item in legend]
    columns = []
    for place, hour in enumerate(hours):
        numbers, texts = figures(hour)
        told = [f"{item.text} {text or 0}" for item, text in zip(legend, texts, strict=True)]
        columns.append(
            Column(
                x=place * STEP,
                hour=f"{hour.begins:%d %b %H:%M}",
                address=search.address(hour=f"{hour.begins:%Y-%m-%dT%H}"),
                text=f"{hour.begins:%H:%M}: {', '.join(told)}",
                parts=_parts(zip(styles, numbers, strict=True), most),
                values=texts,
            )
        )
    return columns


def _parts(stack: Iterable[tuple[str, float]], most: float) -> list[Part]:
    """Rectangles one upon the other, the first at the bottom."""
    parts, y = [], 100.0
    for style, number in stack:
        if number <= 0:
            continue
        # what is there at all can be seen
        height = max(round(100 * number / most, 2), 1)
        y = max(round(y - height, 2), 0)
        parts.append(Part(style, y, height))
    return parts


def _median(late_ms: Sequence[int]) -> float:
    # a clock that is behind the provider's finds a change before it was
    return max(median(late_ms), 0) if late_ms else 0


def _p95(late_ms: Sequence[int]) -> float:
    if not late_ms:
        return 0
    # `quantiles` raises for a single value
    return max(quantiles(late_ms, n=20)[-1] if len(late_ms) > 1 else late_ms[0], 0)
