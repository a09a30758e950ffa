"""What every test may ask for: a database on SQLite, on PostgreSQL, or on each in turn.

No property fails for the time that an example takes: that says more of what else the machine does.
"""

import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support import postgres
from tests.support.starter import starting_fast
from tests.support.tables import PostgresTables, SqliteTables
from tests.support.world import World, a_world

settings.register_profile(
    "unhurried", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("unhurried")


def pytest_itemcollected(item: pytest.Item) -> None:
    """A test that is long on PostgreSQL is in `make test` on SQLite alone."""
    if "postgresql" in item.name and item.get_closest_marker("long_on_postgresql"):
        item.add_marker(pytest.mark.acceptance)


def pytest_terminal_summary(terminalreporter: "pytest.TerminalReporter") -> None:
    """Print what tests have measured, passed or not."""
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            if report.when == "call":
                for name, text in report.user_properties:
                    if name == "figures":
                        terminalreporter.write_line(str(text))


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_is_heeded() -> Iterator[None]:
    """Commands heed SIGINT, though a shell may run the tests with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session", autouse=True)
def _commands_start_fast() -> Iterator[None]:
    """But for those of a `Shell` that is alone."""
    with starting_fast():
        yield


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a PostgreSQL server on which databases can be made.

    CI fails without one, elsewhere we skip.
    """
    with ExitStack() as stack:
        try:
            url = stack.enter_context(postgres.serving())
        except postgres.NoPostgres as reason:
            if os.environ.get("CI", "").lower() in {"", "0", "false"}:
                pytest.skip(str(reason))
            pytest.fail(str(reason), pytrace=False)
        yield url


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of a fresh, empty PostgreSQL database."""
    with postgres.new_database(postgres_server) as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of a SQLite database whose file does not exist yet."""
    return f"sqlite:///{tmp_path / 'rindle.sqlite3'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of a fresh, empty database: the test runs once on each kind."""
    fixture = {"sqlite": "sqlite_url", "postgresql": "postgres_url"}[request.param]
    return str(request.getfixturevalue(fixture))


@pytest.fixture(scope="session")
def sqlite_tables(tmp_path_factory: pytest.TempPathFactory) -> SqliteTables:
    """Makes SQLite databases with our tables."""
    return SqliteTables(tmp_path_factory.mktemp("tables"))


@pytest.fixture(scope="session")
def postgres_tables(postgres_server: str) -> Iterator[PostgresTables]:
    """A PostgreSQL database with our tables, which can be emptied."""
    with ExitStack() as stack:
        yield PostgresTables(postgres_server, stack)


@pytest.fixture
def sqlite_tables_url(sqlite_tables: SqliteTables, sqlite_url: str) -> str:
    """The URL of a SQLite database with our tables, and nothing in them."""
    sqlite_tables.copy_to(sqlite_url)
    return sqlite_url


@pytest.fixture
def postgres_tables_url(postgres_tables: PostgresTables) -> str:
    """The URL of a PostgreSQL database with our tables, and nothing in them."""
    return postgres_tables.empty()


@pytest.fixture(params=["sqlite", "postgresql"])
def tables_url(request: pytest.FixtureRequest) -> str:
    """The URL of a database with our tables, and nothing in them.

    The test runs once on each kind.
    """
    fixture = {"sqlite": "sqlite_tables_url", "postgresql": "postgres_tables_url"}[request.param]
    return str(request.getfixturevalue(fixture))


@pytest.fixture
async def world(tables_url: str) -> AsyncIterator[World]:
    """The emulator, the tools and a clock, on each kind of database in turn."""
    async with a_world(tables_url, migrated=True) as world:
        yield world
