"""The databases that other tests stand on."""

import psycopg
import pytest

from tests.support import postgres


def test_the_server_is_new_enough(postgres_server: str) -> None:
    assert postgres.server_version(postgres_server) >= postgres.OLDEST


def test_two_databases_are_apart(postgres_url: str, postgres_server: str) -> None:
    with postgres.new_database(postgres_server) as other_url:
        with psycopg.connect(postgres_url) as ours:
            ours.execute("CREATE TABLE mine (id int)")
        with psycopg.connect(other_url) as theirs:
            assert theirs.execute("SELECT to_regclass('mine')").fetchone() == (None,)


def test_a_database_is_gone_after_its_test(postgres_server: str) -> None:
    with postgres.new_database(postgres_server) as url:
        name = url.rpartition("/")[2]
    with psycopg.connect(postgres_server) as admin:
        assert admin.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchall() == []


def test_each_kind_of_database_is_named_by_its_url(
    database_url: str, request: pytest.FixtureRequest
) -> None:
    assert database_url.startswith(f"{request.node.callspec.id}://")
