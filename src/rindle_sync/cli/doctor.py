"""The command that checks an installation."""

from dataclasses import asdict
from typing import Annotated, Final

import typer

from rindle_sync.cli.output import Json, connected_all, literal, out, print_json
from rindle_sync.diagnostics import Level, many
from rindle_sync.diagnostics.doctor import Diagnosis, examine

commands: Final = typer.Typer()

_COLOURS: Final = {Level.ERROR: "bold red", Level.WARNING: "bold yellow"}


@commands.command()
def doctor(
    ping: Annotated[
        bool,
        typer.Option("--ping", help="Ask the provider, too: whose our token is, and the time."),
    ] = False,
    endpoint: Annotated[
        str | None,
        typer.Option(
            help="Send a delivery that we sign ourselves to our endpoint at this address."
        ),
    ] = None,
    json_: Json = False,
) -> None:
    """Check settings, database, tables, engine and how the rows stand; says what each finding means and what to do.

    Asks nobody but the database without --ping. Exit code 1 on any finding.
    """
    diagnosis = connected_all(lambda all_: examine(all_, ping=ping, endpoint=endpoint))
    if json_:
        print_json(asdict(diagnosis))
    else:
        _print(diagnosis)
    if diagnosis.findings:
        raise typer.Exit(1)


def _print(diagnosis: Diagnosis) -> None:
    out.print(
        literal(f"{', '.join(diagnosis.environments)} on {diagnosis.database}"), soft_wrap=True
    )
    found = {finding.check for finding in diagnosis.findings}
    for check in diagnosis.checked:
        if check not in found:
            out.print(f"[green]ok[/]       {check}")
    for note in diagnosis.notes:
        out.print(
            f"note     {note.check}{_where(note.environment)}: {literal(note.text)}", soft_wrap=True
        )
    for one in diagnosis.findings:
        level, where = f"[{_COLOURS[one.level]}]{one.level:8}[/]", _where(one.environment)
        out.print(f"{level} {one.check}{where}: {literal(one.text)}", soft_wrap=True)
        out.print(f"         {literal(one.remedy)}", soft_wrap=True)
    out.print(
        f"{many(len(diagnosis.checked), 'check')}, {many(len(diagnosis.findings), 'finding')}"
    )


def _where(environment: str | None) -> str:
    return f" in {literal(environment)}" if environment not in {None, "default"} else ""
