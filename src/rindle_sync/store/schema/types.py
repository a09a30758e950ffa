"""Column types that store the same values on both databases."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Integer, String, Text
from sqlalchemy.dialects.postgresql import JSONB, UUID
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

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The column type."""
        return dialect.type_descriptor(
            Text() if dialect.name == "sqlite" else DateTime(timezone=True)
        )

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """To the database."""
        if value is None or dialect.name != "sqlite":
            return value
        return utc_text(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """From the database."""
        if value is None:
            return None
        return datetime.fromisoformat(value) if isinstance(value, str) else value.astimezone(UTC)


class RowId(TypeDecorator[str]):
    """A UUID as text: `uuid` on PostgreSQL, 36 characters on SQLite."""

    impl = String(36)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The column type."""
        return dialect.type_descriptor(
            String(36) if dialect.name == "sqlite" else UUID(as_uuid=False)
        )


Json: Final = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
Serial: Final = BigInteger().with_variant(Integer(), "sqlite")
