"""Any number of rows as one JSON parameter, so that the text of a statement never changes."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import (
    CTE,
    JSON,
    Column,
    ColumnElement,
    FromClause,
    Select,
    Table,
    Text,
    bindparam,
    cast,
    literal_column,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import TableValuedAlias
from sqlalchemy.sql.functions import FunctionElement

from rindle_sync.store.schema.types import UtcTime, utc_text


def to_json(value: Any) -> str:
    """`value` as JSON text."""
    return msgspec.json.encode(value).decode()


def from_json(text: str) -> Any:
    """JSON text as plain values."""
    return msgspec.json.decode(text)


class _JsonRows(FunctionElement[Any]):
    """The elements of one JSON array as rows with a column `value`."""

    name = "json_rows"
    inherit_cache = True


@compiles(_JsonRows, "sqlite")
def _json_rows_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **options)})"


@compiles(_JsonRows, "postgresql")
def _json_rows_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    return f"jsonb_array_elements(CAST({compiler.process(element.clauses, **options)} AS JSONB))"


class _Typed(FunctionElement[Any]):
    """A text from JSON, cast to the type of a column; SQLite needs no cast."""

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
    """The JSON array in the parameter `parameter` as a table."""
    return _JsonRows(bindparam(parameter, type_=Text())).table_valued("value", name=alias)


def once(rows: Select[Any], name: str) -> CTE:
    """`rows`, computed once in a statement: SQLite would parse an element again for each field."""
    return rows.cte(name).prefix_with("MATERIALIZED")


def json_field(rows: FromClause, column: Column[Any]) -> ColumnElement[Any]:
    """The field of JSON `rows` with the name and the type of `column`."""
    text: ColumnElement[Any] = rows.c.value.op("->>", return_type=Text())(
        literal_column(f"'{column.name}'")
    )
    return _Typed(text, cast(text, column.type))


def json_parameter(rows: Sequence[Mapping[str, Any]], table: Table) -> str:
    """`rows` as the value of a `json_table` parameter; times and JSON columns are sent as text."""
    sent = []
    for row in rows:
        values = dict(row)
        for name, text in _texts(table):
            if values.get(name) is not None:
                values[name] = text(values[name])
        sent.append(values)
    return to_json(sent)


@cache
def _texts(table: Table) -> Sequence[tuple[str, Callable[[Any], str]]]:
    """The columns of `table` whose values are sent as text, and the functions that format them."""
    times = [(c.name, utc_text) for c in table.c if isinstance(c.type, UtcTime)]
    return [*times, *((c.name, to_json) for c in table.c if isinstance(c.type, JSON))]
