"""The databases of tests: a schema of PostgreSQL that is emptied, and one that is not wanted."""

import psycopg
import pytest

from rindle_sync.errors import ConfigurationError, DatabaseUnavailable
from rindle_sync.testing import (
    FakeMux,
    PostgresSchema,
    connected_blocking,
    postgres_schema,
    run_jobs_blocking,
    settings_for,
)


def live_through(schema: PostgresSchema) -> tuple[int, int]:
    """How many rows there are before a video is tracked and becomes ready, and after."""
    mux = FakeMux()
    settings = settings_for(mux, database_url=schema.url, database_schema=schema.name)
    with connected_blocking(settings, mux) as rindle:
        before = rindle.count()
        row = rindle.track(reference="video-1", provider_asset_id=mux.create_asset())
        mux.finish(row)
        mux.deliver_webhooks()
        run_jobs_blocking(rindle)
        return before, rindle.count(state="ready")


def test_a_schema_is_emptied_for_the_next_test_and_dropped_after_the_last(
    postgres_url: str,
) -> None:
    with postgres_schema(postgres_url) as schema, psycopg.connect(postgres_url) as connection:
        first = live_through(schema)
        schema.empty()
        second = live_through(schema)
        changes = connection.execute(f"SELECT min(id) FROM {schema.name}.provider_asset_changes")
        first_id = changes.fetchone()
        connection.commit()

    with psycopg.connect(postgres_url) as connection:
        left = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname ~ 'rindle'")
        assert left.fetchall() == []
    assert (first, second) == ((0, 1), (0, 1))
    assert first_id == (1,)


def test_two_schemas_in_one_database_do_not_share_a_row(postgres_url: str) -> None:
    with postgres_schema(postgres_url) as one_schema, postgres_schema(postgres_url) as other:
        assert [live_through(one_schema), live_through(other)] == [(0, 1), (0, 1)]
        assert str(one_schema) != str(other)
        assert postgres_url not in str(one_schema)


def test_only_postgresql_has_schemas() -> None:
    told = "is no URL of PostgreSQL"
    with pytest.raises(ConfigurationError, match=told), postgres_schema("sqlite:///a.sqlite3"):
        pass


def test_a_server_that_is_not_there_is_told() -> None:
    nowhere = "postgresql://user:secret-word@127.0.0.1:1/database"
    with pytest.raises(DatabaseUnavailable, match="is it up"), postgres_schema(nowhere):
        pass
