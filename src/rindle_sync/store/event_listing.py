"""The webhook events of an environment as a person looks through them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from rindle_sync.domain import EventStatus, WebhookEventSummary, check_limit, cursor_at, place_of
from rindle_sync.store.bounded_scan import Condition, Scan
from rindle_sync.store.inbox import SUMMARY_COLUMNS, read_summary
from rindle_sync.store.repository import Repository
from rindle_sync.store.schema.tables import DEAD_INDEX, webhook_events


@dataclass(frozen=True, slots=True, kw_only=True)
class EventQuery:
    """Which webhook events are listed; None takes all."""

    status: EventStatus | None = None
    since: datetime | None = None
    """Only those received later."""


@dataclass(frozen=True, slots=True)
class ListedEvents:
    """Some webhook events, and the cursor of those behind them."""

    events: tuple[WebhookEventSummary, ...]
    next: str | None = field(default=None, repr=False)
    searched: int | None = None
    """How many events were looked through, where that ended before the page was full."""


_RECEIVED: Final = webhook_events.c.received_at
_NEXT: Final = webhook_events.c.next_attempt_at
# as the condition of the index says it
_IS_DEAD: Final = webhook_events.c.status == sa.literal_column("'dead'")


class EventListing(Repository):
    """Lists webhook events; each page costs the same, however many there are.

    Pending ones come in the order of their next attempts, all others the newest first.
    """

    table = webhook_events

    async def page(
        self, wanted: EventQuery, *, limit: int, after: str | None = None
    ) -> ListedEvents:
        """Up to `limit` events, behind a cursor.

        Where few events fit, a page ends after `SEARCHED` events. Raises `ConfigurationError` for
        a limit or a cursor that is none.
        """
        check_limit(limit)
        question = self._question(wanted)
        place = None if after is None else place_of(after, question)
        found = await self._scan(wanted).page(self, limit, place)
        events = await self.find([event_id for _, event_id in found.lines])
        following = found.next and cursor_at(found.next, question)
        return ListedEvents(events, following, found.searched)

    async def find(self, event_ids: Sequence[str]) -> tuple[WebhookEventSummary, ...]:
        """The events of this environment that have these ids, in their order."""
        is_wanted = webhook_events.c.id.in_(event_ids)
        wanted = sa.select(*SUMMARY_COLUMNS).where(*self.here_by_another_index, is_wanted)
        found = await self.read(wanted) if event_ids else ()
        by_id = {line.id: read_summary(line) for line in found}
        return tuple(by_id[event_id] for event_id in event_ids if event_id in by_id)

    def _question(self, wanted: EventQuery) -> str:
        scope = f"webhook events of {self.provider}/{self.environment}"
        return json.dumps([scope, wanted.status, wanted.since is not None])

    def _scan(self, wanted: EventQuery) -> Scan:
        conditions: list[Condition] = [*self.here]
        others: list[Condition] = []
        is_pending = wanted.status is EventStatus.PENDING
        match wanted.status:
            case None:
                pass
            case EventStatus.PENDING:
                conditions.append(_NEXT.is_not(None))
            case EventStatus.DEAD:
                conditions.append(_IS_DEAD)
            case _:
                others.append(webhook_events.c.status == wanted.status.value)
        if wanted.since:
            is_later = webhook_events.c.received_at > wanted.since
            (others if is_pending else conditions).append(is_later)
        return Scan(
            moment=_NEXT if is_pending else _RECEIVED,
            id=webhook_events.c.id,
            ranges=[conditions],
            index=DEAD_INDEX if wanted.status is EventStatus.DEAD else None,
            others=others,
            is_descending=not is_pending,
        )
