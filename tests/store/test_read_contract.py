"""What other programs may read by SQL: the page names each column, as both databases have it."""

import re
from pathlib import Path

import pytest
import sqlalchemy as sa

from rindle_sync.store.schema import metadata, open_engine

PAGE = Path(__file__).parents[2] / "docs" / "reading.md"
TABLES = ("media_provider_assets", "provider_asset_changes")
INTERNAL = {
    *("absent_playback_ids", "begun_at", "check_failures", "decision_log", "dispatch_at"),
    *("dispatch_attempts", "lease_token", "lease_until", "missing_since", "outputs", "position"),
    *("playback_absent_since", "raw_provider_metadata"),
}
"""Columns that rindle-sync may change or drop in any version."""


def columns_of(table: str) -> list[sa.Column[object]]:
    return [column for column in metadata.tables[table].columns if column.name not in INTERNAL]


def type_on(column: sa.Column[object], url: str) -> str:
    return column.type.compile(dialect=sa.make_url(url).get_dialect()()).lower()


def line_of(column: sa.Column[object]) -> str:
    sqlite_type = type_on(column, "sqlite://")
    postgresql_type = type_on(column, "postgresql+psycopg://")
    may_be_null = "yes" if column.nullable else "no"
    return f"| `{column.name}` | `{sqlite_type}` | `{postgresql_type}` | {may_be_null} |"


def section(table: str) -> str:
    found = re.search(
        rf"^### `{table}`$\n(.*?)(?=^#|\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL
    )
    assert found, f"docs/reading.md has no section about {table}"
    return found[1]


@pytest.mark.parametrize("table", TABLES)
def test_the_page_names_each_column_with_its_type(table: str) -> None:
    lines = re.findall(r"^\| `.*\|$", section(table), re.MULTILINE)

    assert lines == [line_of(column) for column in columns_of(table)]


def test_the_page_names_the_columns_that_are_no_promise() -> None:
    told = PAGE.read_text().partition("## What is no promise")[2]

    assert [name for name in sorted(INTERNAL) if f"`{name}`" not in told] == []


@pytest.mark.parametrize("table", TABLES)
async def test_the_database_has_what_the_page_promises(tables_url: str, table: str) -> None:
    engine = open_engine(tables_url)
    async with engine.connect() as connection:
        found = await connection.run_sync(lambda session: sa.inspect(session).get_columns(table))
    dialect = engine.dialect
    await engine.dispose()
    there = {c["name"]: (c["type"].compile(dialect).lower(), c["nullable"]) for c in found}

    promised = re.findall(
        r"^\| `(.*?)` \| `(.*?)` \| `(.*?)` \| (yes|no) \|$", section(table), re.MULTILINE
    )
    assert promised
    for name, on_sqlite, on_postgresql, null in promised:
        kind = on_sqlite if dialect.name == "sqlite" else on_postgresql
        # a serial is a bigint that counts
        assert there[name] == (kind, null == "yes"), name
