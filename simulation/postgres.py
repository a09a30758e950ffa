"""A PostgreSQL database for a history.

The real driver, and what each transaction wrote noted by triggers.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Final
from unittest.mock import patch

import psycopg
from psycopg.rows import dict_row
from sqlalchemy import event

from rindle_sync.runtime import due
from rindle_sync.store import Unheard
from rindle_sync.store.schema import assets, metadata
from rindle_sync.store.schema.core_engine import CoreEngine
from rindle_sync.store.schema.engine import open_engine
from simulation.history import NOTED, OF_LEASES, Noted, Written
from simulation.steps import Stepping, step_through

_CONTENT: Final = [column.name for column in assets.c if column.name not in OF_LEASES]
_TRIGGERS: Final = f"""
CREATE TABLE IF NOT EXISTS simulation_log (
  id bigserial PRIMARY KEY, host text NOT NULL DEFAULT current_setting('application_name'),
  what jsonb NOT NULL);
CREATE OR REPLACE FUNCTION simulation_wrote() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO simulation_log (what) VALUES (jsonb_build_array(
    NEW.id, {", ".join(f"OLD.{name}, NEW.{name}" for name in NOTED)}));
  RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION simulation_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO simulation_log (what) VALUES (jsonb_build_array(
    NEW.row_id, NEW.version, NEW.kind, NEW.from_state, NEW.to_state));
  RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER simulation_wrote AFTER UPDATE ON media_provider_assets FOR EACH ROW
  WHEN ({" OR ".join(f"OLD.{name} IS DISTINCT FROM NEW.{name}" for name in _CONTENT)})
  EXECUTE FUNCTION simulation_wrote();
CREATE OR REPLACE TRIGGER simulation_changed AFTER INSERT ON provider_asset_changes FOR EACH ROW
  EXECUTE FUNCTION simulation_changed();
"""


class PostgresPlace:
    """A database with our tables, empty at first."""

    # the app's connection would wait in this very thread for a lock that another host holds
    has_app = False

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection = psycopg.connect(url, autocommit=True, row_factory=dict_row)
        self._connection.execute(_TRIGGERS.encode())
        tables = [*(table.name for table in metadata.sorted_tables), "simulation_log"]
        self._connection.execute(f"TRUNCATE {', '.join(tables)}".encode())

    def open(self, host: Stepping) -> CoreEngine:
        """The engine of one host, whose connections die with it."""
        name = f"host-{id(host)}"
        engine = open_engine(f"{self._url}?application_name={name}", pool_size=10)
        step_through(engine, host)

        @event.listens_for(engine.sync_engine, "checkin")
        def note(*_: Any) -> None:
            written = "DELETE FROM simulation_log WHERE host = %s RETURNING id, what"
            lines = sorted(
                self._connection.execute(written, [name]), key=lambda line: int(line["id"])
            )
            host.committed([_noted(line["what"]) for line in lines])

        host.on_kill.append(lambda: self._end(name))
        return engine

    def connect(self) -> Any:
        """There is no app here."""
        raise NotImplementedError

    def _end(self, name: str) -> None:
        self._connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s",
            [name],
        )

    def read(self, *statements: str) -> Sequence[Sequence[Mapping[str, Any]]]:
        """What `statements` find; ids as text."""
        return [
            [
                {key: str(value) if key == "id" else value for key, value in line.items()}
                for line in found
            ]
            for found in (
                self._connection.execute(statement.encode()).fetchall() for statement in statements
            )
        ]

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()


def _noted(what: list[Any]) -> Written | Noted:
    if len(what) == 5:
        return Noted(*what)
    return Written.of(*what)


@cache
def _url() -> str:
    """A migrated database on a server of our own, for as long as this process lives."""
    import asyncio
    import atexit
    from contextlib import ExitStack

    from rindle_sync.store.migrations import upgrade
    from tests.support import postgres

    stack = ExitStack()
    url = stack.enter_context(postgres.new_database(stack.enter_context(postgres.serving())))
    atexit.register(stack.close)

    async def make() -> None:
        engine = open_engine(url)
        await upgrade(engine)
        await engine.dispose()

    asyncio.run(make())
    return url


@contextmanager
def postgresql_place() -> Iterator[PostgresPlace]:
    """A database with nothing in it, of which nobody hears: time stands still for who listens."""
    place = PostgresPlace(_url())
    try:
        with patch.object(due, "new_work", lambda _: Unheard()):
            yield place
    finally:
        place.close()
