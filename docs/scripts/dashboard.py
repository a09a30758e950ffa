"""The panels of the dashboard, and what their queries find in a Prometheus. Draws nothing."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

DASHBOARD: Final = Path(__file__).parents[2] / "ops/grafana/dashboards/rindle-sync.json"
RATE_INTERVAL: Final = "1m"
"""What Grafana makes of `$__rate_interval` where it scrapes every 15 seconds."""

STEPS: Final = 240
"""Points of a line."""


@dataclass(frozen=True, slots=True)
class Series:
    """A line, or the one value of an instant query at `times[0]`; NaN where there is none."""

    name: str
    labels: Mapping[str, str]
    times: Sequence[float]
    values: Sequence[float]

    @property
    def last(self) -> float:
        """The last value; NaN without one."""
        return next((value for value in reversed(self.values) if math.isfinite(value)), math.nan)

    @property
    def has_data(self) -> bool:
        """Whether there is any value."""
        return any(map(math.isfinite, self.values))


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel as the dashboard describes it."""

    told: Mapping[str, Any]

    @property
    def type(self) -> str:
        """Such as `stat`."""
        return str(self.told["type"])

    @property
    def title(self) -> str:
        """Its title."""
        return str(self.told["title"])

    @property
    def place(self) -> tuple[int, int, int, int]:
        """The units x and y of its upper left corner, its width and its height."""
        grid = self.told["gridPos"]
        return grid["x"], grid["y"], grid["w"], grid["h"]

    @property
    def defaults(self) -> Mapping[str, Any]:
        """How its values are shown."""
        found: Mapping[str, Any] = self.told.get("fieldConfig", {}).get("defaults", {})
        return found

    @property
    def colours(self) -> Mapping[str, str]:
        """The colours of lines that have one of their own, by name."""
        found = dict[str, str]()
        for override in self.told.get("fieldConfig", {}).get("overrides", []):
            for setting in override["properties"]:
                if setting["id"] == "color":
                    found[override["matcher"]["options"]] = setting["value"]["fixedColor"]
        return found

    @property
    def targets(self) -> Sequence[Mapping[str, Any]]:
        """Its queries."""
        found: Sequence[Mapping[str, Any]] = self.told.get("targets", [])
        return found


def panels() -> list[Panel]:
    """All panels of the dashboard, also its rows."""
    return [Panel(told) for told in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]]


def expression(target: Mapping[str, Any], rate_interval: str = RATE_INTERVAL) -> str:
    """The query of a panel, for all environments."""
    text = str(target["expr"]).replace("$environment", ".*")
    return text.replace("$__rate_interval", rate_interval)


@dataclass(frozen=True, slots=True)
class Prometheus:
    """Queries over the HTTP API, for the time from `begins` to `ends`."""

    client: httpx.AsyncClient
    begins: float
    ends: float
    rate_interval: str = RATE_INTERVAL

    async def series_of(self, panel: Panel) -> list[list[Series]]:
        """What each query of a panel finds."""
        return [await self._found(target) for target in panel.targets]

    async def _found(self, target: Mapping[str, Any]) -> list[Series]:
        asked: dict[str, Any] = {"query": expression(target, self.rate_interval)}
        if target.get("instant"):
            lines = await self._ask("query", asked | {"time": self.ends})
            return [series_of(target, line["metric"], [line["value"]]) for line in lines]
        step = max(1.0, (self.ends - self.begins) / STEPS)
        asked |= {"start": self.begins, "end": self.ends, "step": step}
        lines = await self._ask("query_range", asked)
        return [series_of(target, line["metric"], line["values"]) for line in lines]

    async def _ask(self, path: str, asked: Mapping[str, Any]) -> list[dict[str, Any]]:
        answer = await self.client.get(f"/api/v1/{path}", params=dict(asked))
        told = answer.json()
        if told["status"] != "success":
            raise ValueError(f"{asked['query']}: {told['error']}")
        found: list[dict[str, Any]] = told["data"]["result"]
        return found


def series_of(
    target: Mapping[str, Any], labels: Mapping[str, str], points: Sequence[Sequence[Any]]
) -> Series:
    """A line of an answer, with the name that its legend has."""
    name = str(target.get("legendFormat", ""))
    for label, value in labels.items():
        name = name.replace("{{" + label + "}}", value)
    times = [float(at) for at, _ in points]
    return Series(name, labels, times, [float(value) for _, value in points])


def table_of(panel: Panel, found: Sequence[Series]) -> Iterator[list[str]]:
    """The lines of a table panel, the first with the names of its columns."""
    hidden, named = set[str](), dict[str, str]()
    for change in panel.told.get("transformations", []):
        hidden |= {name for name, is_hidden in change["options"]["excludeByName"].items()}
        named |= change["options"].get("renameByName", {})
    columns = [name for name in (found[0].labels if found else ()) if name not in hidden]
    yield [*(named.get(name, name) for name in columns), named.get("Value", "Value")]
    for series in found:
        yield [*(series.labels[name] for name in columns), shown(series.last, panel.defaults)]


def shown(value: float, defaults: Mapping[str, Any]) -> str:
    """A value as the panel's unit and mappings have it."""
    for mapping in defaults.get("mappings", []):
        if mapping["type"] == "value" and f"{value:g}" in mapping["options"]:
            return str(mapping["options"][f"{value:g}"]["text"])
    if not math.isfinite(value):
        return str(defaults.get("noValue", "No data"))
    unit = defaults.get("unit", "short")
    if unit == "percentunit":
        return f"{_rounded(100 * value)} %"
    if unit == "s":
        return _duration(value)
    if unit == "dateTimeFromNow":
        raise ValueError("a moment is shown by `ago`")
    if "decimals" in defaults:
        return f"{value:,.{defaults['decimals']}f}"
    number = f"{_rounded(value / 1000)} K" if abs(value) >= 10_000 else _rounded(value)
    return f"{number} ops/s" if unit == "ops" else number


def ago(milliseconds: float, now: float) -> str:
    """A moment as how long ago it is."""
    if not math.isfinite(milliseconds):
        return "No data"
    seconds = max(0.0, now - milliseconds / 1000)
    for size, name in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            number = round(seconds / size)
            return f"{number} {name}{'' if number == 1 else 's'} ago"
    return "a few seconds ago"


def _duration(seconds: float) -> str:
    for size, name in ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if abs(seconds) >= size:
            return f"{_rounded(seconds / size)} {name}"
    return f"{_rounded(1000 * seconds)} ms" if seconds else "0 s"


def _rounded(value: float) -> str:
    if abs(value) >= 100 or value == round(value):
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.1e}"
