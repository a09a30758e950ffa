"""Commands that keep running: the service, a worker, a receiver of webhooks."""

from __future__ import annotations

import gc
import json
import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final

import typer

from rindle_sync.cli import logs
from rindle_sync.cli.output import (
    Engine,
    Format,
    Serving,
    extra,
    host,
    out,
    override,
    overrides,
    say,
    settings,
    until_stopped,
    with_installation,
)
from rindle_sync.config import EngineName
from rindle_sync.domain import OF_SETTINGS, many, shown_url
from rindle_sync.errors import ConfigurationError, RindleSyncError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from rindle_sync.installation import Installation
    from rindle_sync.telemetry import Event
    from rindle_sync.webhooks import App

WEBHOOK_PATH: Final = "/webhooks/{provider}"

SWITCH_SECONDS: Final = 0.0005
"""How long a thread waits for the interpreter while the event loop is busy.

Python's own 5 ms is what each statement on SQLite would wait for, and each of its webhooks.
"""

commands: Final = typer.Typer()

EachPass = Annotated[
    bool, typer.Option("--json", help="One JSON line for each pass, on standard output.")
]


@commands.command()
def run(engine: Engine = None, json_: EachPass = False, log_format: Format = None) -> None:
    """Run the service until SIGTERM or Ctrl-C: receive webhooks, sweep, audit, prune.

    It receives webhooks where a webhook secret is set, sweeps every sweep_interval_seconds, and
    audits every audit_days.
    """
    override(engine=engine, log_format=log_format)
    keep_running(json_, has_endpoint=not host().serves_webhooks)


@commands.command()
def worker(json_: EachPass = False, log_format: Format = None) -> None:
    """Run the jobs of Procrastinate until SIGTERM or Ctrl-C, without the endpoint.

    Run as many workers as you like, on any machine.
    """
    override(engine=EngineName.PROCRASTINATE, log_format=log_format)
    keep_running(json_, has_endpoint=False, has_api=False)


@commands.command()
def receive(engine: Engine = None, log_format: Format = None) -> None:
    """Receive webhooks until SIGTERM or Ctrl-C, and leave the rest to `run` or `worker`.

    Run as many of these as you like, on any machine.
    """
    override(engine=engine, log_format=log_format)
    keep_running(False, process_jobs=False)


def keep_running(
    json_: bool, *, has_endpoint: bool = True, has_api: bool = True, process_jobs: bool = True
) -> None:
    """Run the service, or a part of it, until it is stopped; report each pass."""
    process = settings()
    logs.start(overrides.get("log_format") or process.log_format, process.log_level)
    report = partial(_report_pass, json_=json_)
    parts = {"has_endpoint": has_endpoint, "has_api": has_api, "process_jobs": process_jobs}
    with_installation(
        lambda installation: until_stopped(lambda stop: _serve(installation, stop, **parts)),
        report,
        is_service=True,
    )


def pass_report(outcome: str, checked: int, changed: int, unanswered: int, calls: int) -> str:
    """What one pass over the due rows did, as a sentence."""
    report = f"{many(checked, 'row')} checked with {many(calls, 'call')}, {changed} changed"
    if unanswered:
        report += f", {unanswered} without an answer"
    return f"{report}: {outcome}"


def _report_pass(event: Event, json_: bool) -> None:
    """Report on standard output; as text while the log is JSON, as a line of the log instead."""
    from rindle_sync.telemetry import Swept

    if not isinstance(event, Swept) or not (json_ or event.looked):
        return
    if json_:
        line = {"event": event.name, "environment": event.environment} | event.metadata()
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()  # a pipe is buffered: its reader would get the line much later
        return
    text = pass_report(event.outcome, event.looked, event.changed, event.unanswered, event.calls)
    if event.environment not in {None, "default"}:
        text = f"{event.environment}: {text}"
    if logs.is_json():
        say(text)
    else:
        out.print(text, markup=False)


