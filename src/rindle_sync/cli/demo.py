"""Commands that need no account: the demo, drawn as it runs, and the emulator."""

from functools import partial
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.live import Live
from rich.table import Table

from rindle_sync.cli.output import Json, extra, out, print_json, run_in_loop, say, until_stopped
from rindle_sync.domain import Priority

if TYPE_CHECKING:
    from rindle_sync.demo import Report, Snapshot

commands: Final = typer.Typer()


@commands.command()
def demo(
    assets: Annotated[int, typer.Option(min=1, max=2000, help="How many assets.")] = 300,
    seed: Annotated[int, typer.Option(help="Another seed gives another run.")] = 1,
    drop: Annotated[
        float, typer.Option(min=0, max=1, help="The share of webhooks that never come.")
    ] = 0.4,
    double: Annotated[
        float, typer.Option(min=0, max=1, help="The share of webhooks that come twice.")
    ] = 0.2,
    json_: Json = False,
) -> None:
    """Show rindle-sync at work, without an account or a server.

    Webhooks are dropped, come twice, late and out of order, and every row ends in sync. Exit code 1
    if a row is out of sync.
    """
    with extra("emulator"):
        from rindle_sync.demo import WebhookFaults, play

    played = partial(play, assets, seed, WebhookFaults(drop=drop, double=double))
    if json_ or not out.is_terminal:
        report = run_in_loop(played(lambda _: None))
    else:
        with Live(console=out, refresh_per_second=8) as live:
            report = run_in_loop(played(lambda snapshot: live.update(_drawn(snapshot, assets))))
    if json_:
        print_json(report)
    else:
        _print_report(report)
    if report.out_of_sync:
        raise typer.Exit(1)


def _drawn(snapshot: "Snapshot", assets: int) -> Table:
    table = Table(title=f"{assets} assets, second {snapshot.seconds:.0f}", title_justify="left")
    for title in ("at the provider", "", "your rows", ""):
        table.add_column(title, min_width=12)
    for truth, there, state, here in snapshot.pairs:
        bar_there, bar_here = "█" * round(20 * there / assets), "█" * round(20 * here / assets)
        table.add_row(truth, f"[cyan]{bar_there}[/] {there}", state, f"[green]{bar_here}[/] {here}")
    table.caption = f"{snapshot.in_sync} of {assets} in sync, {snapshot.calls} calls"
    return table


def _print_report(report: "Report") -> None:
    titles = "at the provider", "your row must say", "assets", "rows in sync"
    table = Table(*titles, box=None, pad_edge=False)
    for line in report.agreement:
        colour = "green" if line.assets == line.in_sync else "red"
        table.add_row(line.truth, line.row, f"{line.assets}", f"[{colour}]{line.in_sync}[/]")
    out.print(table)
    sent, lag = report.webhooks, report.lag_seconds
    triggers = [f"{number} by {trigger}" for trigger, number in sorted(report.found_by.items())]
    out.print(
        f"{report.in_sync} of {report.assets} rows in sync after {report.seconds} s, "
        f"with {report.calls_per_row} calls a row"
    )
    out.print(
        f"webhooks: {sent['events']} events, {sent['dropped']} dropped, "
        f"{sent['doubled']} sent twice, {sent['stored']} stored"
    )
    out.print(f"the last change of each row was found: {', '.join(triggers)}")
    if lag:
        out.print(
            f"found after the end at the provider: median {lag['median']} s, "
            f"95 % within {lag['p95']} s"
        )
    if report.out_of_sync:
        out.print(f"[bold red]{report.out_of_sync} out of sync[/]")
    else:
        out.print("[bold green]in sync[/]")


@commands.command()
def emulator(
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port to listen on.")] = 8010,
    host: Annotated[
        str, typer.Option(help="Keep it on this machine: there is no access control.")
    ] = "127.0.0.1",
    seed: Annotated[
        int, typer.Option(help="The same seed and the same requests give the same answers.")
    ] = 0,
    rate_limits: Annotated[
        Priority | None,
        typer.Option(help="Mux's own limits for a token of that priority; by default none."),
    ] = None,
) -> None:
    """Run a Mux of your own, for trying things out and for your tests.

    Its controls are described in docs/emulator.md.
    """
    with extra("emulator"):
        from rindle_sync.emulator.emulator import MuxEmulator
        from rindle_sync.web.server import listen, serve
    mux = MuxEmulator(seed=seed, rate_limits=rate_limits.value if rate_limits else None)
    listening = listen(host, port, settings=("--host", "--port"))
    token = "token id emulator-token-id, secret emulator-token-secret"  # noqa: S105
    say(f"Mux emulator on http://{host}:{port}; {token}")
    say(
        f"its assets: http://{host}:{port}/ in a browser; controls: curl http://{host}:{port}/_emulator/"
    )
    run_in_loop(until_stopped(lambda stop: serve(mux.app, listening, stop, lifespan=True)))
