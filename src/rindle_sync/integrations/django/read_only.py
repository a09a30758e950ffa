"""Models that only read: what rindle-sync decides is written by it alone."""

from typing import Any, Final, NoReturn, Self, cast

from django.db import models
from django.db.models import Q

from rindle_sync.errors import ReadOnly
from rindle_sync.integrations.django import conf


def _refusal(what: str, remedy: str) -> tuple[Any, Any]:
    """A method that raises `ReadOnly`, and an async one."""

    def refuse(self: Any, *_: object, **__: object) -> NoReturn:
        model = getattr(self, "model", None) or type(self)
        raise ReadOnly(f"{model.__name__} is written by rindle-sync alone: {remedy} ({what})")

    async def refuse_async(self: Any, *_: object, **__: object) -> NoReturn:
        refuse(self)

    methods: tuple[Any, Any] = refuse, refuse_async
    for method in methods:
        method.__doc__ = f"Raises `ReadOnly`: {remedy}."
        method.alters_data = True  # templates do not call it
        method.queryset_only = False
    return methods


WRITE: Final = (
    "call rindle.track, rindle.begin_upload or rindle.create_asset for a new row, rindle.replace "
    "for another asset of a row, rindle.sync for its state"
)
REMOVE: Final = "call rindle.untrack for a row, rindle.webhook_events.prune for webhook events"

_create, _acreate = _refusal("create", WRITE)
_update, _aupdate = _refusal("update", WRITE)
_delete, _adelete = _refusal("delete", REMOVE)
_save, _asave = _refusal("save", WRITE)


class ReadOnlyQuerySet(models.QuerySet[Any, Any]):
    """A queryset that writes nothing; every method that would raises `ReadOnly`."""

    create, acreate = _create, _acreate
    bulk_create, abulk_create = _create, _acreate
    get_or_create, aget_or_create = _create, _acreate
    update_or_create, aupdate_or_create = _create, _acreate
    update, aupdate = _update, _aupdate
    bulk_update, abulk_update = _update, _aupdate
    delete, adelete = _delete, _adelete

    def here(self) -> Self:
        """Those of the environments that this project's settings name."""
        return self.filter(_here())

    def in_environment(self, environment: str) -> Self:
        """Those of one environment."""
        return self.filter(environment=environment)


def _here() -> Q:
    found = Q()
    for settings in conf.environments():
        found |= Q(provider_name=settings.provider, environment=settings.environment)
    return found


class ReadOnlyObjects(models.Manager[Any]):
    """Reads the rows of this project's environments, from the database of its settings."""

    def get_queryset(self) -> Any:
        """Those of this project; our indexes begin with provider and environment."""
        queryset = super().get_queryset()
        if self._db is None:
            queryset = queryset.using(conf.database_alias())
        return cast(ReadOnlyQuerySet, queryset).here()


class AllObjects(models.Manager[Any]):
    """Reads the rows of all environments, also of those that another project's settings name."""

    def get_queryset(self) -> Any:
        """All of them."""
        queryset = super().get_queryset()
        return queryset.using(conf.database_alias()) if self._db is None else queryset


class ReadOnlyModel(models.Model):
    """A model that writes nothing: to save or to delete one raises `ReadOnly`."""

    class Meta:
        """Nothing of its own."""

        abstract = True

    save, asave = _save, _asave
    delete, adelete = _delete, _adelete
