"""The changes that are still to be announced to the app: claims them in row order, writes what became of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Update, bindparam, update
from sqlalchemy import exists as sql_exists

from rindle_sync.schema import changes, json_parameter
from rindle_sync.store.database import Database, claim_statement, outcome_statement
from rindle_sync.store.rows import Change, read_change


@dataclass(frozen=True, slots=True)
class Announcement:
    """A change that is leased to be announced, after `attempts` in vain."""

    id: int
    change: Change
    attempts: int


def _claim_statement() -> Update:
    earlier = changes.alias("earlier")
    waits = sql_exists().where(
        earlier.c.row_id == changes.c.row_id,
        earlier.c.version < changes.c.version,
        earlier.c.announce_at.is_not(None),
    )
    return claim_statement(
        changes,
        changes.c.provider_name == bindparam("provider"),
        changes.c.environment == bindparam("in_environment"),
        changes.c.announce_at <= bindparam("now"),
        ~waits,
        first=[changes.c.announce_at, changes.c.id],
    )


_CLAIM: Final = _claim_statement()
_OUTCOMES: Final = outcome_statement(changes, ("announce_at", "announce_attempts"))


class Outbox(Database):
    """What the app is still to be told. Every method raises `StoreUnavailable` when the database does not answer."""

    table = changes

    async def claim(
        self, provider: str, environment: str, *, now: datetime, token: str, until: datetime, limit: int
    ) -> list[Announcement]:
        """Lease up to `limit` changes to announce, in one statement: of each row only its earliest."""
        values = {"provider": provider, "in_environment": environment, "now": now, "token": token, "until": until}
        async with self.leasing(token) as connection:
            found = [
                Announcement(r.id, read_change(r), r.announce_attempts)
                for r in await connection.execute(_CLAIM, values | {"most": limit})
            ]
        return sorted(found, key=lambda one: one.id)

    async def end(self, ended: Sequence[tuple[Announcement, datetime | None]], token: str) -> None:
        """Write for each change when to try again, or None where it was announced; in one statement."""
        rows = [
            {"id": one.id, "announce_at": again, "announce_attempts": one.attempts + (again is not None)}
            for one, again in ended
        ]
        async with self.writing() as connection:
            await connection.execute(_OUTCOMES, {"rows": json_parameter(rows, changes), "held": token})

    async def forget(self, provider: str, environment: str, before: datetime) -> int:
        """Announce no more what happened before `before`; how many changes."""
        here = update(changes).where(changes.c.provider_name == provider, changes.c.environment == environment)
        old = here.where(changes.c.announce_at.is_not(None), changes.c.at < before)
        async with self.writing() as connection:
            return (await connection.execute(old.values(announce_at=None))).rowcount
