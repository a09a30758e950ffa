"""Commands that look at many rows, or keep running."""

import asyncio
import json
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.table import Table

from rindle_sync.app import RindleSync
from rindle_sync.cli.screen import Json, connected, explain, extra, many, out, print_json, say
from rindle_sync.config import Priority
from rindle_sync.errors import Refused
from rindle_sync.frameworks.asgi import at_path
from rindle_sync.round import Outcome, Tally
from rindle_sync.settle import Settled
from rindle_sync.telemetry import Event, Swept

if TYPE_CHECKING:
    pass

WEBHOOK_PATH: Final = "/webhooks/mux"

commands: Final = typer.Typer()


@commands.command()
def sweep(
    once: Annotated[bool, typer.Option("--once", help="One pass over the rows that are due now.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Ask the provider, print the plan and what would change, write nothing.")
    ] = False,
    json_: Json = False,
) -> None:
    """Look at every row that is due, and bring it into step; again and again without --once."""
    if not (once or dry_run):
        keep_running(json_)
        return
    foreseen: list[Settled] = []
    tally = connected(lambda rindle: _one_pass(rindle, foreseen.append if dry_run else None))
    if json_:
        print_json(asdict(tally) | ({"changes": [_change(one) for one in foreseen if one.changed]} if dry_run else {}))
    elif tally.outcome is Outcome.REFUSED:
        out.print(f"no row was looked at: {tally.outcome}")
    elif dry_run:
        _print_plan(tally, [one for one in foreseen if one.changed])
    else:
        _print_pass(tally.outcome, tally.looked, tally.changed, tally.unanswered, tally.calls)
    explain(tally.outcome)
    if tally.outcome not in {Outcome.DONE, Outcome.ELSEWHERE}:
        raise typer.Exit(1)


async def _one_pass(rindle: RindleSync, rehearse: Callable[[Settled], None] | None) -> Tally:
    await rindle.store.ping()
    try:
        return await rindle.sweep(rehearse=rehearse)
    except Refused as refused:
        say(str(refused))
        return Tally(outcome=Outcome.REFUSED)


def _change(settled: Settled) -> dict[str, Any]:
    return {
        "row_id": settled.row.id,
        "from": settled.before.state,
        "to": settled.row.state,
        "error_kind": settled.row.error_kind,
        "reason": settled.decision.reason,
    }


def _print_plan(tally: Tally, changes: Sequence[Settled]) -> None:
    by_id = many(tally.calls - tally.pages, "call")
    out.print(
        f"{many(tally.looked, 'row')} due: {many(tally.pages, 'list page')}, {by_id} by id, "
        f"{tally.uncalled} without a call; {tally.changed} would change: {tally.outcome}"
    )
    if changes:
        table = Table("row", "from", "to", "why", box=None, pad_edge=False)
        for one in changes:
            table.add_row(one.row.id, one.before.state, one.row.state, one.decision.reason)
        out.print(table)


def _print_pass(outcome: str, looked: int, changed: int, unanswered: int, calls: int) -> None:
    silent = f", {unanswered} without an answer" if unanswered else ""
    out.print(f"{many(looked, 'row')} looked at with {many(calls, 'call')}, {changed} changed{silent}: {outcome}")


@commands.command()
def run(json_: Annotated[bool, typer.Option("--json", help="One JSON line for each pass.")] = False) -> None:
    """Run the service: sweep every few seconds until SIGTERM or Ctrl-C, then end cleanly."""
    keep_running(json_)


def keep_running(json_: bool) -> None:
    """Run the service, and tell of each pass, until it is stopped."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")

    def told(event: Event) -> None:
        if not isinstance(event, Swept):
            return
        if json_:
            sys.stdout.write(json.dumps({"event": event.name} | event.metadata()) + "\n")
            sys.stdout.flush()
        elif event.looked:
            _print_pass(event.outcome, event.looked, event.changed, event.unanswered, event.calls)

    connected(lambda rindle: _until_stopped(lambda stop: _serve(rindle, stop)), told)


async def _until_stopped(work: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await work(stop)


async def _serve(rindle: RindleSync, stop: asyncio.Event) -> None:
    rindle.settings.token()
    await rindle.store.ping()
    say(f"sweeping every {rindle.settings.sweep_interval_seconds:g} s; Ctrl-C ends it")
    serving = _webhooks(rindle, stop)
    async with asyncio.TaskGroup() as group:
        group.create_task(rindle.run(stop))
        if serving:
            group.create_task(serving)
    say("ended; nothing is lost")


def _webhooks(rindle: RindleSync, stop: asyncio.Event) -> Coroutine[Any, Any, None] | None:
    """The endpoint, listening already, where there are secrets for it."""
    settings = rindle.settings
    if settings.mux_webhook_secrets is None:
        say("no webhooks: mux_webhook_secrets is not set")
        return None
    with extra("server"):
        from rindle_sync.frameworks.server import listen, serve
    listening = listen(settings.listen_host, settings.listen_port)
    say(f"taking webhooks at http://{settings.listen_host}:{settings.listen_port}{WEBHOOK_PATH}")
    return serve(at_path(WEBHOOK_PATH, rindle.webhooks), listening, stop)


@commands.command()
def emulator(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where to listen.")] = 8010,
    host: Annotated[str, typer.Option(help="Keep it on this machine: it guards nothing.")] = "127.0.0.1",
    seed: Annotated[int, typer.Option(help="The same seed and the same requests give the same answers.")] = 0,
    rate_limits: Annotated[Priority | None, typer.Option(help="Mux's own limits; none without it.")] = None,
) -> None:
    """Run a Mux of your own, for trying things out and for your tests. Its controls: docs/emulator.md."""
    with extra("emulator"):
        from rindle_sync.frameworks.server import listen, serve
        from rindle_sync.providers.mux_emulator import MuxEmulator
    world = MuxEmulator(seed=seed, rate_limits=None if rate_limits is None else rate_limits.value)
    listening = listen(host, port, setting="--port")
    say(f"Mux emulator on http://{host}:{port}; token id emulator-token-id, secret emulator-token-secret")
    say(f"controls and help: curl http://{host}:{port}/_emulator/")
    asyncio.run(_until_stopped(lambda stop: serve(world.app, listening, stop, lifespan=True)))
