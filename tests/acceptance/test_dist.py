"""What is published: built alike each time, complete, and at work where nothing else is installed.

`make dist` runs it on the packages in `dist/`, `make acceptance` on packages of its own.
"""

import email
import hashlib
import os
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.metadata import Metadata
from packaging.version import Version
from trove_classifiers import classifiers

from tests.support.packages import ROOT, Packages, build, install, interpreter, packages_in

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
VERSION = PROJECT["version"]
PYTHONS = [
    line.rpartition(" ")[2]
    for line in PROJECT["classifiers"]
    if line.startswith("Programming Language :: Python :: 3.")
]
BESIDE_THE_PACKAGE = {
    ".gitignore",
    "CHANGELOG.md",
    "LICENSE",
    "PKG-INFO",
    "README.md",
    "constraints.txt",
    "pyproject.toml",
}
"""What an sdist has, too; hatchling adds the file that says what git ignores."""

IMPORTED = {
    "api": "fastapi, rindle_sync.web.server",
    "celery": "rindle_sync.runtime.engines.celery",
    "cli": "rindle_sync.cli",
    "django": "rindle_sync.integrations.django.apps",
    "emulator": "rindle_sync.demo, rindle_sync.emulator",
    "fastapi": "rindle_sync.integrations.fastapi",
    "flask": "rindle_sync.integrations.flask",
    "opentelemetry": "rindle_sync.exporters.opentelemetry",
    "playback": "rindle_sync.providers.mux.signing, jwt, cryptography",
    "postgresql": "psycopg, psycopg_binary",
    "procrastinate": "rindle_sync.runtime.engines.procrastinate",
    "prometheus": "rindle_sync.exporters.prometheus",
    "server": "rindle_sync.web.server, rindle_sync.web.console.app",
    "socks": "aiohttp_socks",
    "starlette": "rindle_sync.integrations.starlette",
    "testing": "rindle_sync.testing.mux, rindle_sync.testing.plugin",
}
"""What each extra, and nothing else, makes it possible to import."""


OF_EXTRAS = PYTHONS if "RINDLE_TEST_DIST" in os.environ else PYTHONS[:1]
"""`make dist` tries every extra with every Python, `make acceptance` with the oldest."""


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    """Those in the folder that `make dist` names, else new ones."""
    if folder := os.environ.get("RINDLE_TEST_DIST"):
        return packages_in(ROOT / folder)
    return build(tmp_path_factory.mktemp("dist"))


def python_of(version: str) -> Path:
    if path := interpreter(version):
        return path
    pytest.skip(f"Python {version} is not installed")


def package_files() -> set[str]:
    """The files of the package in this checkout."""
    source = ROOT / "src"
    return {
        path.relative_to(source).as_posix()
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_a_second_build_has_the_same_bytes(packages: Packages, tmp_path: Path) -> None:
    again = build(tmp_path)

    for first, second in ((packages.wheel, again.wheel), (packages.sdist, again.sdist)):
        assert first.name == second.name
        assert digest(first) == digest(second)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_wheel_has_the_package_and_its_license(packages: Packages) -> None:
    about = f"rindle_sync-{VERSION}.dist-info"
    with zipfile.ZipFile(packages.wheel) as wheel:
        names = set(wheel.namelist())

    assert {name for name in names if not name.startswith(about)} == package_files()
    assert f"{about}/licenses/LICENSE" in names
    assert {"rindle_sync/py.typed", "rindle_sync/store/migrations/script.py.mako"} < names


def test_the_sdist_has_the_package_and_what_builds_it(packages: Packages) -> None:
    with tarfile.open(packages.sdist) as sdist:
        names = {member.name.partition("/")[2] for member in sdist if member.isfile()}

    in_source = {f"src/{name}" for name in package_files()}
    assert names - in_source == BESIDE_THE_PACKAGE
    assert in_source <= names


def test_what_the_package_says_of_itself_is_valid(packages: Packages) -> None:
    with zipfile.ZipFile(packages.wheel) as wheel:
        raw = wheel.read(f"rindle_sync-{VERSION}.dist-info/METADATA")
    metadata = Metadata.from_email(raw, validate=True)

    assert metadata.version == Version(VERSION)
    assert metadata.license_expression == "MIT"
    assert set(metadata.classifiers or ()) <= classifiers
    assert email.message_from_bytes(raw)["Description-Content-Type"] == "text/markdown"
    assert sorted(metadata.provides_extra or ()) == sorted(PROJECT["optional-dependencies"])


@pytest.mark.parametrize("version", PYTHONS)
def test_without_extras_it_names_the_extra_of_what_it_cannot_do(
    packages: Packages, version: str, tmp_path: Path
) -> None:
    venv = install(packages.wheel, python_of(version), tmp_path)

    where = venv.run(
        "python", "-c", "import rindle_sync; rindle_sync.connect; print(rindle_sync.__file__)"
    )
    refused = venv.attempt("rindle-sync", "--version")

    assert Path(where.strip()).is_relative_to(tmp_path)
    assert refused.returncode == 1
    assert (
        refused.stdout
        == "rindle-sync: the command line needs typer; pip install 'rindle-sync[cli]'\n"
    )


@pytest.mark.parametrize("version", PYTHONS)
def test_the_commands_work_in_an_empty_environment(
    packages: Packages, version: str, tmp_path: Path
) -> None:
    venv = install(packages.sdist, python_of(version), tmp_path, "cli")
    settings = {"database_url": f"sqlite:///{tmp_path / 'rindle.sqlite3'}"}
    on_postgresql = {"database_url": "postgresql://user@127.0.0.1:9/rindle"}

    assert venv.run("rindle-sync", "--version") == f"rindle-sync {VERSION}\n"
    assert "migrate" in venv.run("rindle-sync", "--help")
    assert "the tables are at rindle_" in venv.run("rindle-sync", "migrate", **settings)
    assert "0 due; 0 stuck" in venv.run("rindle-sync", "status", **settings)
    for command, needed, given in (
        ("demo", "emulator", settings),
        ("emulator", "emulator", settings),
        ("status", "postgresql", on_postgresql),
    ):
        refused = venv.attempt("rindle-sync", command, **given)
        assert refused.returncode == 2
        assert f"pip install 'rindle-sync[{needed}]'" in " ".join(refused.stdout.split())


@pytest.mark.parametrize("version", PYTHONS)
def test_the_demo_needs_the_extras_that_it_names(
    packages: Packages, version: str, tmp_path: Path
) -> None:
    venv = install(packages.wheel, python_of(version), tmp_path, "cli", "emulator")

    assert venv.run("rindle-sync", "demo", "--assets", "5").endswith("in sync\n")


def test_every_extra_is_tried() -> None:
    assert sorted((*IMPORTED, "all")) == sorted(PROJECT["optional-dependencies"])


@pytest.mark.parametrize("version", OF_EXTRAS)
@pytest.mark.parametrize("extra", IMPORTED)
def test_an_extra_alone_has_all_that_it_is_for(
    packages: Packages, extra: str, version: str, tmp_path: Path
) -> None:
    venv = install(packages.wheel, python_of(version), tmp_path, extra)

    venv.run("python", "-c", f"import {IMPORTED[extra]}")
