"""`python -m benchmarks`: measure, and print the figures; progress goes to stderr."""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence

from benchmarks.bench import DATABASES
from benchmarks.measures import Sizes, claims, passes, settlings
from benchmarks.profiling import profiled
from benchmarks.report import Report
from benchmarks.webhooks import endpoints
from tests.postgres import NoPostgres

MEASURES = ("sweep", "settle", "claim", "webhooks")


def main() -> int:
    chosen = _arguments()
    databases = [chosen.only] if chosen.only else DATABASES
    sizes = Sizes(rows=chosen.rows, repeats=chosen.repeats, at_rest=chosen.at_rest)
    try:
        if chosen.profile:
            asyncio.run(profiled(databases, sizes.rows))
        else:
            report = asyncio.run(measured(databases, chosen.measure or MEASURES, sizes))
            print(report.as_json()) if chosen.json else report.show()
    except NoPostgres as reason:
        print(f"{reason}; or leave PostgreSQL out with --only sqlite", file=sys.stderr)
        return 1
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure what the library costs.")
    parser.add_argument("--rows", type=_count, default=5_000, help="rows of a sweep, findings to settle (5000)")
    parser.add_argument("--repeats", type=_count, default=3, help="the median of so many is told (3)")
    parser.add_argument("--at-rest", type=_count, nargs="+", default=[10_000, 200_000], help="tables to claim from")
    parser.add_argument("--only", choices=DATABASES, help="one database")
    parser.add_argument("--measure", choices=MEASURES, nargs="+", help="only these")
    parser.add_argument("--json", action="store_true", help="figures as JSON")
    parser.add_argument("--profile", action="store_true", help="no figures: the functions that a sweep spends time in")
    return parser.parse_args()


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


async def measured(databases: Sequence[str], measures: Sequence[str], sizes: Sizes) -> Report:
    report, began = Report(sizes), time.perf_counter()
    for database in databases:
        if "sweep" in measures:
            report.passes += await passes(database, sizes, progress)
        if "settle" in measures:
            report.settlings += await settlings(database, sizes, progress)
        if "claim" in measures:
            report.claims += await claims(database, sizes, progress)
        if "webhooks" in measures:
            report.endpoints += await endpoints(database, progress)
    report.seconds = time.perf_counter() - began
    return report


def progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
