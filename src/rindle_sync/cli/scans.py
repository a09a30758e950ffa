"""Commands about the provider's whole list."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Annotated, Final, TypeVar

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from rindle_sync.app import RindleSync
from rindle_sync.cli.output import Json, connected, err, explain, out, print_json, say
from rindle_sync.cli.run import keep_running
from rindle_sync.diagnostics import many
from rindle_sync.domain import Outcome
from rindle_sync.errors import AuthenticationFailed, ConfigurationError
from rindle_sync.reconcile import Drift, Filled, Note, Report

commands: Final = typer.Typer()

Told = TypeVar("Told", Report, Filled)

SHOWN: Final = 50
"""How many findings are shown; --json has a thousand."""


@commands.command()
def audit(
    once: Annotated[bool, typer.Option("--once", help="One audit, now.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Report only: write nothing, adopt nothing.")
    ] = False,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Make rows of assets that no row knows.")
    ] = False,
    accept_mass_change: Annotated[
        bool,
        typer.Option(
            "--accept-mass-change",
            help="Believe it, even if very many rows are gone at the provider.",
        ),
    ] = False,
    json_: Json = False,
) -> None:
    """Compare every row at rest with the provider's list: lost deletions, changed playback ids, assets without a row.

    Runs the service without --once, which audits every audit_days. Exit code 1 if rows or assets are out of step.
    """
    if not (once or dry_run):
        if adopt or accept_mass_change:
            raise ConfigurationError(
                "--adopt and --accept-mass-change",
                "want --once: the service does neither by itself",
            )
        keep_running(json_)
        return

    if dry_run and adopt:
        raise ConfigurationError(
            "--adopt",
            "makes rows, and --dry-run none: without --adopt it names the assets without a row",
        )

    async def work(rindle: RindleSync, told: Callable[[Report], None]) -> Report:
        return await rindle.audit(
            dry_run=dry_run, adopt=adopt, accept_mass_change=accept_mass_change, on_progress=told
        )

    report = _with_progress(
        work,
        lambda r: f"{r.seen} of about {r.rows} rows compared, {sum(r.drift.values())} findings",
        Report(outcome=Outcome.REFUSED),
    )
    _tell(report, json_, lambda: _print_report(report, dry_run=dry_run))
    if report.outcome is not Outcome.DONE or any(report.drift.values()):
        raise typer.Exit(1)


def _tell(told: Report | Filled, json_: bool, in_words: Callable[[], None]) -> None:
    if json_:
        print_json(asdict(told))
    elif told.outcome is not Outcome.REFUSED:
        in_words()
    explain(told.outcome)


def _print_report(report: Report, *, dry_run: bool) -> None:
    if report.notes:
        _print_notes(report.notes)
    out.print(
        f"{report.seen} of {many(report.rows, 'row')} compared by {many(report.calls, 'call')}; "
        f"{report.changed} {'would be changed' if dry_run else 'changed'}; "
        f"{report.drift[Drift.MISSING]} not found; {many(report.drift[Drift.ORPHAN], 'asset')} without a row"
        + (f", {report.adopted} adopted" if report.adopted else "")
        + f": {report.outcome}"
    )
    if report.outcome is Outcome.ALARM:
        say(
            "so many rows are gone at the provider that none of them was ended; if that is right, run it again with "
            "--accept-mass-change"
        )
    elif report.drift[Drift.MISSING] and not dry_run:
        say(
            "rows that were not found are looked at once more after provider_confirm_seconds, before they are deleted"
        )
    if report.is_list_doubtful:
        say(
            "the provider's list lacks many assets that are there: rows that it lacks were not all asked about"
        )


def _print_notes(notes: list[Note]) -> None:
    table = Table("found", "row", "asset", "what", box=None, pad_edge=False)
    for note in notes[:SHOWN]:
        table.add_row(note.drift, note.row_id or "-", note.tag, note.text)
    out.print(table)
    if len(notes) > SHOWN:
        out.print(f"and {len(notes) - SHOWN} more; --json shows them")


@commands.command()
def backfill(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count only: write nothing.")] = False,
    json_: Json = False,
) -> None:
    """Make a row of every asset that the provider has and no row knows. Broken off, it goes on where it was."""

    async def work(rindle: RindleSync, told: Callable[[Filled], None]) -> Filled:
        return await rindle.backfill(dry_run=dry_run, on_progress=told)

    filled = _with_progress(
        work,
        lambda f: f"{f.assets} assets read, {f.adopted} new rows",
        Filled(outcome=Outcome.REFUSED),
    )
    made = f"{many(filled.adopted, 'row')} {'would be made' if dry_run else 'made'}"
    pages = f"{many(filled.assets, 'asset')} on {many(filled.pages, 'page')}"
    _tell(
        filled,
        json_,
        lambda: out.print(f"{pages}: {made}, {filled.known} had one: {filled.outcome}"),
    )
    if filled.outcome is not Outcome.DONE:
        raise typer.Exit(1)


def _with_progress(
    work: Callable[[RindleSync, Callable[[Told], None]], Awaitable[Told]],
    line: Callable[[Told], str],
    refused: Told,
) -> Told:
    """What `work` comes to, with a line of progress on a terminal; `refused` where our credentials are."""
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("reading the provider's list")

        async def watched(rindle: RindleSync) -> Told:
            await rindle.store.ping()
            try:
                return await work(
                    rindle, lambda told: progress.update(task, description=line(told))
                )
            except AuthenticationFailed as error:
                say(str(error))
                return refused

        return connected(watched)
