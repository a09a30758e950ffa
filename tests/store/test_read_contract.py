"""What other programs may read by SQL stays: each column is promised here, and is as promised."""

import re
from pathlib import Path
from typing import Final

import pytest
import sqlalchemy as sa

from rindle_sync.store.schema import metadata, open_engine

DOCS: Final = Path(__file__).parents[2] / "docs"
PAGE: Final = DOCS / "reading.md"
REFERENCE: Final = DOCS / "reference" / "tables.md"

TYPES: Final = {
    "bigint": ("bigint", "bigint"),
    "boolean": ("boolean", "boolean"),
    "float": ("double", "double precision"),
    "json": ("json", "jsonb"),
    "serial": ("integer", "bigint"),
    "text": ("text", "text"),
    "time": ("text", "timestamp with time zone"),
    "uuid": ("varchar(36)", "uuid"),
}
"""On SQLite, and on PostgreSQL."""

PROMISED: Final = {
    "media_provider_assets": {
        "id": "uuid",
        "reference": "text",
        "profile": "text",
        "provider_name": "text",
        "environment": "text",
        "provider_asset_id": "text or null",
        "provider_upload_id": "text or null",
        "passthrough": "text or null",
        "playback_ids": "json",
        "playback_policy": "text or null",
        "ingest_mode": "text or null",
        "state": "text",
        "error_kind": "text or null",
        "last_sync_error": "text or null",
        "last_event_id": "text or null",
        "last_event_at": "time or null",
        "duration": "float or null",
        "aspect_ratio": "text or null",
        "resolution": "text or null",
        "max_frame_rate": "float or null",
        "title": "text or null",
        "is_live": "boolean",
        "is_test": "boolean",
        "tracks": "json",
        "renditions": "json",
        "master": "json or null",
        "media_updated_at": "time or null",
        "provider_created_at": "time",
        "inserted_at": "time",
        "updated_at": "time",
        "observed_at": "time or null",
        "checked_at": "time or null",
        "check_at": "time or null",
        "version": "bigint",
    },
    "provider_asset_changes": {
        "id": "serial",
        "row_id": "uuid",
        "reference": "text",
        "provider_name": "text",
        "environment": "text",
        "version": "bigint",
        "kind": "text",
        "from_state": "text",
        "to_state": "text",
        "error_kind": "text or null",
        "trigger": "text",
        "reason": "text",
        "at": "time",
        "late_ms": "bigint",
        "webhook_at": "time or null",
    },
}
"""These stay within a major version."""

INTERNAL: Final = {
    *("absent_playback_ids", "begun_at", "check_failures", "decision_log", "dispatch_at"),
    *("dispatch_attempts", "lease_token", "lease_until", "missing_since", "outputs", "position"),
    *("playback_absent_since", "raw_provider_metadata"),
}
"""Columns that rindle-sync may change or drop in any version."""


def promised(table: str) -> dict[str, tuple[str, str, bool]]:
    """Each column: its types on SQLite and PostgreSQL, and whether it may be null."""
    columns = {}
    for name, text in PROMISED[table].items():
        kind, null, _ = text.partition(" or null")
        columns[name] = (*TYPES[kind], bool(null))
    return columns


def type_on(column: sa.Column[object], url: str) -> str:
    return column.type.compile(dialect=sa.make_url(url).get_dialect()()).lower()


@pytest.mark.parametrize("table", PROMISED)
def test_the_code_has_each_promised_column_with_its_type_and_no_other(table: str) -> None:
    found = {
        column.name: (
            type_on(column, "sqlite://"),
            type_on(column, "postgresql+psycopg://"),
            column.nullable,
        )
        for column in metadata.tables[table].columns
        if column.name not in INTERNAL
    }

    assert found == promised(table)
    assert list(found) == list(promised(table))


@pytest.mark.parametrize("table", PROMISED)
def test_the_pages_name_each_promised_column_with_its_type(table: str) -> None:
    lines = []
    for name, (on_sqlite, on_postgresql, may_be_null) in promised(table).items():
        types = ", ".join(f"`{kind}`" for kind in dict.fromkeys((on_sqlite, on_postgresql)))
        lines.append(f"| `{name}` | {types} | {'yes' if may_be_null else 'no'} | ")
    found = re.search(
        rf"^## `{table}`$(.*?)(?=^#|\Z)", REFERENCE.read_text(), re.MULTILINE | re.DOTALL
    )

    assert found
    assert [line for line in lines if f"\n{line}" not in found[1]] == []
    assert f"(reference/tables.md#{table})" in PAGE.read_text()


def test_the_page_names_the_columns_that_are_no_promise() -> None:
    told = PAGE.read_text().partition("These columns may change in any version")[2]

    assert [name for name in sorted(INTERNAL) if f"`{name}`" not in told] == []


@pytest.mark.parametrize("table", PROMISED)
async def test_the_database_has_what_is_promised(tables_url: str, table: str) -> None:
    engine = open_engine(tables_url)
    async with engine.connect() as connection:
        found = await connection.run_sync(lambda session: sa.inspect(session).get_columns(table))
    dialect = engine.dialect
    await engine.dispose()
    there = {c["name"]: (c["type"].compile(dialect).lower(), c["nullable"]) for c in found}

    for name, (on_sqlite, on_postgresql, may_be_null) in promised(table).items():
        kind = on_sqlite if dialect.name == "sqlite" else on_postgresql
        # a serial is a bigint that counts
        assert there[name] == (kind, may_be_null), name
