"""The stored times that no right clock can have written: which, how many, how far ahead."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from rindle_sync.domain import LONGEST_PAUSE, TOLERANCE, LongestGaps, token_bucket
from rindle_sync.store.assets import IS_PLANNED_WRONGLY
from rindle_sync.store.repository import Repository, clock
from rindle_sync.store.schema.json_rows import json_parameter
from rindle_sync.store.schema.tables import (
    assets,
    change_deliveries,
    changes,
    job_runs,
    rate_limits,
    webhook_events,
)
from rindle_sync.store.statistics import counts


@dataclass(frozen=True, slots=True)
class WrongTimes:
    """The times of one column that lie further ahead than they can."""

    column: str
    """The table and the column."""
    number: int
    seconds_ahead: int
    """How far ahead the last one of them lies."""


_PAST: Final = {
    assets: (
        *("updated_at", "observed_at", "last_event_at", "missing_since"),
        *("playback_absent_since", "media_updated_at"),
    ),
    webhook_events: ("received_at",),
    changes: ("at",),
    change_deliveries: (),
    job_runs: ("began_at", "ended_at"),
    rate_limits: (),
}
"""The columns that say when something was."""

_WAITS: Final = {
    assets: ("lease_until",),
    webhook_events: ("next_attempt_at", "lease_until"),
    changes: ("dispatch_at", "lease_until"),
    change_deliveries: ("dispatch_at", "lease_until"),
    job_runs: ("lease_until",),
    rate_limits: (),
}
"""The columns that say until when something is leased or put off."""

# only what still waits for something: all else is history, and its times hold nothing up
_WAITING: Final = {
    assets: assets.c.check_at.is_not(None),
    webhook_events: webhook_events.c.next_attempt_at.is_not(None),
    changes: changes.c.dispatch_at.is_not(None),
    change_deliveries: change_deliveries.c.dispatch_at.is_not(None),
    job_runs: sa.true(),
    rate_limits: sa.true(),
}


def _statement(table: sa.Table) -> sa.Select[Any]:
    wrong: dict[str, sa.ColumnElement[bool]] = {}
    for name in _PAST[table]:
        wrong[name] = table.c[name] > sa.bindparam("ahead")
    for name in _WAITS[table]:
        wrong[name] = table.c[name] > sa.bindparam("latest")
    if table is assets:
        wrong["check_at"] = IS_PLANNED_WRONGLY
    if table is rate_limits:
        wrong["filled_at"] = table.c.filled_at > sa.bindparam("ahead_micros")
        wrong["paused_until"] = table.c.paused_until > sa.bindparam("latest_pause_micros")
    figures: list[sa.ColumnElement[Any]] = []
    for name, is_wrong in wrong.items():
        figures.append(sa.func.count().filter(is_wrong).label(f"number_{name}"))
        figures.append(sa.func.max(table.c[name]).filter(is_wrong).label(f"last_{name}"))
    return counts(table, *figures).where(_WAITING[table])


_STATEMENTS: Final = {table.name: _statement(table) for table in _PAST}


class WrongTimesQuery(Repository):
    """Finds such times."""

    table = assets

    async def of(
        self, names: Sequence[str], *, now: datetime, longest: LongestGaps
    ) -> Mapping[str, list[WrongTimes]]:
        """The wrong times of these environments; a scan of what waits for something."""
        found: dict[str, list[WrongTimes]] = {name: [] for name in names}
        values = clock(now) | longest.latest(now)
        values["provider"] = self.provider
        values["environments"] = json_parameter([{"environment": name} for name in names], assets)
        values["ahead_micros"] = token_bucket.micros(now + TOLERANCE)
        values["latest_pause_micros"] = token_bucket.micros(now + LONGEST_PAUSE + TOLERANCE)
        async with self.reading() as connection:
            for table, statement in _STATEMENTS.items():
                for line in (await connection.execute(statement, values)).mappings():
                    found[line["environment"]] += _read(table, line, now)
        return found


def _read(table: str, line: sa.RowMapping, now: datetime) -> list[WrongTimes]:
    wrong = []
    for key, number in line.items():
        name = key.removeprefix("number_")
        if name == key or not number:
            continue
        last = line[f"last_{name}"]
        if isinstance(last, int):
            ahead = timedelta(microseconds=last - token_bucket.micros(now))
        else:
            ahead = last - now
        wrong.append(WrongTimes(f"{table}.{name}", number, int(ahead.total_seconds())))
    return wrong
