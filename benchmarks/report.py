"""The figures as tables for people, or as JSON for scripts."""

import json
import os
import platform
import resource
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from rich.console import Console
from rich.table import Table

from benchmarks.measures import Claim, Pass, Settling, Sizes
from benchmarks.webhooks import Endpoint


@dataclass(slots=True)
class Report:
    """Everything that a run measured."""

    sizes: Sizes
    passes: list[Pass] = field(default_factory=list)
    settlings: list[Settling] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    endpoints: list[Endpoint] = field(default_factory=list)
    seconds: float = 0.0

    def as_json(self) -> str:
        machine = {"python": platform.python_version(), "cores": os.cpu_count(), "peak_memory_mb": peak_memory_mb()}
        return json.dumps({"machine": machine, **asdict(self)}, indent=2)

    def show(self) -> None:
        console = Console(width=None if sys.stdout.isatty() else 100)
        tables = (_passes(self.passes), _settlings(self.settlings), _claims(self.claims), _endpoints(self.endpoints))
        for table in filter(None, tables):
            console.print(table)
        console.print(
            f"{self.sizes.rows:,} rows, median of {self.sizes.repeats}, {self.seconds:.0f} s; "
            f"Python {platform.python_version()}, {os.cpu_count()} cores; "
            f"peak memory {peak_memory_mb():.0f} MB, emulator included"
        )


def peak_memory_mb() -> float:
    """The most memory that this process has held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def _passes(figures: Sequence[Pass]) -> Table | None:
    title = "A sweep over due rows: rows a second; µs and counts per row"
    heads = ("rows/s", "total", "cpu", "claim", "write", "rest", "SQL", "tx", "calls")
    return _table(title, ("database", "far end"), heads, [
        (
            p.database,
            p.far_end,
            f"{p.rows_per_second:,.0f}",
            *(f"{us:,.0f}" for us in (p.total_us, p.cpu_us, p.claim_us, p.write_us, p.rest_us)),
            *(f"{count:.3f}" for count in (p.statements, p.transactions, p.calls)),
        )
        for p in figures
    ])  # fmt: skip


def _settlings(figures: Sequence[Settling]) -> Table | None:
    rows = [
        (s.database, f"{s.batch}", f"{s.rows_per_second:,.0f}", f"{s.statements:.2f}", f"{s.transactions:.2f}")
        for s in figures
    ]
    return _table(
        "Findings settled in batches", ("database",), ("batch", "rows/s", "SQL/row", "transactions/row"), rows
    )


def _claims(figures: Sequence[Claim]) -> Table | None:
    rows = [(c.database, f"{c.at_rest:,}", f"{c.milliseconds:.2f}", f"{c.ratio:.2f}") for c in figures]
    return _table("One claim of 50 rows, 500 due", ("database",), ("rows at rest", "ms", "ratio"), rows)


def _endpoints(figures: Sequence[Endpoint]) -> Table | None:
    rows = [
        (
            e.database,
            f"{e.kept_per_second:,.0f}",
            *(f"{ms:.1f}" for ms in (e.saturated_median_ms, e.saturated_p99_ms, e.steady_median_ms, e.steady_p99_ms)),
            f"{e.applied_per_second:,.0f}",
            f"{e.events:,}",
            f"{e.refused}",
        )
        for e in figures
    ]
    heads = ("kept/s", "median ms", "p99 ms", "at 200/s: median", "p99", "taken up/s", "events", "503")
    return _table("Webhooks over HTTP, 16 connections", ("database",), heads, rows)


def _table(title: str, words: Sequence[str], numbers: Sequence[str], rows: Sequence[Sequence[str]]) -> Table | None:
    if not rows:
        return None
    table = Table(title=title, title_justify="left")
    for word in words:
        table.add_column(word)
    for number in numbers:
        table.add_column(number, justify="right")
    for row in rows:
        table.add_row(*row)
    return table
