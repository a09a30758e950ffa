"""Wheel and sdist as a user gets them, in environments that hold nothing else."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
NOT_PASSED_ON = ("RINDLE_", "PYTHON", "VIRTUAL_ENV", "COVERAGE", "COLUMNS")
"""What would lead an environment to this checkout, or a command to settings."""


@dataclass(frozen=True)
class Packages:
    """What a release publishes."""

    wheel: Path
    sdist: Path


@dataclass(frozen=True)
class Venv:
    """An environment of its own, and a folder in which its commands run."""

    bin: Path
    folder: Path

    def run(self, program: str, *arguments: str, **settings: str) -> str:
        """What a command prints, its complaints too; it must succeed."""
        ended = self.attempt(program, *arguments, **settings)
        assert ended.returncode == 0, ended.stdout
        return ended.stdout

    def attempt(
        self, program: str, *arguments: str, **settings: str
    ) -> subprocess.CompletedProcess[str]:
        """A command, which may fail, with these settings and no others."""
        return _run(
            (str(self.bin / program), *arguments),
            cwd=self.folder,
            env={f"RINDLE_{name.upper()}": value for name, value in settings.items()},
        )


def build(folder: Path) -> Packages:
    """Make both of this checkout, as `make dist` does."""
    ended = _run((str(ROOT / ".ci" / "build"), str(folder)), env=_path_of_tools())
    assert ended.returncode == 0, ended.stdout
    return packages_in(folder)


def packages_in(folder: Path) -> Packages:
    """Those that are built already."""
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return Packages(wheel, sdist)


def install(package: Path, python: Path | str, folder: Path, *extras: str) -> Venv:
    """A new environment for one interpreter, with the package and the versions of constraints."""
    venv = folder / "venv"
    programs = venv / ("Scripts" if os.name == "nt" else "bin")
    wanted = f"rindle-sync[{','.join(extras)}] @ {package.as_uri()}"
    into = ("--python", str(programs / "python"), "--constraint", str(ROOT / "constraints.txt"))
    for command in (
        ("uv", "venv", "--quiet", "--python", str(python), str(venv)),
        ("uv", "pip", "install", "--quiet", *into, wanted),
    ):
        ended = _run(command, env=_path_of_tools())
        assert ended.returncode == 0, ended.stdout
    return Venv(programs, folder)


def interpreter(version: str) -> Path | None:
    """A Python of this version, such as 3.12, that is installed and runs."""
    found = shutil.which(f"python{version}")
    of_pyenv = Path.home().glob(f".pyenv/versions/{version}.*/bin/python")
    for path in (*([Path(found)] if found else []), *sorted(of_pyenv, reverse=True)):
        asked = _run((str(path), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"))
        if asked.returncode == 0 and asked.stdout.strip() == version:
            return path
    return None


def _path_of_tools() -> dict[str, str]:
    return {"PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}


def _run(
    command: tuple[str, ...], *, cwd: Path = ROOT, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith(NOT_PASSED_ON)}
    return subprocess.run(
        command,
        cwd=cwd,
        env={**kept, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
