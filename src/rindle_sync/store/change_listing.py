"""The changes of an environment as a person looks through them, the newest first."""

import json
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from rindle_sync.domain import State, Trigger, check_limit, cursor_at, place_of
from rindle_sync.store.bounded_scan import Condition, Scan
from rindle_sync.store.lines import Change, read_change
from rindle_sync.store.repository import Repository
from rindle_sync.store.schema.tables import changes
from rindle_sync.store.statistics import FOUND_BY, IS_AWAITED, IS_MISSED, IS_REPORTED


class WebhookOutcome(StrEnum):
    """What became of the webhook of a change that a check found first."""

    LATE = "late"
    """It came after the check."""
    MISSED = "missed"
    """It has not come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeQuery:
    """Which changes are listed; None takes all."""

    since: datetime
    """Only later ones."""
    until: datetime
    """Only those up to then."""
    trigger: Trigger | None = None
    to_state: State | None = None
    webhook: WebhookOutcome | None = None
    final_before: datetime
    """The webhook of a later change may still come: it is not missed yet."""
    never_reported: State | None = None
    """No webhook reports changes to this state."""


@dataclass(frozen=True, slots=True)
class ListedChanges:
    """Some changes, and the cursor of those behind them."""

    changes: tuple[Change, ...]
    next: str | None = field(default=None, repr=False)
    searched: int | None = None
    """How many changes were looked through, where that ended before the page was full."""


_CAME_LATE: Final = changes.c.webhook_at.is_not(None) & (changes.c.trigger != Trigger.WEBHOOK.value)


class ChangeListing(Repository):
    """Lists changes; each page costs the same, however many changes there are."""

    table = changes

    async def page(
        self, wanted: ChangeQuery, *, limit: int, after: str | None = None
    ) -> ListedChanges:
        """Up to `limit` changes, behind a cursor.

        Where few changes fit, a page ends after `SEARCHED` changes. Raises `ConfigurationError`
        for a limit or a cursor that is none.
        """
        check_limit(limit)
        question = self._question(wanted)
        place: Any = None
        if after is not None:
            at, number = place_of(after, question)
            place = at, UUID(number).int % 2**63
        values: dict[str, Any] = {}
        if wanted.webhook:
            values = {"settled_by": wanted.final_before, "never_reported": wanted.never_reported}
        found = await self._scan(wanted).page(self, limit, place, values)
        listed = await self._changes([number for _, number in found.lines])
        following = None
        if found.next:
            at, last = found.next
            following = cursor_at((at, str(UUID(int=last))), question)
        return ListedChanges(listed, following, found.searched)

    async def _changes(self, numbers: list[int]) -> tuple[Change, ...]:
        wanted = sa.select(changes).where(changes.c.id.in_(numbers))
        found = await self.read(wanted) if numbers else ()
        by_number = {line.id: read_change(line) for line in found}
        # one that was just pruned is left out
        return tuple(by_number[number] for number in numbers if number in by_number)

    def _question(self, wanted: ChangeQuery) -> str:
        scope = f"changes of {self.provider}/{self.environment}"
        return json.dumps([scope, wanted.trigger, wanted.to_state, wanted.webhook])

    def _scan(self, wanted: ChangeQuery) -> Scan:
        others: list[Condition] = []
        if wanted.trigger:
            others.append(changes.c.trigger == wanted.trigger.value)
        if wanted.to_state:
            others.append(changes.c.to_state == wanted.to_state.value)
        if wanted.webhook:
            is_such = IS_MISSED if wanted.webhook is WebhookOutcome.MISSED else _CAME_LATE
            others += [IS_REPORTED, ~IS_AWAITED, changes.c.trigger.in_(FOUND_BY), is_such]
        between = changes.c.at > wanted.since, changes.c.at <= wanted.until
        return Scan(
            moment=changes.c.at, id=changes.c.id, ranges=[(*self.here, *between)], others=others
        )
