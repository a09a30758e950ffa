"""The stored webhook events: each is stored once, leased while pending, and gets its outcome."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from rindle_sync.domain import (
    NOT_WANTED,
    UNTRACKED,
    EventStatus,
    JobKind,
    ProviderAsset,
    StoredEvent,
    WebhookEvent,
    WebhookEventSummary,
)
from rindle_sync.store.repository import (
    Repository,
    claim_statement,
    clock,
    has_come,
    in_environment,
    outcome_statement,
)
from rindle_sync.store.schema.json_rows import json_field, json_parameter, json_table
from rindle_sync.store.schema.tables import webhook_events
from rindle_sync.store.schema.types import UtcTime

_BOTH: Final = (JobKind.PROCESS_WEBHOOK_EVENTS, JobKind.DISPATCH)
_COLUMNS: Final = WebhookEvent.__struct_fields__
_SIZE: Final = sa.func.length(webhook_events.c.body)
SUMMARY_COLUMNS: Final = (
    *(webhook_events.c[name] for name in StoredEvent.__struct_fields__),
    _SIZE.label("size"),
)
_OUTCOME: Final = ("status", "attempts", "next_attempt_at", "reason")
_IS_DUE: Final = has_come(webhook_events.c.next_attempt_at)
_IS_LEFT: Final = webhook_events.c.next_attempt_at.is_not(None)
_FIRST: Final = [webhook_events.c.next_attempt_at]
_ALL: Final = [webhook_events.c[name] for name in _COLUMNS]
_CLAIM: Final = claim_statement(
    webhook_events, _IS_DUE, ~webhook_events.c.for_app, first=_FIRST, returning=_ALL
)


def _place(table: sa.FromClause) -> sa.Tuple:
    """Where an event stands in the order in which they occurred."""
    received_at = table.c.received_at
    return sa.tuple_(sa.func.coalesce(table.c.occurred_at, received_at), received_at, table.c.id)


def _app_claim_statement() -> sa.Update:
    earlier = webhook_events.alias("earlier")
    types = sa.select(json_field(json_table("types", "wanted"), webhook_events.c.type))
    # of one object the app gets an event only once it has had the one before, or that one is dead;
    # one of a type that no callback here wants could wait for ever
    waits = sa.exists().where(
        earlier.c.provider_name == webhook_events.c.provider_name,
        earlier.c.environment == webhook_events.c.environment,
        earlier.c.object_id == webhook_events.c.object_id,
        earlier.c.next_attempt_at.is_not(None),
        earlier.c.type.in_(types),
        _place(earlier) < _place(webhook_events),
    )
    wanted = webhook_events.c.for_app, webhook_events.c.type.in_(types)
    return claim_statement(webhook_events, _IS_DUE, *wanted, ~waits, first=_FIRST, returning=_ALL)


_CLAIM_FOR_APP: Final = _app_claim_statement()
_TYPES_FOR_APP: Final = (
    sa.select(webhook_events.c.type)
    .distinct()
    .where(in_environment(webhook_events), _IS_LEFT, webhook_events.c.for_app)
)
_AGAIN: Final = {"status": EventStatus.PENDING.value, "attempts": 0, "reason": None}
_REVIVE: Final = (
    sa.update(webhook_events)
    .where(
        in_environment(webhook_events),
        webhook_events.c.provider_asset_id.in_(sa.bindparam("asset_ids", expanding=True))
        | webhook_events.c.provider_upload_id.in_(sa.bindparam("upload_ids", expanding=True)),
        webhook_events.c.status == EventStatus.IGNORED.value,
        webhook_events.c.reason == UNTRACKED,
        _SIZE > 0,
    )
    .values(_AGAIN | {"next_attempt_at": sa.bindparam("revived_at", type_=UtcTime())})
)
_OUTCOMES: Final = outcome_statement(webhook_events, _OUTCOME)


class Inbox(Repository):
    """The stored webhook events."""

    table = webhook_events

    def storing(self, webhook_event: WebhookEvent) -> "asyncio.Future[bool]":
        """Store an event, or revive one that was not applied; False if nothing is left to do.

        An event id is stored once. One that is dead or untracked becomes as it was sent now. It is
        stored also when its caller stops waiting; `Database.intake` finishes it.
        """
        self.database.check_usable()
        return self.database.intake.add(webhook_event)

    async def claim(
        self, *, now: datetime, token: str, until: datetime, limit: int
    ) -> list[WebhookEvent]:
        """Lease up to `limit` due events in one statement; in the order in which they occurred."""
        values = self.parameters | clock(now) | {"until": until, "most": limit}
        return _in_order([_read_event(row) for row in await self.lease(_CLAIM, token, values)])

    async def types_for_app(self) -> list[str]:
        """The types of the events that are left for the app, due or not."""
        return [row.type for row in await self.read(_TYPES_FOR_APP, self.parameters)]

    async def claim_for_app(
        self, types: Sequence[str], *, now: datetime, token: str, until: datetime, limit: int
    ) -> list[WebhookEvent]:
        """`claim` for events of these types that are for the app; of each object the earliest.

        Events of other types hold back none of them.
        """
        values = self.parameters | clock(now) | {"until": until, "most": limit}
        values["types"] = json_parameter([{"type": name} for name in types], webhook_events)
        claimed = await self.lease(_CLAIM_FOR_APP, token, values)
        return _in_order([_read_event(row) for row in claimed])

    async def end(self, ended: Sequence[WebhookEvent], token: str) -> None:
        """Write the outcome of events that are leased under `token`, in one statement."""
        names = ("id", *_OUTCOME)
        rows = [{name: getattr(event, name) for name in names} for event in ended]
        values = {"rows": json_parameter(rows, webhook_events), "held": token}
        await self.execute(_OUTCOMES, values)

    async def get(self, webhook_event_id: str) -> WebhookEventSummary | None:
        """The event of this environment with this id."""
        is_it = webhook_events.c.id == webhook_event_id
        wanted = sa.select(*SUMMARY_COLUMNS).where(*self.here_by_another_index, is_it)
        found = await self.read(wanted)
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
        """How many events about rows are due, since when, and whether any was ever applied."""
        next_attempt_at, status = webhook_events.c.next_attempt_at, webhook_events.c.status
        counted = sa.select(
            sa.func.count().label("number"), sa.func.min(next_attempt_at).label("since")
        )
        is_due = next_attempt_at <= now, ~webhook_events.c.for_app
        [due] = await self.read(counted.where(*self.here, *is_due))
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
        values = _AGAIN | {"next_attempt_at": now}
        return await self.execute(again.values(values), makes=_BOTH)

    async def revive_untracked(self, rows: Sequence[ProviderAsset], now: datetime) -> int:
        """Make the events pending again that came before these rows were tracked; how many."""
        asset_ids = {row.provider_asset_id for row in rows} - {None}
        upload_ids = {row.provider_upload_id for row in rows} - {None}
        about = {"asset_ids": list(asset_ids), "upload_ids": list(upload_ids), "revived_at": now}
        return await self.execute(_REVIVE, self.parameters | about, makes=_BOTH)

    async def prune(self, *, ended_before: datetime, dead_before: datetime) -> int:
        """Empty the bodies of old events; the number of them.

        The event ids stay, so that an event that is delivered again is not applied twice. An event
        for the app that no callback has wanted for so long is ignored from now on.
        """
        status, received_at = webhook_events.c.status, webhook_events.c.received_at
        is_left = (status == EventStatus.PENDING.value) & webhook_events.c.for_app
        left = sa.update(webhook_events).where(*self.here, is_left, received_at < ended_before)
        ignored = {"status": EventStatus.IGNORED.value, "next_attempt_at": None}
        await self.execute(left.values(ignored | {"reason": NOT_WANTED}))
        ended = status.in_([EventStatus.APPLIED.value, EventStatus.IGNORED.value])
        old = sa.or_(
            (status == EventStatus.DEAD.value) & (received_at < dead_before),
            ended & (received_at < ended_before),
        )
        emptied = sa.update(webhook_events).where(*self.here, old, _SIZE > 0)
        return await self.execute(emptied.values(body=b"", headers=None))


def _read_event(row: sa.Row[Any]) -> WebhookEvent:
    values = dict(zip(_COLUMNS, row, strict=True))
    values["status"] = EventStatus(values["status"])
    values["headers"] = values["headers"] or {}
    return WebhookEvent(**values)


def _in_order(events: Sequence[WebhookEvent]) -> list[WebhookEvent]:
    return sorted(events, key=lambda e: (e.occurred_at or e.received_at, e.received_at))


def read_summary(found: sa.Row[Any]) -> WebhookEventSummary:
    """A line with the columns `SUMMARY_COLUMNS`."""
    return WebhookEventSummary(**found._asdict() | {"status": EventStatus(found.status)})
