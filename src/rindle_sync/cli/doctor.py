"""The command that checks an installation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Final

import typer

from rindle_sync.cli.output import (
    Json,
    advice,
    literal,
    out,
    print_json,
    say_wait,
    with_installation,
)
from rindle_sync.domain import many

if TYPE_CHECKING:
    from rindle_sync.diagnostics.checks import DoctorFinding
    from rindle_sync.diagnostics.doctor import Diagnosis, Note

commands: Final = typer.Typer()

_COLOURS: Final = {"error": "bold red", "warning": "bold yellow"}


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
        lambda installation: installation.doctor(ping=ping, endpoint=endpoint), say_wait
    )
    if json_:
        print_json(diagnosis)
    else:
        for line in _lines(diagnosis):
            out.print(line, soft_wrap=True)
    if diagnosis.findings:
        raise typer.Exit(1)


def _lines(diagnosis: Diagnosis) -> Iterator[str]:
    from rindle_sync.diagnostics.doctor import Note

    yield literal(f"{', '.join(diagnosis.environments)} on {diagnosis.database}")
    found = {finding.check for finding in diagnosis.findings}
    for check in diagnosis.checked:
        if check not in found:
            yield f"[green]ok[/]       {check}"
    lines: list[Note | DoctorFinding] = [*diagnosis.notes, *diagnosis.findings]
    for line in lines:
        where = ""
        if line.environment not in {None, "default"}:
            where = f" in {literal(line.environment)}"
        text = f"{line.check}{where}: {advice(line.text)}"
        if isinstance(line, Note):
            yield f"note     {text}"
        else:
            yield f"[{_COLOURS[line.level]}]{line.level:8}[/] {text}"
            yield f"         {advice(line.remedy)}"
    checks, findings = len(diagnosis.checked), len(diagnosis.findings)
    yield f"{many(checks, 'check')}, {many(findings, 'finding')}"
