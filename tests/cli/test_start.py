"""What a command imports before it does its work; real processes."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import pytest
from typer import Typer
from typer.main import get_group

import rindle_sync
from rindle_sync import config, runtime, store
from rindle_sync.cli.commands import Commands

HEAVY = ("alembic", "asyncio", "httpx", "sqlalchemy", "starlette", "uvicorn")

NOT_FOR_THE_TABLES = (
    *("aiohttp", "alembic", "httpx", "starlette", "uvicorn"),
    # what SQLAlchemy has beside its Core and the part for the database
    *("sqlalchemy.orm", "sqlalchemy.ext.asyncio"),
    # what runs jobs, takes webhooks and other commands
    *("rindle_sync.runtime.job_runner", "rindle_sync.webhooks", "rindle_sync.cli.scans"),
)

REPORT = """
import json, sys
from rindle_sync.__main__ import main
sys.argv[0] = "rindle-sync"
try:
    main()
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""

DRIVERS = {
    "sqlite": {"sqlite3", "aiosqlite", "sqlalchemy.dialects.sqlite"},
    "postgresql": {"psycopg", "sqlalchemy.dialects.postgresql"},
}

COMMANDS = ("track", "status", "run", "sweep", "doctor", "events", "demo")


def imported_by(*arguments: str, database_url: str | None = None) -> set[str]:
    settings = {"RINDLE_DATABASE_URL": database_url} if database_url else {}
    ended = subprocess.run(
        [sys.executable, "-c", REPORT, *arguments],
        env=os.environ | settings,
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


TRACK = ("track", "--reference", "video-1", "--provider-asset-id", "asset-1")


@pytest.mark.parametrize("command", [TRACK, ("status",)])
def test_a_command_on_the_tables_imports_what_they_need_alone(
    command: Sequence[str], tables_url: str
) -> None:
    imported = imported_by(*command, database_url=tables_url)

    drivers = dict(DRIVERS)
    assert drivers.pop(tables_url.partition(":")[0]) <= imported
    assert not imported.intersection(NOT_FOR_THE_TABLES, *drivers.values())


def test_what_runs_the_service_imports_no_migrations(sqlite_tables_url: str) -> None:
    program = f"""
import asyncio, sys
from rindle_sync import connect_all, load_settings
async def check():
    async with connect_all(load_settings(database_url={sqlite_tables_url!r})) as installation:
        await installation.check_ready()
asyncio.run(check())
print("alembic" in sys.modules, "sqlalchemy.orm" in sys.modules)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout.split() == ["False", "False"]


def test_the_help_lists_each_command_under_the_name_that_it_has() -> None:
    commands = Commands()
    assert [commands[name].name for name in commands] == list(commands)


def test_each_command_of_a_module_is_listed() -> None:
    folder = Path(rindle_sync.__file__).parent / "cli"
    modules = [import_module(f"rindle_sync.cli.{file.stem}") for file in folder.glob("*.py")]
    groups = [module.commands for module in modules if hasattr(module, "commands")]
    written = Typer()
    for group in groups:
        written.add_typer(group)
    assert set(get_group(written).commands) == set(Commands())


@pytest.mark.parametrize("package", [rindle_sync, config, runtime, store])
def test_a_lazy_face_gives_every_name_that_it_tells_type_checkers(package: object) -> None:
    names = names_for_type_checkers(Path(str(package.__file__)))  # type: ignore[attr-defined]
    assert names
    for name in names:
        assert hasattr(package, name)


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


@pytest.mark.parametrize("is_service", [False, True])
def test_only_a_service_hands_the_interpreter_over_sooner(*, is_service: bool) -> None:
    program = f"""
import asyncio, sys
from rindle_sync.cli.output import run_in_loop
before = sys.getswitchinterval()
run_in_loop(asyncio.sleep(0), is_service={is_service})
sys.exit(int(sys.getswitchinterval() < before))
"""
    ended = subprocess.run([sys.executable, "-c", program], timeout=60, check=False)

    assert ended.returncode == is_service
