"""Commands inside the process of the tests, in a thread of their own.

For whatever ends by itself and needs no signal. Only one command runs at a time, as folder,
environment, standard streams and log are the whole process's.
"""

import asyncio
import io
import logging
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TextIO
from unittest.mock import patch

COLUMNS = {"COLUMNS": "80"}
CONFIGURED = ("", "rindle_sync", "alembic", "procrastinate", "psycopg.pool")
"""The loggers that a command may set up."""

_alone = threading.Lock()

with (
    redirect_stdout(io.StringIO()),
    redirect_stderr(io.StringIO()),
    patch.dict(os.environ, {"PATH": os.environ.get("PATH", os.defpath)} | COLUMNS, clear=True),
):
    # consoles look for colours and a width as they are imported
    from rindle_sync.cli import main
    from rindle_sync.cli.output import overrides


def run(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> tuple[int, str, str]:
    """The exit code, the output and the complaints of a command; to be called in a thread."""
    out, err = io.StringIO(), io.StringIO()
    code = run_into(out, err, arguments, folder, environment)
    return code, out.getvalue(), err.getvalue()


def run_into(
    out: TextIO, err: TextIO, arguments: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> int:
    """The exit code of a command with these standard streams; to be called in a thread."""
    with ExitStack() as stack:
        stack.enter_context(_alone)
        stack.enter_context(chdir(folder))
        stack.enter_context(patch.dict(os.environ, dict(environment) | COLUMNS, clear=True))
        stack.enter_context(patch.object(sys, "argv", ["rindle-sync", *arguments]))
        stack.enter_context(_fresh_logging())
        stack.enter_context(_without_signal_handlers())
        stack.callback(overrides.clear)
        stack.enter_context(redirect_stdout(out))
        stack.enter_context(redirect_stderr(err))
        return _exit_code(err)


def _exit_code(err: TextIO) -> int:
    """As the interpreter makes it of what `main` raises."""
    try:
        main()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        err.write(f"{end.code}\n")
        return 1
    return 0


@contextmanager
def _fresh_logging() -> Iterator[None]:
    """Loggers as a new process has them, without pytest's handlers; afterwards as they were."""
    loggers = [logging.getLogger(name) for name in CONFIGURED]
    before = [(list(each.handlers), each.level, each.propagate) for each in loggers]
    logging.root.handlers = []
    logging.root.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for each, (handlers, level, propagate) in zip(loggers, before, strict=True):
            each.handlers, each.propagate = handlers, propagate
            each.setLevel(level)


@contextmanager
def _without_signal_handlers() -> Iterator[None]:
    """Loops outside the main thread have none; commands take it as they do on Windows."""
    none = asyncio.AbstractEventLoop.add_signal_handler
    with patch.object(asyncio.SelectorEventLoop, "add_signal_handler", none):
        yield
