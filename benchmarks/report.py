"""The figures as tables for people, or as JSON for scripts.

Beside a table stands what it is meant to come to.
"""

import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks.api import ApiRate
from benchmarks.bench import Road, Sizes
from benchmarks.blocking import BlockingCall
from benchmarks.console import PageTime
from benchmarks.counts import Counted
from benchmarks.dispatches import DispatchRate
from benchmarks.environments import Environments
from benchmarks.fleet import Receiving, Sweeping
from benchmarks.knowing import Known
from benchmarks.measures import ApplyRate, Claim
from benchmarks.outgoing import Arrival, OutgoingRate
from benchmarks.plan import Planned
from benchmarks.race import Figures
from benchmarks.rate import Pass
from benchmarks.rest import Rest
from benchmarks.settled import Memory, SettledSweep
from benchmarks.start import Start
from benchmarks.webhooks import Endpoint

CALLS_PER_ROW: Final = 0.0125
ROWS_PER_SECOND: Final = {"0 ms": 8_000, "20 ms": 4_200}
STATEMENTS_PER_ROW: Final = 0.05
MEBIBYTES: Final = 80
OWN_MEBIBYTES: Final = 12
STATEMENTS_AT_REST: Final = 0.5
MILLISECONDS_OF_COUNTS: Final = 50
MILLISECONDS_OF_A_PAGE: Final = 300
MORE_MILLISECONDS: Final = 1
RATIO: Final = 1.10


@dataclass(slots=True)
class Report:
    """Everything that a run measured."""

    sizes: Sizes
    plan: list[Planned] = field(default_factory=list)
    knowing: list[Known] = field(default_factory=list)
    rate: list[Pass] = field(default_factory=list)
    settled: list[SettledSweep] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)
    apply: list[ApplyRate] = field(default_factory=list)
    claim: list[Claim] = field(default_factory=list)
    dispatch: list[DispatchRate] = field(default_factory=list)
    outgoing: list[OutgoingRate] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)
    counts: list[Counted] = field(default_factory=list)
    console: list[PageTime] = field(default_factory=list)
    blocking: list[BlockingCall] = field(default_factory=list)
    rest: list[Rest] = field(default_factory=list)
    start: list[Start] = field(default_factory=list)
    webhooks: list[Endpoint] = field(default_factory=list)
    api: list[ApiRate] = field(default_factory=list)
    workers: list[Sweeping] = field(default_factory=list)
    endpoints: list[Receiving] = field(default_factory=list)
    environments: list[Environments] = field(default_factory=list)
    seconds: float = 0.0

    def as_json(self) -> str:
        machine = {"python": platform.python_version(), "cores": os.cpu_count()}
        return json.dumps({"machine": machine, **asdict(self)}, indent=2)

    def show(self) -> None:
        console = Console(width=None if sys.stdout.isatty() else 110)
        tables = (
            _plans(self.plan),
            _knowings(self.knowing),
            _passes(self.rate),
            _settled_sweeps(self.settled),
            _memories(self.memory),
            _settlings(self.apply),
            _claims(self.claim),
            _dispatches(self.dispatch),
            _outgoing_rates(self.outgoing),
            _arrivals(self.arrivals),
            _counts(self.counts),
            _pages(self.console),
            _blocking_calls(self.blocking),
            _rests(self.rest),
            _starts(self.start),
            _endpoints(self.webhooks),
            _api_rates(self.api),
            _workers(self.workers),
            _fleet_endpoints(self.endpoints),
            _environments(self.environments),
        )
        for table in filter(None, tables):
            console.print(table)
        console.print(
            f"{self.sizes.rows:,} rows, median of {self.sizes.repeats}, {self.seconds:.0f} s; "
            f"Python {platform.python_version()}, {os.cpu_count()} cores"
        )


def _plans(figures: Sequence[Planned]) -> Table | None:
    fresh = [
        p.calls_per_row
        for p in figures
        if p.due == 10_000 and (p.age, p.has_foreign) == ("fresh", False)
    ]
    heads = ("rows", "pages", "gets", "calls/row", "seconds", "times faster", "429")
    rows = [
        (
            p.database,
            p.priority,
            f"{p.age}{', foreign' if p.has_foreign else ''}",
            p.road,
            f"{p.due:,}",
            f"{p.pages:,}",
            f"{p.gets:,}",
            f"{p.calls_per_row:.4f}",
            f"{'' if p.is_complete else '~'}{p.seconds:,.0f}",
            f"{p.ratio:,.1f}",
            f"{p.throttled}",
        )
        for p in figures
    ]
    caption = (
        f"calls per row of 10,000 fresh ones: at most {CALLS_PER_ROW} "
        f"({_met(fresh, CALLS_PER_ROW)}); no 429 "
        f"({_met([p.throttled for p in figures], 0)}); "
        "~ by arithmetic: not all of the rows were swept"
    )
    return _table(
        "Calls, and time to in sync, under the provider's limit",
        ("database", "token", "age", "by"),
        heads,
        rows,
        caption,
    )


