"""What is stored about each provider environment: its provider id, and an open circuit."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.exc import IntegrityError

from rindle_sync.store.driver_errors import retried
from rindle_sync.store.repository import Repository
from rindle_sync.store.schema.tables import environments


class Environment(Struct, frozen=True, kw_only=True):
    """What is known of one environment; all None before the first check."""

    provider_environment_id: str | None = None
    circuit_reason: str | None = None
    """Why the circuit is open; None while it is closed."""
    circuit_opened_at: datetime | None = None


class Environments(Repository):
    """One line for each environment."""

    table = environments

    async def get(self) -> Environment:
        """What is known of this environment."""
        columns = [environments.c[name] for name in Environment.__struct_fields__]
        found = await self.read(sa.select(*columns).where(*self.here))
        return Environment(**found[0]._asdict()) if found else Environment()

    async def identify(self, provider_environment_id: str) -> None:
        """Store the provider's own id of this environment."""
        await self._save({"provider_environment_id": provider_environment_id})

    async def note_circuit(self, reason: str | None, opened_at: datetime | None) -> None:
        """Store why and since when the circuit is open, or None and None if it is closed."""
        await self._save({"circuit_reason": reason, "circuit_opened_at": opened_at})

    @retried
    async def _save(self, values: dict[str, Any]) -> None:
        changed = sa.update(environments).where(*self.here).values(values)
        try:
            async with self.writing() as connection:
                if not (await connection.execute(changed)).rowcount:
                    await connection.execute(sa.insert(environments), self.key | values)
        except IntegrityError:  # another process was first: its line is there now
            await self.execute(changed)


class UnsavedEnvironments(Environments):
    """Reads what is stored, and stores nothing: for a dry run."""

    @classmethod
    def of(cls, environments: Environments) -> "UnsavedEnvironments":
        """The same environment without saving."""
        return cls(environments.database, environments.provider, environments.environment)

    async def _save(self, values: dict[str, Any]) -> None:
        pass
