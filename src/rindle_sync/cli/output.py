"""What every command needs: consoles, the service, JSON, missing extras."""

import asyncio
import json
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from datetime import datetime
from typing import Annotated, Any, Final, TypeVar

import typer
from rich.console import Console
from rich.markup import escape

from rindle_sync.app import RindleSync, connect
from rindle_sync.cli import logs
from rindle_sync.config import EngineName, LogFormat, Settings, load_settings
from rindle_sync.domain import Outcome
from rindle_sync.errors import ConfigurationError
from rindle_sync.installation import Installation, connect_all
from rindle_sync.telemetry import Event

S = TypeVar("S")
T = TypeVar("T")
WIDE: Final = 1000
"""What is no terminal breaks no lines."""

out: Final = Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
err: Final = Console(stderr=True, highlight=False)

_WHY: Final = {
    Outcome.ALREADY_RUNNING: "another process is at it, or was killed less than a minute ago; run it again then",
    Outcome.UNREACHABLE: "the provider does not answer: is it up, and mux_base_url right? Nothing is lost",
}

Serving = Callable[[], Coroutine[Any, Any, None]]
"""What serves on a listener that is open already, once it is called."""

Engine = Annotated[
    EngineName | None, typer.Option(help="What wakes the steps, if not as the settings say.")
]
Format = Annotated[
    LogFormat | None, typer.Option("--log-format", help="What a line of the log is, likewise.")
]
Json = Annotated[bool, typer.Option("--json", help="Report as JSON on standard output.")]
Reveal = Annotated[
    bool, typer.Option("--reveal", help="Show the provider's ids, too; the log notes that you did.")
]


chosen: Final[dict[str, Any]] = {}
"""Settings that options of this command have chosen."""


def choose(**options: Any) -> None:
    """Take those of these that are given, whatever the settings say."""
    chosen.update({name: value for name, value in options.items() if value is not None})


def connected(work: Callable[[RindleSync], Awaitable[T]], *listeners: Callable[[Event], None]) -> T:
    """What `work` does with the service of one environment, as the settings of this process name it."""
    return _done(connect(settings(), listeners=listeners), work)


def connected_all(
    work: Callable[[Installation], Awaitable[T]], *listeners: Callable[[Event], None]
) -> T:
    """What `work` does with the services of all environments."""
    return _done(connect_all(settings(), listeners=listeners), work)


def settings() -> Settings:
    """The settings of this process."""
    return load_settings(**chosen)


def _done(connecting: AbstractAsyncContextManager[S], work: Callable[[S], Awaitable[T]]) -> T:
    async def done() -> T:
        if task := asyncio.current_task():
            with suppress(
                NotImplementedError
            ):  # where signals cannot be waited for, a lease ends by time
                asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        async with connecting as service:
            return await work(service)

    return asyncio.run(done())


async def until_stopped(work: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Do `work`, which ends when the event that it is given is set: on SIGTERM and Ctrl-C."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await work(stop)


def plain(value: object) -> str:
    """A value that JSON has no form for."""
    return value.isoformat() if isinstance(value, datetime) else str(value)


def visible(value: object) -> str:
    """A value as text that a terminal only shows: no control character of it, nor one that turns the line around."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in str(value))


def literal(value: object) -> str:
    """A value in the markup of Rich, as the text that it is."""
    return escape(visible(value))


def say(sentence: str) -> None:
    """Tell the user something, in one line, on standard error."""
    if logs.is_json():
        logs.LOG.info(sentence)
    else:
        err.print(sentence, markup=False, soft_wrap=True)


def complain(sentence: str) -> None:
    """Tell the user what has failed, likewise."""
    if logs.is_json():
        logs.LOG.error(sentence)
    else:
        err.print("[bold red]error[/]", end=" ")
        err.print(sentence, markup=False, soft_wrap=True)


def explain(outcome: Outcome) -> None:
    """Tell why a pass did not do what it should, and what to do about it."""
    if outcome in _WHY:
        say(_WHY[outcome])


def note_reveal(of: str) -> None:
    """Note in the log that the provider's ids were shown."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logs.LOG.warning("the provider's ids of %s were revealed", of)


def print_json(value: Any) -> None:
    """Report `value` on standard output."""
    sys.stdout.write(json.dumps(value, indent=2, default=plain) + "\n")


@contextmanager
def extra(name: str) -> Iterator[None]:
    """What is imported inside needs an extra; say which, where it is missing."""
    try:
        yield
    except ModuleNotFoundError:
        raise ConfigurationError(
            name, f"needs an extra; pip install 'rindle-sync[{name}]'"
        ) from None