def _knowings(figures: Sequence[Known]) -> Table | None:
    rows = [
        (
            k.database,
            k.case,
            f"{k.rows:,}",
            *(f"{seconds:,.1f}" for seconds in (k.median, k.p95, k.longest, k.bound)),
            *(f"{count:,}" for count in (k.unknown, k.calls, k.pages, k.gets, k.writes)),
            f"{k.throttled}",
        )
        for k in figures
    ]
    heads = (
        "rows",
        "median s",
        "p95",
        "max",
        "bound",
        "unknown",
        "calls",
        "pages",
        "gets",
        "writes",
        "429",
    )
    return _table(
        "How soon a finished video is known without webhooks, token of low priority",
        ("database", "assets"),
        heads,
        rows,
    )


def _passes(figures: Sequence[Pass]) -> Table | None:
    title = "A sweep without a limit: rows a second; µs and counts per row"
    heads = ("rows/s", "times faster", "total", "cpu", "SQL", "calls")
    rows = [
        (
            p.database,
            p.provider,
            p.road,
            p.finds,
            f"{p.rows_per_second:,.0f}",
            f"{p.ratio:.1f}",
            f"{p.total_us:,.0f}",
            f"{p.cpu_us:,.0f}",
            f"{p.statements:.3f}",
            f"{p.calls:.3f}",
        )
        for p in figures
    ]
    paged = [p for p in figures if p.road == Road.PAGE]
    met = [
        f"at least {least:,} rows/s at {provider} "
        f"({_met([-p.rows_per_second for p in paged if p.provider == provider], -least)})"
        for provider, least in ROWS_PER_SECOND.items()
    ]
    counted = _met([p.statements for p in paged], STATEMENTS_PER_ROW)
    met.append(f"at most {STATEMENTS_PER_ROW} statements a row, BEGIN and COMMIT too ({counted})")
    caption = f"by page: {'; '.join(met)}"
    return _table(title, ("database", "provider", "by", "finds"), heads, rows, caption)


def _settled_sweeps(figures: Sequence[SettledSweep]) -> Table | None:
    rows = [
        (
            r.database,
            r.road,
            f"{r.settled:,}",
            f"{r.seconds:.2f}",
            f"{r.ratio:.2f}",
            f"{r.cpu_seconds:.2f}",
            f"{r.cpu_ratio:.2f}",
            f"{r.statements:.3f}",
        )
        for r in figures
    ]
    worst = [r.ratio for r in figures if r.road == Road.PAGE]
    caption = f"by page, ratio of s: at most {RATIO:.2f} ({_met(worst, RATIO)})"
    heads = ("settled rows", "s", "ratio", "cpu s", "ratio", "SQL/row")
    return _table(
        "A sweep over 10,000 due rows beside settled rows", ("database", "by"), heads, rows, caption
    )


def _memories(figures: Sequence[Memory]) -> Table | None:
    rows = [
        (
            m.database,
            f"{m.settled:,}",
            f"{m.due:,}",
            f"{m.mebibytes:.0f}",
            f"{m.before:.0f}",
            f"{m.mebibytes - m.before:.1f}",
        )
        for m in figures
    ]
    own = [m.mebibytes - m.before for m in figures]
    caption = (
        f"at most {MEBIBYTES} MiB ({_met([m.mebibytes for m in figures], MEBIBYTES)}); "
        f"at most {OWN_MEBIBYTES} MiB more than with one due row ({_met(own, OWN_MEBIBYTES)})"
    )
    heads = ("settled rows", "due", "peak MiB", "with one", "more")
    return _table(
        "Memory of `rindle-sync sweep`, in its own process", ("database",), heads, rows, caption
    )


def _met(figures: Sequence[float], most: float) -> str:
    if not figures:
        return "not measured"
    return "met" if max(figures) <= most else "missed"


def _settlings(figures: Sequence[ApplyRate]) -> Table | None:
    rows = [
        (
            s.database,
            f"{s.batch}",
            f"{s.rows_per_second:,.0f}",
            f"{s.statements:.2f}",
            f"{s.transactions:.2f}",
        )
        for s in figures
    ]
    return _table(
        "Findings settled in batches",
        ("database",),
        ("batch", "rows/s", "SQL/row", "transactions/row"),
        rows,
    )


