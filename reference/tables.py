"""The page of the database tables."""

from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from reference.markdown import page, paragraphs, table
from rindle_sync.store.schema import metadata

_ABOUT: Final = """
Times are UTC, to the microsecond. On SQLite they are text that sorts by time, on PostgreSQL
`timestamptz`. `rindle-sync migrate` makes the tables.
[Your database](../your-database.md) says how they live beside your app's, and
[reading rows](../reading.md) which columns other programs may rely on.
"""
_DIALECTS: Final = (sqlite.dialect(), postgresql.dialect())  # type: ignore[no-untyped-call]


def tables() -> str:
    """Every table with its columns."""
    return page(
        "Database tables: media_provider_assets and what goes with it",
        paragraphs(_ABOUT),
        *(part for found in metadata.tables.values() for part in _table(found)),
    )


def _table(found: sa.Table) -> tuple[str, ...]:
    lines = [
        (f"`{column.name}`", _types(column), "yes" if column.nullable else "no", column.doc or "")
        for column in found.columns
    ]
    titles = "column", "type on SQLite, PostgreSQL", "may be null", "meaning"
    return f"## `{found.name}`", paragraphs(found.info.get("doc")), table(titles, lines)


def _types(column: sa.Column[object]) -> str:
    types = [str(column.type.compile(dialect=dialect)).lower() for dialect in _DIALECTS]
    return ", ".join(f"`{kind}`" for kind in dict.fromkeys(types))
