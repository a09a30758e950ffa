"""What a command imports before it does its work; real processes."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import rindle_sync
from rindle_sync import config

HEAVY = ("alembic", "asyncio", "httpx", "sqlalchemy", "starlette", "uvicorn")

REPORT = """
import json, sys
from rindle_sync.__main__ import main
sys.argv[0] = "rindle-sync"
try:
    main()
finally:
    imported = sorted({name.partition(".")[0] for name in sys.modules})
    print(json.dumps(imported), file=sys.stderr)
"""

COMMANDS = ("track", "status", "run", "sweep", "doctor", "events", "demo")


def imported_by(*arguments: str) -> set[str]:
    ended = subprocess.run(
        [sys.executable, "-c", REPORT, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(json.loads(ended.stderr.splitlines()[-1]))


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_imports_no_library_of_its_work(command: str) -> None:
    assert not imported_by(command, "--help").intersection(HEAVY)


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_read_no_settings_either(option: str) -> None:
    # Typer itself has pydantic read the options of a command
    assert not imported_by(option).intersection((*HEAVY, "pydantic"))


@pytest.mark.parametrize("package", [rindle_sync, config])
def test_a_lazy_face_gives_every_name_that_it_tells_type_checkers(package: object) -> None:
    names = names_for_type_checkers(Path(str(package.__file__)))  # type: ignore[attr-defined]
    assert names
    for name in names:
        assert getattr(package, name)


def names_for_type_checkers(file: Path) -> list[str]:
    names = []
    for part in ast.parse(file.read_text()).body:
        if isinstance(part, ast.If) and ast.unparse(part.test) == "TYPE_CHECKING":
            for statement in ast.walk(part):
                if isinstance(statement, ast.ImportFrom):
                    names += [alias.name for alias in statement.names]
    return names


def test_the_public_names_are_those_that_type_checkers_see() -> None:
    assert sorted(names_for_type_checkers(Path(rindle_sync.__file__))) == rindle_sync.__all__
    assert set(rindle_sync.__all__) <= set(dir(rindle_sync))


def test_a_name_that_a_face_has_not_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match=r"rindle_sync.*no_such_name"):
        rindle_sync.no_such_name  # noqa: B018
    with pytest.raises(AttributeError, match=r"rindle_sync\.config.*no_such_name"):
        config.no_such_name  # noqa: B018
