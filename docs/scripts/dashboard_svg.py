"""The dashboard as one SVG, in Grafana's layout and its light theme. Asks nobody. Pure."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from itertools import pairwise
from typing import Final

from docs.scripts.dashboard import Panel, Series, ago, shown, table_of

UNIT_X: Final = 56.0
UNIT_Y: Final = 38.0
GAP: Final = 8.0
"""Between panels, as in Grafana: the grid has 24 columns."""

HEAD: Final = 56.0
WIDTH: Final = 24 * UNIT_X + GAP
CHARACTER: Final = 6.3
"""The width of a letter of a legend; a little too much rather than too little."""

INK, QUIET, EDGE, GRID = "#24292e", "#5a6068", "#dfe1e5", "#e9eaed"
COLOURS: Final = {
    "green": "#56a64b", "orange": "#e8710a", "red": "#d63649",
    "blue": "#3274d9", "yellow": "#e0a800", "purple": "#8f3bb8",
}  # fmt: skip
LINES: Final = (
    "#56a64b", "#e0a800", "#3274d9", "#e8710a", "#d63649", "#8f3bb8",
    "#17a2a2", "#7a5230", "#96d98d", "#8ab8ff", "#ff9ab1", "#6e7681",
)  # fmt: skip
STYLE: Final = """
text { font-family: Inter, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; fill: #24292e; }
.title { font-size: 13.5px; font-weight: 600; }
.row { font-size: 15px; font-weight: 600; }
.axis { font-size: 11px; fill: #5a6068; }
.legend, .cell { font-size: 11.5px; }
.head { font-size: 11.5px; font-weight: 600; fill: #5a6068; }
.figure { font-weight: 600; fill: #fff; text-anchor: middle; }
"""
NICE: Final = (1, 2, 2.5, 5, 10)
SECONDS: Final = (60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400)


@dataclass(frozen=True, slots=True)
class Window:
    """The time that is shown, in seconds since 1970."""

    begins: float
    ends: float


def picture(found: Sequence[tuple[Panel, list[list[Series]]]], window: Window) -> str:
    """The whole dashboard as SVG."""
    height = max(y + h for panel, _ in found for _, y, _, h in [panel.place]) * UNIT_Y + HEAD
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:g} {height + GAP:g}" '
        f'width="{WIDTH:g}" height="{height + GAP:g}" role="img" aria-labelledby="name">',
        '<title id="name">The dashboard of rindle-sync in Grafana&#8217;s layout</title>',
        f"<style>{STYLE}</style>",
        f'<rect width="{WIDTH:g}" height="{height + GAP:g}" fill="#f4f5f5"/>',
        *_head(window),
    ]
    for panel, series in found:
        parts += _panel(panel, series, window)
    return "\n".join([*parts, "</svg>", ""])


def _head(window: Window) -> Iterator[str]:
    """The bar above the panels: the title, the variable, and the time."""
    yield f'<rect width="{WIDTH:g}" height="{HEAD - GAP:g}" fill="#fff" stroke="{EDGE}"/>'
    yield '<text x="18" y="30" style="font-size:17px;font-weight:600">rindle-sync</text>'
    yield f'<rect x="150" y="11" width="150" height="26" rx="3" fill="#fff" stroke="{EDGE}"/>'
    yield '<text x="160" y="28" class="head">environment</text>'
    yield '<text x="250" y="28" class="legend">All</text>'
    span = f"{_clock(window.begins)} to {_clock(window.ends)} UTC"
    yield f'<text x="{WIDTH - 18:g}" y="29" class="legend" text-anchor="end">{span}</text>'


def _panel(panel: Panel, found: list[list[Series]], window: Window) -> Iterator[str]:
    """One panel, moved to its place."""
    x, y, w, h = panel.place
    width, height = w * UNIT_X - GAP, h * UNIT_Y - GAP
    yield f'<g transform="translate({x * UNIT_X + GAP:g} {y * UNIT_Y + HEAD:g})">'
    series = [line for lines in found for line in lines]
    match panel.type:
        case "row":
            yield f'<text x="2" y="21" class="row">&#8964; {escape(panel.title)}</text>'
        case "stat":
            yield from _stat(panel, series, (width, height), window.ends)
        case "timeseries":
            yield from _frame(panel, width, height)
            yield from Chart(panel, series, (width, height), window).drawn()
        case "table":
            yield from _frame(panel, width, height)
            yield from _table(panel, series, width)
        case other:
            raise ValueError(f"no way to draw a panel of the type {other}")
    yield "</g>"


def _frame(panel: Panel, width: float, height: float) -> Iterator[str]:
    yield f'<rect width="{width:g}" height="{height:g}" rx="3" fill="#fff" stroke="{EDGE}"/>'
    yield f'<text x="10" y="21" class="title">{escape(panel.title)}</text>'


def _stat(
    panel: Panel, series: Sequence[Series], size: tuple[float, float], now: float
) -> Iterator[str]:
    """One figure on a ground in the colour of its threshold."""
    width, height = size
    value = series[0].last if series else math.nan
    text = shown(value, panel.defaults) if not _is_moment(panel) else ago(value, now)
    colour = COLOURS["green"]
    for step in panel.defaults["thresholds"]["steps"]:
        if step["value"] is None or value >= step["value"]:
            colour = COLOURS[step["color"]]
    points = min(44.0, 1.7 * width / max(len(text), 1))
    yield f'<rect width="{width:g}" height="{height:g}" rx="3" fill="{colour}"/>'
    yield f'<text x="10" y="21" class="title" style="fill:#fff">{escape(panel.title)}</text>'
    middle = 30 + (height - 30) / 2 + points * 0.32
    yield (
        f'<text x="{width / 2:g}" y="{middle:.1f}" class="figure" '
        f'style="font-size:{points:.1f}px">{escape(text)}</text>'
    )


def _is_moment(panel: Panel) -> bool:
    return panel.defaults.get("unit") == "dateTimeFromNow"


def _table(panel: Panel, series: Sequence[Series], width: float) -> Iterator[str]:
    """Columns of one width, the last one at the right."""
    for place, line in enumerate(table_of(panel, series)):
        y = 43 + 18 * place
        for column, text in enumerate(line):
            is_last = column == len(line) - 1
            x = width - 12 if is_last else 12 + column * width / len(line)
            anchor = ' text-anchor="end"' if is_last else ""
            style = "cell" if place else "head"
            yield f'<text x="{x:g}" y="{y:g}" class="{style}"{anchor}>{escape(text)}</text>'
        yield f'<path d="M10 {y + 5:g}H{width - 10:g}" stroke="{GRID}"/>'


class Chart:
    """The lines of a panel, upon each other where it stacks them."""

    def __init__(
        self, panel: Panel, series: Sequence[Series], size: tuple[float, float], window: Window
    ) -> None:
        width, height = size
        self._panel = panel
        self._begins, self._ends = window.begins, window.ends
        custom = panel.defaults.get("custom", {})
        self._is_stacked = custom.get("stacking", {}).get("mode") == "normal"
        self._opacity = custom.get("fillOpacity", 0) / 100
        drawn = [line for line in series if any(value > 0 for value in line.values)]
        # what is 0 all the time would hide what is not
        self._series = drawn or list(series[:1])
        self._flat = sum(line.has_data for line in series) - len(self._series)
        self._colours = [self._colour(place) for place in range(len(self._series))]
        self._legend = list(self._legend_lines(width))
        self._left, self._right, self._top = 70.0, width - 14, 36.0
        self._bottom = height - 26 - 16 * len(self._legend)
        self._curves = list(self._stacked()) if self._is_stacked else self._plain()
        self._step = _step(self._highest(), panel.defaults.get("unit", "short"))
        if all(value.is_integer() for line in self._series for value in line.values):
            self._step = max(1.0, math.ceil(self._step))  # there is no half a row
        self._most = self._step * max(1, math.ceil(self._highest() / self._step))

    def drawn(self) -> Iterator[str]:
        """The axes, the lines, and the legend."""
        yield from self._grid()
        for place, (floor, values) in enumerate(self._curves):
            yield from self._curve(self._colours[place], floor, values)
        for place, line in enumerate(self._legend):
            y = self._bottom + 38 + 16 * place
            for x, colour, text in line:
                if colour:
                    yield f'<rect x="{x:g}" y="{y - 6:g}" width="12" height="3" fill="{colour}"/>'
                yield f'<text x="{x + 16:g}" y="{y:g}" class="legend">{escape(text)}</text>'

    def _colour(self, place: int) -> str:
        colour = self._panel.colours.get(self._series[place].name)
        return COLOURS.get(colour, colour) if colour else LINES[place % len(LINES)]

    def _plain(self) -> list[tuple[dict[float, float], dict[float, float]]]:
        return [({}, _values(line)) for line in self._series]

    def _stacked(self) -> Iterator[tuple[dict[float, float], dict[float, float]]]:
        below: dict[float, float] = {}
        for line in self._series:
            values = {at: value + below.get(at, 0.0) for at, value in _values(line).items()}
            yield dict(below), values
            below |= values

    def _highest(self) -> float:
        return max((max(values.values(), default=0.0) for _, values in self._curves), default=0.0)

    def _grid(self) -> Iterator[str]:
        for place in range(round(self._most / self._step) + 1):
            value = self._step * place
            y, text = self._y(value), escape(shown(value, self._panel.defaults))
            yield f'<path d="M{self._left:g} {y:.1f}H{self._right:g}" stroke="{GRID}"/>'
            yield (
                f'<text x="{self._left - 6:g}" y="{y + 4:.1f}" class="axis" '
                f'text-anchor="end">{text}</text>'
            )
        wide = self._right - self._left
        every = _nice_seconds((self._ends - self._begins) * 60 / wide)
        at = math.ceil(self._begins / every) * every
        while at <= self._ends:
            x = self._x(at)
            yield f'<path d="M{x:.1f} {self._top:g}V{self._bottom:g}" stroke="{GRID}"/>'
            yield (
                f'<text x="{x:.1f}" y="{self._bottom + 16:g}" class="axis" '
                f'text-anchor="middle">{_clock(at)}</text>'
            )
            at += every

    def _curve(
        self, colour: str, floor: dict[float, float], values: dict[float, float]
    ) -> Iterator[str]:
        """A line, and the area below it down to the line that it stands on."""
        for piece in _pieces(values):
            points = [f"{self._x(at):.1f} {self._y(values[at]):.1f}" for at in piece]
            if self._opacity:
                under = [f"{self._x(t):.1f} {self._y(floor.get(t, 0.0)):.1f}" for t in piece[::-1]]
                area = "L".join(points + under)
                yield f'<path d="M{area}Z" fill="{colour}" fill-opacity="{self._opacity:g}"/>'
            line = "L".join(_without_flat(points) if len(points) > 1 else points * 2)
            yield (
                f'<path d="M{line}" fill="none" stroke="{colour}" stroke-width="1.6" '
                'stroke-linejoin="round" stroke-linecap="round"/>'
            )

    def _legend_lines(self, width: float) -> Iterator[list[tuple[float, str, str]]]:
        names = [line.name for line in self._series]
        entries = list(zip(self._colours, names, strict=True))
        if self._flat:
            entries.append(("", f"{self._flat} more at 0"))
        line, x = list[tuple[float, str, str]](), 12.0
        for colour, text in entries:
            room = 26 + CHARACTER * len(text)
            if line and x + room > width:
                yield line
                line, x = [], 12.0
            line.append((x if colour else x - 16, colour, text))
            x += room
        yield line

    def _x(self, at: float) -> float:
        share = (at - self._begins) / (self._ends - self._begins)
        return self._left + share * (self._right - self._left)

    def _y(self, value: float) -> float:
        return self._bottom - value / self._most * (self._bottom - self._top)


def _values(line: Series) -> dict[float, float]:
    points = zip(line.times, line.values, strict=True)
    return {at: value for at, value in points if math.isfinite(value)}


def _pieces(values: dict[float, float]) -> Iterator[list[float]]:
    """The times without a gap between them."""
    times = sorted(values)
    gap = 1.5 * min((b - a for a, b in pairwise(times)), default=0.0)
    piece = times[:1]
    for before, at in pairwise(times):
        if at - before > gap:
            yield piece
            piece = []
        piece.append(at)
    if piece:
        yield piece


def _without_flat(points: Sequence[str]) -> Iterator[str]:
    """The points of a line but for those in the middle of what is flat."""
    heights = [point.partition(" ")[2] for point in points]
    for place, point in enumerate(points):
        if len({*heights[max(place - 1, 0) : place + 2]}) > 1 or place in {0, len(points) - 1}:
            yield point


def _step(highest: float, unit: str) -> float:
    """The distance of the lines of the grid: at most five of them, at round figures."""
    least = highest / 4
    if unit == "s" and least > 30:
        return float(_nice_seconds(least))
    if least <= 0:
        return 1.0
    size = 10.0 ** math.floor(math.log10(least))
    return next(size * nice for nice in NICE if size * nice >= least)


def _nice_seconds(least: float) -> int:
    return next((seconds for seconds in SECONDS if seconds >= least), SECONDS[-1])


def _clock(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%H:%M}"
