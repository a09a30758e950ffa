"""The tables on a connection of Django's: which revision they have, what they lack, how to empty.

Imports nothing of Django: it is given the connection.
"""

from typing import Any

from rindle_sync.store.revisions import VERSION_TABLE
from rindle_sync.store.schema import metadata


def revision_in(connection: Any) -> str | None:
    """The revision of the tables; None where there are none."""
    with connection.cursor() as cursor:
        if VERSION_TABLE not in connection.introspection.table_names(cursor):
            return None
        cursor.execute(f"SELECT version_num FROM {VERSION_TABLE}")  # noqa: S608  a name of ours
        row = cursor.fetchone()
    return row[0] if row else None


def missing_in(connection: Any, after: str) -> list[str]:
    """The statements that bring the tables to the revision `after`; none if they are beyond.

    To be run in the same transaction, in which no other process migrates. Raises
    `DatabaseUnavailable` for tables of a newer version or of another program.
    """
    # Alembic takes a quarter of a second to import, and every command of Django's loads this module
    from rindle_sync.store.migrations import LOCK, missing_statements

    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        tables = connection.introspection.table_names(cursor)

        def columns(table: str) -> list[str]:
            described = connection.introspection.get_table_description(cursor, table)
            return [column.name for column in described]

        revision = revision_in(connection)
        return missing_statements(connection.vendor, revision, after, tables, columns)


def empty_in(connection: Any) -> None:
    """Delete all that is in our tables."""
    with connection.cursor() as cursor:
        there = set(connection.introspection.table_names(cursor))
        for table in metadata.tables:
            if table in there:
                name = connection.ops.quote_name(table)
                cursor.execute(f"DELETE FROM {name}")  # noqa: S608  a name of ours
