"""What every command shares: consoles, settings, the service, JSON, hints about extras."""

from __future__ import annotations

import json
import logging
import re
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass, field, is_dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer
from msgspec import Struct, structs
from rich.console import Console
from rich.markup import escape

from rindle_sync.cli import logs
from rindle_sync.config import EngineName, LogFormat
from rindle_sync.domain import COMMAND, Outcome, moment_of, seconds_of, shown_text
from rindle_sync.errors import LACKS_SETTINGS, ConfigurationError

if TYPE_CHECKING:
    import asyncio

    from rindle_sync.app import RindleSync
    from rindle_sync.config import Settings
    from rindle_sync.installation import Installation
    from rindle_sync.telemetry import Event

S = TypeVar("S")
T = TypeVar("T")

WIDE: Final = 1000
"""The width of output that is not a terminal: no line is broken."""

HANDOVER_SECONDS: Final = 0.0001
"""How long a thread of the service keeps the interpreter once another one asks for it.

The event loop and the threads of SQLite take turns. Python's own 5 ms are longer than a commit,
which would wait for the interpreter twice.
"""

# there is no standard output at all where who started the process has closed it
_IS_TERMINAL: Final = sys.stdout is not None and sys.stdout.isatty()

# the app's words may look like emoji codes: `video:key:1`
out: Final = Console(highlight=False, emoji=False, width=None if _IS_TERMINAL else WIDE)
err: Final = Console(stderr=True, highlight=False, emoji=False)

_HINTS: Final = {
    Outcome.ALREADY_RUNNING: (
        "another process is making this pass, or was killed less than a minute ago; try again later"
    ),
    Outcome.UNREACHABLE: (
        "the provider does not answer: is it up, and is its address in the settings right? "
        "Nothing is lost"
    ),
}

Serving = Callable[[], Coroutine[Any, Any, None]]
"""Serves on a listener that is open already, once it is called."""

Engine = Annotated[
    EngineName | None, typer.Option(help="What runs the jobs, if not as the settings say.")
]
Format = Annotated[
    LogFormat | None,
    typer.Option("--log-format", help="How the log is written, if not as the settings say."),
]
Json = Annotated[bool, typer.Option("--json", help="Report as JSON on standard output.")]
Reveal = Annotated[
    bool, typer.Option("--reveal", help="Show the provider's ids, too; the log records it.")
]

overrides: Final[dict[str, Any]] = {}
"""Settings that options of this command have set."""

LoadSettings = Callable[..., "Settings"]
"""What makes the settings of the process, as `load_settings` does, with those overrides."""


@dataclass(frozen=True, kw_only=True)
class Host:
    """The framework whose command runs ours, and what differs there."""

    name: str = "rindle-sync"
    """What the user writes for `rindle-sync`."""
    settings_from: str = "RINDLE_… variables or from rindle-sync.toml"
    """Where settings come from, for the help."""
    load: LoadSettings | None = None
    prepare: Callable[[Installation], None] = lambda _: None
    """Called with the services of each command that runs jobs, to add callbacks."""
    serves_webhooks: bool = False
    """Whether the framework serves the webhook endpoint: then `run` serves none."""
    database_setting: str = ""
    """Where the app names the database, in its own configuration, if a framework runs ours."""
    replaced: Mapping[str, str] = field(default_factory=dict)
    """The framework's own commands, by those of ours that they replace."""
    words: Callable[[str], str] = str
    """Puts the framework's own names of settings into a text."""

    def own_words(self, text: str) -> str:
        """`text` in which commands are those that the user can run here, and settings the app's."""

        def own(match: re.Match[str]) -> str:
            command, _, options = match[1].partition(" ")
            if command not in self.replaced:
                return f"`{self.name} {match[1]}`"
            return match[0] if options else f"`{self.replaced[command]}`"

        if self.name != Host.name:
            # the service of an app without an event loop has another name for it
            text = text.replace("`rindle.run(stop)`", "`rindle.start()`")
        if self.database_setting:
            lacks = f"is that the database that {self.database_setting} should name"
            text = text.replace(LACKS_SETTINGS, lacks)
        return self.words(_OUR_COMMAND.sub(own, text))


_OUR_COMMAND: Final = re.compile("`rindle-sync ([^`]+)`")
_hosts: Final[list[Host]] = [Host()]


def override(**options: Any) -> None:
    """Let the options that are given win over the settings."""
    overrides.update({name: value for name, value in options.items() if value is not None})


def run_in(host: Host) -> None:
    """Have the commands run as a part of a framework."""
    _hosts[:] = [host]


def host() -> Host:
    """The framework whose command runs ours; one that changes nothing where none does."""
    return _hosts[0]


def settings() -> Settings:
    """The settings of this process, or of the app whose command this is."""
    from rindle_sync.config import load_settings

    return (host().load or load_settings)(**overrides)


def with_rindle(
    work: Callable[[RindleSync], Awaitable[T]], *listeners: Callable[[Event], None]
) -> T:
    """The result of `work` with the service of one environment, as whoever gives a command."""
    from rindle_sync.app import connect

    async def commanded(rindle: RindleSync) -> T:
        return await work(rindle.as_actor(COMMAND))

    return _run(connect(settings(), listeners=listeners), commanded)


