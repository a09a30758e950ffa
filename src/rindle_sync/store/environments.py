"""What is kept of each provider environment: whose it is, and whether its breaker is open. Decides nothing."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from rindle_sync.store.database import Database
from rindle_sync.store.schema.tables import environments


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What is known of one; all None before anybody looked."""

    provider_environment_id: str | None = None
    circuit_reason: str | None = None
    """Why nothing is looked at; None while all is well."""
    circuit_opened_at: datetime | None = None


_COLUMNS: Final = ("provider_environment_id", "circuit_reason", "circuit_opened_at")


class Environments(Database):
    """One line for each environment. Every method raises `DatabaseUnavailable` when the database does not answer."""

    table = environments

    async def get(self, provider: str, environment: str) -> Environment:
        """What is known of this environment."""
        wanted = select(*(environments.c[name] for name in _COLUMNS)).where(
            *_key(provider, environment)
        )
        async with self.reading() as connection:
            found = (await connection.execute(wanted)).one_or_none()
        return Environment(**dict(zip(_COLUMNS, found, strict=True))) if found else Environment()

    async def identify(self, provider: str, environment: str, provider_environment_id: str) -> None:
        """Keep the provider's own id of this environment."""
        await self._keep(
            provider, environment, {"provider_environment_id": provider_environment_id}
        )

    async def note_circuit(
        self, provider: str, environment: str, reason: str | None, opened_at: datetime | None
    ) -> None:
        """Keep that the breaker is open, and why; or, with None, that it is closed."""
        await self._keep(
            provider, environment, {"circuit_reason": reason, "circuit_opened_at": opened_at}
        )

    async def _keep(self, provider: str, environment: str, values: dict[str, Any]) -> None:
        changed = update(environments).where(*_key(provider, environment)).values(values)
        try:
            async with self.writing() as connection:
                if not (await connection.execute(changed)).rowcount:
                    row = {"provider_name": provider, "environment": environment} | values
                    await connection.execute(insert(environments), row)
        except IntegrityError:  # another process was first: its line is there now
            async with self.writing() as connection:
                await connection.execute(changed)


class UnsavedEnvironments(Environments):
    """Reads what is kept, and keeps nothing."""

    async def _keep(self, provider: str, environment: str, values: dict[str, Any]) -> None:
        pass


def _key(provider: str, environment: str) -> tuple[Any, Any]:
    return environments.c.provider_name == provider, environments.c.environment == environment
