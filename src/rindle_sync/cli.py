"""The commands. Prints; everything else is done elsewhere."""

import asyncio
import json
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from rindle_sync.app import RindleSync, connect
from rindle_sync.asset import By, State
from rindle_sync.config import Priority, load_settings
from rindle_sync.decide import Verdict
from rindle_sync.errors import Misconfigured, Refused, RindleSyncError
from rindle_sync.frameworks.asgi import at_path
from rindle_sync.settle import Settled
from rindle_sync.sweep import Outcome, Tally
from rindle_sync.telemetry import Event, Swept

if TYPE_CHECKING:
    from rindle_sync.demo import Report, Snapshot

T = TypeVar("T")

WEBHOOK_PATH: Final = "/webhooks/mux"

app: Final = typer.Typer(
    name="rindle-sync",
    help="Keeps your own database in step with your video provider when webhooks are late, doubled or never come.\n\n"
    "Settings come from RINDLE_… variables or from rindle-sync.toml. Exit codes: 0 fine, 1 a finding or a failure, "
    "2 wrong usage or a wrong setting.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    add_completion=False,
)
out: Final = Console(highlight=False)
err: Final = Console(stderr=True, highlight=False)

Json = Annotated[bool, typer.Option("--json", help="Report as JSON on standard output.")]


def main() -> None:
    """Run the command line; every failure of ours is one sentence and an exit code, never a traceback."""
    try:
        app()
    except Misconfigured as error:
        _fail(error, 2)
    except RindleSyncError as error:
        _fail(error, 1)
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _fail(error: RindleSyncError, code: int) -> None:
    err.print("[bold red]error[/]", end=" ")
    err.print(str(error), markup=False, soft_wrap=True)
    raise SystemExit(code)


def _connected(work: Callable[[RindleSync], Awaitable[T]], *listeners: Callable[[Event], None]) -> T:
    async def connected() -> T:
        async with connect(load_settings(), listeners=listeners) as rindle:
            return await work(rindle)

    return asyncio.run(connected())


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2, default=_plain) + "\n")


@app.command()
def demo(
    assets: Annotated[int, typer.Option(min=1, max=2000, help="How many assets lose all their webhooks.")] = 300,
    seed: Annotated[int, typer.Option(help="Another seed, another world.")] = 1,
    json_: Json = False,
) -> None:
    """See it work, without an account or a server: every webhook is lost, and every row ends in step."""
    with _extra("demo"):
        from rindle_sync.demo import play
    if json_ or not out.is_terminal:
        report = asyncio.run(play(assets, seed, lambda _: None))
    else:
        with Live(console=out, refresh_per_second=8) as live:
            report = asyncio.run(play(assets, seed, lambda snapshot: live.update(_picture(snapshot, assets))))
    if json_:
        _print_json(asdict(report))
    else:
        _print_report(report)
    if report.out_of_step:
        raise typer.Exit(1)


def _picture(snapshot: "Snapshot", assets: int) -> Table:
    table = Table(title=f"{assets} assets, every webhook lost, second {snapshot.seconds:.0f}", title_justify="left")
    for title in ("at the provider", "", "your rows", ""):
        table.add_column(title, min_width=12)
    for truth, there, state, here in snapshot.pairs:
        table.add_row(truth, _bar(there, assets, "cyan"), state, _bar(here, assets, "green"))
    table.caption = f"{snapshot.in_step} of {assets} in step, {snapshot.calls} calls"
    return table


def _bar(number: int, of: int, colour: str) -> str:
    return f"[{colour}]{'█' * round(20 * number / of)}[/] {number}"


def _print_report(report: "Report") -> None:
    table = Table("at the provider", "your row must say", "assets", "rows in step", box=None, pad_edge=False)
    for line in report.agreement:
        mark = "[green]" if line.assets == line.in_step else "[red]"
        table.add_row(line.truth, line.row, f"{line.assets}", f"{mark}{line.in_step}[/]")
    out.print(table)
    lag = report.lag_seconds
    out.print(
        f"{report.in_step} of {report.assets} rows in step after {report.seconds} s, without one webhook; "
        f"{report.calls_per_row} calls a row",
    )
    if lag:
        out.print(f"found after the end at the provider: median {lag['median']} s, 95 % within {lag['p95']} s")
    verdict = "[bold green]in step[/]" if not report.out_of_step else f"[bold red]{report.out_of_step} out of step[/]"
    out.print(verdict)


