"""Any number of rows as one JSON parameter, so that the text of a statement never changes."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from rindle_sync.store.schema.types import UtcTime, utc_text


def to_json(value: Any) -> str:
    """`value` as JSON text."""
    return msgspec.json.encode(value).decode()


from_json: Final = msgspec.json.decode


class _JsonRows(FunctionElement[Any]):
    """The elements of one JSON array as rows with a column `value`."""

    name = "json_rows"
    inherit_cache = True


@compiles(_JsonRows)
def _json_rows(element: Any, compiler: Any, **options: Any) -> str:
    array = compiler.process(element.clauses, **options)
    if compiler.dialect.name == "sqlite":
        return f"json_each({array})"
    return f"jsonb_array_elements(CAST({array} AS JSONB))"


class _Typed(FunctionElement[Any]):
    """A text from JSON, cast to the type of a column; SQLite needs no cast."""

    name = "typed"
    inherit_cache = True


@compiles(_Typed)
def _typed(element: Any, compiler: Any, **options: Any) -> str:
    text, typed = element.clauses
    needed = text if compiler.dialect.name == "sqlite" else typed
    return str(compiler.process(needed, **options))


def json_table(parameter: str, alias: str) -> sa.TableValuedAlias:
    """The JSON array in the parameter `parameter` as a table."""
    return _JsonRows(sa.bindparam(parameter, type_=sa.Text())).table_valued("value", name=alias)


def once(rows: sa.Select[Any], name: str) -> sa.CTE:
    """`rows`, computed once in a statement: SQLite would parse an element again for each field."""
    return rows.cte(name).prefix_with("MATERIALIZED")


def json_field(rows: sa.FromClause, column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    """The field of JSON `rows` with the name and the type of `column`."""
    text: sa.ColumnElement[Any] = rows.c.value.op("->>", return_type=sa.Text())(
        sa.literal_column(f"'{column.name}'")
    )
    return _Typed(text, sa.cast(text, column.type))


def json_parameter(rows: Sequence[Mapping[str, Any]], table: sa.Table) -> str:
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
def _texts(table: sa.Table) -> Sequence[tuple[str, Callable[[Any], str]]]:
    """The columns of `table` whose values are sent as text, and the functions that format them."""
    times = [(c.name, utc_text) for c in table.c if isinstance(c.type, UtcTime)]
    return [*times, *((c.name, to_json) for c in table.c if isinstance(c.type, sa.JSON))]
