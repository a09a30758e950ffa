"""`python -m benchmarks`: measure, and print the figures; progress goes to stderr."""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.api import api_rates
from benchmarks.bench import DATABASES, Progress, Sizes
from benchmarks.blocking import blocking_calls
from benchmarks.console import page_times
from benchmarks.counts import counted
from benchmarks.dispatches import dispatches
from benchmarks.environments import environments
from benchmarks.fleet import endpoints_of_a_fleet, workers
from benchmarks.knowing import knowings
from benchmarks.measures import applies, claims
from benchmarks.outgoing import arrivals, outgoing_rates
from benchmarks.plan import plans
from benchmarks.profiling import profiled
from benchmarks.race import PEERS, CannotRace, race
from benchmarks.rate import passes
from benchmarks.report import Report, race_as_json, show_race
from benchmarks.rest import rests
from benchmarks.settled import memories, settled_sweeps
from benchmarks.start import starts
from benchmarks.webhooks import endpoints
from tests.support.postgres import NoPostgres

Measure = Callable[[str, Sizes, Progress], Awaitable[Sequence[Any]]]

MEASURES: Final[Mapping[str, Measure]] = {
    "plan": plans,
    "knowing": knowings,
    "rate": passes,
    "settled": settled_sweeps,
    "memory": memories,
    "apply": applies,
    "claim": claims,
    "dispatch": dispatches,
    "outgoing": outgoing_rates,
    "arrivals": arrivals,
    "counts": counted,
    "console": page_times,
    "blocking": blocking_calls,
    "start": starts,
    "rest": rests,
    "workers": workers,
    "endpoints": endpoints_of_a_fleet,
    "environments": environments,
    "webhooks": lambda database, _, progress: endpoints(database, progress),
    "api": lambda database, _, progress: api_rates(database, progress),
}
"""Each by its name in the report, too."""


def main() -> int:
    chosen = _arguments()
    # an installed package has its bytecode: to compile it is no part of what a command costs
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    databases = [chosen.only] if chosen.only else DATABASES
    sizes = _sizes(chosen)
    try:
        if chosen.against:
            contestants = asyncio.run(race(progress))
            print(race_as_json(contestants)) if chosen.json else show_race(contestants)
        elif chosen.profile or chosen.flame:
            asyncio.run(profiled(databases, sizes.rows, chosen.flame))
        else:
            report = asyncio.run(measured(databases, chosen.measure or list(MEASURES), sizes))
            print(report.as_json()) if chosen.json else report.show()
    except CannotRace as reason:
        print(reason, file=sys.stderr)
        return 1
    except NoPostgres as reason:
        print(f"{reason}; or leave PostgreSQL out with --only sqlite", file=sys.stderr)
        return 1
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure what the library costs."
    )
    parser.add_argument(
        "--rows", type=_count, default=5_000, help="rows of a sweep, observations to apply (5000)"
    )
    parser.add_argument(
        "--repeats", type=_count, default=3, help="the median of so many is reported (3)"
    )
    parser.add_argument(
        "--settled", type=_count, nargs="+", help="tables beside whose rows is swept (10000 200000)"
    )
    parser.add_argument(
        "--full",
        action="store_true",
        help="all of it: both priorities, a million settled rows; slow",
    )
    parser.add_argument("--only", choices=DATABASES, help="one database")
    parser.add_argument("--measure", choices=MEASURES, nargs="+", help="only these")
    parser.add_argument(
        "--against",
        choices=PEERS,
        help="only the race of webhook intake against this peer; needs Node and npm",
    )
    parser.add_argument("--json", action="store_true", help="figures as JSON")
    parser.add_argument(
        "--profile",
        action="store_true",
        help="no figures: the functions that a sweep spends time in",
    )
    parser.add_argument(
        "--flame",
        type=Path,
        help="no figures: a sweep's flame graph, in this file; needs py-spy, and one database",
    )
    return parser.parse_args()


def _sizes(chosen: argparse.Namespace) -> Sizes:
    settled = chosen.settled or [10_000, 1_000_000 if chosen.full else 200_000]
    return Sizes(rows=chosen.rows, repeats=chosen.repeats, settled=settled, is_full=chosen.full)


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


async def measured(databases: Sequence[str], measures: Sequence[str], sizes: Sizes) -> Report:
    report, began = Report(sizes), time.perf_counter()
    for database in databases:
        for name in measures:
            getattr(report, name).extend(await MEASURES[name](database, sizes, progress))
    report.seconds = time.perf_counter() - began
    return report


def progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
