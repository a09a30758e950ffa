"""The outgoing webhooks: made as changes are published, leased while sent, kept for a while."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa

from rindle_sync.domain import (
    Attempt,
    AttemptOutcome,
    JobKind,
    OutgoingEndpoint,
    OutgoingStatus,
    OutgoingWebhook,
    change_type,
    health_after,
    is_probed,
    wants_type,
)
from rindle_sync.store.driver_errors import retried
from rindle_sync.store.lines import ROW, Change, read_known_change, read_row
from rindle_sync.store.outgoing_due import (
    HAS_COME,
    HAS_DUE,
    IS_ENABLED,
    IS_PAUSED,
    earlier_of_row,
    is_any,
    outgoing_clock,
)
from rindle_sync.store.outgoing_endpoints import (
    HEALTH_FIELDS,
    read_endpoint,
    read_health,
    read_types,
)
from rindle_sync.store.outgoing_results import (
    ClaimedWebhook,
    EndpointFigures,
    HealthWritten,
    SentWebhook,
)
from rindle_sync.store.repository import (
    Repository,
    claim_statement,
    in_environment,
    outcome_statement,
)
from rindle_sync.store.schema.core_engine import CoreConnection
from rindle_sync.store.schema.json_rows import json_field, json_parameter, json_table, once
from rindle_sync.store.schema.outgoing_tables import outgoing_endpoints, outgoing_webhooks
from rindle_sync.store.schema.tables import assets, changes
from rindle_sync.store.schema.types import UtcTime

_FIELDS: Final = OutgoingWebhook.__struct_fields__
_COLUMNS: Final = tuple(outgoing_webhooks.c[name] for name in _FIELDS)
_FIRST_ATTEMPT_AT: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""When a webhook is sent first: a time that has come, however wrong the clock of its change was."""

_OUTCOME: Final = ("status", "attempts", "next_attempt_at", "ended_at", "response_status", "reason")
_NEW: Final = (
    "provider_name",
    "environment",
    "endpoint_id",
    "change_id",
    "row_id",
    "version",
    "type",
    "status",
    "next_attempt_at",
    "created_at",
)
_SENT: Final = once(sa.select(json_table("rows", "sent").c.value), "r")
_ADD: Final = sa.insert(outgoing_webhooks).from_select(
    _NEW, sa.select(*(json_field(_SENT, outgoing_webhooks.c[name]) for name in _NEW))
)
_LISTENING: Final = (
    sa.select(
        outgoing_endpoints.c.id, outgoing_endpoints.c.types, outgoing_endpoints.c.after_position
    )
    .where(in_environment(outgoing_endpoints), IS_ENABLED)
    # whoever deletes one waits, and finds what is made for it here
    .with_for_update(read=True, key_share=True)
)
_IS_OPEN: Final = IS_ENABLED & ~IS_PAUSED
_DUE_ENDPOINTS: Final = sa.select(outgoing_endpoints.c.id).where(
    in_environment(outgoing_endpoints), _IS_OPEN, HAS_DUE
)
_OPEN_ENDPOINT: Final = sa.select(*outgoing_endpoints.c).where(
    in_environment(outgoing_endpoints),
    outgoing_endpoints.c.id == sa.bindparam("endpoint"),
    _IS_OPEN,
)
_OF_ENDPOINT: Final = outgoing_webhooks.c.endpoint_id == sa.bindparam("endpoint")


def _claim_statement() -> sa.Update:
    waits = is_any(*earlier_of_row("earlier"))
    first = [outgoing_webhooks.c.next_attempt_at, outgoing_webhooks.c.id]
    return claim_statement(
        outgoing_webhooks, HAS_COME, _OF_ENDPOINT, ~waits, first=first, returning=_COLUMNS
    )


