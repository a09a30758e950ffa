"""Commands that make one pass: sweep, audit, backfill."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer
from msgspec.structs import asdict

from rindle_sync.cli.output import Json, err, out, print_json, say, say_hint, say_wait, with_rindle
from rindle_sync.cli.run import pass_report
from rindle_sync.domain import Outcome, many
from rindle_sync.errors import AuthenticationFailed, ConfigurationError

if TYPE_CHECKING:
    from rindle_sync.app import RindleSync
    from rindle_sync.reconcile import Applied, Filled, Report, SweepResult

commands: Final = typer.Typer()

R = TypeVar("R", "SweepResult", "Report", "Filled")

DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Call the provider, report what would change, write nothing."),
]

MOST_SHOWN: Final = 50
"""How many findings are shown; --json has a thousand."""


@commands.command()
def sweep(dry_run: DryRun = False, json_: Json = False) -> None:
    """Make one pass over the rows that are due now; `run` makes these passes again and again.

    Exit code 1 unless the pass was done, or another process is making it.
    """
    from rindle_sync.reconcile import SweepResult

    changes: list[dict[str, Any]] = []

    def note(applied: Applied) -> None:
        if applied.changed:  # not the rows themselves: there may be thousands
            changes.append(_change(applied))

    result = _made(
        lambda rindle: rindle.sweep(dry_run=dry_run, on_applied=note if dry_run else None),
        SweepResult(outcome=Outcome.REFUSED),
    )
    if json_:
        report = asdict(result)
        if dry_run:
            report["changes"] = changes
        print_json(report)
    else:
        _print_sweep(result, changes, dry_run=dry_run)
    say_hint(result.outcome, result.retry_after)
    if result.outcome not in {Outcome.DONE, Outcome.ALREADY_RUNNING}:
        raise typer.Exit(1)


def _change(applied: Applied) -> dict[str, Any]:
    return {
        "row_id": applied.row.id,
        "from": applied.before.state,
        "to": applied.row.state,
        "error_kind": applied.row.error_kind,
        "reason": applied.decision.reason,
    }


def _print_sweep(result: SweepResult, changes: Sequence[dict[str, Any]], *, dry_run: bool) -> None:
    if result.outcome is Outcome.REFUSED:
        out.print(f"no row was checked: {result.outcome}")
        return
    if not dry_run:
        counts = result.checked, result.changed, result.unanswered, result.calls
        out.print(pass_report(result.outcome, *counts))
        return
    by_id = many(result.calls - result.pages, "call")
    out.print(
        f"{many(result.checked, 'row')} due: {many(result.pages, 'list page')}, {by_id} by id, "
        f"{result.uncalled} without a call; {result.changed} would change: {result.outcome}"
    )
    if changes:
        from rich.table import Table

        table = Table("row", "from", "to", "why", box=None, pad_edge=False)
        for change in changes:
            table.add_row(*(change[name] for name in ("row_id", "from", "to", "reason")))
        out.print(table)


@commands.command()
def audit(
    dry_run: DryRun = False,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Then make rows of assets without a row.")
    ] = False,
    accept_mass_change: Annotated[
        bool,
        typer.Option(
            "--accept-mass-change",
            help="Accept the result even if very many rows are gone at the provider.",
        ),
    ] = False,
    json_: Json = False,
) -> None:
    """Make one audit: compare every settled row with the provider's list.

    It finds missed deletions, changed playback ids, and assets without a row; `run` audits every
    audit_days. Exit code 1 if rows or assets are out of sync, or the audit was not done.
    """
    from rindle_sync.reconcile import Report

    if dry_run and adopt:
        text = "makes rows, and --dry-run makes none: alone it lists the assets without a row"
        raise ConfigurationError("--adopt", text)

    def line(report: Report) -> str:
        findings = many(sum(report.drift.values()), "finding")
        return f"{report.seen} of about {report.rows} rows compared, {findings}"

    with _progress(line) as on_progress:
        report = _made(
            lambda rindle: rindle.audit(
                dry_run=dry_run,
                adopt=adopt,
                accept_mass_change=accept_mass_change,
                on_progress=on_progress,
            ),
            Report(outcome=Outcome.REFUSED),
        )
    if json_:
        print_json(report)
    elif report.outcome is not Outcome.REFUSED:
        _print_report(report, dry_run=dry_run)
    say_hint(report.outcome, report.retry_after)
    if report.outcome is not Outcome.DONE or any(report.drift.values()):
        raise typer.Exit(1)


def _print_report(report: Report, *, dry_run: bool) -> None:
    from rindle_sync.reconcile import Drift

    if report.notes:
        from rich.table import Table

        table = Table("found", "row", "asset", "what", box=None, pad_edge=False)
        for note in report.notes[:MOST_SHOWN]:
            table.add_row(note.drift, note.row_id or "-", note.tag, note.text)
        out.print(table)
    if len(report.notes) > MOST_SHOWN:
        out.print(f"and {len(report.notes) - MOST_SHOWN} more; --json shows them")
    changed = "would be changed" if dry_run else "changed"
    adopted = f", {report.adopted} adopted" if report.adopted else ""
    out.print(
        f"{report.seen} of {many(report.rows, 'row')} compared by {many(report.calls, 'call')}; "
        f"{report.changed} {changed}; {report.drift[Drift.MISSING]} not found; "
        f"{many(report.drift[Drift.ORPHAN], 'asset')} without a row{adopted}: {report.outcome}"
    )
    if report.outcome is Outcome.ALARM:
        say(
            "so many rows are gone at the provider that none was ended; if that is right, "
            "run it again with --accept-mass-change"
        )
    elif report.drift[Drift.MISSING] and not dry_run:
        say(
            "rows that were not found are checked again after provider_confirm_seconds, "
            "before they are deleted"
        )
    if report.is_list_doubtful:
        say(
            "the provider's list lacks many assets that exist: "
            "not every row that it lacks was fetched by id"
        )


@commands.command()
def backfill(dry_run: DryRun = False, json_: Json = False) -> None:
    """Make a row of every asset at the provider without a row.

    Interrupted, it resumes where it was; run again, it makes only what is new. Exit code 1 unless
    it was done.
    """
    from rindle_sync.reconcile import Filled

    def line(filled: Filled) -> str:
        return f"{filled.assets} assets read, {filled.adopted} new rows"

    with _progress(line) as on_progress:
        filled = _made(
            lambda rindle: rindle.backfill(dry_run=dry_run, on_progress=on_progress),
            Filled(outcome=Outcome.REFUSED),
        )
    if json_:
        print_json(filled)
    elif filled.outcome is not Outcome.REFUSED:
        made = "would be made" if dry_run else "made"
        out.print(
            f"{many(filled.assets, 'asset')} on {many(filled.pages, 'page')}: "
            f"{many(filled.adopted, 'row')} {made}, {filled.known} had one: {filled.outcome}"
        )
    say_hint(filled.outcome, filled.retry_after)
    if filled.outcome is not Outcome.DONE:
        raise typer.Exit(1)


def _made(work: Callable[[RindleSync], Awaitable[R]], refused: R) -> R:
    """The result of a pass; `refused` where the provider refuses the token, after saying why."""

    async def guarded(rindle: RindleSync) -> R:
        # before the provider is called: without the database its answers could not be stored
        await rindle.store.database.ping()
        try:
            return await work(rindle)
        except AuthenticationFailed as error:
            say(str(error))
            return refused

    return with_rindle(guarded, say_wait)


@contextmanager
def _progress(line: Callable[[R], str]) -> Iterator[Callable[[R], None]]:
    """A callback that keeps a line of progress on a terminal."""
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("reading the provider's list")
        yield lambda report: progress.update(task, description=line(report))