@contextmanager
def _extra(name: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError:
        raise Misconfigured(name, "needs an extra; pip install 'rindle-sync[emulator]'") from None


@app.command()
def migrate(json_: Json = False) -> None:
    """Create our tables, or bring them to the newest form. Safe to run again, and by two at once."""
    before, after = _connected(lambda rindle: rindle.migrate())
    if json_:
        _print_json({"from": before, "to": after})
    elif before == after:
        out.print(f"the tables are at {after} already")
    else:
        out.print(f"the tables are at {after} now" + (f" (from {before})" if before else ""))


@app.command()
def track(
    asset_id: Annotated[str, typer.Option(help="Your app's own reference to the video.")],
    profile: Annotated[str, typer.Option(help="Which of its renditions or uses this is.")] = "default",
    provider_asset_id: Annotated[str | None, typer.Option(help="The provider's id of the asset.")] = None,
    upload_id: Annotated[str | None, typer.Option(help="The provider's id of the direct upload.")] = None,
    state: Annotated[State | None, typer.Option(help="processing by default, or uploading without an asset.")] = None,
    playback_policy: Annotated[str | None, typer.Option(help="public, signed or drm, as you asked for it.")] = None,
    json_: Json = False,
) -> None:
    """Register one row, to be kept in step from now on."""
    if not (provider_asset_id or upload_id):
        raise Misconfigured("--provider-asset-id", "or --upload-id is needed: by which could we ask the provider?")
    row = _connected(
        lambda rindle: rindle.track(
            asset_id=asset_id,
            profile=profile,
            provider_asset_id=provider_asset_id,
            provider_upload_id=upload_id,
            state=state,
            playback_policy=playback_policy,
        )
    )
    if json_:
        _print_json({"row_id": row.id, "asset_id": row.asset_id, "state": row.state, "check_at": row.check_at})
    else:
        out.print(f"row {row.id} is tracked as {row.state}")


@app.command()
def sync(
    provider_asset_id: Annotated[str, typer.Argument(help="The provider's id of the asset.", show_default=False)],
    json_: Json = False,
) -> None:
    """Bring one row into step with the provider, now."""
    settled = _connected(lambda rindle: rindle.sync(provider_asset_id, by=By.CLI))
    if settled is None:
        err.print("no row has this provider id in this environment: it was deleted, or never tracked")
        raise typer.Exit(1)
    if json_:
        _print_json(_synced(settled))
    else:
        row, decision = settled.row, settled.decision
        out.print(f"row {row.id}: {settled.before.state} -> {row.state} ({decision.reason})", markup=False)
        if row.last_sync_error:
            out.print(f"  {row.last_sync_error}", markup=False)
    if settled.decision.verdict is Verdict.UNANSWERED:
        raise typer.Exit(1)


def _synced(settled: Settled) -> dict[str, Any]:
    row, decision = settled.row, settled.decision
    return {
        "row_id": row.id,
        "verdict": decision.verdict,
        "reason": decision.reason,
        "from": settled.before.state,
        "to": row.state,
        "error_kind": row.error_kind,
        "last_sync_error": row.last_sync_error,
        "check_at": row.check_at,
    }


@app.command()
def sweep(
    once: Annotated[bool, typer.Option("--once", help="One pass over the rows that are due now.")] = False,
    json_: Json = False,
) -> None:
    """Look at every row that is due, and bring it into step; again and again without --once."""
    if not once:
        _run(json_)
        return
    tally = _connected(_one_pass)
    if json_:
        _print_json(asdict(tally))
    else:
        _print_pass(tally.outcome, tally.looked, tally.changed, tally.unanswered)
    if tally.outcome is not Outcome.DONE:
        raise typer.Exit(1)


async def _one_pass(rindle: RindleSync) -> Tally:
    await rindle.store.ping()
    try:
        return await rindle.sweep()
    except Refused as refused:
        _explain(refused)
        return Tally(outcome=Outcome.REFUSED)


def _explain(error: RindleSyncError) -> None:
    err.print(str(error), markup=False, soft_wrap=True)


def _print_pass(outcome: str, looked: int, changed: int, unanswered: int) -> None:
    silent = f", {unanswered} without an answer" if unanswered else ""
    rows = "row" if looked == 1 else "rows"
    out.print(f"{looked} {rows} looked at, {changed} changed{silent}: {outcome}")


@app.command()
def run(json_: Annotated[bool, typer.Option("--json", help="One JSON line for each pass.")] = False) -> None:
    """Run the service: sweep every few seconds until SIGTERM or Ctrl-C, then end cleanly."""
    _run(json_)


def _run(json_: bool) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")

    def told(event: Event) -> None:
        if not isinstance(event, Swept):
            return
        if json_:
            sys.stdout.write(json.dumps({"event": event.name} | event.metadata()) + "\n")
            sys.stdout.flush()
        elif event.looked:
            _print_pass(event.outcome, event.looked, event.changed, event.unanswered)

    _connected(lambda rindle: _until_stopped(lambda stop: _serve(rindle, stop)), told)


async def _until_stopped(work: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await work(stop)


async def _serve(rindle: RindleSync, stop: asyncio.Event) -> None:
    rindle.settings.token()
    await rindle.store.ping()
    err.print(f"sweeping every {rindle.settings.sweep_interval_seconds:g} s; Ctrl-C ends it")
    async with asyncio.TaskGroup() as group:
        _serve_webhooks(rindle, group, stop)
        group.create_task(rindle.run(stop))
    err.print("ended; nothing is lost")


def _serve_webhooks(rindle: RindleSync, group: asyncio.TaskGroup, stop: asyncio.Event) -> None:
    settings = rindle.settings
    if settings.mux_webhook_secrets is None:
        err.print("no webhooks: mux_webhook_secrets is not set")
        return
    with _extra("run"):
        from rindle_sync.frameworks.server import listen, serve
    listening = listen(settings.listen_host, settings.listen_port)
    group.create_task(serve(at_path(WEBHOOK_PATH, rindle.webhooks), listening, stop))
    err.print(f"taking webhooks at http://{settings.listen_host}:{settings.listen_port}{WEBHOOK_PATH}")


@app.command()
def status(json_: Json = False) -> None:
    """How the rows stand: by state, due, stuck, without an answer. Needs no credentials."""
    figures = _connected(lambda rindle: rindle.status())
    if json_:
        _print_json(asdict(figures))
        return
    table = Table("state", "rows", box=None, pad_edge=False)
    for state, rows in figures.by_state.items():
        table.add_row(state, f"{rows}")
    for kind, rows in figures.errored_by_kind.items():
        if rows:
            table.add_row(f"  errored: {kind}", f"{rows}")
    out.print(table)
    oldest = f", the oldest for {figures.oldest_due_seconds} s" if figures.due else ""
    out.print(f"{figures.due} due{oldest}; {figures.stuck} stuck; {figures.unanswered} without an answer")
    out.print(f"last answered look: {figures.last_checked_at or 'never'}")


@app.command()
def emulator(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where to listen.")] = 8010,
    host: Annotated[str, typer.Option(help="Keep it on this machine: it guards nothing.")] = "127.0.0.1",
    seed: Annotated[int, typer.Option(help="The same seed and the same requests give the same answers.")] = 0,
    rate_limits: Annotated[Priority | None, typer.Option(help="Mux's own limits; none without it.")] = None,
) -> None:
    """Run a Mux of your own, for trying things out and for your tests. Its controls: docs/emulator.md."""
    with _extra("emulator"):
        from rindle_sync.frameworks.server import listen, serve
        from rindle_sync.providers.mux_emulator import MuxEmulator
    world = MuxEmulator(seed=seed, rate_limits=None if rate_limits is None else rate_limits.value)
    listening = listen(host, port)
    err.print(f"Mux emulator on http://{host}:{port}; token id emulator-token-id, secret emulator-token-secret")
    err.print(f"controls and help: curl http://{host}:{port}/_emulator/")
    asyncio.run(_until_stopped(lambda stop: serve(world.app, listening, stop)))
