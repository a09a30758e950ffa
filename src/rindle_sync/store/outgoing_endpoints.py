"""The endpoints of outgoing webhooks."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from rindle_sync.domain import EndpointHealth, JobKind, OutgoingEndpoint, OutgoingSecret
from rindle_sync.errors import ConfigurationError
from rindle_sync.store.driver_errors import retried
from rindle_sync.store.repository import Repository
from rindle_sync.store.schema.core_engine import CoreConnection
from rindle_sync.store.schema.outgoing_tables import outgoing_endpoints, outgoing_webhooks

PublishAll = Callable[[Callable[[CoreConnection, int], Awaitable[None]]], Awaitable[None]]
"""`publish_all` of the feed, which calls what it is given in the transaction that ends it."""

HEALTH_FIELDS: Final = EndpointHealth.__struct_fields__
_HEALTHY: Final = {name: getattr(EndpointHealth(), name) for name in HEALTH_FIELDS}


class OutgoingEndpoints(Repository):
    """The endpoints of one environment."""

    table = outgoing_endpoints

    async def list(self) -> list[OutgoingEndpoint]:
        """All of them, by name."""
        found = sa.select(*outgoing_endpoints.c).where(*self.here)
        lines = await self.read(found.order_by(outgoing_endpoints.c.name))
        return [read_endpoint(line) for line in lines]

    async def get(self, name: str) -> OutgoingEndpoint | None:
        """The endpoint of this name."""
        named = outgoing_endpoints.c.name == name
        found = await self.read(sa.select(*outgoing_endpoints.c).where(*self.here, named))
        return read_endpoint(found[0]) if found else None

    async def add(self, endpoint: OutgoingEndpoint, publish_all: PublishAll) -> None:
        """Add an endpoint, which is told of the changes from now on, and turn the feed on.

        Raises `ConfigurationError` where its name is taken.
        """

        async def insert(connection: CoreConnection, last: int) -> None:
            values = self.key | endpoint_columns(endpoint) | {"after_position": last}
            await connection.execute(sa.insert(outgoing_endpoints).values(values))

        try:
            await publish_all(insert)
        except IntegrityError:
            text = "another endpoint has this name: choose another one"
            raise ConfigurationError("name", text) from None

    @retried
    async def change(
        self, name: str, edit: Callable[[OutgoingEndpoint], OutgoingEndpoint]
    ) -> OutgoingEndpoint | None:
        """Write what `edit` makes of an endpoint, but its name and health; None where it is gone.

        Nobody else changes it meanwhile. Raises what `edit` raises, and then nothing is written.
        """
        named = outgoing_endpoints.c.name == name
        held = sa.select(*outgoing_endpoints.c).where(*self.here, named)
        async with self.writing() as connection:
            held = held.with_for_update(key_share=True)
            found = (await connection.execute(held)).one_or_none()
            if found is None:
                return None
            changed = edit(read_endpoint(found))
            values = endpoint_columns(changed)
            for fixed in (*HEALTH_FIELDS, "id", "name", "created_at"):
                del values[fixed]
            written = sa.update(outgoing_endpoints).where(outgoing_endpoints.c.id == found.id)
            await connection.execute(written.values(**values))
            await self.database.notifications.send(connection, JobKind.DELIVER)
        return changed

    @retried
    async def enable(self, name: str, now: datetime) -> bool:
        """Send to an endpoint again, without a pause; False where there is none of this name.

        What waits for a later attempt is due `now`.
        """
        well = sa.update(outgoing_endpoints).where(*self.here, outgoing_endpoints.c.name == name)
        webhooks = outgoing_webhooks.c
        async with self.writing() as connection:
            # the endpoint first, as in `delete`
            found = await connection.execute(
                well.values(**_HEALTHY).returning(outgoing_endpoints.c.id)
            )
            endpoint_id = found.scalars().one_or_none()
            if endpoint_id is None:
                return False
            waits = webhooks.endpoint_id == endpoint_id, webhooks.next_attempt_at > now
            due = sa.update(outgoing_webhooks).where(*waits).values(next_attempt_at=now)
            await connection.execute(due)
            if self.database.notifications.are_due(JobKind.DELIVER):
                await self.database.notifications.send(connection, JobKind.DELIVER)
        return True

    async def disable(self, name: str, now: datetime, reason: str) -> bool:
        """Send nothing to an endpoint that is enabled; whether it was."""
        is_enabled = outgoing_endpoints.c.disabled_at.is_(None)
        values = {"disabled_at": now, "disabled_reason": reason}
        return bool(await self._update(name, values, is_enabled))

    async def _update(
        self, name: str, values: Mapping[str, Any], *only: sa.ColumnElement[bool]
    ) -> int:
        named = outgoing_endpoints.c.name == name
        changed = sa.update(outgoing_endpoints).where(*self.here, named, *only)
        return await self.execute(changed.values(**values), makes=[JobKind.DELIVER])

    @retried
    async def delete(self, name: str) -> bool:
        """Delete an endpoint and its webhooks; False where there is none of this name."""
        gone = sa.delete(outgoing_endpoints).where(*self.here, outgoing_endpoints.c.name == name)
        async with self.writing() as connection:
            # the endpoint first: who publishes changes holds it, and adds webhooks of it
            found = (await connection.execute(gone.returning(outgoing_endpoints.c.id))).scalars()
            endpoint_id = found.one_or_none()
            if endpoint_id is None:
                return False
            left = outgoing_webhooks.c.endpoint_id == endpoint_id
            await connection.execute(sa.delete(outgoing_webhooks).where(left))
        return True


def endpoint_columns(endpoint: OutgoingEndpoint) -> dict[str, Any]:
    """The values of the columns of an endpoint, but for those of its environment."""
    secrets = []
    for kept in endpoint.secrets:
        until = kept.until and kept.until.isoformat()
        secrets.append({"secret": kept.secret, "until": until})
    values = {name: getattr(endpoint.health, name) for name in HEALTH_FIELDS}
    return values | {
        "id": endpoint.id,
        "name": endpoint.name,
        "url": endpoint.url,
        "secrets": secrets,
        "types": list(endpoint.types),
        "allow_private": endpoint.allow_private,
        "created_at": endpoint.created_at,
    }


def read_endpoint(line: sa.Row[Any]) -> OutgoingEndpoint:
    """A line of the endpoints table."""
    return OutgoingEndpoint(
        id=line.id,
        name=line.name,
        url=line.url,
        secrets=_read_secrets(line.secrets),
        types=read_types(line.types),
        allow_private=line.allow_private,
        created_at=line.created_at,
        health=read_health(line),
    )


def read_types(stored: Any) -> tuple[str, ...]:
    """The patterns of an endpoint; what somebody wrote there that is none filters nothing."""
    kept = stored if isinstance(stored, list) else []
    return tuple(pattern for pattern in kept if isinstance(pattern, str))


def _read_secrets(stored: Any) -> tuple[OutgoingSecret, ...]:
    """The secrets that can be read: an odd one holds back neither the others nor the publishing."""
    secrets = []
    for kept in stored if isinstance(stored, list) else []:
        with suppress(KeyError, TypeError, ValueError):
            secrets.append(_read_secret(kept["secret"], kept["until"]))
    return tuple(secrets)


def _read_secret(secret: Any, until: str | None) -> OutgoingSecret:
    """Raises `TypeError` and `ValueError` for what is no secret."""
    ends_at = None if until is None else datetime.fromisoformat(until)
    if not isinstance(secret, str) or (ends_at and ends_at.tzinfo is None):
        raise TypeError("this is no secret")
    return OutgoingSecret(secret, ends_at)


def read_health(line: sa.Row[Any]) -> EndpointHealth:
    """A line with the columns `HEALTH_FIELDS`."""
    return EndpointHealth(**{name: getattr(line, name) for name in HEALTH_FIELDS})
