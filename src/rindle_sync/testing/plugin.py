"""The fixtures of pytest; nothing but pytest is imported before a test asks for one."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rindle_sync import RindleSync, Settings
    from rindle_sync.integrations.blocking import BlockingRindle
    from rindle_sync.testing import Clock, FakeMux, PostgresSchema
    from rindle_sync.types import SettingsArguments

OPTION = "rindle_database_url"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The database for tests."""
    text = "the PostgreSQL database for rindle-sync's tables in tests; default: SQLite files"
    parser.getgroup("rindle-sync").addoption("--rindle-database-url", dest=OPTION, help=text)
    parser.addini(OPTION, text)


def pytest_configure(config: pytest.Config) -> None:
    """The marker."""
    text = "rindle_settings(**settings): settings of rindle-sync for this test"
    config.addinivalue_line("markers", text)


@contextmanager
def _told_in_a_sentence() -> Iterator[None]:
    """What is wrong with the settings or the database of a test is no fault to trace."""
    from rindle_sync.errors import RindleSyncError

    try:
        yield
    except RindleSyncError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None


@pytest.fixture
def rindle_clock() -> Clock:
    """A clock that goes on, and that `move` sets ahead, for Mux and the service alike."""
    from rindle_sync.testing import Clock

    return Clock()


@pytest.fixture
def rindle_mux(rindle_clock: Clock) -> FakeMux:
    """A fake Mux in this process, by `rindle_clock`; `transport` leads to it."""
    from rindle_sync.testing import FakeMux

    return FakeMux(rindle_clock)


@pytest.fixture
def rindle_mux_url(rindle_mux: FakeMux) -> Iterator[str]:
    """The URL at which `rindle_mux` is served over HTTP, for other programs and languages."""
    from rindle_sync.testing import serving

    with serving(rindle_mux) as url:
        yield url


@pytest.fixture(scope="session")
def _rindle_schema(pytestconfig: pytest.Config) -> Iterator[PostgresSchema | None]:
    """A schema of this process in the database that the option names."""
    url = pytestconfig.getoption(OPTION) or pytestconfig.getini(OPTION)
    if not url:
        yield None
        return
    from rindle_sync.testing import postgres_schema

    with _told_in_a_sentence(), postgres_schema(url) as schema:
        yield schema


@pytest.fixture
def rindle_database_url(_rindle_schema: PostgresSchema | None) -> Iterator[str]:
    """The URL of a database with rindle-sync's tables and no row in them. Override it with yours.

    It is a new SQLite file, or what the option `--rindle-database-url` names.
    """
    if _rindle_schema:
        with _told_in_a_sentence():
            _rindle_schema.empty()
        yield _rindle_schema.url
        return
    from rindle_sync.testing import sqlite_database

    with sqlite_database() as url:
        yield url


@pytest.fixture
def rindle_database_schema(
    rindle_database_url: str, _rindle_schema: PostgresSchema | None
) -> str | None:
    """The schema of `rindle_database_url` in which the tables are, if it is PostgreSQL."""
    is_ours = _rindle_schema is not None and _rindle_schema.url == rindle_database_url
    return _rindle_schema.name if _rindle_schema and is_ours else None


@pytest.fixture
def rindle_settings(
    request: pytest.FixtureRequest,
    rindle_mux: FakeMux,
    rindle_database_url: str,
    rindle_database_schema: str | None,
) -> Settings:
    """Settings that name `rindle_mux` and the database; nothing of this process counts.

    The marker `rindle_settings` changes some of them for a test.
    """
    from rindle_sync.testing import settings_for

    values: SettingsArguments = {
        "database_url": rindle_database_url,
        "database_schema": rindle_database_schema,
    }
    if "rindle_mux_url" in request.fixturenames:
        values["mux_base_url"] = request.getfixturevalue("rindle_mux_url")
    for marker in reversed(list(request.node.iter_markers("rindle_settings"))):
        values |= marker.kwargs
    with _told_in_a_sentence():
        return settings_for(rindle_mux, **values)


@pytest.fixture
def rindle_variables(
    rindle_mux_url: str,  # noqa: ARG001  asked for so that the settings name it
    rindle_settings: Settings,
    rindle_clock: Clock,
) -> Iterator[None]:
    """`rindle_settings` as variables of this process, for an app that reads them as it starts.

    Mux is at `rindle_mux_url` then, for programs that the test starts as well; the services of this
    process go by `rindle_clock`.
    """
    from rindle_sync.testing import only_these_settings

    with only_these_settings(rindle_settings, clock=rindle_clock.now):
        yield


@pytest.fixture
def rindle(rindle_settings: Settings, rindle_mux: FakeMux) -> Iterator[RindleSync]:
    """The async service, connected to `rindle_mux`, which sends it webhooks; it runs no jobs."""
    from rindle_sync.testing import connected

    with _told_in_a_sentence(), connected(rindle_settings, rindle_mux) as opened:
        yield opened


@pytest.fixture
def rindle_blocking(rindle_settings: Settings, rindle_mux: FakeMux) -> Iterator[BlockingRindle]:
    """`rindle` for code without an event loop, from `rindle_sync.integrations.blocking`."""
    from rindle_sync.testing import connected_blocking

    with _told_in_a_sentence(), connected_blocking(rindle_settings, rindle_mux) as opened:
        yield opened