def _counts(figures: Sequence[Counted]) -> Table | None:
    rows = [
        (c.database, c.what, f"{c.settled:,}", f"{c.milliseconds:.1f}", f"{c.cpu_milliseconds:.1f}")
        for c in figures
    ]
    heads = (f"ms (≤ {MILLISECONDS_OF_COUNTS})", "CPU ms of the process")
    return _table("How things stand", ("database", "what", "settled"), heads, rows)


def _pages(figures: Sequence[PageTime]) -> Table | None:
    rows = [
        (
            p.database,
            p.page,
            f"{p.rows:,}",
            f"{p.first_ms:.0f}",
            f"{p.counted_ms:.0f}",
            f"{p.milliseconds:.0f}",
        )
        for p in figures
    ]
    heads = ("first, ms", "all counted after ms", f"ms (≤ {MILLISECONDS_OF_A_PAGE})")
    return _table("Pages of the console", ("database", "page", "videos"), heads, rows)


def _starts(figures: Sequence[Start]) -> Table | None:
    rows = [
        (s.database, s.command, f"{s.cpu_ms:.0f}", f"{s.ratio:.2f}", f"{s.imports_mebibytes:.0f}")
        for s in figures
    ]
    heads = ("CPU ms", "ratio to SQLAlchemy and Typer alone", "imports, MiB")
    return _table("Commands", ("database", "command"), heads, rows)


def _blocking_calls(figures: Sequence[BlockingCall]) -> Table | None:
    rows = [
        (
            c.database,
            c.call,
            str(c.callers),
            f"{c.async_ms:.2f}",
            f"{c.blocking_ms:.2f}",
            f"{c.more_ms:.2f}",
            f"{c.ratio:.2f}",
        )
        for c in figures
    ]
    caption = (
        f"at most {MORE_MILLISECONDS} ms more "
        f"({_met([c.more_ms for c in figures], MORE_MILLISECONDS)})"
    )
    heads = ("async ms", "blocking ms", "more ms", "ratio")
    return _table("Calls from threads", ("database", "call", "callers"), heads, rows, caption)


def _rests(figures: Sequence[Rest]) -> Table | None:
    rows = [
        (r.database, f"{r.statements:.2f}", f"{r.cpu:.2f}", f"{r.heard_ms:.0f}") for r in figures
    ]
    heads = (f"statements/s (≤ {STATEMENTS_AT_REST})", "% of a core", "work of others after ms")
    return _table("A service with nothing due", ("database",), heads, rows)


def _dispatches(figures: Sequence[DispatchRate]) -> Table | None:
    rows = [
        (
            d.database,
            d.callbacks,
            f"{d.changes_per_second:,.0f}",
            f"{d.statements:.2f}",
            f"{d.transactions:.2f}",
        )
        for d in figures
    ]
    heads = ("changes/s", "SQL/change", "transactions/change")
    return _table("Changes dispatched to callbacks", ("database", "callbacks"), heads, rows)


def _outgoing_rates(figures: Sequence[OutgoingRate]) -> Table | None:
    rows = [
        (
            o.database,
            o.what,
            f"{o.changes_per_second:,.0f}",
            f"{o.ratio:.2f}",
            f"{o.statements:.2f}",
        )
        for o in figures
    ]
    heads = ("changes/s", "ratio", "SQL/change")
    return _table("Changes published, and sent to endpoints", ("database", "changes"), heads, rows)


def _arrivals(figures: Sequence[Arrival]) -> Table | None:
    rows = [
        (a.database, f"{a.webhooks:,}", f"{a.median_ms:.0f}", f"{a.p99_ms:.0f}") for a in figures
    ]
    heads = ("webhooks", "median ms", "p99")
    title = "From a change to the arrival of its webhook, 50 changes a second"
    return _table(title, ("database",), heads, rows)


def _claims(figures: Sequence[Claim]) -> Table | None:
    rows = [
        (
            c.database,
            f"{c.settled:,}",
            *(f"{figure:.2f}" for figure in (c.scan_ms, c.scan_ratio, c.claim_ms, c.claim_ratio)),
        )
        for c in figures
    ]
    heads = ("settled rows", "scan ms", "ratio", "claim ms", "ratio")
    return _table(
        "The scan over 500 due rows, and a claim of 50 of them", ("database",), heads, rows
    )


def _endpoints(figures: Sequence[Endpoint]) -> Table | None:
    rows = [
        (
            e.database,
            f"{e.kept_per_second:,.0f}",
            *(
                f"{ms:.1f}"
                for ms in (
                    e.saturated_median_ms,
                    e.saturated_p99_ms,
                    e.steady_median_ms,
                    e.steady_p99_ms,
                )
            ),
            f"{e.applied_per_second:,.0f}",
            f"{e.events:,}",
            f"{e.refused}",
        )
        for e in figures
    ]
    heads = (
        "kept/s",
        "median ms",
        "p99 ms",
        "at 200/s: median",
        "p99",
        "taken up/s",
        "events",
        "503",
    )
    return _table("Webhooks over HTTP, 16 connections", ("database",), heads, rows)


