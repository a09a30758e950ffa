"""How the admin's lists are filtered, searched and counted: a million rows are no more work.

Every statement is in one environment, since the indexes are.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

from rindle_sync.domain import ErrorKind, EventStatus, State, as_row_id, is_text
from rindle_sync.integrations.django import conf
from rindle_sync.integrations.django.models import ProviderAsset, WebhookEvent

# generic for a type checker alone
if TYPE_CHECKING:
    AnyPaginator = Paginator[Any]
    AnyModelAdmin = admin.ModelAdmin[Any]
else:
    AnyPaginator, AnyModelAdmin = Paginator, admin.ModelAdmin

MOST_LISTED: Final = 2_000
"""How many rows a list leads to by its pages: the newest. A filter or a search finds the others."""

MOST_FOUND: Final = 100
"""How many rows a search finds by each of the ids it looks at."""

_NOT_LISTED: Final = ("raw_provider_metadata", "decision_log", "tracks", "renditions", "master")
_NAMES: Final = ("provider_asset_id", "provider_upload_id")


class BoundedPaginator(AnyPaginator):
    """Counts no further than `MOST_LISTED`: to count all would read them all."""

    @cached_property
    def count(self) -> int:
        """The number of rows, or `MOST_LISTED` where there are more."""
        rows = self.object_list
        return rows[:MOST_LISTED].count() if isinstance(rows, QuerySet) else len(rows)


class EnvironmentFilter(admin.SimpleListFilter):
    """One environment, always: by default the first."""

    title = "environment"
    parameter_name = "environment"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The environments of the settings."""
        return [(own.environment, own.environment) for own in conf.environments()]

    def has_output(self) -> bool:
        """Also where there is only one: without it no index fits."""
        return True

    def value(self) -> str | None:
        """The chosen environment."""
        names = [str(name) for name, _ in self.lookup_choices]
        wanted = super().value()
        return wanted if wanted in names else next(iter(names), None)

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        """Each environment, and none for all of them."""
        for name, title in self.lookup_choices:
            yield {
                "selected": self.value() == str(name),
                "query_string": changelist.get_query_string({self.parameter_name: name}),
                "display": title,
            }

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows in it."""
        chosen = self.value()
        for own in conf.environments():
            if own.environment == chosen:
                # the indexes begin with both
                queryset = queryset.filter(provider_name=own.provider)
        return queryset.filter(environment=chosen)


class WordFilter(admin.SimpleListFilter):
    """One of the words that a column may hold; an unknown one finds nothing."""

    words: Iterable[str] = ()

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The words."""
        return [(str(word), str(word)) for word in self.words]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows with the word, or all."""
        word = self.value()
        return queryset.filter(**{self.parameter_name or "": word}) if word else queryset


class StateFilter(WordFilter):
    """Rows in one state."""

    title, parameter_name, words = "state", "state", State


class ErrorKindFilter(WordFilter):
    """Rows errored for one kind of reason."""

    title, parameter_name, words = "kind of error", "error_kind", ErrorKind


class ProfileFilter(WordFilter):
    """Rows of one profile; those of the newest rows are offered, and an address may name any."""

    title, parameter_name = "profile", "profile"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The profiles of the newest rows: to look at every row would take too long."""
        newest = model_admin.get_queryset(request).order_by("-provider_created_at")
        names = newest.values_list("profile", flat=True)[:MOST_LISTED]
        return [(name, name) for name in sorted(set(names))]


class StatusFilter(WordFilter):
    """Webhook events with one status."""

    title, parameter_name, words = "status", "status", EventStatus


def found(rows: QuerySet[Any], name: str) -> QuerySet[Any]:
    """The rows that `name` names exactly: a reference, our id, or an id of the provider."""
    name = name.strip()
    if not is_text(name):
        return rows.none()
    ids: set[Any] = set()
    # one statement for each index: an `or` of them would use none
    for column in ("reference", *_NAMES):
        named = rows.order_by().filter(**{column: name})
        ids.update(named.values_list("pk", flat=True)[:MOST_FOUND])
    if known := as_row_id(name):
        ids.add(known)
    return rows.filter(pk__in=ids)


def with_rows(events: Iterable[WebhookEvent]) -> list[WebhookEvent]:
    """The webhook events, each with the row that it is about as `row`, by two statements more."""
    listed = list(events)
    rows: dict[tuple[str, str, str], ProviderAsset] = {}
    all_rows = ProviderAsset.objects.defer(*_NOT_LISTED)
    for column in _NAMES:
        names = {getattr(event, column) for event in listed} - {None}
        for row in all_rows.filter(**{f"{column}__in": names}) if names else ():
            rows[row.environment, column, getattr(row, column)] = row
    for event in listed:
        named = [rows.get((event.environment, name, getattr(event, name))) for name in _NAMES]
        event.row = next(filter(None, named), None)  # type: ignore[attr-defined]
    return listed


class RowList(ChangeList):
    """A list of rows without what it does not show, of which each may have many kilobytes."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        """The rows; an action reads them whole, by `defer(None)`."""
        return super().get_queryset(request, exclude_parameters).defer(*_NOT_LISTED)


class EventList(ChangeList):
    """A list of webhook events that knows their rows."""

    def get_results(self, request: HttpRequest) -> None:
        """The events of one page."""
        super().get_results(request)
        self.result_list = with_rows(self.result_list)
