"""Rows as JSON: any number as one parameter of a constant statement, and one as it is read."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from rindle_sync.store.schema.types import JsonValue, UtcTime, utc_text


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


class _AnyOf(FunctionElement[Any]):
    """Whether a column has one of the texts in a JSON array."""

    name = "any_of"
    inherit_cache = True


@compiles(_AnyOf)
def _any_of(element: Any, compiler: Any, **options: Any) -> str:
    column, array = (compiler.process(clause, **options) for clause in element.clauses)
    if compiler.dialect.name == "sqlite":
        return f"{column} IN (SELECT value FROM json_each({array}))"  # noqa: S608
    kind = compiler.dialect.type_compiler_instance.process(next(iter(element.clauses)).type)
    # not joined with a set of unknown size: for that, a small table would be read as a whole
    texts = f"SELECT jsonb_array_elements_text(CAST({array} AS JSONB))"
    return f"{column} = ANY(CAST(ARRAY({texts}) AS {kind}[]))"


class _Document(FunctionElement[Any]):
    """Columns of a table as one JSON object."""

    name = "document"
    inherit_cache = True


@compiles(_Document)
def _document(element: Any, compiler: Any, **options: Any) -> str:
    columns = list(element.clauses)
    if compiler.dialect.name != "sqlite":
        # by their names: a column that an older table lacks is to be missed
        values = ", ".join(compiler.process(column, **options) for column in columns)
        return f"(SELECT CAST(row_to_json(r) AS TEXT) FROM (SELECT {values}) AS r)"  # noqa: S608
    fields = [
        f"'{column.name}', {_value_on_sqlite(column, compiler, **options)}" for column in columns
    ]
    return f"json_object({', '.join(fields)})"


class _Line(FunctionElement[Any]):
    """Columns of a table as one JSON array."""

    name = "line"
    inherit_cache = True


@compiles(_Line)
def _line(element: Any, compiler: Any, **options: Any) -> str:
    if compiler.dialect.name != "sqlite":
        values = compiler.process(element.clauses, **options)
        return f"CAST(json_build_array({values}) AS TEXT)"
    values = ", ".join(_value_on_sqlite(column, compiler, **options) for column in element.clauses)
    return f"json_array({values})"


def _value_on_sqlite(column: Any, compiler: Any, **options: Any) -> str:
    value = str(compiler.process(column, **options))
    if isinstance(column.type, JsonValue):
        return f"json({value})"
    if isinstance(column.type, sa.Boolean):
        return f"json(iif({value}, 'true', 'false'))"
    if isinstance(column.type, sa.Double):
        # else with 15 digits, and a number would differ from itself; not by IS NULL, which is
        # false of a NULL where an UPDATE with a CTE returns it
        exact = f"json(printf('%!.17g', {value}))"
        return f"CASE typeof({value}) WHEN 'real' THEN {exact} ELSE {value} END"
    return value


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


def json_records(
    parameter: str, columns: Sequence[sa.ColumnClause[Any]], alias: str
) -> sa.TableValuedAlias:
    """The JSON objects in the array `parameter` as a table with typed columns, on PostgreSQL."""
    array = sa.cast(sa.bindparam(parameter, type_=sa.Text()), sa.JSON())
    records = sa.func.json_to_recordset(array).table_valued(*columns)
    return records.render_derived(name=alias, with_types=True)


def any_of(column: sa.Column[Any], parameter: str) -> sa.ColumnElement[bool]:
    """Whether `column` has one of the texts in the parameter `parameter`, a JSON array."""
    array = sa.bindparam(parameter, type_=sa.Text())
    return sa.type_coerce(_AnyOf(column, array), sa.Boolean())


def document(columns: Iterable[sa.ColumnElement[Any]]) -> sa.ColumnElement[str]:
    """Columns of a row as the text of one JSON object, which is read faster than they are."""
    return sa.type_coerce(_Document(*columns), sa.Text()).label("document")


def line(columns: Iterable[sa.ColumnElement[Any]]) -> sa.ColumnElement[str]:
    """The same as one JSON array, in the order of `columns`: half the text, read the faster."""
    return sa.type_coerce(_Line(*columns), sa.Text()).label("line")


def once(rows: sa.Select[Any], name: str) -> sa.CTE:
    """`rows`, computed once in a statement: SQLite would parse an element again for each field."""
    return rows.cte(name).prefix_with("MATERIALIZED")


def json_field(rows: sa.FromClause, column: sa.ColumnClause[Any]) -> sa.ColumnElement[Any]:
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
    return [*times, *((c.name, to_json) for c in table.c if isinstance(c.type, JsonValue))]
