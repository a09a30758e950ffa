"""The notices: keeps each event once, claims what is pending, writes what became of it. Decides nothing."""

import asyncio
from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Executable, Row, bindparam, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncEngine

from rindle_sync.domain import EventStatus, StoredEvent, WebhookEvent, WebhookEventSummary
from rindle_sync.store.database import Database, claim_statement, outcome_statement
from rindle_sync.store.schema.engine import STATEMENT_SECONDS
from rindle_sync.store.schema.json_rows import json_parameter
from rindle_sync.store.schema.tables import webhook_events

_FIELDS: Final = tuple(f.name for f in fields(WebhookEvent))
_KEPT: Final = tuple(f.name for f in fields(StoredEvent))
SUMMARY_COLUMNS: Final = (
    *(webhook_events.c[name] for name in _KEPT),
    func.length(webhook_events.c.body).label("size"),
)
_OUTCOME: Final = ("status", "attempts", "next_attempt_at", "reason")


_CLAIM: Final = claim_statement(
    webhook_events,
    webhook_events.c.provider_name == bindparam("provider"),
    webhook_events.c.environment == bindparam("in_environment"),
    webhook_events.c.next_attempt_at <= bindparam("now"),
    first=[webhook_events.c.next_attempt_at],
)
_ONCE: Final = [
    webhook_events.c.provider_name,
    webhook_events.c.environment,
    webhook_events.c.event_id,
]
_KEEP: Final[
    dict[str, Executable]
] = {  # no error in the server's log, which would show the provider's event id
    "postgresql": postgresql.insert(webhook_events)
    .on_conflict_do_nothing(index_elements=_ONCE)
    .returning(webhook_events.c.id),
    "sqlite": sqlite.insert(webhook_events)
    .on_conflict_do_nothing(index_elements=_ONCE)
    .returning(webhook_events.c.id),
}
_OUTCOMES: Final = outcome_statement(webhook_events, _OUTCOME)


class Inbox(Database):
    """The kept deliveries. Every method raises `DatabaseUnavailable` when the database does not answer."""

    table = webhook_events

    def __init__(self, engine: AsyncEngine) -> None:
        super().__init__(engine)
        self._keeping: set[asyncio.Future[bool]] = set()

    def keeping(self, webhook_event: WebhookEvent) -> "asyncio.Future[bool]":
        """`keep` as a task of its own: it goes on though nobody may wait for it any more, until `finish`."""
        task = asyncio.ensure_future(self.keep(webhook_event))
        self._keeping.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Future[bool]") -> None:
        """The failure of a keeping that nobody waits for any more is no news: the sender was told to try again."""
        self._keeping.discard(task)
        if not task.cancelled():
            task.exception()

    async def finish(self, within: timedelta) -> None:
        """Wait `within` so long for all that is being kept, break off what then still is: to be done before `close`."""
        if not self._keeping:
            return
        _, late = await asyncio.wait(self._keeping, timeout=within.total_seconds())
        for task in late:
            task.cancel()
        if late:  # they end when their driver gives up; the one of SQLite hangs for ever if it is cancelled again
            await asyncio.wait(late, timeout=STATEMENT_SECONDS)

    async def keep(self, webhook_event: WebhookEvent) -> bool:
        """Keep a delivery; False if this event was kept before, whatever it said then."""
        values = {name: getattr(webhook_event, name) for name in _FIELDS}
        async with self.writing() as connection:
            kept = await connection.execute(_KEEP[self.engine.dialect.name], values)
            return kept.one_or_none() is not None

    async def claim(
        self,
        provider: str,
        environment: str,
        *,
        now: datetime,
        token: str,
        until: datetime,
        limit: int,
    ) -> list[WebhookEvent]:
        """Lease up to `limit` pending notices whose time has come, in one statement; in the order of their events."""
        values = {
            "provider": provider,
            "in_environment": environment,
            "now": now,
            "token": token,
            "until": until,
        }
        async with self.leasing(token) as connection:
            claimed = [
                _read_event(row)
                for row in await connection.execute(_CLAIM, values | {"most": limit})
            ]
        return sorted(
            claimed,
            key=lambda webhook_event: (
                webhook_event.occurred_at or webhook_event.received_at,
                webhook_event.received_at,
            ),
        )

    async def end(self, ended: Sequence[WebhookEvent], token: str) -> None:
        """Write what became of notices that are leased under `token`, in one statement."""
        rows = [{"id": n.id, **{name: getattr(n, name) for name in _OUTCOME}} for n in ended]
        async with self.writing() as connection:
            await connection.execute(
                _OUTCOMES, {"rows": json_parameter(rows, webhook_events), "held": token}
            )

    async def get(self, webhook_event_id: str) -> WebhookEventSummary | None:
        """The notice with this id of ours."""
        async with self.reading() as connection:
            found = (
                await connection.execute(
                    select(*SUMMARY_COLUMNS).where(webhook_events.c.id == webhook_event_id)
                )
            ).one_or_none()
        return read_summary(found) if found else None

    async def list(
        self, provider: str, environment: str, *, status: EventStatus | None = None, limit: int = 50
    ) -> list[WebhookEventSummary]:
        """The newest notices, of one status or of all."""
        wanted = select(*SUMMARY_COLUMNS).where(
            webhook_events.c.provider_name == provider, webhook_events.c.environment == environment
        )
        if status:
            wanted = wanted.where(webhook_events.c.status == status.value)
        async with self.reading() as connection:
            found = await connection.execute(
                wanted.order_by(webhook_events.c.received_at.desc()).limit(limit)
            )
            return [read_summary(row) for row in found]

    async def replay(
        self, provider: str, environment: str, now: datetime, *, webhook_event_id: str | None = None
    ) -> int:
        """Make one notice, or all dead ones, pending again; how many."""
        which = update(webhook_events).where(
            webhook_events.c.provider_name == provider, webhook_events.c.environment == environment
        )
        which = which.where(
            webhook_events.c.id == webhook_event_id
            if webhook_event_id
            else webhook_events.c.status == EventStatus.DEAD.value
        )
        again = which.where(
            webhook_events.c.status != EventStatus.IGNORED.value,
            func.length(webhook_events.c.body) > 0,
        )
        values = {
            "status": EventStatus.PENDING.value,
            "attempts": 0,
            "next_attempt_at": now,
            "reason": None,
        }
        async with self.writing() as connection:
            return (await connection.execute(again.values(values))).rowcount

    async def prune(
        self, provider: str, environment: str, *, ended_before: datetime, dead_before: datetime
    ) -> int:
        """Empty the bodies of old notices; how many. The event ids stay, so that no event ever counts twice."""
        old = or_(
            (webhook_events.c.status == EventStatus.DEAD.value)
            & (webhook_events.c.received_at < dead_before),
            webhook_events.c.status.in_([EventStatus.APPLIED.value, EventStatus.IGNORED.value])
            & (webhook_events.c.received_at < ended_before),
        )
        which = update(webhook_events).where(
            webhook_events.c.provider_name == provider, webhook_events.c.environment == environment
        )
        async with self.writing() as connection:
            emptied = await connection.execute(
                which.where(old, func.length(webhook_events.c.body) > 0).values(body=b"")
            )
            return emptied.rowcount


def read_summary(found: Row[Any]) -> WebhookEventSummary:
    """A line of the notices table, in the columns of an entry."""
    return WebhookEventSummary(**found._asdict() | {"status": EventStatus(found.status)})


def _read_event(found: Row[Any]) -> WebhookEvent:
    values = {name: getattr(found, name) for name in _FIELDS}
    return WebhookEvent(**values | {"status": EventStatus(found.status)})
