"""Which revision the tables are of, and which one this version makes; Alembic is for migrations."""

import re
from math import inf
from typing import Final

import sqlalchemy as sa

from rindle_sync.errors import DatabaseUnavailable
from rindle_sync.store.database import schema_of
from rindle_sync.store.driver_errors import named_errors
from rindle_sync.store.schema.core_engine import CoreEngine

NEWEST: Final = "rindle_5"
"""That of the last migration."""

VERSION_TABLE: Final = "rindle_sync_alembic_version"
"""A version table of its own: the app may use Alembic for its tables."""

RUN_NEWER: Final = (
    "run the newer version, or restore a backup of the database from before it was migrated"
)

_NUMBERED: Final = re.compile(r"rindle_(\d+)")

_UNRELEASED: Final = frozenset({"0001", "0002"})
"""Revisions from before the first release, whose tables have other names."""


async def revisions(engine: CoreEngine) -> tuple[str | None, str]:
    """The revision of the database and the newest one; raises `DatabaseUnavailable`."""
    with named_errors():
        async with engine.execution_options(single=True).connect() as connection:
            return await connection.run_sync(revision_of, schema_of(engine)), NEWEST


def revision_of(connection: sa.Connection, schema: str | None) -> str | None:
    """The revision of the tables in `schema`; None where there are none."""
    if not sa.inspect(connection).has_table(VERSION_TABLE, schema=schema):
        return None
    version = sa.table(VERSION_TABLE, sa.column("version_num", sa.Text()), schema=schema)
    revision: str | None = connection.execute(sa.select(version)).scalar()
    refuse_unreleased(revision)
    return revision


def number_of(revision: str) -> float:
    """The number of a revision; what has none is newer than all."""
    found = _NUMBERED.fullmatch(revision)
    return int(found[1]) if found else inf


def is_newer(revision: str | None) -> bool:
    """Whether a newer version of rindle-sync has made the tables: revisions are numbered."""
    return revision is not None and number_of(revision) > number_of(NEWEST)


def refuse_newer(revision: str | None) -> None:
    """Raise `DatabaseUnavailable` for tables of a newer version."""
    if is_newer(revision):
        raise DatabaseUnavailable(
            f"the tables are at {revision}, of a newer version of rindle-sync than this one "
            f"(at {NEWEST}): {RUN_NEWER}"
        )


def refuse_unreleased(revision: str | None) -> None:
    """Raise `DatabaseUnavailable` for tables of a version from before the first release."""
    if revision in _UNRELEASED:
        raise DatabaseUnavailable(
            f"the tables were made by an unreleased version of rindle-sync (revision {revision}): "
            "drop them, or use a new database, and run `rindle-sync migrate`"
        )