def _put_off_statement() -> sa.Update:
    earlier, is_earlier = earlier_of_row("earlier")
    awaited = sa.select(sa.func.max(earlier.c.next_attempt_at)).where(is_earlier).scalar_subquery()
    later, is_later = earlier_of_row("later")
    is_ahead = later.c.next_attempt_at > sa.bindparam("now")
    is_believed = later.c.next_attempt_at <= sa.bindparam("latest_attempt")
    is_put_off = is_any(later, sa.and_(is_later, is_ahead, is_believed))
    waiting = sa.update(outgoing_webhooks).where(_OF_ENDPOINT, HAS_COME, is_put_off)
    return waiting.values(next_attempt_at=awaited)


_CLAIM: Final = _claim_statement()
_PUT_OFF: Final = _put_off_statement()
_END: Final = outcome_statement(outgoing_webhooks, _OUTCOME)
_HEALTH: Final = (
    sa.select(*(outgoing_endpoints.c[name] for name in HEALTH_FIELDS))
    .where(outgoing_endpoints.c.id == sa.bindparam("endpoint"))
    .with_for_update(key_share=True)
)
_UNWELL: Final = _HEALTH.where(
    (outgoing_endpoints.c.failures > 0) | outgoing_endpoints.c.failing_since.is_not(None)
)
_OF_THIS: Final = outgoing_webhooks.c.endpoint_id == outgoing_endpoints.c.id
_PENDING: Final = outgoing_webhooks.c.next_attempt_at.is_not(None)
_DEAD: Final = outgoing_webhooks.c.status == sa.literal_column(f"'{OutgoingStatus.DEAD.value}'")


def _of_webhooks(
    what: sa.ColumnElement[Any], which: sa.ColumnElement[bool]
) -> sa.ColumnElement[Any]:
    """`what` of some webhooks of an endpoint."""
    return sa.select(what).where(_OF_THIS, which).scalar_subquery()


_OLDEST: Final = _of_webhooks(sa.func.min(outgoing_webhooks.c.created_at), _PENDING)
_FIGURES: Final = sa.select(
    outgoing_endpoints.c.environment,
    outgoing_endpoints.c.name,
    *(outgoing_endpoints.c[name] for name in HEALTH_FIELDS),
    _of_webhooks(sa.func.count(), _PENDING).label("pending"),
    sa.type_coerce(_OLDEST, UtcTime()).label("oldest"),
    _of_webhooks(sa.func.count(), _DEAD).label("dead"),
).order_by(outgoing_endpoints.c.name)
_IDS: Final = json_table("ids", "wanted")
_CHANGES: Final = sa.select(*changes.c).where(
    changes.c.id.in_(sa.select(json_field(_IDS, changes.c.id)))
)
_ROWS: Final = sa.select(ROW).where(assets.c.id.in_(sa.select(json_field(_IDS, assets.c.id))))


async def add_webhooks(
    connection: CoreConnection,
    key: Mapping[str, Any],
    parameters: Mapping[str, Any],
    published: Sequence[sa.Row[Any]],
) -> int:
    """Make the webhooks of changes that are just published, for all who want them; how many."""
    endpoints = (await connection.execute(_LISTENING, parameters)).all()
    rows = []
    for line in published if endpoints else ():
        change = read_known_change(line)
        if change is None:
            continue
        event_type = change_type(change.kind, change.to_state)
        for endpoint in endpoints:
            is_behind = line.position > endpoint.after_position
            if is_behind and wants_type(read_types(endpoint.types), event_type):
                about = {"endpoint_id": endpoint.id, "change_id": line.id, "type": event_type}
                rows.append({**key, **about, **_columns_of(change)})
    if rows:
        await connection.execute(_ADD, {"rows": json_parameter(rows, outgoing_webhooks)})
    return len(rows)


def _columns_of(change: Change) -> dict[str, Any]:
    return {
        "row_id": change.row_id,
        "version": change.version,
        "status": OutgoingStatus.PENDING.value,
        "next_attempt_at": _FIRST_ATTEMPT_AT,
        "created_at": change.at,
    }


