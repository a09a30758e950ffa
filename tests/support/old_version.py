"""The version before this one, out of the history, as the commands of a process."""

import io
import subprocess
import tarfile
from pathlib import Path
from typing import Final

import pytest

ROOT = Path(__file__).parents[2]

VERSION_BEFORE: Final = "972c8262793e859cedbf5d4a0b463d7bf35d8842"
"""The last commit of the version before: once it is released, its tag."""


def unpack(folder: Path) -> Path:
    """Put the old package into `folder`; where to import it from. Skips where it is not there."""
    command = ("git", "archive", "--format=tar", VERSION_BEFORE, "src")
    archived = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=False)
    if archived.returncode:
        pytest.skip(f"the history lacks {VERSION_BEFORE[:7]}: clone it without --depth")
    with tarfile.open(fileobj=io.BytesIO(archived.stdout)) as tar:
        tar.extractall(folder, filter="data")
    return folder / "src"


def prelude_of(source: Path) -> str:
    """What makes a command one of the old version: only our code differs."""
    return f"import sys; sys.path.insert(0, {str(source)!r})"
