"""Which jobs are due, and when the next is, in one statement whose cost does not grow."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from msgspec.structs import asdict

from rindle_sync.domain import DueThresholds, DueWork, Job, JobKind
from rindle_sync.store.database import Database
from rindle_sync.store.outgoing_due import HAS_DUE, IS_ENABLED, IS_PAUSED, NEXT_AT, outgoing_clock
from rindle_sync.store.repository import has_come, is_ahead, is_free
from rindle_sync.store.schema.json_rows import json_field, json_parameter, json_table, once
from rindle_sync.store.schema.outgoing_tables import outgoing_endpoints
from rindle_sync.store.schema.tables import (
    IS_UNWATCHED,
    assets,
    change_deliveries,
    change_feeds,
    changes,
    job_runs,
    webhook_events,
)
from rindle_sync.store.schema.types import UtcTime

_THRESHOLDS: Final = sa.Table(
    "thresholds",
    sa.MetaData(),
    sa.Column("environment", sa.Text()),
    sa.Column("touched_before", UtcTime()),
    sa.Column("audited_before", UtcTime()),
    sa.Column("pruned_before", UtcTime()),
    sa.Column("latest_check", UtcTime()),
    sa.Column("latest_watched_check", UtcTime()),
)
"""No table of the database: the types of the JSON parameter."""


_FOR_APP: Final = webhook_events.c.for_app

_EARLIEST: Final[dict[str, tuple[JobKind, sa.Column[Any], tuple[sa.ColumnElement[bool], ...]]]] = {
    "check": (JobKind.SWEEP, assets.c.check_at, ()),
    "event": (JobKind.PROCESS_WEBHOOK_EVENTS, webhook_events.c.next_attempt_at, (~_FOR_APP,)),
    "change": (JobKind.DISPATCH, changes.c.dispatch_at, ()),
    "call": (JobKind.DISPATCH, change_deliveries.c.dispatch_at, ()),
    "for_app": (JobKind.DISPATCH, webhook_events.c.next_attempt_at, (_FOR_APP,)),
}
"""The times of which the earliest tells when a job is due next: each begins an index."""

_DELIVERY: Final = "delivery"
"""When something is to be sent next to some endpoint, of which there are few."""
_FOLLOWED: Final = "followed"
"""Whether changes are published."""


def _statement() -> sa.Select[Any]:
    given = json_table("thresholds", "given")
    fields = sa.select(*(json_field(given, column).label(column.name) for column in _THRESHOLDS.c))
    thresholds = once(fields, "watched").c
    now: sa.ColumnElement[Any] = sa.bindparam("now")

    def any_of(table: sa.Table, *conditions: sa.ColumnElement[bool]) -> sa.Exists:
        is_here = table.c.environment == thresholds.environment
        return sa.exists().where(
            table.c.provider_name == sa.bindparam("provider"), is_here, *conditions
        )

    def last_check(*conditions: sa.ColumnElement[bool]) -> sa.ScalarSelect[Any]:
        # the end of the index: PostgreSQL would read the whole table for a threshold from JSON
        is_here = assets.c.environment == thresholds.environment
        is_ours = assets.c.provider_name == sa.bindparam("provider")
        wanted = sa.select(sa.func.max(assets.c.check_at)).where(is_ours, is_here, *conditions)
        return wanted.where(assets.c.check_at.is_not(None)).scalar_subquery()

    def first(moment: sa.Column[Any], *conditions: sa.ColumnElement[bool]) -> sa.ScalarSelect[Any]:
        table = moment.table
        is_here = table.c.environment == thresholds.environment
        is_ours = table.c.provider_name == sa.bindparam("provider")
        found = sa.select(moment).where(is_ours, is_here, moment.is_not(None), *conditions)
        return found.order_by(moment).limit(1).scalar_subquery()

    is_untouched = assets.c.updated_at <= thresholds.touched_before
    checkable = is_untouched | is_ahead(assets.c.updated_at), is_free(assets)
    is_attempted = has_come(webhook_events.c.next_attempt_at), is_free(webhook_events)
    due: dict[JobKind, sa.ColumnElement[bool]] = {
        JobKind.SWEEP: any_of(assets, assets.c.check_at <= now, *checkable)
        | (last_check(IS_UNWATCHED) > thresholds.latest_check)
        | (last_check() > thresholds.latest_watched_check),
        JobKind.PROCESS_WEBHOOK_EVENTS: any_of(webhook_events, *is_attempted, ~_FOR_APP),
        JobKind.DISPATCH: any_of(changes, has_come(changes.c.dispatch_at), is_free(changes))
        | any_of(
            change_deliveries, has_come(change_deliveries.c.dispatch_at), is_free(change_deliveries)
        )
        | any_of(webhook_events, *is_attempted, _FOR_APP),
        JobKind.PUBLISH: any_of(change_feeds) & any_of(changes, changes.c.position.is_(None)),
        JobKind.DELIVER: any_of(outgoing_endpoints, IS_ENABLED, ~IS_PAUSED, HAS_DUE),
    }
    # a job without such a time, as of an audit that is switched off, is never due
    again = {JobKind.AUDIT: thresholds.audited_before, JobKind.PRUNE: thresholds.pruned_before}
    for kind, before in again.items():
        ended_at = job_runs.c.ended_at
        is_done = job_runs.c.began_at.is_(None) & (ended_at > before) & ~is_ahead(ended_at)
        is_held = ~is_free(job_runs)
        is_kind = job_runs.c.kind == kind.value
        due[kind] = before.is_not(None) & ~any_of(job_runs, is_kind, is_done | is_held)
    columns: list[sa.Label[Any]] = [is_due.label(kind.value) for kind, is_due in due.items()]
    for name, (_, moment, conditions) in _EARLIEST.items():
        columns.append(first(moment, *conditions).label(name))
    columns.append(_next_delivery(thresholds.environment).label(_DELIVERY))
    columns.append(any_of(change_feeds).label(_FOLLOWED))
    return sa.select(thresholds.environment, *columns)


def _next_delivery(environment: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    is_here = outgoing_endpoints.c.environment == environment
    is_ours = outgoing_endpoints.c.provider_name == sa.bindparam("provider")
    earliest = sa.select(sa.func.min(NEXT_AT)).where(is_ours, is_here, IS_ENABLED)
    return sa.type_coerce(earliest.scalar_subquery(), UtcTime())


_DUE: Final = _statement()


class DueJobs:
    """Which jobs are due in the environments of one provider."""

    def __init__(self, database: Database, provider: str) -> None:
        self.database = database
        self.provider = provider

    async def due(self, thresholds: Sequence[DueThresholds], *, now: datetime) -> DueWork:
        """The jobs that are due and not held by another process. Raises `DatabaseUnavailable`."""
        await self.database.release_all()  # what is still leased would not count as due
        given = json_parameter([asdict(threshold) for threshold in thresholds], _THRESHOLDS)
        values = {"thresholds": given, "provider": self.provider, **outgoing_clock(now)}
        async with self.database.reading() as connection:
            lines = (await connection.execute(_DUE, values)).mappings().all()
        jobs, next_at = list[Job](), dict[Job, datetime]()
        for line in lines:
            environment = line["environment"]
            jobs += [Job(environment, kind) for kind in JobKind if line.get(kind)]
            moments = [(kind, line[name]) for name, (kind, *_) in _EARLIEST.items()]
            for kind, moment in (*moments, (JobKind.DELIVER, line[_DELIVERY])):
                job = Job(environment, kind)
                if moment is not None:
                    next_at[job] = min(moment, next_at.get(job, moment))
        followed = frozenset(line["environment"] for line in lines if line[_FOLLOWED])
        return DueWork(jobs, next_at, followed)

    async def followed(self) -> frozenset[str]:
        """The environments whose changes somebody follows."""
        is_ours = change_feeds.c.provider_name == self.provider
        return await self._environments(sa.select(change_feeds.c.environment).where(is_ours))

    async def with_endpoint(self, name: str) -> frozenset[str]:
        """The environments with an endpoint of outgoing webhooks of this name."""
        named = sa.select(outgoing_endpoints.c.environment).where(
            outgoing_endpoints.c.provider_name == self.provider, outgoing_endpoints.c.name == name
        )
        return await self._environments(named)

    async def _environments(self, wanted: sa.Select[Any]) -> frozenset[str]:
        async with self.database.reading() as connection:
            return frozenset((await connection.execute(wanted)).scalars())