class OutgoingWebhooks(Repository):
    """The outgoing webhooks of one environment."""

    table = outgoing_webhooks

    async def due_endpoints(self, now: datetime) -> list[str]:
        """The ids of the endpoints that something is to be sent to now."""
        lines = await self.read(_DUE_ENDPOINTS, self.parameters | outgoing_clock(now))
        return [line.id for line in lines]

    async def claim(
        self, endpoint_id: str, *, now: datetime, token: str, until: datetime, limit: int
    ) -> tuple[OutgoingEndpoint | None, list[ClaimedWebhook]]:
        """Lease up to `limit` due webhooks of an endpoint, of each row the earliest that is left.

        One only, where it is being tried whether the endpoint works again. None for an endpoint
        that is disabled, paused or gone.
        """
        values = self.parameters | outgoing_clock(now) | {"endpoint": endpoint_id}
        endpoint, lines = await self._lease(values, token, until, limit)
        if not lines:
            return endpoint, []
        async with self.reading() as connection:
            ids = [{"id": line.change_id} for line in lines]
            found = await connection.execute(_CHANGES, {"ids": json_parameter(ids, changes)})
            by_id = {line.id: line for line in found}
            ids = [{"id": row_id} for row_id in {line.row_id for line in lines}]
            found = await connection.execute(_ROWS, {"ids": json_parameter(ids, assets)})
            rows = {row.id: row for row in (read_row(line.document) for line in found)}
        claimed = []
        for line in lines:
            found_change, row = by_id.get(line.change_id), rows.get(line.row_id)
            change = read_known_change(found_change) if found_change else None
            position = found_change.position if found_change else 0
            claimed.append(ClaimedWebhook(_read_webhook(line), token, position, change, row))
        return endpoint, claimed

    @retried
    async def _lease(
        self, values: Mapping[str, Any], token: str, until: datetime, limit: int
    ) -> tuple[OutgoingEndpoint | None, Sequence[sa.Row[Any]]]:
        async with self.database.leasing(token, outgoing_webhooks) as connection:
            found = (await connection.execute(_OPEN_ENDPOINT, values)).one_or_none()
            if found is None:
                return None, []
            endpoint = read_endpoint(found)
            most = 1 if is_probed(endpoint.health) else limit
            lease = {"token": token, "until": until, "most": most}
            lines = (await connection.execute(_CLAIM, {**values, **lease})).all()
        return endpoint, sorted(lines, key=lambda line: (line.next_attempt_at, line.id))

    async def put_off_waiting(self, endpoint_id: str, now: datetime) -> int:
        """Have webhooks that wait for one that is put off wait as long; how many.

        Else they would count as due all the time, and be looked for again and again.
        """
        values = outgoing_clock(now) | {"endpoint": endpoint_id}
        return await self.execute(_PUT_OFF, values)

    @retried
    async def end(
        self, endpoint_id: str, sent: Sequence[SentWebhook], now: datetime
    ) -> HealthWritten | None:
        """Write what became of webhooks, in one transaction; how the endpoint stands then.

        What is leased under another token by now is left as it is. None where the endpoint is gone,
        or has been well and still is.
        """
        attempts = [ended.attempt for ended in sent if ended.attempt]
        async with self.writing() as connection:
            # first, as who deletes an endpoint does
            written = await self._note_health(connection, endpoint_id, attempts, now)
            for token in {ended.token for ended in sent}:
                lines = [_outcome(ended.webhook) for ended in sent if ended.token == token]
                rows = json_parameter(lines, outgoing_webhooks)
                await connection.execute(_END, {"rows": rows, "held": token})
        return written

    async def _note_health(
        self,
        connection: CoreConnection,
        endpoint_id: str,
        attempts: Sequence[Attempt],
        now: datetime,
    ) -> HealthWritten | None:
        # where all went well, most endpoints need no lock, and no write
        all_well = all(attempt.outcome is AttemptOutcome.DELIVERED for attempt in attempts)
        statement = _UNWELL if all_well else _HEALTH
        found = (await connection.execute(statement, {"endpoint": endpoint_id})).one_or_none()
        if found is None:
            return None
        before = read_health(found)
        after = health_after(before, attempts, now)
        values = {name: getattr(after, name) for name in HEALTH_FIELDS}
        written = sa.update(outgoing_endpoints).where(outgoing_endpoints.c.id == endpoint_id)
        await connection.execute(written.values(**values))
        return HealthWritten(before, after)

    async def list(
        self, endpoint_id: str, *, status: OutgoingStatus | None = None, limit: int = 50
    ) -> list[OutgoingWebhook]:
        """The newest webhooks of an endpoint, of one status or of all."""
        wanted = sa.select(*_COLUMNS).where(
            *self.here, outgoing_webhooks.c.endpoint_id == endpoint_id
        )
        if status:
            wanted = wanted.where(outgoing_webhooks.c.status == status.value)
        newest = wanted.order_by(outgoing_webhooks.c.id.desc()).limit(limit)
        return [_read_webhook(line) for line in await self.read(newest)]

    async def counts(self) -> dict[str, dict[OutgoingStatus, int]]:
        """How many webhooks each endpoint has of each status, by its id."""
        table = outgoing_webhooks.c
        counted = sa.select(table.endpoint_id, table.status, sa.func.count().label("number"))
        counted = counted.where(*self.here).group_by(table.endpoint_id, table.status)
        counts = dict[str, dict[OutgoingStatus, int]]()
        for line in await self.read(counted):
            of_endpoint = counts.setdefault(line.endpoint_id, dict.fromkeys(OutgoingStatus, 0))
            if line.status in set(OutgoingStatus):
                of_endpoint[OutgoingStatus(line.status)] = line.number
        return counts

    async def figures(
        self, environments: Collection[str]
    ) -> Mapping[str, Sequence[EndpointFigures]]:
        """How the endpoints of environments of this provider stand, by environment."""
        here = outgoing_endpoints.c.provider_name == self.provider
        wanted = _FIGURES.where(here, outgoing_endpoints.c.environment.in_(environments))
        found: dict[str, list[EndpointFigures]] = {}
        for line in await self.read(wanted):
            figures = EndpointFigures(
                line.name, read_health(line), line.pending, line.oldest, line.dead
            )
            found.setdefault(line.environment, []).append(figures)
        return found

    async def replay(
        self,
        endpoint_id: str,
        now: datetime,
        *,
        webhook_id: int | None = None,
        since: datetime | None = None,
    ) -> int:
        """Send one webhook that has ended again, or all dead ones (`since` they died); how many."""
        table = outgoing_webhooks.c
        wanted = table.status == OutgoingStatus.DEAD.value
        if webhook_id is not None:
            wanted = table.ended_at.is_not(None) & (table.id == webhook_id)
        if since is not None:
            wanted &= table.ended_at >= since
        again = sa.update(outgoing_webhooks).where(
            *self.here, table.endpoint_id == endpoint_id, wanted
        )
        # `created_at` stays: it is the time of the change
        values = {"status": OutgoingStatus.PENDING.value, "attempts": 0, "reason": None}
        ended = {"ended_at": None, "response_status": None, "next_attempt_at": now}
        return await self.execute(again.values(**values, **ended), makes=[JobKind.DELIVER])

    async def prune(self, *, delivered_before: datetime, dead_before: datetime) -> int:
        """Delete webhooks that ended before these times; how many."""
        table = outgoing_webhooks.c
        is_dead = table.status == OutgoingStatus.DEAD.value
        old = sa.or_(
            ~is_dead & (table.ended_at < delivered_before), is_dead & (table.ended_at < dead_before)
        )
        is_ended = table.ended_at.is_not(None)
        return await self.execute(sa.delete(outgoing_webhooks).where(*self.here, is_ended, old))


def _outcome(webhook: OutgoingWebhook) -> dict[str, Any]:
    return {name: getattr(webhook, name) for name in ("id", *_OUTCOME)}


def _read_webhook(line: sa.Row[Any]) -> OutgoingWebhook:
    values = {name: getattr(line, name) for name in _FIELDS}
    # what somebody wrote there says less than whether it is to be sent
    left = OutgoingStatus.PENDING if line.next_attempt_at else OutgoingStatus.DEAD
    status = OutgoingStatus(line.status) if line.status in set(OutgoingStatus) else left
    return OutgoingWebhook(**values | {"status": status})
