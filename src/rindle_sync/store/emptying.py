"""Our tables without their rows, and a schema dropped: for tests."""

from sqlalchemy import text

from rindle_sync.store.database import schema_of
from rindle_sync.store.driver_errors import named_errors
from rindle_sync.store.schema import metadata
from rindle_sync.store.schema.core_engine import CoreEngine
from rindle_sync.store.schema.engine import open_engine
from rindle_sync.store.schema.tables import row_counts


async def empty_tables(engine: CoreEngine) -> None:
    """Delete all rows of our tables on PostgreSQL, and number new ones from 1 again.

    Raises `DatabaseUnavailable`, also where another transaction holds a row for ten seconds.
    """
    quoted = engine.dialect.identifier_preparer
    schema = schema_of(engine)
    before = f"{quoted.quote_schema(schema)}." if schema else ""
    statements = ["SET LOCAL lock_timeout = '10s'"]
    tables = [table for table in reversed(metadata.sorted_tables) if table is not row_counts]
    # the counts last: triggers add to them as rows go
    for table in (*tables, row_counts):
        # not truncated: that makes new files, which takes longer for the few rows of a test
        statements.append(f"DELETE FROM {before}{quoted.quote(table.name)}")  # noqa: S608
        for column in table.c:
            if column.autoincrement is True:
                sequence = f"pg_get_serial_sequence('{before}{table.name}', '{column.name}')"
                statements.append(f"SELECT setval({sequence}, 1, false)")
    with named_errors():
        async with engine.begin() as connection:
            # one round trip for all of them
            await connection.exec_driver_sql("; ".join(statements))


async def drop_schema(url: str, schema: str) -> None:
    """Drop a schema of PostgreSQL with all that is in it. Raises `DatabaseUnavailable`."""
    engine = open_engine(url)
    quoted = engine.dialect.identifier_preparer.quote_schema(schema)
    try:
        with named_errors():
            async with engine.begin() as connection:
                await connection.execute(text("SET LOCAL lock_timeout = '10s'"))
                await connection.execute(text(f"DROP SCHEMA IF EXISTS {quoted} CASCADE"))
    finally:
        await engine.dispose()
