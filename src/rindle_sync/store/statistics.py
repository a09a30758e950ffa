"""The figures of any number of environments, in a few statements."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, Select, Table, Text, bindparam, case, func, or_, select

from rindle_sync.domain import FINAL, NO_ROW, ErrorKind, EventStatus, State, Trigger
from rindle_sync.store.database import Repository
from rindle_sync.store.history import CHECK_TRIGGERS
from rindle_sync.store.job_runs import JobRun
from rindle_sync.store.schema.json_rows import json_field, json_parameter, json_table
from rindle_sync.store.schema.tables import assets, changes, environments, job_runs, webhook_events
from rindle_sync.store.schema.types import UtcTime


@dataclass(slots=True, kw_only=True)
class WebhookCounts:
    """The changes that a webhook should report, by the trigger that found them."""

    found: dict[Trigger, int] = field(
        default_factory=lambda: dict.fromkeys((Trigger.WEBHOOK, *CHECK_TRIGGERS), 0)
    )
    missed: dict[Trigger, int] = field(default_factory=lambda: dict.fromkeys(CHECK_TRIGGERS, 0))
    """Those that no webhook has reported since."""

    @property
    def expected(self) -> int:
        """The number of these changes."""
        return sum(self.found.values())

    @property
    def loss(self) -> float:
        """The share that no webhook has reported; 0 where there was no change."""
        return sum(self.missed.values()) / self.expected if self.expected else 0.0


@dataclass(slots=True, kw_only=True)
class Figures:
    """The figures of one environment."""

    by_state: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    by_error_kind: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    unlinked: int = 0
    """Pending or uploading rows without an asset."""
    failing: int = 0
    last_checked: datetime | None = None
    due: int = 0
    oldest_due: datetime | None = None
    pending: int = 0
    oldest_pending: datetime | None = None
    """The earliest next attempt of a pending event."""
    dead: int = 0
    failed: int = 0
    """Events that died since `since` for another reason than a missing row."""
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


def _counts(table: Table, *figures: ColumnElement[Any], by: Sequence[str] = ()) -> Select[Any]:
    """The `figures` of each environment in the parameters, or of each group of it."""
    groups = [table.c[name] for name in ("environment", *by)]
    return select(*groups, *figures).where(*_here(table)).group_by(*groups)


_FINAL_STATES: Final = [state.value for state in FINAL]
_FOUND_BY: Final = [Trigger.WEBHOOK.value, *(trigger.value for trigger in CHECK_TRIGGERS)]
_SINCE: Final = bindparam("since", type_=UtcTime())
_IS_UNLINKED: Final = assets.c.provider_asset_id.is_(None) & assets.c.state.in_(
    ["pending", "uploading"]
)
_ROWS: Final = _counts(
    assets,
    func.count().label("number"),
    _number(_IS_UNLINKED).label("unlinked"),
    _number(assets.c.check_failures > 0).label("failing"),
    func.max(assets.c.checked_at).label("last_checked"),
    by=("state", "error_kind"),
)
_DUE: Final = _counts(
    assets, func.count().label("due"), func.min(assets.c.check_at).label("oldest_due")
).where(assets.c.check_at <= bindparam("now", type_=UtcTime()))
_PENDING: Final = _counts(
    webhook_events,
    func.count().label("pending"),
    func.min(webhook_events.c.next_attempt_at).label("oldest_pending"),
).where(webhook_events.c.next_attempt_at.is_not(None))
_HAS_FAILED: Final = (webhook_events.c.received_at > _SINCE) & (
    webhook_events.c.reason.is_distinct_from(NO_ROW)
)
_DEAD: Final = _counts(
    webhook_events, func.count().label("dead"), _number(_HAS_FAILED).label("failed")
).where(webhook_events.c.status == EventStatus.DEAD.value)
_CIRCUITS: Final = select(
    environments.c.environment, environments.c.circuit_reason, environments.c.circuit_opened_at
).where(*_here(environments))
_BY_STATUS: Final = _counts(webhook_events, func.count().label("number"), by=["status"])
_AUDITS: Final = select(
    job_runs.c.environment, job_runs.c.began_at, job_runs.c.ended_at, job_runs.c.progress
).where(*_here(job_runs), job_runs.c.kind == bindparam("audit"))
_IS_MISSED: Final = changes.c.webhook_at.is_(None) & (changes.c.trigger != Trigger.WEBHOOK.value)
# a webhook may still come for the newest changes that a check found
_IS_AWAITED: Final = _IS_MISSED & (changes.c.at > bindparam("settled_by", type_=UtcTime()))
_WEBHOOKED: Final = _counts(
    changes, func.count().label("found"), _number(_IS_MISSED).label("missed"), by=["trigger"]
).where(
    changes.c.at > _SINCE,
    changes.c.to_state.in_(_FINAL_STATES),
    changes.c.to_state.is_distinct_from(bindparam("never_reported", type_=Text())),
    changes.c.from_state != changes.c.to_state,
    or_(changes.c.error_kind.is_(None), changes.c.error_kind == ErrorKind.PROVIDER.value),
    ~_IS_AWAITED,
    changes.c.trigger.in_(_FOUND_BY),
)


class Statistics(Repository):
    """Reads figures."""

    table = assets

    async def of(
        self,
        names: Sequence[str],
        audit: str,
        *,
        now: datetime,
        since: datetime,
        final_before: datetime,
        never_reported: State | None = None,
    ) -> dict[str, Figures]:
        """The figures of these environments; `audit` is the kind of the job runs of audits.

        Changes count since `since`; those that a check found after `final_before` only if a webhook
        reported them too. Changes to `never_reported` do not count: no webhook reports them.
        """
        found = {name: Figures() for name in names}
        here = self._names(names)
        window = here | {"now": now, "since": since, "settled_by": final_before}
        window["never_reported"] = never_reported
        async with self.reading() as connection:
            for line in await connection.execute(_ROWS, here):
                _add_rows(found[line.environment], line)
            for statement in (_DUE, _PENDING, _DEAD, _CIRCUITS):
                for line in await connection.execute(statement, window):
                    _add(found[line.environment], line)
            for line in await connection.execute(_AUDITS, here | {"audit": audit}):
                found[line.environment].audit = JobRun(
                    began_at=line.began_at, ended_at=line.ended_at, progress=line.progress
                )
            for line in await connection.execute(_WEBHOOKED, window):
                _add_webhooked(found[line.environment].webhooked, line)
        return found

    async def rows(self) -> dict[str, int]:
        """The number of rows of each environment that has any; a scan of the table."""
        counted = select(assets.c.environment, func.count().label("number")).group_by(
            assets.c.environment
        )
        found = await self.read(counted.where(assets.c.provider_name == self.provider))
        return {line.environment: line.number for line in found}

    async def webhook_events(self) -> Mapping[str, int]:
        """The number of webhook events by status; a scan of the environment."""
        found = await self.read(_BY_STATUS, self._names([self.environment]))
        return {line.status: line.number for line in found}

    async def lateness(self, since: datetime, *, limit: int) -> list[tuple[Trigger, int]]:
        """The triggers and the lateness, in milliseconds, of the newest `limit` changes."""
        wanted = (
            select(changes.c.trigger, changes.c.late_ms)
            .where(*self.here_in(changes), changes.c.at > since)
            .order_by(changes.c.at.desc())
            .limit(limit)
        )
        return [
            (Trigger(trigger), late_ms) for trigger, late_ms in map(tuple, await self.read(wanted))
        ]

    def _names(self, names: Sequence[str]) -> dict[str, Any]:
        given = json_parameter([{"environment": name} for name in names], assets)
        return {"provider": self.provider, "environments": given}


def _add_rows(figures: Figures, line: Row[Any]) -> None:
    figures.by_state[line.state] += line.number
    if line.error_kind:
        figures.by_error_kind[line.error_kind] += line.number
    figures.unlinked += line.unlinked
    figures.failing += line.failing
    checked = [moment for moment in (figures.last_checked, line.last_checked) if moment]
    figures.last_checked = max(checked, default=None)


def _add(figures: Figures, line: Row[Any]) -> None:
    """Set the figures that have the names of the columns of `line`."""
    _, *names = line._fields
    for name in names:
        setattr(figures, name, getattr(line, name))


def _add_webhooked(webhooked: WebhookCounts, line: Row[Any]) -> None:
    webhooked.found[Trigger(line.trigger)] = line.found
    if line.trigger != Trigger.WEBHOOK.value:
        webhooked.missed[Trigger(line.trigger)] = line.missed
