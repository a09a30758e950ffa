"""What both pages of the admin have in common: they are to be read, and actions are told about."""

from collections.abc import Iterable
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth import get_permission_codename
from django.db.models import QuerySet
from django.http import HttpRequest

from rindle_sync.diagnostics import Explanation, Outcome
from rindle_sync.integrations.django import operating
from rindle_sync.integrations.django.admin_lists import AnyModelAdmin, BoundedPaginator
from rindle_sync.integrations.django.models import ProviderAsset


def lines_of(explanation: Explanation) -> list[dict[str, str]]:
    """The history as the page has it, from the oldest moment on."""
    lines = []
    for moment in explanation.history:
        text = moment.text
        if moment.times > 1:
            text += f", {moment.times} times until {moment.until:%m-%d %H:%M:%S}"
        line = {"kind": moment.kind.value, "when": f"{moment.at:%Y-%m-%d %H:%M:%S}"}
        lines.append(line | {"trigger": moment.trigger, "text": text})
    return lines


class Readable(AnyModelAdmin):
    """A list and a page of each row. Nothing is added or saved here; actions have permissions."""

    show_full_result_count = False
    paginator = BoundedPaginator
    list_per_page = 50
    list_max_show_all = 0
    # each would be a count of all rows
    show_facets = admin.ShowFacets.NEVER
    safe_lookups: Iterable[str] = ()
    """By what an address may filter: with any column it could guess at ids."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody: rows come by `track` and uploads, webhook events from the provider."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody: what is not the provider's truth would be overwritten."""
        return False

    def has_act_permission(self, request: HttpRequest) -> bool:
        """Whether the user may have rows synced and webhook events replayed."""
        opts = ProviderAsset._meta
        names = [get_permission_codename(action, opts) for action in ("sync", "change")]
        user: Any = request.user
        return any(user.has_perm(f"{opts.app_label}.{name}") for name in names)

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Whether an address may filter so."""
        return lookup in self.safe_lookups or lookup.startswith("provider_created_at__")

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """The actions, without Django's own deletion: that would forget half of a row."""
        return {k: v for k, v in super().get_actions(request).items() if k != "delete_selected"}

    def tell(self, request: HttpRequest, outcomes: Iterable[operating.Told]) -> None:
        """Show the user what came of each, alike ones together."""
        together: dict[Outcome, list[str]] = {}
        for told in outcomes:
            together.setdefault(told.outcome, []).append(told.name)
        for outcome, names in together.items():
            shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
            level = messages.SUCCESS if outcome.is_good else messages.ERROR
            # the text first: Django makes the first letter of a message a capital
            self.message_user(request, f"{outcome.text} ({shown})", level)

    def note(
        self,
        request: HttpRequest,
        action: str,
        rows: Iterable[Any],
        outcomes: Iterable[operating.Told],
    ) -> None:
        """Write into Django's history of each row who did what, and what came of it."""
        for row, told in zip(rows, outcomes, strict=True):
            self.log_change(request, row, f"{action}: {told.outcome.text}")

    def is_too_much(self, request: HttpRequest, rows: QuerySet[Any], most: int) -> bool:
        """Whether more than `most` are selected, which the user is told."""
        if len(rows.values_list("pk")[: most + 1]) <= most:
            return False
        text = f"Nothing was done: select at most {most} at once."
        self.message_user(request, text, messages.ERROR)
        return True