def race_as_json(contestants: Sequence[tuple[str, Figures]]) -> str:
    """The median of the rounds of each; the peer comes first."""
    found = [{"server": name, **figures.medians} for name, figures in contestants]
    return json.dumps(found, indent=2)


def show_race(contestants: Sequence[tuple[str, Figures]]) -> None:
    """Each beside the first, which is the peer: the median of the rounds, and the ratio."""
    peer = contestants[0][1].medians
    heads: tuple[str, ...] = ("answered/s", "", "until applied/s", "", "CPU ms", "", "at 200/s", "")
    heads += ("median ms", "p99 ms", "", "sender's ms")
    rows = []
    for name, figures in contestants:
        shown, values = [], figures.medians
        for of, digits in (("answered", 0), ("applied", 0), ("flood_ms", 2), ("steady_ms", 2)):
            shown += [f"{values[of]:,.{digits}f}", f"{values[of] / peer[of]:.2f} ×"]
        shown += [f"{values['median_ms']:.1f}", f"{values['p99_ms']:.1f}"]
        shown += [f"{values['p99_ms'] / peer['p99_ms']:.2f} ×", f"{values['sender_ms']:.2f}"]
        rows.append((name, *shown))
    caption = (
        "CPU of server and database a delivery, at saturation and at 200 a second; "
        "ratios are to the first"
    )
    Console(width=150).print(
        _table("Webhook intake over HTTP, 16 connections", ("server",), heads, rows, caption)
    )


def _table(
    title: str,
    words: Sequence[str],
    numbers: Sequence[str],
    rows: Sequence[Sequence[str]],
    caption: str | None = None,
) -> Table | None:
    if not rows:
        return None
    table = Table(title=title, title_justify="left", caption=caption, caption_justify="left")
    for word in words:
        table.add_column(word)
    for number in numbers:
        table.add_column(number, justify="right")
    for row in rows:
        table.add_row(*row)
    return table


def _workers(figures: Sequence[Sweeping]) -> Table | None:
    rows = [
        (
            f"{w.workers}",
            f"{w.rows:,}",
            f"{w.seconds:.1f}",
            f"{w.rows_per_second:,.0f}",
            f"{w.ratio:.2f}",
        )
        for w in figures
    ]
    heads = ("rows", "s", "rows/s", "ratio")
    caption = "eight environments; the emulator is one more process on the same cores"
    return _table(
        "Due rows, until all are in sync, by Procrastinate's workers",
        ("workers",),
        heads,
        rows,
        caption,
    )


def _api_rates(figures: Sequence[ApiRate]) -> Table | None:
    rows = [
        (r.database, r.operation, f"{r.per_second:,.0f}", f"{r.median_ms:.1f}", f"{r.p99_ms:.1f}")
        for r in figures
    ]
    caption = "beside 10,000 rows, by 8 clients at once; who waits for a change is one client"
    heads = ("per s", "median ms", "p99")
    return _table("The HTTP API", ("database", "operation"), heads, rows, caption)


def _fleet_endpoints(figures: Sequence[Receiving]) -> Table | None:
    rows = [
        (
            f"{e.endpoints}",
            f"{e.kept_per_second:,.0f}",
            f"{e.ratio:.2f}",
            *(
                f"{ms:.1f}"
                for ms in (e.kept_median_ms, e.kept_p99_ms, e.settled_median_ms, e.settled_p95_ms)
            ),
        )
        for e in figures
    ]
    heads = ("kept/s", "ratio", "kept ms", "p99", "settled ms", "p95")
    caption = "one worker beside them; stored and applied at 200 webhook events a second"
    return _table(
        "Webhooks by endpoints in processes of their own", ("endpoints",), heads, rows, caption
    )


def _environments(figures: Sequence[Environments]) -> Table | None:
    rows = [
        (
            e.database,
            f"{e.environments:,}",
            f"{e.asking_ms:.1f}",
            f"{e.seconds:.1f}",
            f"{e.calls_per_row:.2f}",
            f"{e.statements_per_row:.2f}",
            f"{e.mebibytes:.0f}",
        )
        for e in figures
    ]
    heads = ("environments", "asking ms", "s", "calls/row", "SQL/row", "MiB")
    caption = "ten due rows each; the emulator is in the same process"
    return _table("Many environments in one process", ("database",), heads, rows, caption)
