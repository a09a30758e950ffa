"""The demo, drawn."""

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.live import Live
from rich.table import Table

from rindle_sync.cli.output import Json, extra, out, print_json

if TYPE_CHECKING:
    from rindle_sync.demo import Report, Snapshot

commands: Final = typer.Typer()


@commands.command()
def demo(
    assets: Annotated[int, typer.Option(min=1, max=2000, help="How many assets there are.")] = 300,
    seed: Annotated[int, typer.Option(help="Another seed, another world.")] = 1,
    drop: Annotated[
        float, typer.Option(min=0, max=1, help="The share of webhooks that never come.")
    ] = 0.4,
    double: Annotated[
        float, typer.Option(min=0, max=1, help="The share of webhooks that come twice.")
    ] = 0.2,
    json_: Json = False,
) -> None:
    """See it work, without an account or a server: webhooks are lost, doubled and shuffled; every row ends in step."""
    with extra("emulator"):
        from rindle_sync.demo import WebhookFaults, play
    webhook_faults = WebhookFaults(drop=drop, double=double)
    if json_ or not out.is_terminal:
        report = asyncio.run(play(assets, seed, webhook_faults, lambda _: None))
    else:
        with Live(console=out, refresh_per_second=8) as live:
            report = asyncio.run(
                play(
                    assets,
                    seed,
                    webhook_faults,
                    lambda snapshot: live.update(_picture(snapshot, assets)),
                )
            )
    if json_:
        print_json(asdict(report))
    else:
        _print_report(report)
    if report.out_of_step:
        raise typer.Exit(1)


def _picture(snapshot: "Snapshot", assets: int) -> Table:
    table = Table(title=f"{assets} assets, second {snapshot.seconds:.0f}", title_justify="left")
    for title in ("at the provider", "", "your rows", ""):
        table.add_column(title, min_width=12)
    for truth, there, state, here in snapshot.pairs:
        table.add_row(truth, _bar(there, assets, "cyan"), state, _bar(here, assets, "green"))
    table.caption = f"{snapshot.in_step} of {assets} in step, {snapshot.calls} calls"
    return table


def _bar(number: int, of: int, colour: str) -> str:
    return f"[{colour}]{'█' * round(20 * number / of)}[/] {number}"


def _print_report(report: "Report") -> None:
    table = Table(
        "at the provider", "your row must say", "assets", "rows in step", box=None, pad_edge=False
    )
    for line in report.agreement:
        mark = "[green]" if line.assets == line.in_step else "[red]"
        table.add_row(line.truth, line.row, f"{line.assets}", f"{mark}{line.in_step}[/]")
    out.print(table)
    lag = report.lag_seconds
    out.print(
        f"{report.in_step} of {report.assets} rows in step after {report.seconds} s, "
        f"with {report.calls_per_row} calls a row"
    )
    sent = report.webhooks
    out.print(
        f"webhooks: {sent['events']} events, {sent['dropped']} lost on the way, {sent['doubled']} sent twice, "
        f"{sent['kept']} kept"
    )
    roads = ", ".join(f"{number} by {road}" for road, number in sorted(report.found_by.items()))
    out.print(f"the last change of each row was found: {roads}")
    if lag:
        out.print(
            f"found after the end at the provider: median {lag['median']} s, 95 % within {lag['p95']} s"
        )
    verdict = (
        "[bold green]in step[/]"
        if not report.out_of_step
        else f"[bold red]{report.out_of_step} out of step[/]"
    )
    out.print(verdict)
