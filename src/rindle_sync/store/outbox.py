"""The changes that are still to be announced to the app: claims them in row order, writes what became of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Update, bindparam, update
from sqlalchemy import exists as sql_exists

from rindle_sync.store.assets import Change, read_change
from rindle_sync.store.database import Database, claim_statement, outcome_statement
from rindle_sync.store.schema.json_rows import json_parameter
from rindle_sync.store.schema.tables import changes


@dataclass(frozen=True, slots=True)
class PendingChange:
    """A change that is leased to be announced, after `attempts` in vain."""

    id: int
    change: Change
    attempts: int


def _claim_statement() -> Update:
    earlier = changes.alias("earlier")
    waits = sql_exists().where(
        earlier.c.row_id == changes.c.row_id,
        earlier.c.version < changes.c.version,
        earlier.c.dispatch_at.is_not(None),
    )
    return claim_statement(
        changes,
        changes.c.provider_name == bindparam("provider"),
        changes.c.environment == bindparam("in_environment"),
        changes.c.dispatch_at <= bindparam("now"),
        ~waits,
        first=[changes.c.dispatch_at, changes.c.id],
    )


_CLAIM: Final = _claim_statement()
_OUTCOMES: Final = outcome_statement(changes, ("dispatch_at", "dispatch_attempts"))


class Outbox(Database):
    """What the app is still to be told. Every method raises `DatabaseUnavailable` when the database does not answer."""

    table = changes

    async def claim(
        self,
        provider: str,
        environment: str,
        *,
        now: datetime,
        token: str,
        until: datetime,
        limit: int,
    ) -> list[PendingChange]:
        """Lease up to `limit` changes to announce, in one statement: of each row only its earliest."""
        values = {
            "provider": provider,
            "in_environment": environment,
            "now": now,
            "token": token,
            "until": until,
        }
        async with self.leasing(token) as connection:
            found = [
                PendingChange(r.id, read_change(r), r.dispatch_attempts)
                for r in await connection.execute(_CLAIM, values | {"most": limit})
            ]
        return sorted(found, key=lambda one: one.id)

    async def end(self, ended: Sequence[tuple[PendingChange, datetime | None]], token: str) -> None:
        """Write for each change when to try again, or None where it was announced; in one statement."""
        rows = [
            {
                "id": one.id,
                "dispatch_at": again,
                "dispatch_attempts": one.attempts + (again is not None),
            }
            for one, again in ended
        ]
        async with self.writing() as connection:
            await connection.execute(
                _OUTCOMES, {"rows": json_parameter(rows, changes), "held": token}
            )

    async def forget(self, provider: str, environment: str, before: datetime) -> int:
        """Announce no more what happened before `before`; how many changes."""
        here = update(changes).where(
            changes.c.provider_name == provider, changes.c.environment == environment
        )
        old = here.where(changes.c.dispatch_at.is_not(None), changes.c.at < before)
        async with self.writing() as connection:
            return (await connection.execute(old.values(dispatch_at=None))).rowcount
