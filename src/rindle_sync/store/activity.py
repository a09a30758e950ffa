"""What happened in each of some hours: changes, how late they were found, webhooks missed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from rindle_sync.domain import ChangeKind, State, Trigger
from rindle_sync.store.repository import Repository, in_environment
from rindle_sync.store.schema.tables import changes
from rindle_sync.store.schema.types import UtcTime
from rindle_sync.store.statistics import FOUND_BY, IS_AWAITED, IS_MISSED, IS_REPORTED

HOUR: Final = timedelta(hours=1)

MOST_TIMED: Final = 1_000
"""How many changes of an hour count for its lateness: the newest."""


@dataclass(slots=True, kw_only=True)
class HourFigures:
    """The changes of the hour that begins at `begins`."""

    begins: datetime
    by_trigger: dict[Trigger, int] = field(default_factory=dict)
    expected: int = 0
    """Those that a webhook should report."""
    missed: int = 0
    """Those of them that no webhook has reported."""
    reads: int = 0
    """Calls of the provider that only read, of every process."""
    creates: int = 0
    late_ms: list[int] = field(default_factory=list, repr=False)
    """How late changes of state were found by a webhook or a check, in milliseconds."""


_IN_HOUR: Final = (
    in_environment(changes),
    changes.c.at >= sa.bindparam("begins", type_=UtcTime()),
    changes.c.at < sa.bindparam("ends", type_=UtcTime()),
)
_COUNTS: Final = IS_REPORTED & ~IS_AWAITED & changes.c.trigger.in_(FOUND_BY)
_COUNTED: Final = (
    sa.select(
        changes.c.trigger,
        sa.func.count().label("number"),
        sa.func.count().filter(_COUNTS).label("expected"),
        sa.func.count().filter(_COUNTS & IS_MISSED).label("missed"),
    )
    .where(*_IN_HOUR)
    .group_by(changes.c.trigger)
)
_LATE: Final = (
    sa.select(changes.c.late_ms)
    .where(*_IN_HOUR, changes.c.kind == ChangeKind.STATE.value, changes.c.trigger.in_(FOUND_BY))
    .order_by(changes.c.at.desc())
    .limit(MOST_TIMED)
)


class Activity(Repository):
    """Reads the changes of hours."""

    table = changes

    async def hours(
        self,
        begins: Sequence[datetime],
        *,
        final_before: datetime,
        never_reported: State | None = None,
    ) -> list[HourFigures]:
        """The figures of the hours that begin so; a scan of their changes, hour by hour.

        Changes that a check found after `final_before` are not expected yet; changes to
        `never_reported` never are.
        """
        return [
            await self._hour(begin, {"settled_by": final_before, "never_reported": never_reported})
            for begin in begins
        ]

    async def _hour(self, begins: datetime, values: dict[str, Any]) -> HourFigures:
        hour = HourFigures(begins=begins)
        window = self.parameters | {"begins": begins, "ends": begins + HOUR}
        async with self.reading() as connection:
            for line in await connection.execute(_COUNTED, window | values):
                hour.by_trigger[Trigger(line.trigger)] = line.number
                hour.expected += line.expected
                hour.missed += line.missed
            hour.late_ms += (await connection.execute(_LATE, window)).scalars()
        return hour
