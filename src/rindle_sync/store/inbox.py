"""The stored webhook events: each is stored once, leased while pending, and gets its outcome."""

import asyncio
from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from rindle_sync.domain import (
    UNTRACKED,
    EventStatus,
    ProviderAsset,
    StoredEvent,
    WebhookEvent,
    WebhookEventSummary,
)
from rindle_sync.errors import InvalidValue
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
_NAMES: Final = ("provider_asset_id", "provider_upload_id", "passthrough")
_SIZE: Final = sa.func.length(webhook_events.c.body)
SUMMARY_COLUMNS: Final = (
    *(webhook_events.c[field.name] for field in fields(StoredEvent)),
    _SIZE.label("size"),
)
_OUTCOME: Final = ("status", "attempts", "next_attempt_at", "reason")
_IS_DUE: Final = has_come(webhook_events.c.next_attempt_at)
_CLAIM: Final = claim_statement(webhook_events, _IS_DUE, first=[webhook_events.c.next_attempt_at])
_AGAIN: Final = {"status": EventStatus.PENDING.value, "attempts": 0, "reason": None}
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
        """Store an event, or revive one that was not applied; False if nothing is left to do.

        An event id is stored once. One that is dead or untracked becomes as it was sent now.
        """
        values = {name: getattr(webhook_event, name) for name in _FIELDS}
        # PostgreSQL would log a failed insert with the provider's event id
        try:
            is_new = await self.execute(self.insert_once(), values) > 0
        except InvalidValue:
            # a name that the database cannot hold stands in no row; the body has it all the same
            odd = [name for name in _NAMES if not (values[name] or "").isascii()]
            if not odd:
                raise
            values |= dict.fromkeys(odd)
            is_new = await self.execute(self.insert_once(), values) > 0
        if is_new or webhook_event.status is not EventStatus.PENDING:
            return is_new
        is_dead = webhook_events.c.status == EventStatus.DEAD.value
        is_left = is_dead | (webhook_events.c.reason == UNTRACKED)
        left = sa.update(webhook_events).where(
            *self.here, webhook_events.c.event_id == webhook_event.event_id, is_left
        )
        del values["id"]
        return await self.execute(left.values(values)) > 0

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

    async def waiting(self, now: datetime) -> tuple[int, datetime | None, bool]:
        """How many events are due, since when, and whether any was ever applied."""
        next_attempt_at, status = webhook_events.c.next_attempt_at, webhook_events.c.status
        counted = sa.select(
            sa.func.count().label("number"), sa.func.min(next_attempt_at).label("since")
        )
        [due] = await self.read(counted.where(*self.here, next_attempt_at <= now))
        applied = sa.select(status).where(*self.here, status == EventStatus.APPLIED.value)
        return due.number, due.since, bool(await self.read(applied.limit(1)))

    async def replay(self, now: datetime, *, webhook_event_id: str | None = None) -> int:
        """Make one event, or all dead ones, pending again; the number of them.

        Events of a type that is not acted on, and those whose body was pruned, stay as they are.
        """
        wanted = webhook_events.c.status == EventStatus.DEAD.value
        if webhook_event_id:
            wanted = webhook_events.c.id == webhook_event_id
        is_acted_on = sa.or_(
            webhook_events.c.status != EventStatus.IGNORED.value,
            webhook_events.c.reason == UNTRACKED,
        )
        again = sa.update(webhook_events).where(*self.here, wanted, is_acted_on, _SIZE > 0)
        return await self.execute(again.values(_AGAIN | {"next_attempt_at": now}))

    async def revive_untracked(self, rows: Sequence[ProviderAsset], now: datetime) -> int:
        """Make the events pending again that came before these rows were tracked; how many."""
        table = webhook_events.c
        asset_ids = {row.provider_asset_id for row in rows} - {None}
        upload_ids = {row.provider_upload_id for row in rows} - {None}
        about = table.provider_asset_id.in_(asset_ids) | table.provider_upload_id.in_(upload_ids)
        is_untracked = (table.status == EventStatus.IGNORED.value) & (table.reason == UNTRACKED)
        again = sa.update(webhook_events).where(*self.here, about, is_untracked, _SIZE > 0)
        return await self.execute(again.values(_AGAIN | {"next_attempt_at": now}))

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
