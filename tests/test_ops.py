"""What ships in ops/: rules, dashboard and runbooks name what is measured, and nothing else."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from docs.scripts import dashboard
from rindle_sync.exporters import INSTRUMENTS, Instrument, InstrumentKind

ROOT = Path(__file__).parents[1]
RULES = ROOT / "ops" / "prometheus" / "rules.yml"
RULE_TESTS = ROOT / "ops" / "prometheus" / "rules_test.yml"
DASHBOARD = ROOT / "ops" / "grafana" / "dashboards" / "rindle-sync.json"
RUNBOOKS = ROOT / "docs" / "runbooks"


def series_of(instrument: Instrument) -> set[str]:
    """The names under which Prometheus keeps an instrument."""
    name = instrument.prometheus_name
    return (
        {f"{name}_bucket", f"{name}_sum", f"{name}_count"}
        if instrument.kind is InstrumentKind.HISTOGRAM
        else {name}
    )


MEASURED = {name: instrument for instrument in INSTRUMENTS for name in series_of(instrument)}


def panels() -> list[dict[str, Any]]:
    return [
        panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"
    ]


def expressions() -> list[str]:
    of_rules = [
        json.loads(line.split("expr: ", 1)[1])
        for line in RULES.read_text().splitlines()
        if "expr: " in line
    ]
    return of_rules + [target["expr"] for panel in panels() for target in panel["targets"]]


def alerts() -> list[str]:
    return re.findall(r"^ +- alert: (\w+)$", RULES.read_text(), re.MULTILINE)


def named(expression: str) -> set[str]:
    return set(re.findall(r"\brindle_sync_\w+", expression))


def test_every_metric_that_is_named_is_measured() -> None:
    assert {name for expression in expressions() for name in named(expression)} - set(
        MEASURED
    ) == set()


def test_every_metric_that_is_measured_is_shown_or_alerted_on() -> None:
    shown = {name for expression in expressions() for name in named(expression)}

    assert [metric.name for metric in INSTRUMENTS if not series_of(metric) & shown] == []


def test_every_label_that_is_named_is_one_of_its_metric() -> None:
    wrong = []
    for expression in expressions():
        for name, matchers in re.findall(r"\b(rindle_sync_\w+)\{([^}]*)\}", expression):
            labels = set(re.findall(r"(\w+)=~?\"", matchers)) - {"environment"}
            wrong += [(name, label) for label in labels if label not in MEASURED[name].labels]
    assert wrong == []


def test_every_recorded_series_that_is_named_is_recorded() -> None:
    recorded = set(re.findall(r"^ +- record: (\S+)$", RULES.read_text(), re.MULTILINE))
    used = {
        name
        for expression in expressions()
        for name in re.findall(r"\brindle_sync:\w+(?::\w+)*", expression)
    }

    assert used == recorded


def test_every_alert_has_a_runbook_and_two_unit_tests() -> None:
    assert sorted(path.stem for path in RUNBOOKS.glob("*.md") if path.stem != "README") == sorted(
        alerts()
    )
    assert all(f"runbook: docs/runbooks/{name}.md" in RULES.read_text() for name in alerts())
    tested = re.findall(
        r"^  - name: (\w+) (rings|is silent)$", RULE_TESTS.read_text(), re.MULTILINE
    )
    assert sorted(tested) == sorted(
        (name, how) for name in alerts() for how in ("is silent", "rings")
    )


@pytest.mark.parametrize("name", alerts())
def test_a_runbook_shows_the_expression_of_its_alert(name: str) -> None:
    rule = RULES.read_text().partition(f"- alert: {name}\n")[2]

    assert (
        json.loads(rule.partition("expr: ")[2].splitlines()[0])
        in (RUNBOOKS / f"{name}.md").read_text()
    )


def test_nothing_is_drawn_or_alerted_on_by_the_age_of_rows_alone() -> None:
    assert [expression for expression in expressions() if "age" in named(expression)] == []


def test_every_figure_has_the_colour_that_it_means() -> None:
    # without thresholds Grafana shows all above 80 in red
    figures = [panel for panel in panels() if panel["type"] == "stat"]

    assert all("thresholds" in panel["fieldConfig"]["defaults"] for panel in figures)


def test_the_panels_of_the_dashboard_do_not_overlap() -> None:
    places = [
        (x, y)
        for panel in json.loads(DASHBOARD.read_text())["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(places) == len(set(places))
    assert max(x for x, _ in places) < 24


def test_promtool_accepts_every_query_of_the_dashboard(tmp_path: Path) -> None:
    if not (promtool := shutil.which("promtool")):
        pytest.skip("promtool is not installed; Debian has it in the package prometheus")
    recorded = [
        {
            "record": "a_panel",
            "labels": {"number": str(number)},
            "expr": dashboard.expression(target),
        }
        for number, target in enumerate(target for panel in panels() for target in panel["targets"])
    ]
    rules = tmp_path / "panels.yml"
    rules.write_text(json.dumps({"groups": [{"name": "panels", "rules": recorded}]}))

    ended = subprocess.run(
        [promtool, "check", "rules", str(rules)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"{len(recorded)} rules found" in ended.stdout


@pytest.mark.parametrize(
    "arguments", [("check", "rules", str(RULES)), ("test", "rules", str(RULE_TESTS))]
)
def test_promtool_accepts_the_rules_and_their_tests(arguments: tuple[str, ...]) -> None:
    if not (promtool := shutil.which("promtool")):
        pytest.skip("promtool is not installed; Debian has it in the package prometheus")

    ended = subprocess.run(
        [promtool, *arguments], capture_output=True, text=True, timeout=60, check=False
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
