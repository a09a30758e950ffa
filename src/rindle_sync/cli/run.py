"""Commands that look at many rows, or keep running."""

import asyncio
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import partial
from typing import Annotated, Any, Final

import typer
from rich.table import Table

from rindle_sync.app import RindleSync
from rindle_sync.cli import logs
from rindle_sync.cli.output import (
    Engine,
    Format,
    Json,
    Serving,
    choose,
    chosen,
    connected,
    connected_all,
    explain,
    extra,
    out,
    print_json,
    say,
    settings,
    until_stopped,
)
from rindle_sync.config import EngineName, Priority
from rindle_sync.diagnostics import many
from rindle_sync.domain import Outcome
from rindle_sync.errors import AuthenticationFailed, ConfigurationError, RindleSyncError
from rindle_sync.installation import Installation
from rindle_sync.reconcile import Applied, SweepResult
from rindle_sync.telemetry import Event, Swept

WEBHOOK_PATH: Final = "/webhooks/mux"


commands: Final = typer.Typer()


@commands.command()
def sweep(
    once: Annotated[
        bool, typer.Option("--once", help="One pass over the rows that are due now.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Ask the provider, print the plan and what would change, write nothing.",
        ),
    ] = False,
    json_: Json = False,
) -> None:
    """Look at every row that is due, and bring it into step; again and again without --once."""
    if not (once or dry_run):
        keep_running(json_)
        return
    foreseen: list[Applied] = []
    result = connected(lambda rindle: _one_pass(rindle, foreseen.append if dry_run else None))
    if json_:
        print_json(
            asdict(result)
            | ({"changes": [_change(one) for one in foreseen if one.changed]} if dry_run else {})
        )
    elif result.outcome is Outcome.REFUSED:
        out.print(f"no row was looked at: {result.outcome}")
    elif dry_run:
        _print_plan(result, [one for one in foreseen if one.changed])
    else:
        out.print(
            _pass_of(
                result.outcome, result.checked, result.changed, result.unanswered, result.calls
            )
        )
    explain(result.outcome)
    if result.outcome not in {Outcome.DONE, Outcome.ALREADY_RUNNING}:
        raise typer.Exit(1)


async def _one_pass(rindle: RindleSync, dry_run: Callable[[Applied], None] | None) -> SweepResult:
    await rindle.store.ping()
    try:
        return await rindle.sweep(dry_run=dry_run)
    except AuthenticationFailed as refused:
        say(str(refused))
        return SweepResult(outcome=Outcome.REFUSED)


def _change(applied: Applied) -> dict[str, Any]:
    return {
        "row_id": applied.row.id,
        "from": applied.before.state,
        "to": applied.row.state,
        "error_kind": applied.row.error_kind,
        "reason": applied.decision.reason,
    }


def _print_plan(result: SweepResult, changes: Sequence[Applied]) -> None:
    by_id = many(result.calls - result.pages, "call")
    out.print(
        f"{many(result.checked, 'row')} due: {many(result.pages, 'list page')}, {by_id} by id, "
        f"{result.uncalled} without a call; {result.changed} would change: {result.outcome}"
    )
    if changes:
        table = Table("row", "from", "to", "why", box=None, pad_edge=False)
        for one in changes:
            table.add_row(one.row.id, one.before.state, one.row.state, one.decision.reason)
        out.print(table)


def _pass_of(outcome: str, looked: int, changed: int, unanswered: int, calls: int) -> str:
    silent = f", {unanswered} without an answer" if unanswered else ""
    return f"{many(looked, 'row')} looked at with {many(calls, 'call')}, {changed} changed{silent}: {outcome}"


EachPass = Annotated[bool, typer.Option("--json", help="One JSON line for each pass.")]


@commands.command()
def run(engine: Engine = None, json_: EachPass = False, log_format: Format = None) -> None:
    """Run the service: take webhooks and sweep every few seconds until SIGTERM or Ctrl-C, then end cleanly."""
    choose(engine=engine, log_format=log_format)
    keep_running(json_)


@commands.command()
def worker(json_: EachPass = False, log_format: Format = None) -> None:
    """Run the jobs of Procrastinate alone, without the endpoint: as many of these as you like, anywhere."""
    choose(engine=EngineName.PROCRASTINATE, log_format=log_format)
    keep_running(json_, serves=False)


@commands.command()
def endpoint(engine: Engine = None, log_format: Format = None) -> None:
    """Take webhooks alone, and leave all else to `run` or `worker` elsewhere: as many of these as you like."""
    choose(engine=engine, log_format=log_format)
    keep_running(False, process_jobs=False)


