"""The admin: rows and webhook events to look at, and what an operator may have done to them.

Django's own permissions of a video decide: `view` sees rows, `sync` or `change` has them synced and
webhook events replayed, `delete` untracks them; `view` of a webhook event sees those.
"""

from datetime import timedelta
from typing import Any, Final, cast

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html

from rindle_sync.domain import ago, many, moment_of, redact_id, span_of
from rindle_sync.errors import RindleSyncError
from rindle_sync.integrations.django import operating
from rindle_sync.integrations.django.admin_base import Readable, lines_of
from rindle_sync.integrations.django.admin_lists import (
    EnvironmentFilter,
    ErrorKindFilter,
    EventList,
    ProfileFilter,
    RowList,
    StateFilter,
    StatusFilter,
    found,
    with_rows,
)
from rindle_sync.integrations.django.models import ProviderAsset, WebhookEvent
from rindle_sync.integrations.django.non_atomic import non_atomic_requests

MOST_SYNCED: Final = 20
"""Rows that are synced at once: each is a call to the provider, for which a browser waits."""

MOST_UNTRACKED: Final = 100
"""Rows that are untracked at once: it cannot be undone, and the page that asks names each."""

MOST_REPLAYED: Final = 500
"""Webhook events that are replayed at once."""


@admin.register(ProviderAsset)
class AssetAdmin(Readable):
    """The rows: `media_provider_assets`."""

    list_display = (
        *("shown_reference", "shown_state", "shown_error", "age", "checked", "next_check"),
        "profile",
    )
    list_filter = (
        *(StateFilter, ErrorKindFilter, EnvironmentFilter, ProfileFilter),
        ("provider_created_at", admin.DateFieldListFilter),
    )
    safe_lookups = ("state", "error_kind", "environment", "profile")
    ordering = ("-provider_created_at", "-id")
    sortable_by = ()
    search_fields = ("reference",)
    search_help_text = "A whole reference, a row id, or an id of the provider."
    actions = ("sync_now", "untrack")
    change_form_template = "rindle_sync/admin/row.html"
    fieldsets = (
        (None, {"fields": ("shown_reference", "profile", "environment", "shown_state")}),
        ("Provider", {"fields": ("provider_name", "tag", "shown_error", "ingest_mode")}),
        ("Times", {"fields": ("changed_at", "checked_at_text", "created_at", "inserted")}),
        ("Media", {"fields": ("duration", "aspect_ratio", "resolution", "is_live", "is_test")}),
    )

    # what is shown

    @admin.display(description="reference")
    def shown_reference(self, row: ProviderAsset) -> str:
        """The app's own id, a provider's id in it redacted."""
        return row.shown_reference

    @admin.display(description="state")
    def shown_state(self, row: ProviderAsset) -> str:
        """The state, and why it is errored."""
        return f"{row.state}: {row.error_kind}" if row.error_kind else row.state

    @admin.display(description="error", empty_value="")
    def shown_error(self, row: ProviderAsset) -> str:
        """What went wrong; it was scrubbed as it was stored."""
        return row.last_sync_error or ""

    @admin.display(description="changed")
    def age(self, row: ProviderAsset) -> str:
        """How long ago it changed."""
        return ago(row.updated_at, timezone.now())

    @admin.display(description="checked")
    def checked(self, row: ProviderAsset) -> str:
        """How long ago the provider answered about it."""
        return ago(row.checked_at, timezone.now())

    @admin.display(description="next check")
    def next_check(self, row: ProviderAsset) -> str:
        """When it is asked about next."""
        if row.check_at is None:
            return "none: settled"
        wait = row.check_at - timezone.now()
        return f"in {span_of(wait)}" if wait > timedelta(0) else "due"

    @admin.display(description="asset at the provider", empty_value="none yet")
    def tag(self, row: ProviderAsset) -> str | None:
        """The redacted provider id."""
        return row.tag

    @admin.display(description="changed at")
    def changed_at(self, row: ProviderAsset) -> str:
        """The last real change."""
        return moment_of(row.updated_at)

    @admin.display(description="last answered check")
    def checked_at_text(self, row: ProviderAsset) -> str:
        """The last check that was answered."""
        return moment_of(row.checked_at)

    @admin.display(description="created at the provider")
    def created_at(self, row: ProviderAsset) -> str:
        """When the provider created the asset."""
        return moment_of(row.provider_created_at)

    @admin.display(description="tracked since")
    def inserted(self, row: ProviderAsset) -> str:
        """When the row was made."""
        return moment_of(row.inserted_at)

    # lists and pages

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[RowList]:
        """A list that reads what it shows."""
        return RowList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """The rows that the term names exactly."""
        return (found(queryset, search_term) if search_term else queryset), False

    @non_atomic_requests
    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        """The list; its actions call the provider, so no transaction is held open for them."""
        return super().changelist_view(request, extra_context)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """The page of one row: its facts, what to do, its history, and the buttons."""
        shown: dict[str, Any] = {
            "may_act": self.has_act_permission(request),
            "may_untrack": self.has_delete_permission(request),
            "show_delete": False,
        }
        row = self.get_object(request, unquote(object_id))
        if row is not None and self.has_view_permission(request, row):
            try:
                found = operating.explanation(row)
                shown |= {"explanation": found, "history": lines_of(found)}
            except RindleSyncError as error:
                self.message_user(request, f"The history cannot be shown: {error}", messages.ERROR)
            if shown["may_act"] and request.GET.get("show") == "provider-ids":
                self.log_change(request, row, "Provider ids shown.")
                shown["provider_ids"] = operating.provider_ids(row)
        return super().change_view(request, object_id, form_url, shown | (extra_context or {}))

    def get_urls(self) -> list[URLPattern]:
        """Django's, and that of the button "Sync now"."""
        name = f"{self.opts.app_label}_{self.opts.model_name}_sync"
        view = self.admin_site.admin_view(self.sync_view)
        return [path("<path:object_id>/sync/", view, name=name), *super().get_urls()]

    # actions

    @admin.action(description="Sync now (asks the provider)", permissions=["act"])
    def sync_now(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Have each selected row asked about."""
        if not self.is_too_much(request, queryset, MOST_SYNCED):
            rows = list(queryset.defer(None))
            outcomes = list(operating.synced(rows))
            self.tell(request, outcomes)
            self.note(request, "Sync now", rows, outcomes)

    @non_atomic_requests
    def sync_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Have one row asked about, and show its page again."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        row = self._named(request, object_id)
        if not self.has_act_permission(request):
            raise PermissionDenied
        if row is None:
            return self._to_list(request)
        self.sync_now(request, self.model._default_manager.filter(pk=row.pk))
        return HttpResponseRedirect(self._address("change", row.pk))

    @admin.action(description="Untrack …", permissions=["delete"])
    def untrack(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Forget the selected rows, after a page that asks."""
        if self.is_too_much(request, queryset, MOST_UNTRACKED):
            return None
        rows = list(queryset.defer(None))
        if not request.POST.get("confirmed"):
            return self._confirmation(request, rows)
        self._forget(request, rows)
        return None

    @non_atomic_requests
    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> Any:
        """Forget one row, after a page that asks."""
        row = self._named(request, object_id)
        if not self.has_delete_permission(request, row):
            raise PermissionDenied
        if row is None:
            return self._to_list(request)
        if request.method != "POST":
            return self._confirmation(request, [row])
        self._forget(request, [row])
        return self._to_list(request)

    def _named(self, request: HttpRequest, object_id: str) -> ProviderAsset | None:
        row = self.get_object(request, unquote(object_id))
        if row is None:
            self.message_user(request, "This row does not exist any more.", messages.WARNING)
        return row

    def _forget(self, request: HttpRequest, rows: list[ProviderAsset]) -> None:
        outcomes = list(operating.untracked(rows))
        gone = [row for row, told in zip(rows, outcomes, strict=True) if told.outcome.is_good]
        self.log_deletions(request, cast(Any, gone))
        self.tell(request, outcomes)

    def _confirmation(self, request: HttpRequest, rows: list[ProviderAsset]) -> TemplateResponse:
        shown = self.admin_site.each_context(request) | {
            "title": f"Untrack {many(len(rows), 'row')}?",
            "opts": self.opts,
            "rows": rows,
            "is_selection": "action" in request.POST,
            "media": self.media,
            "cancel_url": self._address("changelist"),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "rindle_sync/admin/untrack.html", shown)

    def _to_list(self, request: HttpRequest) -> HttpResponse:
        del request
        return HttpResponseRedirect(self._address("changelist"))

    def _address(self, page: str, *arguments: Any) -> str:
        name = f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_{page}"
        return reverse(name, args=arguments, current_app=self.admin_site.name)


@admin.register(WebhookEvent)
class WebhookEventAdmin(Readable):
    """The stored webhook events, without their bodies."""

    list_display = ("received", "type", "about", "status", "attempts", "reason")
    list_filter = (StatusFilter, EnvironmentFilter)
    safe_lookups = ("status", "environment")
    ordering = ("-received_at", "-id")
    sortable_by = ()
    actions = ("replay",)
    fields = ("received", "occurred", "type", "about", "status", "attempts", "reason", "next")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody: an event that is sent again would be applied again."""
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """The events, without their bodies: each may have a megabyte."""
        return super().get_queryset(request).defer("body", "headers")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[EventList]:
        """A list that knows the rows of its events."""
        return EventList

    def get_object(self, request: HttpRequest, object_id: str, from_field: Any = None) -> Any:
        """The event, with the row that it is about."""
        event = super().get_object(request, object_id, from_field)
        return with_rows([event])[0] if event else None

    @admin.display(description="received (UTC)")
    def received(self, event: WebhookEvent) -> str:
        """When it came in."""
        return moment_of(event.received_at)

    @admin.display(description="occurred (UTC)")
    def occurred(self, event: WebhookEvent) -> str:
        """When it happened, as the provider says."""
        return moment_of(event.occurred_at)

    @admin.display(description="next attempt")
    def next(self, event: WebhookEvent) -> str:
        """When it is applied or tried again."""
        return moment_of(event.next_attempt_at) if event.next_attempt_at else "none"

    @admin.display(description="row", empty_value="")
    def about(self, event: WebhookEvent) -> str:
        """The row that it is about; the redacted provider id where there is none."""
        row = getattr(event, "row", None)
        if row is None:
            return redact_id(event.provider_asset_id or event.provider_upload_id) or ""
        name = f"{self.admin_site.name}:{row._meta.app_label}_{row._meta.model_name}_change"
        address = reverse(name, args=[row.pk], current_app=self.admin_site.name)
        return format_html('<a href="{}">{}</a>', address, row.shown_reference)

    @non_atomic_requests
    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        """The list."""
        return super().changelist_view(request, extra_context)

    @admin.action(description="Replay selected webhook events", permissions=["act"])
    def replay(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Have each selected event applied again."""
        if not self.is_too_much(request, queryset, MOST_REPLAYED):
            events = list(queryset)
            outcomes = list(operating.replayed(events))
            self.tell(request, outcomes)
            self.note(request, "Replay", events, outcomes)
