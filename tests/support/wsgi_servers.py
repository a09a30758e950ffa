"""Servers of WSGI apps, in processes of their own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.support.processes import PATIENCE, UNWANTED

ROOT = Path(__file__).parents[2]


@contextmanager
def started(log: Path, *command: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A Python process that is ended with SIGTERM, and must end by it; its output is in `log`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(UNWANTED)}
    kept |= {"PYTHONPATH": os.pathsep.join(sys.path), **environment}
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [sys.executable, *command], env=kept, cwd=ROOT, stdout=output, stderr=output
        ) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            finally:
                process.kill()


def wait_until(holds: Callable[[], bool], what: str, within: float = PATIENCE) -> None:
    """Wait until it holds; after `within` seconds the test fails with `what`."""
    until = time.monotonic() + within
    while not holds():
        assert time.monotonic() < until, what
        time.sleep(0.05)


def wait_for(server: subprocess.Popen[bytes], client: httpx.Client, path: str, log: Path) -> None:
    """Wait until the server answers anything at `path`."""

    def answers() -> bool:
        assert server.poll() is None, log.read_text()
        try:
            return bool(client.get(path).status_code)
        except httpx.TransportError:
            return False

    wait_until(answers, "the server does not answer")
