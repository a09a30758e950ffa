"""The changes to dispatch to the app: leases them in row order, writes the outcomes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from rindle_sync.store.database import (
    Repository,
    claim_statement,
    clock,
    has_come,
    outcome_statement,
)
from rindle_sync.store.lines import Change, read_change
from rindle_sync.store.schema.json_rows import json_parameter
from rindle_sync.store.schema.tables import changes


@dataclass(frozen=True, slots=True)
class PendingChange:
    """A change that is leased for dispatch, after `attempts` failed ones."""

    id: int
    change: Change
    attempts: int


def _claim_statement() -> sa.Update:
    earlier = changes.alias("earlier")
    # the app gets the changes of a row in their order: a later one waits, even for a failing one
    waits = sa.exists().where(
        earlier.c.row_id == changes.c.row_id,
        earlier.c.version < changes.c.version,
        earlier.c.dispatch_at.is_not(None),
    )
    is_due = has_come(changes.c.dispatch_at)
    return claim_statement(changes, is_due, ~waits, first=[changes.c.dispatch_at, changes.c.id])


_CLAIM: Final = _claim_statement()
_OUTCOMES: Final = outcome_statement(changes, ("dispatch_at", "dispatch_attempts"))


class Outbox(Repository):
    """The changes that are not dispatched yet."""

    table = changes

    async def claim(
        self, *, now: datetime, token: str, until: datetime, limit: int
    ) -> list[PendingChange]:
        """Lease up to `limit` due changes, of each row only its earliest; in one statement."""
        values = self.parameters | clock(now) | {"until": until, "most": limit}
        found = [
            PendingChange(row.id, read_change(row), row.dispatch_attempts)
            for row in await self.lease(_CLAIM, token, values)
        ]
        return sorted(found, key=lambda pending: pending.id)

    async def end(self, ended: Sequence[tuple[PendingChange, datetime | None]], token: str) -> None:
        """Write when to try each change again, or None for a dispatched one; in one statement."""
        rows = [
            {
                "id": pending.id,
                "dispatch_at": again,
                "dispatch_attempts": pending.attempts + (again is not None),
            }
            for pending, again in ended
        ]
        await self.execute(_OUTCOMES, {"rows": json_parameter(rows, changes), "held": token})

    async def forget(self, before: datetime) -> int:
        """Stop dispatching changes older than `before`; the number of them."""
        old = changes.c.dispatch_at.is_not(None), changes.c.at < before
        return await self.execute(
            sa.update(changes).where(*self.here, *old).values(dispatch_at=None)
        )