def with_installation(
    work: Callable[[Installation], Awaitable[T]],
    *listeners: Callable[[Event], None],
    is_service: bool = False,
) -> T:
    """The result of `work` with the services of all environments."""
    from rindle_sync.installation import connect_all

    async def prepared(installation: Installation) -> T:
        host().prepare(installation)
        return await work(installation)

    return _run(connect_all(settings(), listeners=listeners), prepared, is_service=is_service)


def _run(
    connecting: AbstractAsyncContextManager[S],
    work: Callable[[S], Awaitable[T]],
    *,
    is_service: bool = False,
) -> T:
    import asyncio

    async def connected() -> T:
        task = asyncio.current_task()
        # SIGTERM cancels the work, so that leases are given back before the process ends
        if task:
            on_signals(task.cancel, signal.SIGTERM)
        async with connecting as service:
            return await work(service)

    return run_in_loop(connected(), is_service=is_service)


def run_in_loop(work: Coroutine[Any, Any, T], *, is_service: bool = False) -> T:
    """The result of `work`, in an event loop in which the driver of PostgreSQL works.

    That of a service is uvloop's, where the extra `server` has brought it. A command that is
    cancelled ends with the code that shells expect after SIGTERM.
    """
    import asyncio

    factory: Any = asyncio.SelectorEventLoop if sys.platform == "win32" else None
    if is_service:
        sys.setswitchinterval(HANDOVER_SECONDS)
        with suppress(ModuleNotFoundError):
            from uvloop import new_event_loop as factory
    with asyncio.Runner(loop_factory=factory) as runner:
        try:
            return runner.run(work)
        except asyncio.CancelledError:
            raise SystemExit(143) from None


def on_signals(call: Callable[[], object], *numbers: signal.Signals) -> None:
    """Have `call` called in the running loop when the process gets one of these signals."""
    import asyncio

    loop = asyncio.get_running_loop()

    def wake(*_: object) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(call)

    for number in numbers:
        try:
            loop.add_signal_handler(number, call)
        except NotImplementedError:
            # the loops of Windows have no handlers; the process has, in its main thread
            with suppress(ValueError):
                signal.signal(number, wake)


async def until_stopped(work: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run `work` with an event that SIGTERM and Ctrl-C set; it ends when the event is set."""
    import asyncio

    stop = asyncio.Event()
    on_signals(stop.set, signal.SIGTERM, signal.SIGINT)
    await work(stop)


def visible(value: object) -> str:
    """A value as text without control characters, and without any that reverse a line."""
    return shown_text(str(value))


def literal(value: object) -> str:
    """A value as text in which Rich finds no markup."""
    return escape(visible(value))


def say(sentence: str) -> None:
    """Tell the user something, in one line on standard error."""
    if logs.is_json():
        logs.LOG.info(sentence)
    else:
        err.print(sentence, markup=False, soft_wrap=True)


def read_line(argument: str) -> str:
    """A line of standard input, for an `argument` that is -; raises `ConfigurationError`."""
    if sys.stdin is None:  # closed by who started the process
        raise ConfigurationError(argument, "is -, and there is no standard input")
    return sys.stdin.readline().strip()


def say_error(sentence: str) -> None:
    """Tell the user what failed, in one line on standard error."""
    if logs.is_json():
        logs.LOG.error(sentence)
    else:
        sentence = host().own_words(sentence)
        # two calls, since the sentence may hold what Rich takes for markup
        err.print("[bold red]error[/]", end=" ")
        err.print(sentence, markup=False, soft_wrap=True)


def advice(text: str) -> str:
    """What to do, in which Rich finds no markup."""
    return literal(host().own_words(text))


def say_hint(outcome: Outcome, retry_after: float | None = None) -> None:
    """Tell the user what to do after a pass that did not run or had no answer."""
    from rindle_sync.app import now

    if outcome in _HINTS:
        say(_HINTS[outcome])
    if retry_after is not None:
        at = moment_of(now() + timedelta(seconds=retry_after))
        say(
            f"the rate limit allows no call for {seconds_of(retry_after)}: run it again at {at}. "
            "Nothing is lost"
        )


def say_wait(event: Event) -> None:
    """A listener that tells the user what a command waits for while it does."""
    from rindle_sync.app import now
    from rindle_sync.telemetry import RateLimitWaiting

    if isinstance(event, RateLimitWaiting):
        wait = event.wait_ms / 1000
        at = moment_of(now() + timedelta(seconds=wait))
        say(f"waiting for the rate limit of {event.provider}: {seconds_of(wait)}, until {at}")


def log_reveal(subject: str) -> None:
    """Record in the log that the provider's ids of `subject` were shown."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logs.LOG.warning("the provider's ids of %s were revealed", subject)


def print_json(value: Any) -> None:
    """Report `value` on standard output."""
    sys.stdout.write(json.dumps(value, indent=2, default=_plain) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, Struct):
        return structs.asdict(value)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return value.isoformat() if isinstance(value, datetime) else str(value)


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Say which extra to install where an import inside fails."""
    try:
        yield
    except ModuleNotFoundError:
        text = f"needs an extra; pip install 'rindle-sync[{name}]'"
        raise ConfigurationError(name, text) from None