async def _serve(
    installation: Installation,
    stop: asyncio.Event,
    *,
    has_endpoint: bool,
    has_api: bool,
    process_jobs: bool,
) -> None:
    import asyncio
    from contextlib import AsyncExitStack

    from rindle_sync.cli.api_server import ApiServer, api_server

    asyncio.get_running_loop().set_exception_handler(logs.LoopErrors())
    if process_jobs:
        for name in installation.without_token():
            names = " or ".join(installation[name].settings.account.credential_names)
            say(f"{name} is not checked: its {names} is not set")
    await installation.check_ready()
    if process_jobs:
        sweeping = f"sweeping every {installation.settings.sweep_interval_seconds:g} s"
        if len(installation) > 1:
            sweeping += f" in {many(len(installation), 'environment')}"
        say(f"{sweeping}; Ctrl-C ends it")
        await _say_outgoing(installation)
    async with AsyncExitStack() as closing:
        api = ApiServer()
        if has_api:
            api = await closing.enter_async_context(
                api_server(installation, stop, has_endpoint=has_endpoint)
            )
        endpoint = None
        if has_endpoint:
            is_needed = not process_jobs and api == ApiServer()
            endpoint = _endpoint(installation, stop, api.beside, is_needed=is_needed)
        await _run_parts(installation, stop, (endpoint, api.serving), process_jobs=process_jobs)
    say("ended; nothing is lost")


async def _say_outgoing(installation: Installation) -> None:
    """Tell the user where outgoing webhooks go; nothing where there is no endpoint."""
    for name, service in installation.items():
        # the engine makes that of the settings what they say, as it starts
        own = service.settings.outgoing
        shown = [f"{OF_SETTINGS} ({shown_url(own.url)})"] if own else []
        for endpoint in await service.outgoing.list():
            if endpoint.name != OF_SETTINGS:
                place = endpoint.shown_url if endpoint.is_enabled else "disabled"
                shown.append(f"{endpoint.name} ({place})")
        places = ", ".join(shown)
        if places:
            of_environment = f" of {name}" if len(installation) > 1 else ""
            say(f"outgoing webhooks{of_environment} to {places}")


async def _run_parts(
    installation: Installation,
    stop: asyncio.Event,
    servers: Sequence[Serving | None],
    *,
    process_jobs: bool,
) -> None:
    import asyncio

    from rindle_sync.cli.console_server import console_server

    # what is loaded by now stays: to look through all of it again takes tens of milliseconds, in
    # which no webhook would be answered
    gc.freeze()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        async with (
            console_server(installation, stop, runs_engine=process_jobs) as console,
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(installation.run(stop, process_jobs=process_jobs))
            for serving in filter(None, (*servers, console)):
                tasks.create_task(serving())
    except ExceptionGroup as group:
        # an error of rindle-sync's says more to the user than the group that it came in
        for error in group.exceptions:
            if isinstance(error, RindleSyncError):
                raise error from None
        raise


def _endpoint(
    installation: Installation, stop: asyncio.Event, api: App | None, *, is_needed: bool
) -> Serving | None:
    """Serve webhooks, and `api`, on a listener that is open already; None without secrets."""
    has_webhooks = _has_webhooks(installation, is_needed=is_needed)
    if not has_webhooks and api is None:
        return None
    from rindle_sync.cli.api_server import PATH as API_PATH
    from rindle_sync.web.mounting import at_prefix
    from rindle_sync.webhooks import nowhere

    with extra("server"):
        from rindle_sync.web.server import listen, serve
    settings = installation.settings
    # before the engine starts: an address that is taken ends the process with nothing begun
    listening = listen(settings.listen_host, settings.listen_port)
    app: App = nowhere
    if api is not None:
        say(f"HTTP API at http://{settings.listen_host}:{settings.listen_port}{API_PATH}")
    if has_webhooks:
        app = installation.webhooks(WEBHOOK_PATH)
        say(f"webhooks at {_webhook_address(installation)}")
    if api is not None:
        app = at_prefix(API_PATH, api, app)
    return partial(serve, app, listening, stop)


def _has_webhooks(installation: Installation, *, is_needed: bool) -> bool:
    """Whether any environment has a webhook secret; tell the user of those without."""
    setting = installation.any_service.settings.account.webhook_secrets_name
    services = installation.items()
    without = [name for name, service in services if not service.context.webhooks.secrets]
    if len(without) == len(installation):
        if is_needed:
            text = "is not set; without it the endpoint cannot verify deliveries"
            raise ConfigurationError(setting, text)
        say(f"no webhooks: {setting} is not set")
        return False
    if without:
        setting = installation[without[0]].settings.account.webhook_secrets_name
        say(f"no webhooks for {', '.join(without)}: {setting} is not set there")
    return True


def _webhook_address(installation: Installation) -> str:
    settings = installation.settings
    providers = {service.settings.provider for service in installation.values()}
    provider = "<provider>"
    if len(providers) == 1:
        (provider,) = providers
    path = WEBHOOK_PATH.format(provider=provider)
    if settings.environments:
        path += "/<environment>"
    return f"http://{settings.listen_host}:{settings.listen_port}{path}"
