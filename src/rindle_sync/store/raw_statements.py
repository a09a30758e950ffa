"""Our statements as text and parameters for a driver, and what the driver finds as rows."""

from collections.abc import Sequence
from functools import cache
from typing import Any, cast

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.engine import Dialect, IteratorResult
from sqlalchemy.engine.result import SimpleResultMetaData

from rindle_sync.store.schema.json_rows import from_json, to_json
from rindle_sync.store.schema.types import JsonValue


class Found(Struct, frozen=True):
    """What a driver found: its lines, and the number of rows that a statement wrote."""

    lines: Sequence[Any] = ()
    rowcount: int = 0


class RawResult(IteratorResult[Any]):
    """A result with the number of rows that were written."""

    rowcount: int = 0


class RawStatement:
    """A statement with its values, compiled for a dialect, with our tables in `schema`."""

    def __init__(
        self, statement: sa.Executable, values: Any, dialect: Dialect, schema: str | None = None
    ) -> None:
        self._statement = cast(Any, statement)
        self._dialect = dialect
        sets = values if isinstance(values, list) else [values or {}]
        options: dict[str, Any] = {"dialect": dialect, "column_keys": list(sets[0]) or None}
        if schema:
            options |= {"schema_translate_map": {None: schema}, "render_schema_translate": True}
        self._compiled: Any = self._statement.compile(**options)
        self.sql = ""
        self.parameters: list[Any] = []
        for given in sets:
            state = self._compiled.construct_expanded_state(given)
            self.sql = state.statement
            processed = self._processed(state)
            self.parameters.append(
                [processed[name] for name in state.positiontup] if state.positiontup else processed
            )

    def _processed(self, state: Any) -> dict[str, Any]:
        """The parameters as the driver takes them."""
        names = dict.fromkeys(state.parameters)
        sources = {name: name for name in names}
        for source, expanded in state.parameter_expansion.items():
            sources |= dict.fromkeys(expanded, source)
        processed = {}
        for name, value in state.parameters.items():
            bound = self._compiled.binds[sources[name]]
            processor = bound.type.dialect_impl(self._dialect).bind_processor(self._dialect)
            processed[name] = processor(value) if processor else value
        return processed

    def result(self, found: Found) -> RawResult:
        """What the driver found, with the types of the columns."""
        columns = list(getattr(self._statement, "exported_columns", ()))
        reads = [_reader(column.type, self._dialect) for column in columns]
        rows = [
            tuple(read(value) for read, value in zip(reads, line, strict=True))
            for line in found.lines
        ]
        names = [column.key for column in columns]
        result = RawResult(SimpleResultMetaData(names), iter(rows))
        result.rowcount = found.rowcount
        return result


def _reader(kind: Any, dialect: Dialect) -> Any:
    processor = kind.dialect_impl(dialect).result_processor(dialect, None)
    if processor is None:
        return lambda value: value
    if isinstance(kind, JsonValue):
        # a driver may have decoded it already
        return lambda value: processor(value) if isinstance(value, str | bytes) else value
    return processor


@cache
def dialect_of(backend: str, paramstyle: str | None = None) -> Dialect:
    """How SQLAlchemy writes a statement for a database, without any driver."""
    options: dict[str, Any] = {"json_serializer": to_json, "json_deserializer": from_json}
    if backend == "sqlite":
        from sqlalchemy.dialects.sqlite.base import SQLiteDialect

        return SQLiteDialect(**options, paramstyle=paramstyle or "named")
    from sqlalchemy.dialects.postgresql.base import PGDialect

    postgresql: Any = PGDialect
    dialect: Dialect = postgresql(**options, paramstyle=paramstyle or "pyformat")
    return dialect


def insert_into(table: sa.Table, dialect: str) -> Any:
    """An insert of this database, which can leave out a row that conflicts with another."""
    if dialect == "sqlite":
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(table)
