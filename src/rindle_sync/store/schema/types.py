"""Column types that store the same values on both databases."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator, TypeEngine


def utc_text(moment: datetime) -> str:
    """`moment` in UTC as text of one width."""
    return _text(moment.astimezone(UTC))


@lru_cache(maxsize=256)
def _text(moment: datetime) -> str:
    # cached, since the rows of a batch share most of their times
    return moment.isoformat(timespec="microseconds")


class UtcTime(TypeDecorator[datetime]):
    """UTC to the microsecond: `timestamptz`, or on SQLite text of one width that sorts by time."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> TypeEngine[Any]:
        """The column type."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(sa.Text())
        return dialect.type_descriptor(sa.DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> Any:
        """To the database."""
        if value is None or dialect.name != "sqlite":
            return value
        return utc_text(value)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime | None:
        """From the database."""
        if value is None:
            return None
        moment: datetime = datetime.fromisoformat(value) if isinstance(value, str) else value
        # SQLite's own datetime('now'), with which somebody may have set it, is UTC without saying
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


class RowId(TypeDecorator[str]):
    """A UUID as text: `uuid` on PostgreSQL, 36 characters on SQLite."""

    impl = sa.String(36)
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> TypeEngine[Any]:
        """The column type."""
        return dialect.type_descriptor(
            sa.String(36) if dialect.name == "sqlite" else sa.UUID(as_uuid=False)
        )


class JsonValue(TypeDecorator[Any]):
    """Any value of JSON: `jsonb` on PostgreSQL, text on SQLite."""

    impl = sa.JSON(none_as_null=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> TypeEngine[Any]:
        """The column type."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(sa.JSON(none_as_null=True))
        # a process on SQLite needs none of what SQLAlchemy has for PostgreSQL
        from sqlalchemy.dialects.postgresql import JSONB

        return dialect.type_descriptor(JSONB(none_as_null=True))


Json: Final = JsonValue()
Serial: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
