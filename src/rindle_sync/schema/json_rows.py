"""Any number of rows as one bound JSON array, so that the text of a statement never changes."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import JSON, Column, ColumnElement, Table, Text, bindparam, cast, literal_column
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import TableValuedAlias
from sqlalchemy.sql.functions import FunctionElement


def to_json(value: Any) -> str:
    """`value` as JSON text."""
    return msgspec.json.encode(value).decode()


def from_json(text: str) -> Any:
    """JSON text as plain values."""
    return msgspec.json.decode(text)


class _JsonRows(FunctionElement[Any]):
    """One JSON array as a table of its elements, in a column `value`."""

    name = "json_rows"
    inherit_cache = True


@compiles(_JsonRows, "sqlite")
def _json_rows_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **options)})"


@compiles(_JsonRows, "postgresql")
def _json_rows_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    return f"jsonb_array_elements(CAST({compiler.process(element.clauses, **options)} AS JSONB))"


class _Typed(FunctionElement[Any]):
    """A text out of JSON, as the type that the column wants; SQLite takes it as it is."""

    name = "typed"
    inherit_cache = True


@compiles(_Typed, "sqlite")
def _typed_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    text, _ = element.clauses
    return str(compiler.process(text, **options))


@compiles(_Typed, "postgresql")
def _typed_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    _, typed = element.clauses
    return str(compiler.process(typed, **options))


def json_table(parameter: str, alias: str) -> TableValuedAlias:
    """The bound JSON array `parameter` as a table: any number of rows in one statement whose text never changes."""
    return _JsonRows(bindparam(parameter, type_=Text())).table_valued("value", name=alias)


def json_field(rows: TableValuedAlias, column: Column[Any]) -> ColumnElement[Any]:
    """The field of `rows` that is named like `column`, as its type."""
    text: ColumnElement[Any] = rows.c.value.op("->>", return_type=Text())(literal_column(f"'{column.name}'"))
    return _Typed(text, cast(text, column.type))


def json_parameter(rows: Sequence[Mapping[str, Any]], table: Table) -> str:
    """`rows` as the bound value of a `json_table`, each field as text that its column's type can read."""
    return to_json([{name: _as_text(value, table.c[name]) for name, value in row.items()} for row in rows])


def _as_text(value: Any, column: Column[Any]) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(column.type, JSON) and value is not None:
        return to_json(value)
    return value
