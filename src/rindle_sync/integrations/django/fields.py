"""Model fields that read and write what rindle-sync stores, on SQLite and PostgreSQL."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.fields.related_descriptors import ForwardManyToOneDescriptor

from rindle_sync.domain import ProviderAsset as DomainRow
from rindle_sync.domain import as_row_id
from rindle_sync.store.schema.types import utc_text

if TYPE_CHECKING:
    _CharField = models.CharField[Any, Any]
    _DateTimeField = models.DateTimeField[Any, Any]
    _Descriptor = ForwardManyToOneDescriptor[Any]
else:  # generic for type checkers only
    _CharField, _DateTimeField = models.CharField, models.DateTimeField
    _Descriptor = ForwardManyToOneDescriptor


class RowIdField(_CharField):
    """The UUID of a row, as text of 36 characters; `uuid` on PostgreSQL."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["max_length"] = 36
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> Any:
        """The field without its fixed length."""
        name, path, args, kwargs = super().deconstruct()
        del kwargs["max_length"]
        return name, path, args, kwargs

    def db_type(self, connection: Any) -> str:
        """The column type."""
        return "uuid" if connection.vendor == "postgresql" else "varchar(36)"

    def get_prep_value(self, value: Any) -> Any:
        """The id, of a row of rindle-sync, too."""
        value = super().get_prep_value(value.id if isinstance(value, DomainRow) else value)
        if value is None:
            return None
        known = as_row_id(value)
        if known is None:
            raise ValidationError("“%(value)s” is no id of a row.", params={"value": value})
        return known

    def from_db_value(self, value: Any, *_: Any) -> str | None:
        """The id as text."""
        return None if value is None else str(value)


class UtcTimeField(_DateTimeField):
    """A time in UTC to the microsecond, always aware, whatever USE_TZ says."""

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:  # noqa: FBT001, FBT002  Django's signature
        """As our tables have it: text of one width on SQLite."""
        if not prepared:
            value = self.get_prep_value(value)
        if not isinstance(value, datetime):
            return value
        if value.tzinfo is None:
            value = value.replace(tzinfo=ZoneInfo(connection.timezone_name))
        return utc_text(value) if connection.vendor == "sqlite" else value

    def from_db_value(self, value: Any, _expression: Any, connection: Any) -> datetime | None:
        """In UTC."""
        if isinstance(value, datetime) and value.tzinfo is None:
            value = value.replace(tzinfo=ZoneInfo(connection.timezone_name))
        return value.astimezone(UTC) if isinstance(value, datetime) else value

    def get_transform(self, lookup_name: str) -> Any:
        """A part of the time, as in `inserted_at__date`."""
        transform = super().get_transform(lookup_name)
        if transform is None:
            return None
        return lambda column: transform(_Spaced(column))


class _Spaced(models.Func):
    """A time as Django's functions for SQLite read it: with a space in place of our T."""

    arity = 1
    output_field = models.DateTimeField()

    def as_sql(self, compiler: Any, connection: Any, *_: Any, **__: Any) -> Any:
        """The column itself, or on SQLite what is made of it."""
        sql, parameters = compiler.compile(self.source_expressions[0])
        if connection.vendor == "sqlite":
            sql = f"replace({sql}, 'T', ' ')"
        return sql, parameters


class VideoDescriptor(_Descriptor):
    """The row behind a `VideoField`; None where rindle-sync has it no more."""

    def __get__(self, instance: Any, cls: Any = None) -> Any:
        """The row, read once."""
        try:
            return super().__get__(instance, cls)
        except self.field.remote_field.model.DoesNotExist:
            return None

    def __set__(self, instance: Any, value: Any) -> None:
        """Refer to a row; what `rindle.track` returns is one, too."""
        field, model = self.field, self.field.remote_field.model
        if isinstance(value, DomainRow):
            if field.is_cached(instance):
                field.delete_cached_value(instance)
            setattr(instance, field.attname, value.id)
        elif isinstance(value, model):
            # whatever routers say of relations: the rows may be in another database
            setattr(instance, field.attname, value.pk)
            field.set_cached_value(instance, value)
        else:
            super().__set__(instance, value)


class VideoField(models.ForeignKey[Any, Any]):
    """A link of the app's own model to a `ProviderAsset`, without a constraint in the database.

    It may be empty, and is None, too, where the row was untracked: the app's object stays as it is.
    `lesson.video = rindle.track(…)` sets it.
    """

    forward_related_accessor_class = VideoDescriptor

    def __init__(self, to: Any = "rindle_sync.ProviderAsset", **kwargs: Any) -> None:
        # the rows are not deleted by Django, and the app's objects must outlive them
        kwargs["on_delete"] = models.DO_NOTHING
        kwargs |= {"db_constraint": False, "null": True}
        kwargs.setdefault("blank", True)
        super().__init__(to, **kwargs)

    def deconstruct(self) -> Any:
        """The field without what it always has."""
        name, path, args, kwargs = super().deconstruct()
        for fixed in ("on_delete", "db_constraint", "null"):
            kwargs.pop(fixed, None)
        return name, path, args, kwargs
