"""What type checkers say of an app that uses everything public, and of all public names."""

import inspect
import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest

import rindle_sync
from rindle_sync import Installation, RindleSync, types
from tests.support.hints import hints_of

ROOT = Path(__file__).parents[2]
APP = Path(__file__).with_name("app_strict.py")
LEFT_OUT = {"celery", "close_database", "finish", "procrastinate"}
"""Members that an app calls through an engine of its own, or not at all."""


def members() -> list[str]:
    """The methods of the public object, and what it has by a name of its own."""
    found = []
    for name, member in inspect.getmembers(RindleSync):
        if not name.startswith("_") and inspect.isfunction(member) and name not in LEFT_OUT:
            found.append(name)
    return found


def run(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        timeout=300,
    )


def imports_of_pages() -> str:
    """What the pages have an app import of ours."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    # a new provider is a part of rindle-sync, and its code has the settings of this repository
    texts = [page.read_text() for page in pages if page.name != "providers.md"]
    imported = r"^from rindle_sync.* import (?:\([^)]*\)|[^(\n]+)$"
    lines = re.findall(imported, "\n".join(texts), re.MULTILINE)
    # each by itself: a model of Django's has the name of what it shows
    own = [f"def import_{place}() -> None:\n    {line}" for place, line in enumerate(set(lines))]
    return "\n".join(["import rindle_sync", *sorted(own)])


@pytest.mark.parametrize("code", [APP.read_text(), imports_of_pages()], ids=["app", "pages"])
def test_an_app_of_everything_public_holds_under_mypy_strict(tmp_path: Path, code: str) -> None:
    file = tmp_path / "app.py"
    file.write_text(code)
    config = tmp_path / "mypy.ini"
    # as an app has it that has installed the package: no more than strict
    config.write_text(f"[mypy]\nstrict = true\nmypy_path = {ROOT / 'src'}\n")

    ended = run(
        *("mypy", "--config-file", str(config)),
        *("--cache-dir", str(ROOT / ".mypy_cache" / "app"), str(file)),
        folder=tmp_path,
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_an_app_of_everything_public_holds_under_pyright_strict(tmp_path: Path) -> None:
    if find_spec("pyright") is None:
        pytest.skip("pyright is not installed: it is in requirements-dev.txt")
    (tmp_path / "app.py").write_text(APP.read_text())
    settings = {
        "include": ["app.py"],
        "extraPaths": [str(ROOT / "src")],
        "typeCheckingMode": "strict",
        "reportUnnecessaryTypeIgnoreComment": True,
        # the same comment is for mypy, too
        "enableTypeIgnoreComments": False,
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))

    ended = run("pyright", "--pythonpath", sys.executable, folder=tmp_path)

    assert ended.returncode == 0, ended.stdout + ended.stderr


def types_in(annotation: Any, found: set[type]) -> set[type]:
    """Our classes in `annotation`, and those of their own public fields."""
    for inner in get_args(annotation):
        types_in(inner, found)
    kind = get_origin(annotation) or annotation
    if isinstance(kind, list):
        for inner in kind:
            types_in(inner, found)
    if not inspect.isclass(kind) or "rindle_sync" not in kind.__module__ or kind in found:
        return found
    found.add(kind)
    if kind not in {RindleSync, Installation}:
        for name, inner in get_type_hints(kind).items():
            if not name.startswith("_"):
                types_in(inner, found)
    return found


def test_every_type_of_a_public_method_can_be_imported() -> None:
    found: set[type] = set()
    for kind in (RindleSync, types.WebhookEvents):
        for name, method in inspect.getmembers(kind, inspect.isfunction):
            if not name.startswith("_"):
                for hint in hints_of(method).values():
                    types_in(hint, found)

    names = {*types.__all__, *rindle_sync.__all__}
    assert sorted(kind.__name__ for kind in found if kind.__name__ not in names) == []


@pytest.mark.parametrize("name", members())
def test_the_app_uses_every_method(name: str) -> None:
    assert f".{name}" in APP.read_text()


def test_the_package_says_that_it_is_typed() -> None:
    assert (ROOT / "src" / "rindle_sync" / "py.typed").is_file()
