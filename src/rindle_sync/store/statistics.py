"""How many environments stand, in a few statements, however many they are. Decides nothing."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, Select, Table, bindparam, case, func, or_, select

from rindle_sync.domain import FINAL, NO_ROW, ErrorKind, EventStatus, Trigger
from rindle_sync.store.database import Database
from rindle_sync.store.history import CHECK_TRIGGERS
from rindle_sync.store.job_runs import JobRun
from rindle_sync.store.schema.json_rows import json_field, json_parameter, json_table
from rindle_sync.store.schema.tables import assets, changes, environments, job_runs, webhook_events
from rindle_sync.store.schema.types import UtcTime


@dataclass(slots=True, kw_only=True)
class WebhookCounts:
    """The changes that a webhook should have told of, by the road that found them, and how many webhooks came."""

    found: dict[Trigger, int] = field(
        default_factory=lambda: dict.fromkeys((Trigger.WEBHOOK, *CHECK_TRIGGERS), 0)
    )
    missed: dict[Trigger, int] = field(default_factory=lambda: dict.fromkeys(CHECK_TRIGGERS, 0))
    """Those of which no webhook has told since."""

    @property
    def expected(self) -> int:
        """How many there are."""
        return sum(self.found.values())

    @property
    def loss(self) -> float:
        """The share of which no webhook has told; 0 where there was nothing to tell."""
        return sum(self.missed.values()) / self.expected if self.expected else 0.0


@dataclass(slots=True, kw_only=True)
class Figures:
    """How one environment stands."""

    by_state: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    by_error_kind: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    unlinked: int = 0
    """Rows that are no tombstones and have no asset yet."""
    failing: int = 0
    last_checked: datetime | None = None
    due: int = 0
    oldest_due: datetime | None = None
    pending: int = 0
    oldest_pending: datetime | None = None
    """When the one is to be tried that has its turn first."""
    dead: int = 0
    failed: int = 0
    """Dead deliveries of the time that changes are counted of, though not for want of a row."""
    circuit_reason: str | None = None
    circuit_opened_at: datetime | None = None
    audit: JobRun = field(default_factory=JobRun)
    webhooked: WebhookCounts = field(default_factory=WebhookCounts)


_NAMES: Final = json_table("environments", "names")


def _here(table: Table) -> tuple[ColumnElement[bool], ...]:
    named = table.c.environment.in_(select(json_field(_NAMES, table.c.environment)))
    return table.c.provider_name == bindparam("provider"), named


def _number(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.sum(case((condition, 1), else_=0))


_SINCE: Final = bindparam("since", type_=UtcTime())
_UNLINKED: Final = assets.c.provider_asset_id.is_(None) & assets.c.state.in_(
    ["pending", "uploading"]
)
_ROWS: Final = (
    select(
        assets.c.environment,
        assets.c.state,
        assets.c.error_kind,
        func.count().label("number"),
        _number(_UNLINKED).label("unlinked"),
        _number(assets.c.check_failures > 0).label("failing"),
        func.max(assets.c.checked_at).label("last_checked"),
    )
    .where(*_here(assets))
    .group_by(assets.c.environment, assets.c.state, assets.c.error_kind)
)
_DUE: Final = (
    select(
        assets.c.environment,
        func.count().label("due"),
        func.min(assets.c.check_at).label("oldest_due"),
    )
    .where(*_here(assets), assets.c.check_at <= bindparam("now", type_=UtcTime()))
    .group_by(assets.c.environment)
)
_PENDING: Final = (
    select(
        webhook_events.c.environment,
        func.count().label("pending"),
        func.min(webhook_events.c.next_attempt_at).label("oldest_pending"),
    )
    .where(*_here(webhook_events), webhook_events.c.next_attempt_at.is_not(None))
    .group_by(webhook_events.c.environment)
)
_DEAD: Final = (
    select(
        webhook_events.c.environment,
        func.count().label("dead"),
        _number(
            (webhook_events.c.received_at > _SINCE)
            & webhook_events.c.reason.is_distinct_from(NO_ROW)
        ).label("failed"),
    )
    .where(*_here(webhook_events), webhook_events.c.status == EventStatus.DEAD.value)
    .group_by(webhook_events.c.environment)
)
_CIRCUITS: Final = select(
    environments.c.environment, environments.c.circuit_reason, environments.c.circuit_opened_at
).where(*_here(environments))
_BY_STATUS: Final = (
    select(webhook_events.c.status, func.count().label("number"))
    .where(*_here(webhook_events))
    .group_by(webhook_events.c.status)
)


def _job_runs(kind: str) -> Select[Any]:
    return select(
        job_runs.c.environment, job_runs.c.began_at, job_runs.c.ended_at, job_runs.c.progress
    ).where(*_here(job_runs), job_runs.c.kind == kind)


def _webhooked() -> Select[Any]:
    """The changes of a time that a webhook should have told of; one may still come for the youngest found by looks."""
    missed = changes.c.webhook_at.is_(None) & (changes.c.trigger != Trigger.WEBHOOK.value)
    final = changes.c.to_state.in_([state.value for state in FINAL]) & (
        changes.c.from_state != changes.c.to_state
    )
    told = or_(changes.c.error_kind.is_(None), changes.c.error_kind == ErrorKind.PROVIDER.value)
    waits = missed & (changes.c.at > bindparam("settled_by", type_=UtcTime()))
    return (
        select(
            changes.c.environment,
            changes.c.trigger,
            func.count().label("found"),
            _number(missed).label("missed"),
        )
        .where(
            *_here(changes),
            changes.c.at > _SINCE,
            final,
            told,
            ~waits,
            changes.c.trigger.in_([Trigger.WEBHOOK.value, *(by.value for by in CHECK_TRIGGERS)]),
        )
        .group_by(changes.c.environment, changes.c.trigger)
    )


_WEBHOOKED: Final = _webhooked()


class Statistics(Database):
    """The figures. Every method raises `DatabaseUnavailable` when the database does not answer."""

    table = assets

    async def of(
        self,
        provider: str,
        names: Sequence[str],
        audit: str,
        *,
        now: datetime,
        since: datetime,
        final_before: datetime,
    ) -> dict[str, Figures]:
        """The figures of these environments; `audit` is the kind of pass that an audit is.

        Changes count since `since`. One that a look has found after `settled_by` counts only if a webhook came as well.
        """
        found = {name: Figures() for name in names}
        here = {
            "provider": provider,
            "environments": json_parameter([{"environment": name} for name in names], assets),
        }
        window = {"now": now, "since": since, "settled_by": final_before}
        async with self.reading() as connection:
            for line in await connection.execute(_ROWS, here):
                _add_rows(found[line.environment], line)
            for statement in (_DUE, _PENDING, _DEAD, _CIRCUITS):
                for line in await connection.execute(statement, here | window):
                    _add(found[line.environment], line)
            for line in await connection.execute(_job_runs(audit), here):
                found[line.environment].audit = JobRun(
                    began_at=line.began_at, ended_at=line.ended_at, progress=line.progress
                )
            for line in await connection.execute(_WEBHOOKED, here | window):
                _add_webhooked(found[line.environment].webhooked, line)
        return found

    async def rows(self, provider: str) -> dict[str, int]:
        """How many rows each environment has of which there is one; reads them all."""
        counted = select(assets.c.environment, func.count().label("number")).group_by(
            assets.c.environment
        )
        async with self.reading() as connection:
            found = await connection.execute(counted.where(assets.c.provider_name == provider))
            return {line.environment: line.number for line in found}

    async def webhook_events(self, provider: str, environment: str) -> Mapping[str, int]:
        """How many deliveries were kept, by status; reads them all."""
        here = {
            "provider": provider,
            "environments": json_parameter([{"environment": environment}], assets),
        }
        async with self.reading() as connection:
            return {line.status: line.number for line in await connection.execute(_BY_STATUS, here)}

    async def lateness(
        self, provider: str, environment: str, since: datetime, *, limit: int
    ) -> list[tuple[Trigger, int]]:
        """By which road the newest changes since `since` were found, and how late, in milliseconds; up to `limit`."""
        wanted = (
            select(changes.c.trigger, changes.c.late_ms)
            .where(
                changes.c.provider_name == provider,
                changes.c.environment == environment,
                changes.c.at > since,
            )
            .order_by(changes.c.at.desc())
            .limit(limit)
        )
        async with self.reading() as connection:
            return [(Trigger(by), late) for by, late in await connection.execute(wanted)]


def _add_rows(figures: Figures, line: Row[Any]) -> None:
    figures.by_state[line.state] += line.number
    if line.error_kind:
        figures.by_error_kind[line.error_kind] += line.number
    figures.unlinked += line.unlinked
    figures.failing += line.failing
    checked = [moment for moment in (figures.last_checked, line.last_checked) if moment]
    figures.last_checked = max(checked, default=None)


def _add(figures: Figures, line: Row[Any]) -> None:
    """What a statement tells of an environment, in columns that are named as its figures are."""
    _, *names = line._fields
    for name in names:
        setattr(figures, name, getattr(line, name))


def _add_webhooked(webhooked: WebhookCounts, line: Row[Any]) -> None:
    webhooked.found[Trigger(line.trigger)] = line.found
    if line.trigger != Trigger.WEBHOOK.value:
        webhooked.missed[Trigger(line.trigger)] = line.missed
