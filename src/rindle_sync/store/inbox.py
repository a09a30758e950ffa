"""The stored webhook events: each is stored once, leased while pending, and gets its outcome."""

import asyncio
from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from rindle_sync.domain import EventStatus, StoredEvent, WebhookEvent, WebhookEventSummary
from rindle_sync.store.database import (
    Repository,
    claim_statement,
    clock,
    has_come,
    outcome_statement,
)
from rindle_sync.store.schema.engine import STATEMENT_SECONDS
from rindle_sync.store.schema.json_rows import json_parameter
from rindle_sync.store.schema.tables import webhook_events

_FIELDS: Final = tuple(field.name for field in fields(WebhookEvent))
_SIZE: Final = sa.func.length(webhook_events.c.body)
SUMMARY_COLUMNS: Final = (
    *(webhook_events.c[field.name] for field in fields(StoredEvent)),
    _SIZE.label("size"),
)
_OUTCOME: Final = ("status", "attempts", "next_attempt_at", "reason")
_IS_DUE: Final = has_come(webhook_events.c.next_attempt_at)
_CLAIM: Final = claim_statement(webhook_events, _IS_DUE, first=[webhook_events.c.next_attempt_at])
_OUTCOMES: Final = outcome_statement(webhook_events, _OUTCOME)


class Inbox(Repository):
    """The stored webhook events."""

    table = webhook_events

    def __init__(self, *of: Any) -> None:
        super().__init__(*of)
        self._storing: set[asyncio.Future[bool]] = set()

    def storing(self, webhook_event: WebhookEvent) -> "asyncio.Future[bool]":
        """`add` as a task that goes on when its caller stops waiting; `finish` waits for it."""
        task = asyncio.ensure_future(self.add(webhook_event))
        self._storing.add(task)

        def ended(task: "asyncio.Future[bool]") -> None:
            self._storing.discard(task)
            # read, so that asyncio does not log it: the sender was answered to try again
            if not task.cancelled():
                task.exception()

        task.add_done_callback(ended)
        return task

    async def finish(self, within: timedelta) -> None:
        """Wait up to `within` for `storing`, then cancel it; to be called before `close`."""
        if not self._storing:
            return
        _, late = await asyncio.wait(self._storing, timeout=within.total_seconds())
        for task in late:
            task.cancel()
        if late:  # a cancelled aiosqlite task ends with its statement; cancelled twice, it hangs
            await asyncio.wait(late, timeout=STATEMENT_SECONDS)

    async def add(self, webhook_event: WebhookEvent) -> bool:
        """Store an event; False if the event id is stored already, whatever it said then."""
        values = {name: getattr(webhook_event, name) for name in _FIELDS}
        # PostgreSQL would log a failed insert with the provider's event id
        return await self.execute(self.insert_once(), values) > 0

    async def claim(
        self, *, now: datetime, token: str, until: datetime, limit: int
    ) -> list[WebhookEvent]:
        """Lease up to `limit` due events in one statement; in the order in which they occurred."""
        values = self.parameters | clock(now) | {"until": until, "most": limit}
        claimed = []
        for row in await self.lease(_CLAIM, token, values):
            event = {name: getattr(row, name) for name in _FIELDS}
            event |= {"status": EventStatus(row.status), "headers": row.headers or {}}
            claimed.append(WebhookEvent(**event))
        return sorted(claimed, key=lambda e: (e.occurred_at or e.received_at, e.received_at))

    async def end(self, ended: Sequence[WebhookEvent], token: str) -> None:
        """Write the outcome of events that are leased under `token`, in one statement."""
        names = ("id", *_OUTCOME)
        rows = [{name: getattr(event, name) for name in names} for event in ended]
        values = {"rows": json_parameter(rows, webhook_events), "held": token}
        await self.execute(_OUTCOMES, values)

    async def get(self, webhook_event_id: str) -> WebhookEventSummary | None:
        """The event with this id."""
        wanted = webhook_events.c.id == webhook_event_id
        found = await self.read(sa.select(*SUMMARY_COLUMNS).where(wanted))
        return read_summary(found[0]) if found else None

    async def list(
        self, *, status: EventStatus | None = None, limit: int = 50
    ) -> list[WebhookEventSummary]:
        """The newest `limit` events, of one status or of all."""
        wanted = sa.select(*SUMMARY_COLUMNS).where(*self.here)
        if status:
            wanted = wanted.where(webhook_events.c.status == status.value)
        newest = wanted.order_by(webhook_events.c.received_at.desc()).limit(limit)
        return [read_summary(found) for found in await self.read(newest)]

    async def replay(self, now: datetime, *, webhook_event_id: str | None = None) -> int:
        """Make one event, or all dead ones, pending again; the number of them.

        Ignored events and those whose body was pruned stay as they are.
        """
        wanted = webhook_events.c.status == EventStatus.DEAD.value
        if webhook_event_id:
            wanted = webhook_events.c.id == webhook_event_id
        is_ignored = webhook_events.c.status == EventStatus.IGNORED.value
        again = sa.update(webhook_events).where(*self.here, wanted, ~is_ignored, _SIZE > 0)
        status = EventStatus.PENDING.value
        return await self.execute(
            again.values(status=status, attempts=0, next_attempt_at=now, reason=None)
        )

    async def prune(self, *, ended_before: datetime, dead_before: datetime) -> int:
        """Empty the bodies of old events; the number of them.

        The event ids stay, so that an event that is delivered again is not applied twice.
        """
        status, received_at = webhook_events.c.status, webhook_events.c.received_at
        ended = status.in_([EventStatus.APPLIED.value, EventStatus.IGNORED.value])
        old = sa.or_(
            (status == EventStatus.DEAD.value) & (received_at < dead_before),
            ended & (received_at < ended_before),
        )
        emptied = sa.update(webhook_events).where(*self.here, old, _SIZE > 0)
        return await self.execute(emptied.values(body=b"", headers=None))


def read_summary(found: sa.Row[Any]) -> WebhookEventSummary:
    """A line with the columns `SUMMARY_COLUMNS`."""
    return WebhookEventSummary(**found._asdict() | {"status": EventStatus(found.status)})
