"""Which steps are due in which environments, in one statement whose cost does not grow with what is due."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    Column,
    ColumnElement,
    MetaData,
    Select,
    Table,
    Text,
    bindparam,
    exists,
    or_,
    select,
)

from rindle_sync.domain import DueThresholds, Job, JobKind
from rindle_sync.store.database import Database, is_free
from rindle_sync.store.schema.json_rows import json_field, json_parameter, json_table, once
from rindle_sync.store.schema.tables import assets, changes, job_runs, webhook_events
from rindle_sync.store.schema.types import UtcTime

_THRESHOLDS: Final = Table(
    "watches",
    MetaData(),
    Column("environment", Text()),
    Column("touched_before", UtcTime()),
    Column("audited_before", UtcTime()),
    Column("pruned_before", UtcTime()),
)
"""No table of the database: the types of what is given as JSON."""


def _statement() -> Select[Any]:
    given = json_table("watches", "given")
    fields = select(*(json_field(given, column).label(column.name) for column in _THRESHOLDS.c))
    watched = once(fields, "watched").c
    now: ColumnElement[Any] = bindparam("now")
    provider: ColumnElement[Any] = bindparam("provider")

    def any_due(table: Table, *due: ColumnElement[bool]) -> ColumnElement[bool]:
        here = table.c.provider_name == provider, table.c.environment == watched.environment
        return exists().where(*here, *due, is_free(table))

    def made_or_held(step: JobKind, before: ColumnElement[Any]) -> ColumnElement[bool]:
        here = job_runs.c.provider_name == provider, job_runs.c.environment == watched.environment
        made = job_runs.c.began_at.is_(None) & (job_runs.c.ended_at > before)
        return exists().where(*here, job_runs.c.kind == step.value, or_(made, ~is_free(job_runs)))

    due = {
        JobKind.SWEEP: any_due(
            assets, assets.c.check_at <= now, assets.c.updated_at <= watched.touched_before
        ),
        JobKind.PROCESS_WEBHOOK_EVENTS: any_due(
            webhook_events, webhook_events.c.next_attempt_at <= now
        ),
        JobKind.DISPATCH: any_due(changes, changes.c.dispatch_at <= now),
        JobKind.AUDIT: watched.audited_before.is_not(None)
        & ~made_or_held(JobKind.AUDIT, watched.audited_before),
        JobKind.PRUNE: ~made_or_held(JobKind.PRUNE, watched.pruned_before),
    }
    return select(watched.environment, *(is_due.label(step.value) for step, is_due in due.items()))


_DUE: Final = _statement()


class DueJobs(Database):
    """Reads alone."""

    table = assets

    async def due(
        self, provider: str, thresholds: Sequence[DueThresholds], *, now: datetime
    ) -> list[Job]:
        """The steps that are due and that nobody alive is known to be at. Raises `DatabaseUnavailable`."""
        await self.repay()  # what is still leased would not count as due
        watched = json_parameter([asdict(watch) for watch in thresholds], _THRESHOLDS)
        async with self.reading() as connection:
            found = await connection.execute(
                _DUE, {"watches": watched, "provider": provider, "now": now}
            )
            return [
                Job(line["environment"], step)
                for line in found.mappings()
                for step in JobKind
                if line.get(step)
            ]