def keep_running(json_: bool, *, serves: bool = True, process_jobs: bool = True) -> None:
    """Run the service, or a part of it, and tell of each pass, until it is stopped."""
    logs.start(chosen.get("log_format") or settings().log_format)
    _allow_connections()

    def told(event: Event) -> None:
        if isinstance(event, Swept) and (json_ or event.looked):
            _print_event(event, json_)

    async def served(all_: Installation) -> None:
        await until_stopped(
            lambda stop: _serve(all_, stop, serves=serves, process_jobs=process_jobs)
        )

    connected_all(served, told)


def _print_event(event: Swept, json_: bool) -> None:
    """One pass on standard output; in words among lines of JSON, as one of those."""
    where = "" if event.environment in {None, "default"} else f"{event.environment}: "
    told = where + _pass_of(
        event.outcome, event.looked, event.changed, event.unanswered, event.calls
    )
    if json_:
        line = {"event": event.name, "environment": event.environment} | event.metadata()
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
    elif logs.is_json():
        say(told)
    else:
        out.print(told, markup=False)


async def _serve(
    all_: Installation, stop: asyncio.Event, *, serves: bool, process_jobs: bool
) -> None:
    from rindle_sync.cli.operator_server import operating

    for name in all_.without_token() if process_jobs else ():
        say(f"{name} is not looked at: its mux_token_id or mux_token_secret is not set")
    asyncio.get_running_loop().set_exception_handler(logs.Background())
    await all_.ready()
    if process_jobs:
        environments = f" in {many(len(all_), 'environment')}" if len(all_) > 1 else ""
        say(
            f"sweeping every {all_.settings.sweep_interval_seconds:g} s{environments}; Ctrl-C ends it"
        )
    webhooks = _webhooks(all_, stop, needed=not process_jobs) if serves else None
    with _first_of_ours():
        async with (
            operating(all_, stop, runs_engine=process_jobs) as answering,
            asyncio.TaskGroup() as group,
        ):
            group.create_task(all_.run(stop, process_jobs=process_jobs))
            for serving in filter(None, (webhooks, answering)):
                group.create_task(serving())
    say("ended; nothing is lost")


def _allow_connections() -> None:
    """Let this process open as many files as it may: each connection is one, and so is each to the database."""
    with suppress(
        ModuleNotFoundError, ValueError, OSError
    ):  # some systems say that there is none, and have one
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@contextmanager
def _first_of_ours() -> Iterator[None]:
    """One error of ours instead of a group with one in it."""
    try:
        yield
    except ExceptionGroup as group:
        ours = [error for error in group.exceptions if isinstance(error, RindleSyncError)]
        raise (ours[0] if ours else group) from None


def _webhooks(all_: Installation, stop: asyncio.Event, *, needed: bool) -> Serving | None:
    """The endpoint, listening already, where there are secrets for it."""
    without = [
        name for name, service in all_.items() if service.settings.mux_webhook_secrets is None
    ]
    if len(without) == len(all_):
        if needed:
            raise ConfigurationError(
                "mux_webhook_secrets", "is not set; the endpoint could not tell who sends"
            )
        say("no webhooks: mux_webhook_secrets is not set")
        return None
    if without:
        say(f"no webhooks for {', '.join(without)}: mux_webhook_secrets is not set there")
    with extra("server"):
        from rindle_sync.web.server import listen, serve
    settings = all_.settings
    listening = listen(settings.listen_host, settings.listen_port)
    each = "/<environment>" if settings.environments else ""
    say(
        f"taking webhooks at http://{settings.listen_host}:{settings.listen_port}{WEBHOOK_PATH}{each}"
    )
    return partial(serve, all_.webhooks(WEBHOOK_PATH), listening, stop)


@commands.command()
def emulator(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where to listen.")] = 8010,
    host: Annotated[
        str, typer.Option(help="Keep it on this machine: it guards nothing.")
    ] = "127.0.0.1",
    seed: Annotated[
        int, typer.Option(help="The same seed and the same requests give the same answers.")
    ] = 0,
    rate_limits: Annotated[
        Priority | None, typer.Option(help="Mux's own limits; none without it.")
    ] = None,
) -> None:
    """Run a Mux of your own, for trying things out and for your tests. Its controls: docs/emulator.md."""
    with extra("emulator"):
        from rindle_sync.emulator.emulator import MuxEmulator
        from rindle_sync.web.server import listen, serve
    world = MuxEmulator(seed=seed, rate_limits=None if rate_limits is None else rate_limits.value)
    listening = listen(host, port, settings=("--host", "--port"))
    say(
        f"Mux emulator on http://{host}:{port}; token id emulator-token-id, secret emulator-token-secret"
    )
    say(f"controls and help: curl http://{host}:{port}/_emulator/")
    asyncio.run(until_stopped(lambda stop: serve(world.app, listening, stop, lifespan=True)))
