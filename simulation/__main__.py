"""Live through many seeds, and say which of them broke a law: `python -m simulation --help`."""

import gc
import json
import logging
import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from functools import cache
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from simulation.once import Database, Report, check
from simulation.planted import PLANTED, planted

CHUNK: Final = 20
"""How many seeds a process takes at once."""

app = typer.Typer(add_completion=False, no_args_is_help=False, pretty_exceptions_enable=False)
screen = Console(stderr=True)


@app.command()
def main(
    seeds: Annotated[
        str, typer.Argument(help="One seed (96), or a range of them (0-999).")
    ] = "0-199",
    jobs: Annotated[int, typer.Option(min=1, help="Processes side by side.")] = os.cpu_count() or 1,
    database: Annotated[Database, typer.Option(help="Where the tables are.")] = Database.SQLITE,
    fault: Annotated[
        str | None, typer.Option(help="A fault to plant; `all`: how soon each one is found.")
    ] = None,
    history: Annotated[
        int, typer.Option(min=0, help="How many lines of a broken history to show.")
    ] = 40,
    as_json: Annotated[bool, typer.Option("--json", help="Reports as JSON lines.")] = False,
) -> None:
    """Live through simulated histories; exit 1 if one of them broke a law, 2 for a wrong use."""
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of sets is a chance, too
        os.execve(
            sys.executable,
            [sys.executable, "-m", "simulation", *sys.argv[1:]],
            os.environ | {"PYTHONHASHSEED": "0"},
        )
    numbers = _numbers(seeds)
    if fault == "all":
        raise typer.Exit(_hunt(numbers, database, as_json=as_json))
    if fault and fault not in PLANTED:
        raise typer.BadParameter(
            f"is not planted; one of all, {', '.join(PLANTED)}", param_hint="--fault"
        )
    began, reports = perf_counter(), []
    for report in _reports(numbers, jobs, database, fault):
        reports.append(report)
        if as_json:
            print(json.dumps(asdict(report)), flush=True)  # noqa: T201  reports are the output
        elif report.broken:
            _show(report, history, database, fault)
    broken = [report for report in reports if report.broken]
    hours = sum(report.hours for report in reports)
    screen.print(
        f"{len(reports):,} histories, {hours:,.0f} hours in {perf_counter() - began:,.0f} s: "
        + (f"[bold red]{len(broken)} broke a law[/]" if broken else "[green]no law was broken[/]"),
        highlight=False,
    )
    raise typer.Exit(1 if broken else 0)


def _numbers(seeds: str) -> range:
    first, _, last = seeds.partition("-")
    try:
        return range(int(first), int(last or first) + 1)
    except ValueError:
        raise typer.BadParameter(
            "wants a number or a range, such as 96 or 0-999", param_hint="SEEDS"
        ) from None


def _reports(numbers: range, jobs: int, database: Database, fault: str | None) -> Iterator[Report]:
    if len(numbers) == 1 or jobs == 1:
        yield from _shown((checked([seed], database, fault)[0] for seed in numbers), len(numbers))
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from _shown(_side_by_side(pool, numbers, jobs, database, fault), len(numbers))


def _side_by_side(
    pool: ProcessPoolExecutor, numbers: range, jobs: int, database: Database, fault: str | None
) -> Iterator[Report]:
    """Reports as they come, with no more handed out than keeps the processes busy."""
    chunks = iter([numbers[start : start + CHUNK] for start in range(0, len(numbers), CHUNK)])
    waiting = {pool.submit(checked, chunk, database, fault) for chunk in islice(chunks, 2 * jobs)}
    while waiting:
        ended = next(as_completed(waiting))
        waiting.remove(ended)
        waiting |= {pool.submit(checked, chunk, database, fault) for chunk in islice(chunks, 1)}
        yield from ended.result()


def checked(seeds: Iterable[int], database: Database, fault: str | None) -> list[Report]:
    """What became of `seeds`, with `fault` planted."""
    warnings.simplefilter("ignore")
    for name in (
        "sqlalchemy.pool",
        "psycopg",
        "asyncio",
    ):  # killed hosts leave connections and tasks as they are
        logging.getLogger(name).setLevel(logging.CRITICAL)
    _settle_in()
    with planted(fault):
        return [check(seed, database)[0] for seed in seeds]


@cache
def _settle_in() -> None:
    """Once: modules are not looked through for garbage again and again."""
    gc.freeze()


def _shown(reports: Iterator[Report], total: int) -> Iterator[Report]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=screen, transient=True, disable=not screen.is_terminal
    ) as progress:
        task, broken = progress.add_task("no law broken", total=total), 0
        for report in reports:
            broken += bool(report.broken)
            progress.update(
                task, advance=1, description=f"{broken} broken" if broken else "no law broken"
            )
            yield report


def _show(report: Report, most: int, database: Database, fault: str | None) -> None:
    """What a broken history looked like.

    The laws, the last lines about their rows, and how to live it again.
    """
    screen.print(f"[bold red]seed {report.seed}[/]", highlight=False)
    for law in report.broken:
        screen.print(f"  {law}", highlight=False, markup=False)
    if most:
        with planted(fault):
            _, world = check(report.seed, database)
        rows = {word for law in report.broken for word in law.split() if len(word) == 36}
        for line in world.history.about(*rows, most=most):
            screen.print(
                f"    {line}", highlight=False, markup=False, overflow="ellipsis", no_wrap=True
            )
    options = f" --database {database}" * (
        database is not Database.SQLITE
    ) + f" --fault {fault}" * bool(fault)
    screen.print(
        f"  again: {_python()} -m simulation {report.seed} --history 500{options}", highlight=False
    )


def _python() -> str:
    return (
        os.path.relpath(sys.executable)
        if Path(sys.executable).is_relative_to(Path.cwd())
        else "python"
    )


def _hunt(numbers: range, database: Database, *, as_json: bool) -> int:
    """How many seeds it takes to find each planted fault; 1 if one is not found."""
    missed = 0
    for name in PLANTED:
        found = next(
            (r for seed in numbers if (r := checked([seed], database, name)[0]).broken), None
        )
        missed += found is None
        if as_json:
            print(json.dumps({"fault": name, "seed": found and found.seed}), flush=True)  # noqa: T201
        elif found:
            screen.print(
                f"{name}: found by seed {found.seed}: {found.broken[0][:120]}",
                highlight=False,
                markup=False,
            )
        else:
            screen.print(f"{name}: not found in {len(numbers)} seeds", highlight=False)
    return 1 if missed else 0


if __name__ == "__main__":
    app()
