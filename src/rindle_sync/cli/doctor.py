"""The command that checks an installation."""

from dataclasses import asdict
from typing import Annotated, Final

import typer

from rindle_sync.cli.output import Json, literal, out, print_json, with_installation
from rindle_sync.diagnostics import Level, many
from rindle_sync.diagnostics.doctor import Diagnosis

commands: Final = typer.Typer()

_COLOURS: Final = {Level.ERROR: "bold red", Level.WARNING: "bold yellow"}


@commands.command()
def doctor(
    ping: Annotated[
        bool,
        typer.Option(
            "--ping", help="Call the provider, too: does it accept the token, and what time is it?"
        ),
    ] = False,
    endpoint: Annotated[
        str | None,
        typer.Option(help="Send a signed test delivery to your webhook endpoint at this address."),
    ] = None,
    json_: Json = False,
) -> None:
    """Check the installation: settings, database, tables, engine, and the health of the rows.

    It reads only the database, unless --ping or --endpoint is given. Each finding says what it
    means and what to do. Exit code 1 on any finding.
    """
    diagnosis = with_installation(
        lambda installation: installation.doctor(ping=ping, endpoint=endpoint)
    )
    if json_:
        print_json(asdict(diagnosis))
    else:
        _print(diagnosis)
    if diagnosis.findings:
        raise typer.Exit(1)


def _print(diagnosis: Diagnosis) -> None:
    _print_line(literal(f"{', '.join(diagnosis.environments)} on {diagnosis.database}"))
    found = {finding.check for finding in diagnosis.findings}
    for check in diagnosis.checked:
        if check not in found:
            _print_line(f"[green]ok[/]       {check}")
    for note in diagnosis.notes:
        _print_line(f"note     {note.check}{_where(note.environment)}: {literal(note.text)}")
    for finding in diagnosis.findings:
        level = f"[{_COLOURS[finding.level]}]{finding.level:8}[/]"
        where = f"{finding.check}{_where(finding.environment)}"
        _print_line(f"{level} {where}: {literal(finding.text)}")
        _print_line(f"         {literal(finding.remedy)}")
    checks, findings = len(diagnosis.checked), len(diagnosis.findings)
    _print_line(f"{many(checks, 'check')}, {many(findings, 'finding')}")


def _print_line(line: str) -> None:
    out.print(line, soft_wrap=True)


def _where(environment: str | None) -> str:
    return "" if environment in {None, "default"} else f" in {literal(environment)}"
